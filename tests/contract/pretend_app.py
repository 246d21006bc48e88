"""An app without HTTP or Dash, in which feeds run, and tasks that follow them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import trio
import trio.testing

from flash import Feed, FlashError, Follower, feed
from flash.shared.sources import Sources
from flash.streams.limits import Limits
from flash.streams.thread import StreamThreads
from tests.support.eventually import eventually

CLEANUP_TIMEOUT = 5.0


@contextlib.asynccontextmanager
async def served_app(most: int = 2_000, threads: int = 20) -> AsyncGenerator[Sources]:
    """An app that is served; at the end it is shut down, and nothing of it is left."""
    async with trio.open_nursery() as nursery:
        limits = Limits(cleanup_timeout=CLEANUP_TIMEOUT, threads=StreamThreads(threads))
        sources = Sources(lambda: nursery, limits, most)
        sources.begin()
        try:
            yield sources
        finally:
            with trio.CancelScope(shield=True):
                await sources.shut_down()
                # What is stuck gets over, too.
                await eventually(lambda: len(sources) == 0, timeout=10 * CLEANUP_TIMEOUT)
                await eventually(lambda: limits.threads.held == 0)
            sources.end()
            assert sources.names() == []


@dataclass(eq=False)
class Reader:
    """A task that follows a feed.

    Attributes:
        follower: by which it follows.
        pause: seconds that it takes for each value.
        got: the values.
        joined: it follows, or has done so.
        completed: the source came to its end.
        failure: what following has raised.
        scope: ends it.
        over: it does not follow any more.
    """

    follower: Follower[Any]
    pause: float = 0
    got: list[Any] = field(default_factory=list[Any])
    joined: bool = False
    completed: bool = False
    failure: FlashError | None = None
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    over: bool = False

    async def run(self) -> None:
        try:
            with self.scope:
                async with self.follower as values:
                    self.joined = True
                    async for value in values:
                        self.got.append(value)
                        if self.pause:
                            await trio.sleep(self.pause)
                    self.completed = True
        except FlashError as failure:
            self.failure = failure
        finally:
            self.over = True

    async def leave(self) -> None:
        """Leave the feed."""
        self.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()


async def follow(nursery: trio.Nursery, follower: Follower[Any], pause: float = 0) -> Reader:
    """A task that follows, when it does and all tasks are blocked."""
    reader = Reader(follower, pause)
    nursery.start_soon(reader.run)
    await trio.testing.wait_all_tasks_blocked()
    return reader


class Line:
    """A generator that yields what it is told to, and counts its runs.

    Attributes:
        runs: how many have begun.
        open: how many have begun and not ended.
    """

    def __init__(self) -> None:
        self.runs = 0
        self.open = 0
        self.send, self._values = trio.open_memory_channel[Any](math.inf)

    async def __call__(self) -> AsyncGenerator[Any, None]:
        self.runs += 1
        self.open += 1
        assert self.open == 1
        try:
            async for value in self._values:
                if isinstance(value, BaseException):
                    raise value
                if value == "end":
                    return
                yield value
        finally:
            self.open -= 1

    async def say(self, *values: Any) -> None:
        """Have it yield these values, or raise an exception, or return at "end"; wait until all tasks are blocked."""
        for value in values:
            self.send.send_nowait(value)
        await trio.testing.wait_all_tasks_blocked()


def feed_of(line: Line, **options: Any) -> Feed[[], Any]:
    """A feed that yields what the line is told to."""

    async def line_feed() -> AsyncGenerator[Any, None]:
        async for value in line():
            yield value

    return feed(**options)(line_feed)
