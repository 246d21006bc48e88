"""A stream of a page, as it follows a source: what its generator is, and when it leaves.

    source's task ── put ─► the stream's buffer ─► outbox of the page
    stream's task ── follow: joins, waits until the source is over, leaves

The stream runs as every other one: it has a scope, conditions, a timeout and `on_error` of its own. Its generator,
`StreamFollower.follow`, yields nothing: the source itself puts the updates, which are encoded already, into the outbox
of the page. So an update wakes no task of the pages that it is for.

Why a stream ends decides how long the source goes on if it was the last to follow. A page that is lost may come back:
the source lingers. Where somebody has said stop, by a condition, a newer start, a timeout or the server's own code,
it ends at once.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

import trio

from ..cancel_scopes import LAYOUT, EndReason
from ..errors import SharedStreamOverrun
from ..streams.events import SharedUpdate
from ..streams.shared_updates import SharedUpdates
from ..streams.stream import Stream
from .listing import FollowerInfo
from .source import Source


class StreamFollower:
    """One stream that follows a source: a `SourceFollower`.

    Attributes:
        stream: the stream; set as soon as it is there.
    """

    __slots__ = ("_end", "_hold", "_join", "_over", "_stop_others", "_updates", "stream")

    stream: Stream

    def __init__(
        self,
        join: Callable[[StreamFollower], Awaitable[Source | None]],
        hold: Callable[[], Callable[[], None]],
        stop_others: Callable[[str, object], object] | None = None,
    ) -> None:
        """
        Args:
            join: has a source follow; returns the source, or None if there is none to follow.
            hold: keeps this process the holder of the page's browser; returns what lets it go.
            stop_others: where a condition ends this stream, it ends the others, too, that follow the source or are to:
                called with the property of the condition and its value. None if it ends this one only.
        """
        self._join: Callable[[StreamFollower], Awaitable[Source | None]] | None = join
        self._hold = hold
        self._stop_others = stop_others
        self._over = trio.Event()
        self._end: Callable[[], BaseException] = StopAsyncIteration
        self._updates: SharedUpdates | None = None

    async def follow(self) -> AsyncGenerator[object, None]:
        """The generator of the stream."""
        # What knows the start, and the sources before, is not to live as long as the stream.
        join, self._join = self._join, None
        assert join is not None
        joining, source = join(self), None
        del join
        try:
            source = await joining
            del joining
            if source is None:
                return
            self.stream.source = source.id
            await self._over.wait()
        finally:
            self._leave(source)
        end = self._end()
        if not isinstance(end, StopAsyncIteration):
            raise end
        return
        yield  # makes it a generator

    def _leave(self, source: Source | None) -> None:
        """Leave the source; None if the stream has ended before it could follow one."""
        scope = self.stream.scope
        is_lost = scope.reason in (None, EndReason.DISCONNECTED) or scope.condition == LAYOUT
        if scope.reason is EndReason.CANCELLED and not is_lost and self._stop_others is not None:
            self._stop_others(scope.condition or "", scope.exception().value)
            if source is not None:
                source.cancel()
        elif source is None:
            return
        elif scope.reason is EndReason.SHUTDOWN:
            # The sources end when all streams have ended.
            source.leave(self, math.inf)
        elif is_lost:
            source.leave(self)
        else:
            source.leave(self, 0)

    # What its source calls: see `SourceFollower`.

    def begin(self, source: object, given: Iterable[bytes]) -> None:
        self._updates = self.stream.shared_updates()
        self._updates.put_state(given)

    def put(self, value: SharedUpdate) -> None:
        if self._updates is not None and not self._updates.put(value):
            name = self.stream.spec.callback
            self.end(
                lambda: SharedStreamOverrun(
                    f"The page is too far behind the shared stream of {name!r}: an update has no room in its buffer, "
                    "of which twice as much waits as it is to hold, and would be missing. Yield whole values of the "
                    "same properties, which are conflated for such a page, or raise stream_buffer_updates= or "
                    "stream_buffer_bytes= of Flash(...)."
                )
            )

    def end(self, exception: Callable[[], BaseException], *, at_once: bool = False) -> None:
        if not self._over.is_set():
            self._updates, self._end = None, exception
            self._over.set()

    def hold(self) -> Callable[[], None]:
        return self._hold()

    @property
    def info(self) -> FollowerInfo:
        return FollowerInfo(self.stream.id, self.stream.buffer.updates, 0)
