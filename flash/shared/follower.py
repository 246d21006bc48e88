"""Follows a source: takes its values, one after the other, from a bounded buffer of the follower's own.

    source ── put ─► buffer ─► `async for`, or `for` in a thread

A follower is at once what a call of a feed returns, what `async with` gives, and the iterator. When its buffer is full,
the feed's `overflow` decides: the oldest value is dropped, the source waits, or the follower fails. What is in the
buffer is taken before the follower learns that the source is over, or that it has missed a value. When the
server stops, it learns that at once.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Generic, TypeVar, cast

import trio

from .._trio import is_cancelled
from ..errors import FeedOverrun, InvalidFeed
from .following import Followed
from .listing import FollowerInfo
from .options import FeedOptions

T = TypeVar("T")


class Follower(Generic[T]):
    """One follower of a feed: what calling the feed returns, for one `async with`.

        async with prices("KELP") as ticks:
            async for tick in ticks:
                ...

    In a plain generator and other plain code that runs in a thread, write `with` and `for`.
    """

    def __init__(self, name: str, options: FeedOptions, join: Callable[[Follower[T]], Awaitable[Followed]]) -> None:
        """
        Args:
            name: of the feed and its arguments, for messages.
            options: of the feed.
            join: has a source follow; returns the source.
        """
        self._name = name
        self._bound = options.buffer
        self._overflow = options.overflow
        self._join = join
        self._task_name = ""
        self._is_entered = False
        self._source: Followed | None = None
        self._values: deque[T] = deque()
        self._dropped = 0
        self._waiting: trio.lowlevel.Task | None = None
        self._end: Callable[[], BaseException] | None = None
        self._token: trio.lowlevel.TrioToken | None = None

    def __repr__(self) -> str:
        return f"<follower of the feed {self._name}>"

    async def __aenter__(self) -> Follower[T]:
        if not trio.lowlevel.in_trio_task():
            raise InvalidFeed(
                f"The feed {self._name} is followed on Trio, or by `with` and `for` in one of Trio's threads, not on "
                "asyncio. Follow it in the event callback, and hand its values over."
            )
        if self._is_entered:
            raise InvalidFeed(f"This follower of the feed {self._name} was used before: call the feed once more.")
        self._is_entered = True
        self._task_name = trio.lowlevel.current_task().name
        self._source = await self._join(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    def __aiter__(self) -> Follower[T]:
        return self

    async def __anext__(self) -> T:
        """The next value. It is a checkpoint, but lets other tasks run only if there is no value yet.

        Raises:
            FeedFailed: the source has raised.
            FeedOverrun: with `overflow="fail"`, the follower has missed a value.
            FeedUnavailable: the server stops.
            InvalidFeed: it is not within its `async with`.
        """
        while True:
            if self._source is None:
                raise InvalidFeed(
                    f"The feed {self._name} was asked for a value outside of `async with`. Write `async with "
                    f"{self._name} as values:` around the `async for value in values:`."
                )
            if self._values or self._end is not None:
                break
            await self._wait()
        if is_cancelled(trio.lowlevel.current_task()):
            await trio.lowlevel.checkpoint_if_cancelled()
        if not self._values:
            raise cast("Callable[[], BaseException]", self._end)()
        value = self._values.popleft()
        if len(self._values) == self._bound - 1:
            self._source.has_room(self)
        return value

    # The same for plain code in a thread.

    def __enter__(self) -> Follower[T]:
        self._token = _token_of_thread(self._name)
        trio.from_thread.run(self.__aenter__)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # It waits for nothing, and so works in a thread that was cancelled, too.
        assert self._token is not None
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._leave)

    def __iter__(self) -> Follower[T]:
        return self

    def __next__(self) -> T:
        if self._token is None:
            raise InvalidFeed(
                f"The feed {self._name} was asked for a value outside of `with`. Write `with {self._name} as values:` "
                "around the `for value in values:`; in an `async def`, `async with` and `async for`."
            )
        try:
            return trio.from_thread.run(self.__anext__)
        except StopAsyncIteration:
            raise StopIteration from None

    # What its source calls.

    def put(self, value: T) -> None:
        """Take a value of the source. With `overflow="wait"` there is room."""
        if len(self._values) >= self._bound:
            if self._overflow == "fail":
                self._overrun()
                return
            self._values.popleft()
            self._dropped += 1
        self._values.append(value)
        if len(self._values) == self._bound and self._source is not None:
            self._source.is_full(self)
        self._wake()

    def begin(self, source: Followed, values: Iterable[T]) -> None:
        """The source has taken it in, and gives it its last values."""
        self._source = source
        for value in values:
            self.put(value)

    def end(self, exception: Callable[[], BaseException], *, at_once: bool = False) -> None:
        """The source gives no further value; only the first call counts.

        Args:
            exception: makes what is raised for it: `StopAsyncIteration`, or the reason.
            at_once: whether the values that wait are dropped.
        """
        if self._end is None:
            self._end = exception
            if at_once:
                self._values.clear()
            self._wake()

    def hold(self) -> Callable[[], None]:
        """See `SourceFollower`: a feed is followed again by its name."""
        return _nothing

    @property
    def info(self) -> FollowerInfo:
        """What `app.feeds()` lists."""
        return FollowerInfo(self._task_name, len(self._values), self._dropped)

    def _overrun(self) -> None:
        name, bound = self._name, self._bound
        self._dropped += 1

        def overrun() -> BaseException:
            return FeedOverrun(
                f"A follower of the feed {name} has missed a value: its buffer was full ({bound} values). Take the "
                'values faster, or give @feed a larger buffer=, or overflow="newest" or "wait".'
            )

        self.end(overrun)
        if self._source is not None:
            self._source.leave(self)

    def _leave(self) -> None:
        source, self._source = self._source, None
        self._values.clear()
        if source is not None:
            source.leave(self)
        # Another task that waits for a value learns that there will be none.
        self._wake()

    async def _wait(self) -> None:
        """Return when there is a value, or an end."""
        if self._waiting is not None:
            raise InvalidFeed(
                f"Two tasks wait for values of one follower of the feed {self._name}: give each its own `async with`."
            )
        self._waiting = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._waiting = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def _wake(self) -> None:
        if self._waiting is not None:
            task, self._waiting = self._waiting, None
            trio.lowlevel.reschedule(task)


def _nothing() -> None:
    """Let nothing go."""


def _token_of_thread(name: str) -> trio.lowlevel.TrioToken:
    """The run of Trio that the current thread belongs to; raise InvalidFeed if it is none of Trio's threads."""
    if trio.lowlevel.in_trio_run():
        raise InvalidFeed(
            f"`with {name}` would block the event loop, and with it every page: in an `async def` write `async with` "
            "and `async for`."
        )
    try:
        return trio.from_thread.run_sync(trio.lowlevel.current_trio_token)
    except RuntimeError as error:
        raise InvalidFeed(
            f"The feed {name} was followed in a thread that Trio does not know. Feeds are for what a server of Flash "
            "runs: callbacks, streams, views, background tasks, and threads that these start with trio.to_thread."
        ) from error
