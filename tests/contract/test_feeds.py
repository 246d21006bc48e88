"""Feeds: one source for all who follow it, from its first follower until `linger` after its last."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable
from contextvars import ContextVar
from typing import Any

import pytest
import quart
import trio
import trio.testing

import flash
from flash import FeedFailed, FeedOverrun, feed
from flash.shared.sources import Sources, feeds
from tests.contract.pretend_app import CLEANUP_TIMEOUT, Line, Reader, feed_of, follow
from tests.contract.pretend_page import on_mock_clock, warnings

clock = on_mock_clock


# One source


async def test_all_who_follow_get_what_one_run_yields_in_its_order(app: Sources, nursery: trio.Nursery) -> None:
    line = Line()
    lines = feed_of(line)
    readers = [await follow(nursery, lines()) for _ in range(3)]
    await line.say(1, 2, 3)
    assert [reader.got for reader in readers] == [[1, 2, 3]] * 3
    assert line.runs == 1
    await line.say("end")
    assert all(reader.completed for reader in readers)
    assert feeds() == []


async def test_each_arguments_have_a_source_however_they_are_written(app: Sources, nursery: trio.Nursery) -> None:
    runs: list[Any] = []

    @feed
    async def prices(symbol: object, *, unit: str = "EUR", **more: object) -> AsyncGenerator[object, None]:
        runs.append((symbol, unit))
        yield symbol
        await trio.sleep_forever()

    for follower in (prices("A"), prices(symbol="A"), prices("A", unit="EUR"), prices("B"), prices("A", unit="USD")):
        await follow(nursery, follower)
    assert runs == [("A", "EUR"), ("B", "EUR"), ("A", "USD")]
    names = [info.feed.rpartition(".")[2] for info in feeds()]
    assert names == ["prices('A')", "prices('B')", "prices('A', unit='USD')"]
    assert [len(info.followers) for info in feeds()] == [3, 1, 1]
    runs.clear()
    for symbol in (1, True, 1.0, (1, 2), (True, 2)):
        await follow(nursery, prices(symbol, x=1, y=2))
        await follow(nursery, prices(symbol, y=2, x=1))
    assert len(runs) == 5
    nursery.cancel_scope.cancel()


async def test_a_thousand_followers_that_join_at_once_have_one_source(app: Sources) -> None:
    line = Line()
    lines = feed_of(line, overflow="wait", buffer=2)
    readers = [Reader(lines()) for _ in range(1_000)]
    async with trio.open_nursery() as nursery:
        for reader in readers:
            nursery.start_soon(reader.run)
        await trio.testing.wait_all_tasks_blocked()
        await line.say(*range(10))
        assert [reader.got for reader in readers] == [list(range(10))] * 1_000
        [info] = feeds()
        assert (len(info.followers), info.values, line.runs) == (1_000, 10, 1)
        await line.say(ValueError("no more"))
    assert len({id(reader.failure) for reader in readers}) == 1_000
    assert feeds() == []


async def test_a_source_runs_in_a_context_of_its_own_and_knows_no_page(app: Sources, nursery: trio.Nursery) -> None:
    @feed
    async def asks(what: Callable[[], object]) -> AsyncGenerator[object, None]:
        yield what()

    variable = ContextVar("variable", default="nobody's")
    variable.set("the follower's")
    async with asks(variable.get) as answers:
        assert [answer async for answer in answers] == ["nobody's"]
    questions: list[Callable[[], object]] = [
        lambda: flash.ctx.timing_information,
        lambda: quart.request.path,
        lambda: quart.session.get("user"),
        lambda: quart.current_app.name,
    ]
    for question in questions:
        reader = await follow(nursery, asks(question))
        assert isinstance(reader.failure, FeedFailed)
        cause = reader.failure.__cause__
        assert cause is not None
        assert "no page, no request, no session" in cause.__notes__[0]


# Joining late, leaving, and lingering


async def test_a_source_ends_unwound_in_its_own_task_when_its_last_follower_has_left(
    app: Sources, nursery: trio.Nursery
) -> None:
    tasks: list[Any] = []

    @feed
    async def source() -> AsyncGenerator[int, None]:
        tasks.append(trio.lowlevel.current_task())
        try:
            async with trio.open_nursery() as inner:
                inner.start_soon(trio.sleep_forever)
                yield 1
                await trio.sleep_forever()
        finally:
            tasks.append(trio.lowlevel.current_task())

    first, second = await follow(nursery, source()), await follow(nursery, source())
    await first.leave()
    assert len(tasks) == 1
    await second.leave()
    assert feeds() == []
    [began, ended] = tasks
    assert began is ended


async def test_a_source_lingers_after_its_last_follower(app: Sources, nursery: trio.Nursery) -> None:
    line = Line()
    lines = feed_of(line, linger=5)
    first = await follow(nursery, lines())
    await line.say(1)
    await first.leave()
    assert [info.state for info in feeds()] == ["lingering"]
    await trio.sleep(4.9)
    second = await follow(nursery, lines())
    assert [info.state for info in feeds()] == ["running"]
    await trio.sleep(100)
    await line.say(2)
    assert (second.got, line.runs) == ([2], 1)
    await second.leave()
    await trio.sleep(4.9)
    assert line.open == 1
    await trio.sleep(0.2)
    assert line.open == 0
    assert feeds() == []
    third = await follow(nursery, lines())
    await line.say(3)
    assert (third.got, line.runs) == ([3], 2)


async def test_a_source_may_linger_for_as_long_as_the_server_runs(app: Sources, nursery: trio.Nursery) -> None:
    line = Line()
    await (await follow(nursery, feed_of(line, linger=math.inf)())).leave()
    await trio.sleep(10**6)
    assert line.open == 1


async def test_a_source_that_ends_while_it_lingers_is_over(
    app: Sources, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    line = Line()
    lines = feed_of(line, linger=5, keep=1)
    for last in ("end", ValueError("alone")):
        await (await follow(nursery, lines())).leave()
        await line.say(last)
        assert feeds() == []
    [failure] = warnings(caplog)
    assert "no follower" in failure
    assert "ValueError: alone" in caplog.text
    assert (await follow(nursery, lines())).got == []
    assert line.runs == 3


async def test_a_follower_that_joins_late_is_given_the_values_that_are_kept(
    app: Sources, nursery: trio.Nursery
) -> None:
    for keep, given in ((0, []), (2, [2, 3])):
        line = Line()
        lines = feed_of(line, keep=keep)
        await follow(nursery, lines())
        await line.say(1, 2, 3)
        late = await follow(nursery, lines())
        assert late.got == given
        await line.say(4)
        assert late.got == [*given, 4]
        await line.say("end")


async def test_whoever_follows_while_a_source_unwinds_waits_for_it(app: Sources, nursery: trio.Nursery) -> None:
    runs: list[str] = []

    @feed
    async def slow() -> AsyncGenerator[int, None]:
        runs.append("begins")
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            with flash.cleanup():
                await trio.sleep(2)
            runs.append("ends")

    await (await follow(nursery, slow())).leave()
    assert [info.state for info in feeds()] == ["ending"]
    late = [await follow(nursery, slow()) for _ in range(3)]
    gone = late.pop()
    await gone.leave()
    assert not any(reader.joined for reader in (*late, gone))
    await trio.sleep(3)
    assert runs == ["begins", "ends", "begins"]
    assert [reader.got for reader in late] == [[1], [1]]
    [info] = feeds()
    assert len(info.followers) == 2


async def test_a_source_whose_clean_up_overruns_is_stuck_and_another_one_may_start(
    app: Sources, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    @feed
    async def stuck() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3 * CLEANUP_TIMEOUT)

    await (await follow(nursery, stuck())).leave()
    late = await follow(nursery, stuck())
    assert not late.joined
    await trio.sleep(CLEANUP_TIMEOUT - 0.1)
    assert not late.joined
    await trio.sleep(0.2)
    assert late.joined
    assert [info.state for info in feeds()] == ["stuck", "running"]
    assert "cleanup_timeout" in warnings(caplog)[-1]
    await trio.sleep(3 * CLEANUP_TIMEOUT)
    # The end of the one that was stuck leaves the key to the other.
    assert [info.state for info in feeds()] == ["running"]
    assert "returned after all" in warnings(caplog)[-1]
    again = await follow(nursery, stuck())
    assert len(feeds()[0].followers) == 2
    await late.leave()
    await again.leave()


async def test_clean_up_under_cleanup_is_cut_at_its_deadline_and_is_not_stuck(
    app: Sources, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    @feed
    async def slow() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            with flash.cleanup():
                await trio.sleep_forever()

    await (await follow(nursery, slow())).leave()
    await trio.sleep(CLEANUP_TIMEOUT + 1)
    assert feeds() == []
    [cut] = warnings(caplog)
    assert "the feed" in cut
    assert "was cut" in cut


# A follower that is behind


async def test_newest_drops_the_oldest_for_a_follower_that_is_behind(app: Sources, nursery: trio.Nursery) -> None:
    line = Line()
    lines = feed_of(line, buffer=2)
    slow, fast = await follow(nursery, lines(), pause=1), await follow(nursery, lines())
    await line.say(*range(6))
    assert fast.got == [0, 1, 2, 3, 4, 5]
    [info] = feeds()
    assert [(each.behind, each.dropped) for each in info.followers] == [(2, 3), (0, 0)]
    await trio.sleep(5)
    assert slow.got == [0, 4, 5]


async def test_wait_has_the_source_wait_until_every_follower_has_room(app: Sources, nursery: trio.Nursery) -> None:
    yielded: list[int] = []

    @feed(buffer=2, overflow="wait")
    async def numbers() -> AsyncGenerator[int, None]:
        for number in range(20):
            yield number
            yielded.append(number)

    slow, fast = await follow(nursery, numbers(), pause=1), await follow(nursery, numbers())
    assert yielded == [0, 1, 2]
    [info] = feeds()
    assert info.waiting is not None
    assert [each.behind for each in info.followers] == [2, 0]
    await trio.sleep(5.5)
    assert len(yielded) == 8
    # Whoever leaves holds nobody up.
    await slow.leave()
    assert fast.got == list(range(3, 20))
    assert fast.completed
    assert slow.got == list(range(6))


async def test_a_cancel_scope_of_the_users_around_a_yield_ends_the_wait_for_room(
    app: Sources, nursery: trio.Nursery
) -> None:
    timed_out: list[int] = []

    @feed(buffer=1, overflow="wait")
    async def numbers() -> AsyncGenerator[int, None]:
        for number in range(4):
            with trio.move_on_after(1) as scope:
                yield number
            if scope.cancelled_caught:
                timed_out.append(number)

    reader = await follow(nursery, numbers(), pause=10)
    await trio.sleep(100)
    # The first was taken, the second waited for the reader, and those after it were given up and given to nobody.
    assert timed_out == [2, 3]
    assert reader.got == [0, 1]
    assert reader.completed


async def test_fail_fails_the_follower_that_is_behind_after_what_it_has(app: Sources, nursery: trio.Nursery) -> None:
    line = Line()
    lines = feed_of(line, buffer=2, overflow="fail")
    slow, fast = await follow(nursery, lines(), pause=1), await follow(nursery, lines())
    await line.say(*range(4))
    assert len(feeds()[0].followers) == 1
    await trio.sleep(4)
    assert slow.got == [0, 1, 2]
    assert isinstance(slow.failure, FeedOverrun)
    await line.say(4)
    assert fast.got == [0, 1, 2, 3, 4]
    await fast.leave()
    assert line.open == 0


async def test_a_source_whose_last_follower_fails_ends(app: Sources, nursery: trio.Nursery) -> None:
    line = Line()
    await follow(nursery, feed_of(line, buffer=1, overflow="fail")(), pause=1)
    await line.say(1, 2, 3)
    assert line.open == 0
    assert feeds() == []


async def test_a_source_that_never_waits_lets_other_tasks_run(app: Sources, nursery: trio.Nursery) -> None:
    @feed(buffer=1)
    async def busy() -> AsyncGenerator[int, None]:
        while True:
            yield 1

    async with busy() as values:
        async for _ in values:
            break
    assert [info.state for info in feeds()] == ["ending"]


async def test_each_value_is_a_checkpoint_also_where_many_wait(app: Sources, nursery: trio.Nursery) -> None:
    line = Line()
    got: list[int] = []
    async with feed_of(line)() as values:
        await line.say(1, 2, 3)
        with trio.CancelScope() as scope:
            async for value in values:
                got.append(value)
                scope.cancel()
        # None is lost.
        assert [*got, await anext(values)] == [1, 2]
