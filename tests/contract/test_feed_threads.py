"""Feeds over plain generators, and plain code that follows feeds, in threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import trio

from flash import FeedUnavailable, feed
from flash.shared.sources import Sources, feeds
from tests.contract.pretend_app import Line, feed_of, follow, served_app
from tests.support.eventually import eventually


async def test_a_plain_generator_runs_in_one_thread_and_is_closed_there(app: Sources, nursery: trio.Nursery) -> None:
    seen: list[threading.Thread] = []

    @feed(retry=0.01)
    def plain(count: int) -> Iterator[int]:
        seen.append(threading.current_thread())
        try:
            for number in range(count):
                yield number
                if number == 1 and len(seen) == 1:
                    raise OSError("once")
            trio.from_thread.run(trio.sleep_forever)
        finally:
            seen.append(threading.current_thread())

    reader = await follow(nursery, plain(3))
    await eventually(lambda: len(reader.got) == 5)
    assert reader.got == [0, 1, 0, 1, 2]
    await reader.leave()
    await eventually(lambda: feeds() == [])
    assert len(seen) == 4
    assert len(set(seen)) == 1
    assert seen[0] is not threading.current_thread()


async def test_plain_generators_of_feeds_are_counted_with_those_of_streams(nursery: trio.Nursery) -> None:
    @feed
    def plain(number: int) -> Iterator[int]:
        yield number
        trio.from_thread.run(trio.sleep_forever)

    async with served_app(threads=1) as sources:
        first, second = await follow(nursery, plain(1)), await follow(nursery, plain(2))
        assert isinstance(second.failure, FeedUnavailable)
        assert "stream_threads=" in str(second.failure)
        await first.leave()
        # The thread goes on for a moment when its source is over.
        await eventually(lambda: sources.limits.threads.held == 0)
        third = await follow(nursery, plain(2))
        await eventually(lambda: third.got)
        await third.leave()


async def test_plain_code_follows_with_with_and_for(app: Sources, nursery: trio.Nursery) -> None:
    line = Line()
    lines = feed_of(line)
    got: list[int] = []

    def plainly() -> None:
        with lines() as values:
            for value in values:
                got.append(value)
                if value == 2:
                    break

    async with trio.open_nursery() as inner:
        inner.start_soon(trio.to_thread.run_sync, plainly)
        await eventually(feeds)
        await line.say(1, 2)
    assert got == [1, 2]
    await eventually(lambda: feeds() == [])


async def test_a_thread_that_is_cancelled_while_it_waits_for_a_value_leaves(
    app: Sources, nursery: trio.Nursery
) -> None:
    line = Line()
    lines = feed_of(line)

    def plainly() -> None:
        with lines() as values:
            for _ in values:
                pass

    with trio.move_on_after(0.1) as scope:
        await trio.to_thread.run_sync(plainly)
    assert scope.cancelled_caught
    await eventually(lambda: feeds() == [])
    async with trio.open_nursery() as inner:
        inner.start_soon(trio.to_thread.run_sync, plainly)
        await eventually(feeds)
        await line.say("end")
