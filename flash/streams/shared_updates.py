"""Takes what a source gives a stream that follows it, and sends it to the stream's page.

    source's task ── put ─► SharedUpdates ─┬─► outbox of the page ─► link
                                           └─► the page's sender, while the page is in step

The source's own task does that, for each page that follows it, one after the other: no task of a page wakes for an
update.

A thousand pages do not fit into a processor's cache. Most of what an update costs is fetching what it touches of its
page: an outbox, its log of what was sent, the counters of the stream. All that is not needed while the page is *in
step*: the updates of the source are all that it is sent, and each is sent at once. For its last update the source
knows which are before it, as each leads to the next. So it is enough to remember the first and the last of them. The
outbox is told of them, all at once, as soon as anything else happens to it: an acknowledgement, an event of another
stream, a link that is lost. So nobody sees an outbox that does not know what was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .buffer import StreamBuffer
from .events import SharedUpdate
from .outbox import DirectSender, Outbox
from .states import Lifecycle, StreamState


class SharedUpdates:
    """Where the updates of a source go that are for one stream, while that runs."""

    __slots__ = (
        "_before",
        "_buffer",
        "_conflates",
        "_head",
        "_last",
        "_lifecycle",
        "_most",
        "_note_first",
        "_number",
        "_offset",
        "_outbox",
        "_sender",
    )

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
        self._head = buffer.head
        self._note_first: Callable[[], object] | None = note_first
        self._conflates = conflates
        # The number of the event with the last update that the outbox was given, if that was sent at once; else 0.
        self._number = 0
        # What sends the updates while the page is in step; else None.
        self._sender: DirectSender | None = None
        # Of a page in step: the last update that the outbox knows of, the last one that was sent, what makes the number
        # of an event of the place of its update, and the `total` from which on a ping may be due.
        self._before: SharedUpdate | None = None
        self._last: SharedUpdate | None = None
        self._offset = 0
        self._most = 0.0

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
        sender = self._sender
        if sender is not None:
            number = self._offset + update.place
            if update.total < self._most and sender.send_uncounted(number, self._head, update.pairs):
                self._last = update
                return True
            self.settle()
        if self._lifecycle.state is not StreamState.RUNNING:
            return True
        if self._note_first is not None:
            self._begin()
        buffer = self._buffer
        # Most updates find nothing that waits.
        if not self._conflates and (not buffer.updates or not buffer.is_behind):
            if not self._outbox.send_update(update.pairs, buffer):
                self._outbox.put_update(update.pairs, buffer)
            self._get_in_step(update)
            return True
        if not buffer.can_conflate(update.by_prop):
            return False
        self._outbox.put_by_prop(update.by_prop, buffer)
        return True

    def settle(self) -> None:
        """Have the outbox note what the page was sent, and be in step no more."""
        sender, before, last = self._sender, self._before, self._last
        if sender is None:
            return
        self._sender = self._before = self._last = self._outbox.in_step = None
        bodies: list[bytes] = []
        while before is not last:
            assert before is not None
            before = before.next
            assert before is not None
            bodies.append(before.pairs)
        if bodies:
            self._outbox.note_sent(bodies, self._buffer)
            sender.count(len(bodies), self._head, sum(map(len, bodies)))
        self._number = self._outbox.last_sent

    def _get_in_step(self, update: SharedUpdate) -> None:
        """The page is in step if an update was sent at once, and so was the one before, with nothing in between."""
        outbox = self._outbox
        before, self._number = self._number, outbox.last_sent
        if not before or self._number != before + 1 or outbox.reader is None or outbox.reader.sender is None:
            return
        sender = outbox.reader.sender
        self._most = update.total + min(sender.bytes_until_ping(), outbox.bytes_until_half)
        self._offset = self._number - update.place
        self._before = self._last = update
        self._sender, outbox.in_step = sender, self

    def _begin(self) -> None:
        """The stream sends something, maybe for the first time."""
        note_first, self._note_first = self._note_first, None
        if note_first is not None:
            note_first()
