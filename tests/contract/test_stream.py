"""The contract of a stream, point by point (numbers are those of docs/streams.md)."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import trio
import trio.testing

from flash import BufferOverrun, EndReason, RequestRefused, StreamCancelled
from flash.cancel_scopes import Condition
from flash.channels import Channels
from flash.streams.link import Link
from flash.wire import Refused
from tests.contract.desk import BROWSER, CLEANUP_TIMEOUT, PAGE, Desk, OpenDesk, is_met, on_mock_clock, reasons

clock = on_mock_clock


async def endless() -> AsyncGenerator[int, None]:
    count = 0
    while True:
        yield count
        count += 1
        await trio.sleep(1)


# 2. Order


async def test_open_comes_first_then_the_updates_in_order_then_one_end(desk: Desk) -> None:
    async def three() -> AsyncGenerator[int, None]:
        for number in range(3):
            yield number

    stream = desk.start(three)
    await desk.settle()
    assert desk.log(stream) == ["open", 0, 1, 2, ("completed", ["off"])]


async def test_a_completed_stream_runs_no_on_error_and_resets_nothing(desk: Desk) -> None:
    called: list[BaseException] = []

    async def one() -> AsyncGenerator[int, None]:
        yield 1

    stream = desk.start(one, on_error=called.append)
    await desk.settle()
    assert desk.log(stream)[-1] == ("completed", ["off"])
    assert called == []


async def test_a_generator_that_yields_nothing_completes(desk: Desk) -> None:
    async def nothing() -> AsyncGenerator[int, None]:
        if desk is None:
            yield 0

    stream = desk.start(nothing)
    await desk.settle()
    assert desk.log(stream) == ["open", ("completed", ["off"])]


# 3. The checkpoint at the yield


async def test_a_generator_waits_at_its_yield_when_the_buffer_is_full(desk: Desk) -> None:
    reached: list[int] = []

    async def fast() -> AsyncGenerator[int, None]:
        for number in range(10):
            reached.append(number)
            yield number

    stream = desk.start(fast)
    await trio.testing.wait_all_tasks_blocked()
    assert reached == [0, 1, 2, 3]
    assert stream.buffer.updates == 3
    while len(reached) < 10 or stream.state == "running":
        await desk.settle()
    assert desk.log(stream) == ["open", *range(10), ("completed", ["off"])]


async def test_the_buffer_is_bounded_in_bytes_too(open_desk: OpenDesk) -> None:
    desk = await open_desk(updates=1_000, size=500)

    async def large() -> AsyncGenerator[str, None]:
        while True:
            yield "x" * 100

    stream = desk.start(large)
    await trio.testing.wait_all_tasks_blocked()
    assert 500 <= stream.buffer.bytes < 500 + 200


async def test_a_cancellation_that_arrives_while_the_buffer_is_full_is_raised_at_the_yield(desk: Desk) -> None:
    seen: list[str] = []

    async def fast() -> AsyncGenerator[int, None]:
        try:
            for number in range(10):
                yield number
        except trio.Cancelled:
            seen.append("at the yield")
            raise
        finally:
            seen.append("finally")

    stream = desk.start(fast)
    await trio.testing.wait_all_tasks_blocked()
    stream.scope.cancel(EndReason.CANCELLED)
    await desk.settle()
    assert seen == ["at the yield", "finally"]
    assert desk.log(stream) == ["open", ("cancelled", ["reset", "off"])]


async def test_a_cancellation_that_is_due_is_raised_at_the_next_yield(desk: Desk) -> None:
    seen: list[int] = []

    async def cancels_itself() -> AsyncGenerator[int, None]:
        try:
            stream.scope.cancel(EndReason.CANCELLED)
            yield 1
            seen.append(1)
        except trio.Cancelled:
            seen.append(-1)
            raise

    stream = desk.start(cancels_itself)
    await desk.settle()
    assert seen == [-1]
    assert desk.log(stream) == ["open", ("cancelled", ["reset", "off"])]


async def test_move_on_after_around_a_yield_with_a_full_buffer_moves_on(desk: Desk) -> None:
    outcomes: list[bool] = []

    async def impatient() -> AsyncGenerator[int, None]:
        for number in range(5):
            with trio.move_on_after(1) as scope:
                yield number
            outcomes.append(scope.cancelled_caught)

    stream = desk.start(impatient)
    await trio.sleep(10)
    await desk.settle()
    assert outcomes == [False, False, False, True, True]
    # What found no room in time was given up by the generator; what went in arrives.
    assert desk.log(stream) == ["open", 0, 1, 2, ("completed", ["off"])]


async def test_a_nursery_around_a_yield_is_cancelled_at_the_yield_when_its_child_fails(desk: Desk) -> None:
    caught: list[BaseException] = []

    async def fails_soon() -> None:
        await trio.sleep(1)
        raise ValueError("child")

    async def nursery_around() -> AsyncGenerator[int, None]:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fails_soon)
                for number in range(10):
                    yield number
        except* ValueError as group:
            caught.extend(group.exceptions)
        yield 99

    stream = desk.start(nursery_around)
    await trio.sleep(2)
    await desk.settle()
    await desk.settle()
    assert [str(error) for error in caught] == ["child"]
    assert desk.log(stream) == ["open", 0, 1, 2, 99, ("completed", ["off"])]


async def test_a_nursery_around_a_yield_is_unwound_when_the_stream_is_cancelled(desk: Desk) -> None:
    seen: list[str] = []

    async def child() -> None:
        try:
            await trio.sleep_forever()
        finally:
            seen.append("child")

    async def nursery_around() -> AsyncGenerator[int, None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            while True:
                yield 1

    stream = desk.start(nursery_around)
    await trio.testing.wait_all_tasks_blocked()
    stream.scope.cancel(EndReason.CANCELLED)
    await desk.settle()
    assert seen == ["child"]
    assert desk.log(stream)[-1] == ("cancelled", ["reset", "off"])


async def test_updates_yielded_while_unwinding_are_dropped_and_the_generator_is_closed_and_reported(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    async def last_words() -> AsyncGenerator[int | str, None]:
        try:
            while True:
                yield 1
                await trio.sleep(1)
        except trio.Cancelled:
            try:
                yield "too late"
            except trio.Cancelled:
                try:
                    yield "much too late"
                except GeneratorExit:
                    seen.append("closed")
                    raise

    stream = desk.start(last_words)
    await desk.settle()
    stream.scope.cancel(EndReason.CANCELLED)
    await desk.settle()
    assert desk.log(stream) == ["open", 1, ("cancelled", ["reset", "off"])]
    assert seen == ["closed"]
    assert "'test' went on yielding after it was cancelled" in caplog.text


async def test_a_generator_that_swallows_everything_is_given_up_and_the_stream_ends(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    enough = False

    async def swallow() -> AsyncGenerator[int, None]:
        while not enough:
            with contextlib.suppress(BaseException):
                yield 1

    stubborn = swallow()
    stream = desk.start(lambda: stubborn)
    await desk.settle()
    stream.scope.cancel(EndReason.CANCELLED)
    await desk.settle()
    assert desk.log(stream)[-1] == ("cancelled", ["reset", "off"])
    assert "cannot be closed" in caplog.text
    enough = True
    await stubborn.aclose()


async def test_other_tasks_run_beside_a_generator_that_never_awaits(open_desk: OpenDesk, nursery: trio.Nursery) -> None:
    desk = await open_desk(updates=10**9, size=10**9)
    turns = 0
    over = False

    async def hot() -> AsyncGenerator[int, None]:
        while not over:
            yield 1

    desk.start(hot)
    while turns < 10:
        turns += 1
        await trio.lowlevel.checkpoint()
    over = True
    await trio.testing.wait_all_tasks_blocked()


# 4. Teardown


async def test_a_cancellation_drops_what_was_not_sent(desk: Desk) -> None:  # (a)
    async def fast() -> AsyncGenerator[int, None]:
        for number in range(10):
            yield number

    stream = desk.start(fast)
    await trio.testing.wait_all_tasks_blocked()
    stream.scope.cancel(EndReason.CANCELLED)
    assert stream.buffer.updates == 0
    await desk.settle()
    assert desk.log(stream) == ["open", ("cancelled", ["reset", "off"])]


async def test_a_failure_delivers_what_was_yielded_before_it(desk: Desk) -> None:
    async def fails() -> AsyncGenerator[int, None]:
        yield 1
        yield 2
        raise ValueError("boom")

    stream = desk.start(fails)
    await desk.settle()
    assert desk.log(stream) == ["open", 1, 2, ("failed", ["reset", "off"])]


async def test_the_generator_is_unwound_before_on_error_and_on_error_before_end(desk: Desk) -> None:  # (b), (c), (d)
    order: list[str] = []

    async def tidy() -> AsyncGenerator[int, None]:
        try:
            while True:
                yield 1
                await trio.sleep(1)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            order.append("finally")

    async def on_error(error: BaseException) -> str:
        await trio.sleep(1)
        assert reasons(desk.read()) == []
        order.append("on_error")
        return "last words"

    stream = desk.start(tidy, on_error=on_error)
    await desk.settle()
    stream.scope.cancel(EndReason.CANCELLED)
    await trio.sleep(3)
    await desk.settle()
    assert order == ["finally", "on_error"]
    assert desk.log(stream)[-1] == ("cancelled", ["last words", "reset", "off"])


async def test_the_generator_unwinds_in_the_task_that_ran_it(desk: Desk) -> None:
    tasks: list[trio.lowlevel.Task] = []

    async def tidy() -> AsyncGenerator[int, None]:
        tasks.append(trio.lowlevel.current_task())
        try:
            while True:
                yield 1
        finally:
            tasks.append(trio.lowlevel.current_task())

    stream = desk.start(tidy)
    await trio.testing.wait_all_tasks_blocked()
    stream.scope.cancel(EndReason.CANCELLED)
    await desk.settle()
    assert len(tasks) == 2
    assert tasks[0] is tasks[1]


async def test_nothing_is_left_to_the_garbage_collector(desk: Desk) -> None:
    generators: list[AsyncGenerator[int, None]] = []

    def make() -> AsyncGenerator[int, None]:
        generators.append(endless())
        return generators[-1]

    for reason in EndReason:
        if reason is not EndReason.COMPLETED:
            stream = desk.start(make, key=reason)
            await desk.settle()
            stream.scope.cancel(reason)
    await desk.settle()
    assert len(generators) == len(EndReason) - 1
    assert all(generator.ag_frame is None for generator in generators)  # type: ignore[attr-defined]


async def test_on_error_is_told_the_reason_the_condition_and_the_value(desk: Desk) -> None:
    given: list[Any] = []

    async def on_error(error: StreamCancelled) -> None:
        given.append((error.reason, error.condition, error.value))

    stream = desk.start(endless, on_error=on_error, conditions=[is_met("tabs.value", "a")])
    await desk.settle()
    stream.scope.change(0, "b")
    await desk.settle()
    assert given == [(EndReason.CANCELLED, "tabs.value", "b")]


async def test_an_on_error_that_raises_is_logged_and_the_end_leaves(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    async def on_error(error: BaseException) -> None:
        raise KeyError("in on_error")

    stream = desk.start(endless, on_error=on_error)
    await desk.settle()
    stream.scope.cancel(EndReason.CANCELLED)
    await desk.settle()
    assert desk.log(stream)[-1] == ("cancelled", ["reset", "off"])
    assert "on_error of the event callback 'test' raised" in caplog.text


async def test_set_props_in_on_error_is_part_of_the_end(desk: Desk) -> None:
    async def on_error(error: BaseException) -> str:
        stream.push("pushed")
        return "returned"

    stream = desk.start(endless, on_error=on_error)
    await desk.settle()
    stream.scope.cancel(EndReason.CANCELLED)
    await desk.settle()
    assert desk.log(stream)[-1] == ("cancelled", ["pushed", "returned", "reset", "off"])


async def test_a_clean_up_that_raises_is_logged_and_the_reason_stays(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    causes: list[BaseException | None] = []

    async def untidy() -> AsyncGenerator[int, None]:
        try:
            while True:
                yield 1
                await trio.sleep(1)
        finally:
            raise ValueError("in finally")

    async def on_error(error: BaseException) -> None:
        causes.append(error.__cause__)

    stream = desk.start(untidy, on_error=on_error)
    await desk.settle()
    stream.scope.cancel(EndReason.CANCELLED)
    await desk.settle()
    assert desk.log(stream)[-1] == ("cancelled", ["reset", "off"])
    assert [str(cause) for cause in causes] == ["in finally"]
    assert "The clean-up of the event callback 'test' (cancelled) raised" in caplog.text


async def test_the_scope_leaves_the_registry_when_the_end_has_left(desk: Desk) -> None:  # (e)
    stream = desk.start(endless)
    channel = desk.link.channel
    assert channel.scopes.get(stream.id) is stream.scope
    await desk.settle()
    stream.scope.cancel(EndReason.CANCELLED)
    await desk.settle()
    assert channel.scopes.get(stream.id) is None
    assert list(channel.streams()) == []


async def test_the_first_reason_wins(desk: Desk) -> None:
    stream = desk.start(endless)
    await desk.settle()
    assert stream.scope.cancel(EndReason.TIMED_OUT)
    assert not stream.scope.cancel(EndReason.CANCELLED)
    await desk.settle()
    assert desk.log(stream)[-1] == ("timed_out", ["reset", "off"])
    assert not stream.scope.cancel(EndReason.CANCELLED)


async def test_a_cancellation_before_the_first_step_runs_none_of_the_generator(desk: Desk) -> None:
    ran: list[int] = []

    async def never() -> AsyncGenerator[int, None]:
        ran.append(1)
        yield 1

    stream = desk.start(never)
    stream.scope.cancel(EndReason.CANCELLED)
    await desk.settle()
    assert ran == []
    assert desk.log(stream) == ["open", ("cancelled", ["reset", "off"])]


async def test_an_exception_never_leaves_the_task_of_its_stream(desk: Desk) -> None:
    async def exits() -> AsyncGenerator[int, None]:
        yield 1
        raise SystemExit(3)

    async def raises_group() -> AsyncGenerator[int, None]:
        yield 1
        raise BaseExceptionGroup("several", [ValueError(), SystemExit()])

    bystander = desk.start(endless, key="bystander")
    first, second = desk.start(exits, key="a"), desk.start(raises_group, key="b")
    await desk.settle()
    assert desk.log(first)[-1][0] == "failed"
    assert desk.log(second)[-1][0] == "failed"
    assert bystander.state == "running"


async def test_a_generator_function_that_cannot_be_called_fails_the_stream(desk: Desk) -> None:
    def wrong() -> object:
        raise TypeError("missing 1 required positional argument")

    stream = desk.start(wrong)
    await desk.settle()
    assert desk.log(stream) == ["open", ("failed", ["reset", "off"])]


# 5. The deadline


async def test_a_finally_that_awaits_under_its_own_shield_completes(desk: Desk) -> None:
    done: list[float] = []

    async def tidy() -> AsyncGenerator[int, None]:
        try:
            while True:
                yield 1
                await trio.sleep(1)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(CLEANUP_TIMEOUT - 1)
            done.append(trio.current_time())

    stream = desk.start(tidy)
    await desk.settle()
    stream.scope.cancel(EndReason.CANCELLED)
    await trio.sleep(CLEANUP_TIMEOUT)
    await desk.settle()
    assert len(done) == 1
    assert not stream.overran
    assert desk.log(stream)[-1] == ("cancelled", ["reset", "off"])


async def test_a_finally_that_overruns_is_reported_and_the_page_is_told_at_the_deadline(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    release = trio.Event()
    calls: list[BaseException] = []

    async def stuck() -> AsyncGenerator[int, None]:
        try:
            while True:
                yield 1
                await trio.sleep(1)
        finally:
            with trio.CancelScope(shield=True):
                await release.wait()

    async def on_error(error: BaseException) -> str:
        calls.append(error)
        return "last words"

    stream = desk.start(stuck, on_error=on_error)
    await desk.settle()
    stream.scope.cancel(EndReason.CANCELLED)
    await trio.sleep(CLEANUP_TIMEOUT - 0.5)
    assert reasons(await desk.settle()) == []
    await trio.sleep(1)
    await desk.settle()
    assert desk.log(stream)[-1] == ("cancelled", ["last words", "reset", "off"])
    assert "'test' (cancelled) has overrun cleanup_timeout" in caplog.text
    assert [info.state for info in desk.channels.streams()] == ["stuck"]

    # The next run of the key does not wait for it.
    again = desk.start(endless)
    await desk.settle()
    assert desk.log(again) == ["open", 0]

    release.set()
    await desk.settle()
    assert [info.state for info in desk.channels.streams()] == ["running"]
    assert len(calls) == 1
    assert desk.log(stream).count(("cancelled", ["last words", "reset", "off"])) == 1


async def test_an_on_error_that_hangs_is_cut_at_the_deadline(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    cut: list[float] = []

    async def on_error(error: BaseException) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cut.append(trio.current_time())

    stream = desk.start(endless, on_error=on_error)
    await desk.settle()
    began = trio.current_time()
    stream.scope.cancel(EndReason.CANCELLED)
    await trio.sleep(CLEANUP_TIMEOUT + 1)
    await desk.settle()
    assert cut == [began + CLEANUP_TIMEOUT]
    assert desk.log(stream)[-1] == ("cancelled", ["reset", "off"])
    assert "did not return within cleanup_timeout" in caplog.text


async def test_an_on_error_that_cannot_be_cut_does_not_hold_the_end_back(desk: Desk) -> None:
    release = trio.Event()

    async def on_error(error: BaseException) -> None:
        with trio.CancelScope(shield=True):
            await release.wait()

    stream = desk.start(endless, on_error=on_error)
    await desk.settle()
    stream.scope.cancel(EndReason.CANCELLED)
    await trio.sleep(CLEANUP_TIMEOUT + 1)
    await desk.settle()
    assert desk.log(stream)[-1] == ("cancelled", ["reset", "off"])
    release.set()


async def test_a_stream_that_runs_longer_than_its_timeout_times_out(desk: Desk) -> None:
    stream = desk.start(endless, timeout=3.5)
    for _ in range(5):
        await trio.sleep(1)
        await desk.settle()
    assert desk.log(stream) == ["open", 0, 1, 2, 3, ("timed_out", ["reset", "off"])]


async def test_a_stream_that_ends_in_time_does_not_time_out(desk: Desk) -> None:
    async def short() -> AsyncGenerator[int, None]:
        await trio.sleep(3)
        yield 1

    stream = desk.start(short, timeout=3.5)
    await trio.sleep(10)
    await desk.settle()
    assert desk.log(stream) == ["open", 1, ("completed", ["off"])]


# 6. Conditions


async def test_a_change_that_meets_the_condition_changes_nothing(desk: Desk) -> None:
    stream = desk.start(endless, conditions=[is_met("tabs.value", "a"), Condition("b.n_clicks", None, counts=True)])
    await desk.settle()
    assert not stream.scope.change(0, "a")
    assert stream.state == "running"
    assert stream.scope.change(1, 2)
    await desk.settle()
    assert desk.log(stream)[-1] == ("cancelled", ["reset", "off"])


async def test_a_change_that_comes_twice_or_was_overtaken_is_ignored(desk: Desk) -> None:
    asked: list[object] = []

    def is_short(value: object) -> bool:
        asked.append(value)
        return len(str(value)) < 4

    conditions = [Condition("a.value", is_short, counts=False), is_met("b.value", "b")]
    stream = desk.start(endless, conditions=conditions)
    await desk.settle()
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


async def test_a_predicate_that_raises_counts_as_not_met(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    def fussy(value: object) -> bool:
        raise TypeError("unexpected")

    stream = desk.start(endless, conditions=[Condition("x.value", fussy, counts=False)])
    await desk.settle()
    assert stream.scope.change(0, "b")
    await desk.settle()
    assert "The predicate of the condition on x.value raised" in caplog.text


# 7. Supersede


async def test_the_old_streams_end_leaves_before_the_new_streams_open(desk: Desk) -> None:
    async def slow_to_go() -> AsyncGenerator[int, None]:
        try:
            await trio.sleep_forever()
            yield 0
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)

    old = desk.start(slow_to_go)
    await desk.settle()
    new = desk.start(endless)
    assert await desk.settle() == []
    await trio.sleep(3)
    await desk.settle()
    names = [(name, data["stream"]) for name, data in desk.seen if name != "props"]
    assert names == [("open", old.id), ("end", old.id), ("open", new.id)]
    assert desk.log(old)[-1] == ("superseded", ["reset", "off"])


async def test_one_start_waits_per_key_and_a_newer_one_takes_its_place(desk: Desk) -> None:
    old = desk.start(endless)
    await desk.settle()
    replaced = desk.start(endless)
    newest = desk.start(endless)
    await desk.settle()
    assert desk.log(replaced) == []
    assert desk.log(newest)[0] == "open"
    assert desk.log(old)[-1][0] == "superseded"


async def test_streams_of_other_keys_are_not_superseded(desk: Desk) -> None:
    first, second = desk.start(endless, key="a"), desk.start(endless, key="b")
    await desk.settle()
    assert first.state == second.state == "running"


# 8. Bounds


async def test_a_page_that_goes_ends_all_its_streams_and_waits_for_their_clean_up(desk: Desk) -> None:
    ended: list[Any] = []

    async def tidy() -> AsyncGenerator[int, None]:
        try:
            while True:
                yield 1
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)
            ended.append("finally")

    async def on_error(error: StreamCancelled) -> None:
        ended.append(error.reason)

    for key in "abc":
        desk.start(tidy, key=key, on_error=on_error)
    await trio.testing.wait_all_tasks_blocked()
    began = trio.current_time()
    desk.link.detach()
    await desk.link.channel.finished.wait()
    assert trio.current_time() == began + 2
    assert sorted(ended) == ["disconnected"] * 3 + ["finally"] * 3
    assert desk.link.channel.outbox.exhausted
    with pytest.raises(RequestRefused, match="being closed"):
        desk.start(endless)


async def test_a_start_that_waits_for_its_turn_is_forgotten_when_the_page_goes(desk: Desk) -> None:
    ran: list[int] = []

    async def never() -> AsyncGenerator[int, None]:
        ran.append(1)
        yield 1

    desk.start(endless)
    await desk.settle()
    desk.start(never)
    desk.link.detach()
    await desk.link.channel.finished.wait()
    assert ran == []


async def test_the_cancellation_of_the_apps_nursery_is_a_shutdown() -> None:
    reasons_given: list[EndReason] = []

    async def on_error(error: StreamCancelled) -> None:
        await trio.sleep(1)
        reasons_given.append(error.reason)

    async with trio.open_nursery() as app_nursery:
        channels = Channels()
        desk = Desk(channels, await channels.connect(app_nursery, PAGE, BROWSER))
        stream = desk.start(endless, on_error=on_error)
        await desk.settle()
        app_nursery.cancel_scope.cancel()
    desk.read()
    assert reasons_given == [EndReason.SHUTDOWN]
    assert desk.log(stream)[-1] == ("shutdown", ["reset", "off"])


async def test_shutting_down_tells_the_pages_and_returns_when_all_is_over(desk: Desk) -> None:
    stream = desk.start(endless)
    await desk.settle()
    await desk.channels.shut_down()
    assert desk.read()[-1][1]["reason"] == "shutdown"
    assert desk.log(stream)[-1] == ("shutdown", ["reset", "off"])
    assert await desk.link.receive(1) == []


async def test_a_page_has_a_limited_number_of_streams(open_desk: OpenDesk) -> None:
    desk = await open_desk(streams=2)
    desk.start(endless, key="a")
    desk.start(endless, key="b")
    with pytest.raises(RequestRefused, match="runs 2 streams already") as refusal:
        desk.start(endless, key="c")
    assert refusal.value.status == 429
    desk.start(endless, key="b")


async def test_a_page_that_does_not_read_cannot_pile_up_starts(open_desk: OpenDesk) -> None:
    desk = await open_desk(size=2_000)

    async def start_often() -> None:
        for _ in range(1_000):
            desk.start(endless)
            await trio.testing.wait_all_tasks_blocked()

    with pytest.raises(RequestRefused, match="does not read") as refusal:
        await start_often()
    assert refusal.value.status == 429
    assert desk.link.channel.outbox.control_bytes < 3_000


# What a generator may yield, and set_props


async def test_yielding_none_warns_once_and_goes_on(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    async def sloppy() -> AsyncGenerator[int | None, None]:
        yield None
        yield 1
        yield None

    stream = desk.start(sloppy)
    await desk.settle()
    assert desk.log(stream) == ["open", 1, ("completed", ["off"])]
    assert caplog.text.count("'test' yielded None") == 1


async def test_yielding_something_else_is_raised_at_the_yield_and_fails_the_stream(desk: Desk) -> None:
    seen: list[str] = []

    async def wrong() -> AsyncGenerator[object, None]:
        try:
            yield object()
        except Exception as error:
            seen.append(str(error))

    given: list[BaseException] = []

    async def on_error(error: BaseException) -> None:
        given.append(error)

    stream = desk.start(wrong, on_error=on_error)
    await desk.settle()
    assert "'test' yielded" in seen[0]
    assert [str(error) for error in given] == seen
    assert desk.log(stream) == ["open", ("failed", ["reset", "off"])]


async def test_set_props_is_sent_at_once_and_the_next_yield_waits(desk: Desk) -> None:
    reached: list[int] = []

    async def pushes() -> AsyncGenerator[int, None]:
        for number in range(5):
            stream.push(number)
        reached.append(1)
        yield 5
        reached.append(2)

    stream = desk.start(pushes)
    await trio.testing.wait_all_tasks_blocked()
    assert reached == [1]
    assert stream.buffer.updates == 5
    await desk.settle()
    await desk.settle()
    assert desk.log(stream) == ["open", 0, 1, 2, 3, 4, 5, ("completed", ["off"])]


async def test_set_props_without_a_yield_fails_the_stream_at_twice_the_bound(desk: Desk) -> None:
    given: list[BaseException] = []

    async def floods() -> AsyncGenerator[int, None]:
        while True:
            stream.push(1)
        yield 1

    async def on_error(error: BaseException) -> None:
        given.append(error)

    stream = desk.start(floods, on_error=on_error)
    await desk.settle()
    assert desk.log(stream) == ["open", *[1] * 6, ("failed", ["reset", "off"])]
    assert isinstance(given[0], BufferOverrun)
    assert "'test' called set_props" in str(given[0])


# The link


async def test_the_newest_link_wins(desk: Desk) -> None:
    older = desk.link
    async with trio.open_nursery() as nursery:
        newer = await desk.channels.connect(nursery, PAGE, BROWSER)
        assert newer.channel is older.channel
        assert await older.receive(1000) == []
        assert older.replaced
        stream = desk.start(endless)
        events = await newer.receive(1000)
        assert events[0].name == "open"
        older.detach()
        assert stream.state == "running"


async def test_another_browser_is_refused(desk: Desk) -> None:
    async with trio.open_nursery() as nursery:
        with pytest.raises(RequestRefused, match="another browser") as refusal:
            await desk.channels.connect(nursery, PAGE, "stranger")
    assert refusal.value.status == 403


async def test_waiting_for_a_page_returns_when_it_connects_or_patience_ends(nursery: trio.Nursery) -> None:
    channels = Channels()
    assert await channels.wait_for("page-1", BROWSER, 5) is None
    assert trio.current_time() == 5
    found: list[Any] = []

    async def wait(patience: float) -> None:
        found.append(await channels.wait_for("page-2", BROWSER, patience))

    async with trio.open_nursery() as waiters:
        waiters.start_soon(wait, 1)
        waiters.start_soon(wait, 5)
        await trio.sleep(2)
        link = await channels.connect(nursery, "page-2", BROWSER)
    assert found == [None, link.channel]
    link.detach()
    await link.channel.finished.wait()


async def test_every_end_is_one_line_in_the_log(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="flash.streams")

    async def one() -> AsyncGenerator[int, None]:
        yield 1
        await trio.sleep(2)

    desk.start(one)
    await desk.settle()
    await trio.sleep(3)
    await desk.settle()
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["test: completed after 2.000 s, 1 updates"]


# What had gone wrong


async def test_an_on_error_that_exits_ends_nothing_but_itself(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    async def on_error(error: BaseException) -> None:
        raise SystemExit(3)

    bystander = desk.start(endless, key="bystander")
    stream = desk.start(endless, on_error=on_error)
    await desk.settle()
    stream.scope.cancel(EndReason.CANCELLED)
    await desk.settle()
    assert desk.log(stream)[-1] == ("cancelled", ["reset", "off"])
    assert bystander.state == "running"
    assert "on_error of the event callback 'test' raised" in caplog.text


async def test_a_failure_that_cannot_be_described_ends_the_stream_all_the_same(desk: Desk) -> None:
    async def fails() -> AsyncGenerator[int, None]:
        yield 1
        raise ValueError

    def describe(error: BaseException) -> bytes:
        raise TypeError("__str__ returned non-string")

    stream = desk.start(fails, describe=describe)
    await desk.settle()
    assert desk.log(stream) == ["open", 1, ("failed", ["reset", "off"])]
    assert list(desk.channels.streams()) == []


async def test_refusals_that_nobody_reads_are_bounded(open_desk: OpenDesk) -> None:
    desk = await open_desk(size=1_000)
    for _ in range(1_000):
        desk.link.channel.refuse(Refused("test", None, "no"))
    assert desk.link.channel.outbox.control_bytes < 1_100


async def test_links_that_come_at_once_share_the_channel(nursery: trio.Nursery) -> None:
    channels = Channels()
    links: list[Link] = []

    async def connect() -> None:
        links.append(await channels.connect(nursery, PAGE, BROWSER))

    async with trio.open_nursery() as both:
        both.start_soon(connect)
        both.start_soon(connect)
    assert len(channels) == 1
    assert [link.replaced for link in links].count(True) == 1
    await channels.shut_down()


async def test_a_page_that_connects_while_the_server_stops_gets_no_channel(nursery: trio.Nursery) -> None:
    channels = Channels()

    async def connect() -> None:
        link = await channels.connect(nursery, PAGE, BROWSER)
        assert link.channel.closing

    async with trio.open_nursery() as both:
        both.start_soon(connect)
        await trio.lowlevel.checkpoint()
        both.start_soon(channels.shut_down)
    assert len(channels) == 0


async def test_only_ids_of_its_own_streams_are_known_to_a_channel(desk: Desk) -> None:
    stream = desk.start(endless)
    channel = desk.link.channel
    assert channel.has_had(stream.id)
    assert not channel.has_had(f"{channel.life}-2")
    assert not channel.has_had("another-1")
    assert not channel.has_had(f"{channel.life}-{'1' * 5_000}")


async def test_the_callbacks_with_streams_can_be_asked_for_from_any_thread(desk: Desk) -> None:
    desk.start(endless)
    names: list[str] = []
    thread = threading.Thread(target=lambda: names.extend(desk.channels.callbacks()))
    thread.start()
    thread.join()
    assert names == ["test"]


async def test_nothing_is_sent_when_room_and_a_cancellation_come_at_once(desk: Desk) -> None:
    async def fast() -> AsyncGenerator[int, None]:
        for number in range(10):
            yield number

    stream = desk.start(fast)
    await trio.testing.wait_all_tasks_blocked()
    desk.read()
    stream.scope.cancel(EndReason.CANCELLED)
    await desk.settle()
    assert desk.log(stream) == ["open", 0, 1, 2, ("cancelled", ["reset", "off"])]
