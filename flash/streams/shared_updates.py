"""Takes what a source gives a stream that follows it, and puts it into the outbox of the stream's page.

    source's task ── put ─► SharedUpdates ─► outbox of the page

The source's own task does that, for each page that follows it, one after the other: no task of a page wakes for an
update. A thousand pages do not fit into a processor's cache, so that most of what an update costs is fetching what it
touches of its page. Hence one small object stands between source and outbox, and not the stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .buffer import StreamBuffer
from .events import SharedUpdate
from .outbox import Outbox
from .states import Lifecycle, StreamState


class SharedUpdates:
    """Where the updates of a source go that are for one stream, while that runs."""

    __slots__ = ("_buffer", "_conflates", "_lifecycle", "_note_first", "_outbox")

    def __init__(
        self,
        lifecycle: Lifecycle,
        outbox: Outbox,
        buffer: StreamBuffer,
        note_first: Callable[[], object],
        *,
        conflates: bool,
    ) -> None:
        """
        Args:
            lifecycle: of the stream.
            outbox: of its page.
            buffer: of the stream.
            note_first: is called when the stream is about to send its first update.
            conflates: the stream conflates all its updates, and not only while its page is behind.
        """
        self._lifecycle = lifecycle
        self._outbox = outbox
        self._buffer = buffer
        self._note_first: Callable[[], object] | None = note_first
        self._conflates = conflates

    def put_state(self, chunks: Iterable[bytes]) -> None:
        """Take what a page that joins late is to show first."""
        if self._lifecycle.is_running:
            for pairs in chunks:
                self._begin()
                self._outbox.put_update(pairs, self._buffer)

    def put(self, update: SharedUpdate) -> bool:
        """Take an update of the source, which waits for no page.

        When the buffer is full, the page gets the newest whole values only, in one event behind those that wait.

        Returns:
            False if the page is so far behind that the update has no room any more; it would have a gap from now on.
        """
        if self._lifecycle.state is not StreamState.RUNNING:
            return True
        if self._note_first is not None:
            self._begin()
        buffer = self._buffer
        # Most updates find nothing that waits.
        if not self._conflates and (not buffer.updates or not buffer.is_behind):
            self._outbox.put_update(update.pairs, buffer)
            return True
        if not buffer.can_conflate(update.by_prop):
            return False
        self._outbox.put_by_prop(update.by_prop, buffer)
        return True

    def _begin(self) -> None:
        """The stream sends something, maybe for the first time."""
        note_first, self._note_first = self._note_first, None
        if note_first is not None:
            note_first()
