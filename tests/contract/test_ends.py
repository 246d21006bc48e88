"""How a stream begins and ends: the order of its events, what ends it, and what its end waits for."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import trio
import trio.testing

from flash import EndReason
from flash.cancel_scopes import Condition
from tests.contract.pretend_page import (
    CLEANUP_TIMEOUT,
    PretendPage,
    cleaning_up,
    ending,
    endless,
    is_met,
    on_mock_clock,
    reasons,
)

clock = on_mock_clock


# Order


async def test_open_comes_first_then_the_updates_in_order_then_one_end(page: PretendPage) -> None:
    async def three() -> AsyncGenerator[int, None]:
        for number in range(3):
            yield number

    stream = page.start(three)
    await page.settle()
    assert page.log(stream) == ["open", 0, 1, 2, ("completed", ["off"])]


async def test_a_completed_stream_runs_no_on_error_and_resets_nothing(page: PretendPage) -> None:
    called: list[BaseException] = []

    async def one() -> AsyncGenerator[int, None]:
        yield 1

    stream = page.start(one, on_error=called.append)
    await page.settle()
    assert page.log(stream)[-1] == ("completed", ["off"])
    assert called == []


async def test_a_generator_that_yields_nothing_completes(page: PretendPage) -> None:
    async def nothing() -> AsyncGenerator[int, None]:
        for number in range(0):
            yield number

    stream = page.start(nothing)
    await page.settle()
    assert page.log(stream) == ["open", ("completed", ["off"])]


# What the end waits for


async def test_a_cancellation_drops_what_was_not_sent(page: PretendPage) -> None:
    async def fast() -> AsyncGenerator[int, None]:
        for number in range(10):
            yield number

    stream = page.start(fast)
    await trio.testing.wait_all_tasks_blocked()
    stream.scope.cancel(EndReason.CANCELLED)
    assert stream.buffer.updates == 0
    await page.settle()
    assert page.log(stream) == ["open", ("cancelled", ["reset", "off"])]


async def test_a_failure_delivers_what_was_yielded_before_it(page: PretendPage) -> None:
    async def fails() -> AsyncGenerator[int, None]:
        yield 1
        yield 2
        raise ValueError("boom")

    stream = page.start(fails)
    await page.settle()
    assert page.log(stream) == ["open", 1, 2, ("failed", ["reset", "off"])]


async def test_the_generator_is_unwound_before_on_error_and_on_error_before_end(page: PretendPage) -> None:
    order: list[str] = []

    async def clean_up() -> None:
        await trio.sleep(1)
        order.append("finally")

    async def on_error(error: BaseException) -> str:
        await trio.sleep(1)
        assert reasons(page.read()) == []
        order.append("on_error")
        return "last words"

    stream = await ending(page, cleaning_up(clean_up), on_error=on_error)
    await trio.sleep(3)
    await page.settle()
    assert order == ["finally", "on_error"]
    assert page.log(stream)[-1] == ("cancelled", ["last words", "reset", "off"])


async def test_the_generator_unwinds_in_the_task_that_ran_it(page: PretendPage) -> None:
    tasks: list[trio.lowlevel.Task] = []

    async def tidy() -> AsyncGenerator[int, None]:
        tasks.append(trio.lowlevel.current_task())
        try:
            while True:
                yield 1
        finally:
            tasks.append(trio.lowlevel.current_task())

    stream = page.start(tidy)
    await trio.testing.wait_all_tasks_blocked()
    stream.scope.cancel(EndReason.CANCELLED)
    await page.settle()
    assert len(tasks) == 2
    assert tasks[0] is tasks[1]


async def test_nothing_is_left_to_the_garbage_collector(page: PretendPage) -> None:
    generators: list[Any] = []

    def make() -> AsyncGenerator[int, None]:
        generators.append(endless())
        return generators[-1]

    for reason in EndReason:
        if reason is not EndReason.COMPLETED:
            stream = page.start(make, key=reason)
            await page.settle()
            stream.scope.cancel(reason)
    await page.settle()
    assert len(generators) == len(EndReason) - 1
    assert all(generator.ag_frame is None for generator in generators)


async def test_a_clean_up_that_raises_is_logged_and_the_reason_stays(
    page: PretendPage, caplog: pytest.LogCaptureFixture
) -> None:
    causes: list[BaseException | None] = []

    async def fail() -> None:
        raise ValueError("in finally")

    async def on_error(error: BaseException) -> None:
        causes.append(error.__cause__)

    stream = await ending(page, cleaning_up(fail), on_error=on_error)
    await page.settle()
    assert page.log(stream)[-1] == ("cancelled", ["reset", "off"])
    assert [str(cause) for cause in causes] == ["in finally"]
    assert "The clean-up of the event callback 'test' (cancelled) raised" in caplog.text


async def test_the_scope_leaves_the_registry_when_the_end_has_left(page: PretendPage) -> None:
    stream = page.start(endless)
    channel = page.link.channel
    assert channel.scope_of(stream.id) is stream.scope
    await page.settle()
    stream.scope.cancel(EndReason.CANCELLED)
    await page.settle()
    assert channel.scope_of(stream.id) is None
    assert list(channel.streams()) == []


async def test_the_first_reason_wins(page: PretendPage) -> None:
    stream = page.start(endless)
    await page.settle()
    assert stream.scope.cancel(EndReason.TIMED_OUT)
    assert not stream.scope.cancel(EndReason.CANCELLED)
    await page.settle()
    assert page.log(stream)[-1] == ("timed_out", ["reset", "off"])
    assert not stream.scope.cancel(EndReason.CANCELLED)


async def test_a_cancellation_before_the_first_step_runs_none_of_the_generator(page: PretendPage) -> None:
    ran: list[int] = []

    async def never() -> AsyncGenerator[int, None]:
        ran.append(1)
        yield 1

    stream = page.start(never)
    stream.scope.cancel(EndReason.CANCELLED)
    await page.settle()
    assert ran == []
    assert page.log(stream) == ["open", ("cancelled", ["reset", "off"])]


async def test_an_exception_never_leaves_the_task_of_its_stream(page: PretendPage) -> None:
    async def exits() -> AsyncGenerator[int, None]:
        yield 1
        raise SystemExit(3)

    async def raises_group() -> AsyncGenerator[int, None]:
        yield 1
        raise BaseExceptionGroup("several", [ValueError(), SystemExit()])

    bystander = page.start(endless, key="bystander")
    first, second = page.start(exits, key="a"), page.start(raises_group, key="b")
    await page.settle()
    assert page.log(first)[-1][0] == "failed"
    assert page.log(second)[-1][0] == "failed"
    assert bystander.state == "running"


async def test_a_generator_function_that_cannot_be_called_fails_the_stream(page: PretendPage) -> None:
    def wrong() -> object:
        raise TypeError("missing 1 required positional argument")

    stream = page.start(wrong)
    await page.settle()
    assert page.log(stream) == ["open", ("failed", ["reset", "off"])]


# The deadline of clean-up


async def test_a_finally_that_awaits_under_its_own_shield_completes(page: PretendPage) -> None:
    done: list[float] = []

    async def clean_up() -> None:
        await trio.sleep(CLEANUP_TIMEOUT - 1)
        done.append(trio.current_time())

    stream = await ending(page, cleaning_up(clean_up))
    await trio.sleep(CLEANUP_TIMEOUT)
    await page.settle()
    assert len(done) == 1
    assert not stream.overran
    assert page.log(stream)[-1] == ("cancelled", ["reset", "off"])


async def test_a_finally_that_overruns_is_reported_and_the_page_is_told_at_the_deadline(
    page: PretendPage, caplog: pytest.LogCaptureFixture
) -> None:
    release = trio.Event()
    calls: list[BaseException] = []

    async def on_error(error: BaseException) -> str:
        calls.append(error)
        return "last words"

    stream = await ending(page, cleaning_up(release.wait), on_error=on_error)
    await trio.sleep(CLEANUP_TIMEOUT - 0.5)
    assert reasons(await page.settle()) == []
    await trio.sleep(1)
    await page.settle()
    assert page.log(stream)[-1] == ("cancelled", ["last words", "reset", "off"])
    assert "'test' (cancelled) has overrun cleanup_timeout" in caplog.text
    assert [info.state for info in page.channels.streams()] == ["stuck"]

    # The next run of the key does not wait for it.
    again = page.start(endless)
    await page.settle()
    assert page.log(again) == ["open", 0]

    release.set()
    await page.settle()
    assert [info.state for info in page.channels.streams()] == ["running"]
    assert len(calls) == 1
    assert page.log(stream).count(("cancelled", ["last words", "reset", "off"])) == 1


async def test_a_stream_that_runs_longer_than_its_timeout_times_out(page: PretendPage) -> None:
    stream = page.start(endless, timeout=3.5)
    for _ in range(5):
        await trio.sleep(1)
        await page.settle()
    assert page.log(stream) == ["open", 0, 1, 2, 3, ("timed_out", ["reset", "off"])]


async def test_a_stream_that_ends_in_time_does_not_time_out(page: PretendPage) -> None:
    async def short() -> AsyncGenerator[int, None]:
        await trio.sleep(3)
        yield 1

    stream = page.start(short, timeout=3.5)
    await trio.sleep(10)
    await page.settle()
    assert page.log(stream) == ["open", 1, ("completed", ["off"])]


# Conditions


async def test_a_change_that_meets_the_condition_changes_nothing(page: PretendPage) -> None:
    stream = page.start(endless, conditions=[is_met("tabs.value", "a"), Condition("b.n_clicks", None, counts=True)])
    await page.settle()
    assert not stream.scope.change(0, "a")
    assert stream.state == "running"
    assert stream.scope.change(1, 2)
    await page.settle()
    assert page.log(stream)[-1] == ("cancelled", ["reset", "off"])


async def test_a_change_that_comes_twice_or_was_overtaken_is_ignored(page: PretendPage) -> None:
    asked: list[object] = []

    def is_short(value: object) -> bool:
        asked.append(value)
        return len(str(value)) < 4

    conditions = [Condition("a.value", is_short, counts=False), is_met("b.value", "b")]
    stream = page.start(endless, conditions=conditions)
    await page.settle()
    stream.scope.change(0, "new", 7)
    stream.scope.change(0, "new", 7)
    assert not stream.scope.change(0, "older", 6)
    # Each condition counts for itself.
    stream.scope.change(1, "b", 5)
    stream.scope.change(0, "two", 8)
    assert asked == ["new", "two"]
    assert stream.state == "running"
    # One that has no number is the newest.
    assert stream.scope.change(0, "longer")


async def test_a_predicate_that_raises_counts_as_not_met(page: PretendPage, caplog: pytest.LogCaptureFixture) -> None:
    def fussy(value: object) -> bool:
        raise TypeError("unexpected")

    stream = page.start(endless, conditions=[Condition("x.value", fussy, counts=False)])
    await page.settle()
    assert stream.scope.change(0, "b")
    await page.settle()
    assert "The predicate of the condition on x.value raised" in caplog.text


async def test_every_end_is_one_line_in_the_log(page: PretendPage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="flash.streams")

    async def one() -> AsyncGenerator[int, None]:
        yield 1
        await trio.sleep(2)

    page.start(one)
    await page.settle()
    await trio.sleep(3)
    await page.settle()
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["test: completed after 2.000 s, 1 updates"]


async def test_a_failure_that_cannot_be_described_ends_the_stream_all_the_same(page: PretendPage) -> None:
    async def fails() -> AsyncGenerator[int, None]:
        yield 1
        raise ValueError

    def describe(error: BaseException) -> bytes:
        raise TypeError("__str__ returned non-string")

    stream = page.start(fails, describe=describe)
    await page.settle()
    assert page.log(stream) == ["open", 1, ("failed", ["reset", "off"])]
    assert list(page.channels.streams()) == []
