"""The queue of events between the streams of a page and its link, and the log of those that it has not acknowledged.

All streams of a page share one `Outbox`, so their events have one order, and each stream keeps its own.

    put ── waiting ── take ── sent ── acknowledge
              ▲                 │
              └──── rewind ─────┘

*Merging.* While several updates of a stream wait, the next ones are merged into the event of the last one. So a stream
that is ahead of its page costs one event, one frame and one acknowledgement for many updates.

*Conflation.* A stream may *conflate*: then at most one of its events is in flight, sent and not acknowledged, and at
most one is held back, in which a newer value of a property replaces the older one. So the page gets the newest values,
however slow it is.

*Bounds.* Every update that waits is charged to the `StreamBuffer` of its stream, and a generator whose buffer is full
waits at its `yield`. Other events, such as `open` and `end`, are charged to the page: there is always room for them.
What was sent is kept until the page acknowledges it, so that it can be sent again when a connection breaks. At most
`window` bytes are sent and not acknowledged, so these are bounded too, whatever proxies lie between server and page.
An outbox that is closed has no window: nothing is added to what waits, and the acknowledgements of its page may reach
the workers that have taken this one's place.

*In step.* The updates of a source may be all that a page is sent, for a long time: then they go to its sender without
the outbox, which notes them when anything else happens to it. See `shared_updates`.

The outbox does no I/O and has no tasks. Streams put events. The link, which reads the outboxes of several pages, is the
`OutboxReader`: its task is told of new events, and takes them. Or the outbox hands them to the `DirectSender` of its
reader, as far as that can send them at once, without the link's task.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import trio

from ..wire import Props
from .buffer import StreamBuffer
from .events import ConflatedEvent, Event, PropUpdate
from .sent_log import SentLog

MERGE_FROM = 8
"""Once so many updates of a stream wait, further ones are merged into the last event."""

MERGED_SIZE = 8_192
"""Bytes of JSON from which on an event takes in no more updates: a page has to parse it in one go."""

_PROPS = Props.event


class DirectSender(Protocol):
    """Sends events to a page from any task, while the link's own task waits for some."""

    def room(self) -> int:
        """How many bytes of events may be sent at once; 0 if none: the link's task has to send them."""
        ...

    def send_now(self, events: list[Event]) -> bool:
        """Send events without waiting. Says whether all of them are sent; if not, the link's task sends the rest."""
        ...

    def bytes_until_ping(self) -> float:
        """How many bytes may be sent until the page is to be pinged."""
        ...

    def send_uncounted(self, number: int, head: bytes, pairs: bytes) -> bool:
        """The same as `send_update`, but what is sent counts for no ping yet."""
        ...

    def count(self, updates: int, head: bytes, size: int) -> None:
        """Count updates that were sent uncounted, which have so many bytes of JSON together."""
        ...

    def send_update(self, number: int, head: bytes, pairs: bytes) -> bool:
        """Send one update as an event of its own, if that can be done at once, and say whether it is sent.

        If the socket takes a part of it only, the link's task sends the rest.
        """
        ...


class OutboxReader(Protocol):
    """What takes the events of an outbox: see `link.Attachment`.

    Attributes:
        is_queued: the link's task is going to look at the outbox.
        sender: may send new events at once; None if only the link's task can.
    """

    is_queued: bool
    sender: DirectSender | None

    def wake(self) -> None:
        """Have the link's task look at the outbox."""
        ...


class InStep(Protocol):
    """A stream whose page is in step with the source that the stream follows: see `shared_updates`."""

    def settle(self) -> None:
        """Have the outbox note what the page was sent, and be in step no more."""
        ...


