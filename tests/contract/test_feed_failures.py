"""Feeds whose sources fail, misbehave or are shut down."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from itertools import pairwise

import pytest
import trio
import trio.testing

import flash
from flash import FeedFailed, FeedUnavailable, feed
from flash.shared.sources import Sources, feeds
from tests.contract.inner_generators import in_nursery
from tests.contract.misbehaviour import CORRUPTING, RAISED, RAISED_NAMES
from tests.contract.pretend_app import Line, Reader, feed_of, follow, served_app
from tests.contract.pretend_page import on_mock_clock, warnings

clock = on_mock_clock


# Failures


@pytest.mark.parametrize("before", [(), (1, 2)])
async def test_a_source_that_raises_raises_in_each_follower_an_exception_of_its_own(
    app: Sources, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture, before: tuple[int, ...]
) -> None:
    line = Line()
    lines = feed_of(line)
    slow = await follow(nursery, lines(), pause=1)
    readers = [slow, *[await follow(nursery, lines()) for _ in range(2)]]
    error = ValueError("the exchange is closed")
    await line.say(*before, error)
    await trio.sleep(5)
    failures = [reader.failure for reader in readers]
    assert [type(failure) for failure in failures] == [FeedFailed] * 3
    assert len(set(map(id, failures))) == 3
    for failure in failures:
        assert failure is not None
        assert failure.__cause__ is error
        assert "ValueError: the exchange is closed" in str(failure)
    # What it has yielded before comes before.
    assert [reader.got for reader in readers] == [list(before)] * 3
    [warning] = warnings(caplog)
    assert "3 followers" in warning
    assert feeds() == []


async def test_a_source_that_raises_while_its_last_follower_leaves_raises_in_nobody(
    app: Sources, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    @feed
    async def fails() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            raise ValueError("in clean-up")

    reader = await follow(nursery, fails())
    await reader.leave()
    assert reader.failure is None
    assert feeds() == []
    assert "ValueError: in clean-up" in caplog.text

    line = Line()
    reader = await follow(nursery, feed_of(line)())
    # In one tick: it raises, and is left.
    line.send.send_nowait(ValueError("too late"))
    reader.scope.cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert feeds() == []
    assert line.open == 0


async def test_a_source_that_raises_is_started_again_and_its_followers_are_told_nothing(
    app: Sources, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    starts: list[float] = []
    began = trio.current_time()

    @feed(retry=1, keep=5)
    async def flaky() -> AsyncGenerator[int, None]:
        starts.append(trio.current_time() - began)
        if len(starts) in (4, 8):
            yield len(starts)
        if len(starts) == 8:
            return
        raise OSError("away")

    reader = await follow(nursery, flaky())
    assert (feeds()[0].state, feeds()[0].failures) == ("running", 1)
    await trio.sleep(6.5)
    assert (await follow(nursery, flaky())).got == []
    await trio.sleep(1)
    late = await follow(nursery, flaky())
    await trio.sleep(100)
    # They double, and begin anew once it has yielded.
    assert starts == pytest.approx([0, 1, 3, 7, 8, 10, 14, 22], abs=0.01)
    assert reader.got == late.got == [4, 8]
    assert reader.completed
    assert all("started again" in warning for warning in warnings(caplog))


async def test_pauses_double_up_to_a_minute_and_a_source_gives_up_after_its_retries(
    app: Sources, nursery: trio.Nursery
) -> None:
    starts: list[float] = []

    @feed(retry=1, retries=9)
    async def away() -> AsyncGenerator[int, None]:
        starts.append(trio.current_time())
        if starts:
            raise OSError("away")
        yield 1

    reader = await follow(nursery, away())
    await trio.sleep(10_000)
    pauses = [round(later - earlier) for earlier, later in pairwise(starts)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert isinstance(reader.failure, FeedFailed)
    assert isinstance(reader.failure.__cause__, OSError)


async def test_a_source_that_waits_to_be_started_again_ends_with_its_last_follower(
    app: Sources, nursery: trio.Nursery
) -> None:
    line = Line()
    reader = await follow(nursery, feed_of(line, retry=1_000, retries=None)())
    await line.say(OSError("away"))
    await reader.leave()
    assert feeds() == []
    assert line.runs == 1


@pytest.mark.parametrize("error", RAISED, ids=RAISED_NAMES)
async def test_whatever_a_source_raises_fails_its_followers_alone(
    app: Sources, nursery: trio.Nursery, error: Callable[[], BaseException]
) -> None:
    bystander, line = Line(), Line()
    other = await follow(nursery, feed_of(bystander)())
    reader = await follow(nursery, feed_of(line)())
    await line.say(1, error())
    assert reader.got == [1]
    assert isinstance(reader.failure, FeedFailed)

    @feed
    async def in_cleanup() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            raise error()

    await (await follow(nursery, in_cleanup())).leave()
    await bystander.say(1)
    assert other.got == [1]
    assert [info.feed for info in feeds()] == ["feed_of.line_feed()"]


@pytest.mark.parametrize("function", CORRUPTING, ids=lambda function: function.__name__)
async def test_scopes_and_nurseries_that_are_misused_end_no_other_source(
    app: Sources, nursery: trio.Nursery, function: Callable[[], AsyncGenerator[int, None]]
) -> None:
    bystander = Line()
    other = await follow(nursery, feed_of(bystander)())
    reader = await follow(nursery, feed(function)())
    await trio.sleep(1)
    await reader.leave()
    await trio.sleep(2)
    assert reader.got == [1]
    assert not isinstance(reader.failure, FeedUnavailable)
    await bystander.say(1)
    assert other.got == [1]
    assert [info.feed for info in feeds()] == ["feed_of.line_feed()"]


async def test_generators_that_a_source_leaves_open_are_closed_in_its_task(
    app: Sources, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    @feed
    async def careless() -> AsyncGenerator[int, None]:
        async for _ in in_nursery():
            break
        yield 1
        async for value in in_nursery():
            yield value
            await trio.sleep_forever()

    reader = await follow(nursery, careless())
    [left] = warnings(caplog)
    assert "The feed" in left
    assert "'in_nursery'" in left
    await reader.leave()
    assert feeds() == []
    assert "'in_nursery'" in warnings(caplog)[-1]
    assert len(warnings(caplog)) == 2


async def test_a_source_that_goes_on_yielding_in_its_clean_up_is_closed_and_reported(
    app: Sources, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    @feed
    async def stubborn() -> AsyncGenerator[int, None]:
        while True:
            try:
                yield 1
                await trio.sleep(1)
            except trio.Cancelled:
                pass

    reader = await follow(nursery, stubborn())
    await reader.leave()
    await trio.sleep(1)
    assert feeds() == []
    assert any("went on yielding" in warning for warning in warnings(caplog))
    assert reader.got == [1]


# Shutdown


async def test_at_shutdown_followers_are_told_first_and_nothing_starts_any_more(nursery: trio.Nursery) -> None:
    order: list[str] = []

    @feed(linger=100)
    async def source(name: str) -> AsyncGenerator[int, None]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            with flash.cleanup():
                await trio.sleep(1)
            order.append("source")

    async def background() -> None:
        try:
            async with source("a") as values:
                async for _ in values:
                    pass
        except FeedUnavailable as failure:
            order.append(str(failure))

    async with served_app() as sources:
        nursery.start_soon(background)
        await (await follow(nursery, source("b"))).leave()
        waits = Reader(source("a"))
        nursery.start_soon(sources.shut_down)
        await trio.testing.wait_all_tasks_blocked()
        assert order == [
            "the feed test_at_shutdown_followers_are_told_first_and_nothing_starts_any_more.source('a') is over: "
            "the server stops."
        ]
        # Whoever waits for the end of a source, and whoever comes now.
        nursery.start_soon(waits.run)
        new = await follow(nursery, source("c"))
        assert isinstance(new.failure, FeedUnavailable)
        assert "the server stops" in str(new.failure)
        await sources.shut_down()
        await trio.testing.wait_all_tasks_blocked()
        assert order[1:] == ["source", "source"]
        assert isinstance(waits.failure, FeedUnavailable)


async def test_at_shutdown_a_follower_that_is_behind_is_told_at_once(nursery: trio.Nursery) -> None:
    line = Line()
    async with served_app() as sources:
        slow = await follow(nursery, feed_of(line)(), pause=1)
        await line.say(1, 2, 3)
        await sources.shut_down()
        await trio.sleep(1.5)
        assert slow.got == [1]
        assert isinstance(slow.failure, FeedUnavailable)


async def test_sources_end_in_order_when_the_nursery_of_the_app_is_cancelled(nursery: trio.Nursery) -> None:
    ended: list[float] = []

    @feed
    async def source() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            with flash.cleanup():
                await trio.sleep(1)
            ended.append(trio.current_time())

    async with served_app() as sources:
        reader = await follow(nursery, source())
        sources.nursery().cancel_scope.cancel()
        await trio.sleep(2)
        assert len(ended) == 1
        assert isinstance(reader.failure, FeedUnavailable)
        assert feeds() == []


async def test_with_two_apps_a_feed_has_one_source_and_the_app_that_stops_takes_its_own_along(
    nursery: trio.Nursery,
) -> None:
    line = Line()
    lines = feed_of(line)
    async with served_app() as first, served_app() as second:
        readers = [await follow(nursery, lines()) for _ in range(2)]
        await line.say(1)
        assert [reader.got for reader in readers] == [[1], [1]]
        assert (len(first), len(second), len(feeds())) == (1, 0, 1)
        await first.shut_down()
        await trio.testing.wait_all_tasks_blocked()
        assert all(isinstance(reader.failure, FeedUnavailable) for reader in readers)
        again = await follow(nursery, lines())
        await line.say(2)
        assert again.got == [2]
        assert (len(first), len(second)) == (0, 1)
        await again.leave()


async def test_a_feed_that_is_followed_where_no_app_is_served_says_so() -> None:
    with pytest.raises(FeedUnavailable, match="no app of Flash is served here"):
        async with feed_of(Line())():
            pass
    async with served_app():
        pass
    with pytest.raises(FeedUnavailable, match="no app of Flash is served here"):
        async with feed_of(Line())():
            pass


async def test_there_are_as_many_sources_as_there_may_be(nursery: trio.Nursery) -> None:
    @feed
    async def numbers(start: int) -> AsyncGenerator[int, None]:
        yield start
        await trio.sleep_forever()

    async with served_app(most=2):
        readers = [await follow(nursery, numbers(start)) for start in (1, 2, 3, 1)]
        assert [reader.joined for reader in readers] == [True, True, False, True]
        assert isinstance(readers[2].failure, FeedUnavailable)
        assert "sources_per_server=" in str(readers[2].failure)
        await readers[1].leave()
        assert (await follow(nursery, numbers(3))).got == [3]