class Outbox:
    """The events of a page, in order.

    Attributes:
        in_step: the stream whose updates are sent without the outbox, until anything else happens to it; else None.
        reader: what takes the events; None while the page has no link.
        closed: nothing is taken in any more.
        control_bytes: bytes of the waiting events that carry no updates (`open`, `end` ...).
        acknowledged: the number of the last event that the page has acknowledged.
        progress_at: when the page last acknowledged something, or last had nothing to acknowledge as events were
            taken, on Trio's clock. While something is unacknowledged, the time since then says how long the page has
            left it so.
    """

    __slots__ = (
        "_count",
        "_last_sent",
        "_merged_size",
        "_sent",
        "_waiting",
        "_window",
        "acknowledged",
        "closed",
        "control_bytes",
        "in_step",
        "progress_at",
        "reader",
    )

    def __init__(self, window: int) -> None:
        self.reader: OutboxReader | None = None
        self.in_step: InStep | None = None
        self.closed: bool = False
        self.control_bytes: int = 0
        self.acknowledged: int = 0
        self.progress_at: float = 0.0
        self._window = window
        # One event must stay small beside the window.
        self._merged_size = min(MERGED_SIZE, window // 8)
        # A list: an empty deque takes 600 bytes of every page.
        self._waiting: list[Event] = []
        self._sent = SentLog()
        self._count = 0
        self._last_sent = 0

    @property
    def unacknowledged(self) -> int:
        """Bytes that were sent and not acknowledged; at most the window, or half of it and one event."""
        self.settle()
        return self._sent.unacknowledged

    @property
    def needs_no_acknowledgement(self) -> bool:
        """Whether so little was sent that the page has not been asked to acknowledge it yet."""
        return self.unacknowledged * 2 < self._window

    def put(self, name: str, data: bytes) -> None:
        """Append an event that carries no updates; dropped if the outbox is closed."""
        if self.closed:
            return
        self.settle()
        self._count += 1
        self._waiting.append(Event(self._count, name, data, None))
        self.control_bytes += len(data)
        self._notify()

    def put_update(self, pairs: bytes, buffer: StreamBuffer) -> None:
        """Append an update, in a `props` event, and have the link's task send it; dropped if the outbox is closed.

        Args:
            pairs: the inner part of a JSON array.
            buffer: the buffer of its stream.
        """
        if self.closed:
            return
        if self.in_step is not None:
            self.in_step.settle()
        size = len(pairs)
        tail = buffer.tail
        if tail is not None and buffer.updates >= MERGE_FROM and tail.size < self._merged_size:
            tail.merge(pairs)
            tail.limit = self._merged_size
            buffer.charge(size)
        else:
            if tail is not None and tail.light is not None:
                tail.encode_light()
            self._count += 1
            buffer.tail = tail = Event(self._count, _PROPS, pairs, buffer)
            self._waiting.append(tail)
            buffer.charge(size)
            self.wake()

    def send_update(self, pairs: bytes, buffer: StreamBuffer) -> bool:
        """Send an update at once, if nothing is to be sent before it. If not, `put_update` has to take it.

        Most updates of most apps come by here: it does what `put_update`, `_notify` and `take` do, without an event. A
        process that has slept has most of it to fetch from memory, so each call less is worth two microseconds.

        Args:
            pairs: the inner part of a JSON array.
            buffer: the buffer of its stream.

        Returns:
            Whether it is sent.
        """
        if self._waiting or self.closed:
            return False
        if self.in_step is not None:
            self.in_step.settle()
        reader, sent, size, head = self.reader, self._sent, len(pairs), buffer.head
        if reader is None or reader.is_queued or sent.to_resend or (sender := reader.sender) is None:
            return False
        before, number = sent.unacknowledged, self._count + 1
        if before * 2 >= self._window and before + size > self._window:
            return False
        if not sender.send_update(number, head, pairs):
            return False
        if not before:
            self.progress_at = trio.current_time()
        self._count = self._last_sent = number
        sent.append_body(number, pairs, head, size)
        buffer.sent_updates += 1
        buffer.sent_bytes += size
        return True

    @property
    def last_sent(self) -> int:
        """The number of the last event, if all are sent; else 0."""
        return self._last_sent if self._last_sent == self._count and not self._sent.to_resend else 0

    @property
    def bytes_until_half(self) -> int:
        """How many bytes may be sent until half the window has been sent and not acknowledged."""
        return self._window // 2 - self._sent.unacknowledged

    def note_sent(self, bodies: list[bytes], buffer: StreamBuffer) -> None:
        """Note that updates of a stream were sent, each in an event of its own, after all that was sent before.

        Args:
            bodies: the inner parts of their JSON arrays.
            buffer: of the stream.
        """
        first, size = self._count + 1, sum(map(len, bodies))
        self._count = self._last_sent = self._count + len(bodies)
        self._sent.append_bodies(first, bodies, buffer.head, size)
        buffer.sent_updates += len(bodies)
        buffer.sent_bytes += size

    def settle(self) -> None:
        """Note what a stream has sent without the outbox."""
        if self.in_step is not None:
            self.in_step.settle()

    def put_by_prop(self, prop_updates: Iterable[PropUpdate], buffer: StreamBuffer) -> None:
        """Take in an update of a stream that conflates; dropped if the outbox is closed."""
        if self.closed:
            return
        self.settle()
        event = buffer.tail
        if isinstance(event, ConflatedEvent):
            for prop_update in prop_updates:
                event.put(prop_update)
            return
        event = buffer.tail = ConflatedEvent(buffer)
        for prop_update in prop_updates:
            event.put(prop_update)
        if buffer.in_flight is None:
            self._enqueue(event)

    def flush(self, buffer: StreamBuffer) -> None:
        """Let the event of a stream that is held back follow: no update will come that could replace its values."""
        self.settle()
        if (event := buffer.held_back) is not None:
            self._enqueue(event)

    def take(self, at_most: int) -> list[Event]:
        """Return the events that come next: one, then as many as fit into `at_most` bytes and the window.

        An empty list if there is none, or if the window is full. What is returned counts as sent.
        """
        self.settle()
        if self._sent.unacknowledged == 0:
            self.progress_at = trio.current_time()
        taken: list[Event] = []
        while (event := self._sent.next_resend()) is not None:
            if not self._fits(event, at_most, taken):
                return taken
            at_most -= event.size
            self._sent.resent()
            taken.append(event)
        first = 0
        for event in self._waiting:
            if not self._fits(event, at_most, taken):
                break
            first += 1
            at_most -= event.size
            if event.buffer is None:
                self.control_bytes -= event.size
            else:
                event.buffer.sent(event)
            self._sent.append(event)
            self._last_sent = event.number
            taken.append(event)
        del self._waiting[:first]
        return taken

    def acknowledge(self, number: int) -> bool:
        """The page has applied the events up to `number`: forget them. Says whether these were sent at all."""
        self.settle()
        if number > self._last_sent:
            return False
        for event in self._sent.forget(number):
            if event.buffer is not None and (held_back := event.buffer.acknowledged(event)) is not None:
                self._enqueue(held_back)
        self.acknowledged = max(number, self.acknowledged)
        self.progress_at = trio.current_time()
        if self.has_more():
            self.wake()
        return True

    def rewind(self, number: int, reader: OutboxReader) -> bool:
        """Another link reads the outbox from now on: what follows the last event of the page is to be sent again.

        Args:
            number: of the last event that the page says it has. It may have acknowledged a later one.
            reader: the new link's.

        Returns:
            False if no event of this number has been sent; nothing is changed then.
        """
        # The link before is to send nothing more.
        before, self.reader = self.reader, None
        if not self.acknowledge(max(number, self.acknowledged)):
            self.reader = before
            return False
        self._sent.rewind()
        self.reader = reader
        return True

    def lose_reader(self) -> None:
        """The page has no link any more."""
        self.settle()
        self.reader = None

    def drop(self, buffer: StreamBuffer) -> None:
        """Forget the updates of a stream that wait: it was cancelled."""
        self.settle()
        if buffer.updates:
            self._waiting = [event for event in self._waiting if event.buffer is not buffer]
            buffer.tail = None
            buffer.release(buffer.updates, buffer.bytes)

    def close(self) -> None:
        """Take in nothing more; what waits can still be taken."""
        self.settle()
        self.closed = True
        self.wake()

    def discard(self) -> None:
        """Close, and forget everything: nobody will read it."""
        self.settle()
        self._waiting.clear()
        self._sent.clear()
        self.close()

    @property
    def exhausted(self) -> bool:
        """There is nothing to take, and never will be."""
        return self.closed and not self._waiting and self._sent.next_resend() is None

    def has_more(self) -> bool:
        """Whether there is an event to take, and room for it in the window."""
        resend = self._sent.next_resend()
        if resend is not None:
            return self._fits(resend, 0, [])
        return bool(self._waiting) and self._fits(self._waiting[0], 0, [])

    def wake(self) -> None:
        """Have the link's task look at the outbox."""
        if self.reader is not None and not self.reader.is_queued:
            self.reader.wake()

    def _enqueue(self, event: Event) -> None:
        """Append an event of a stream that conflates."""
        self._count += 1
        event.number = self._count
        self._waiting.append(event)
        self._notify()

    def _notify(self) -> None:
        """There is a new event: have it sent at once, or have the link's task take it."""
        reader = self.reader
        if reader is None or reader.is_queued:
            return
        sender = reader.sender
        if sender is not None and (room := sender.room()):
            events = self.take(room)
            if events and sender.send_now(events):
                return
        reader.wake()

    def _fits(self, event: Event, at_most: int, taken: list[Event]) -> bool:
        if event.light is not None:
            event.encode_light()
        size = event.size
        if taken and size > at_most:
            return False
        # Below half the window no acknowledgement has been asked for: an event of any size may go.
        unacknowledged = self._sent.unacknowledged
        return unacknowledged * 2 < self._window or unacknowledged + size <= self._window or self.closed
