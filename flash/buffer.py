"""What a page has still to be sent, bounded.

An `Outbox` is the queue between a page's streams and its connection: one order for all streams of the page, so
that the order of each is kept. Every update is charged to the `Gauge` of its stream until the connection takes
it; a generator whose gauge is full waits at its `yield`, and so a page that does not read slows its own
generators and nobody else's. `open` and `end` are charged to the page: they must always find room.

No I/O and no tasks: one side puts, the other takes, and waits for an event when there is nothing to take.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import trio


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of a stream may wait for its page.

    A generator waits at `yield` as soon as either bound is reached, so what is buffered exceeds the byte bound by
    less than one update.

    Attributes:
        bytes: bytes of JSON buffered per stream.
        updates: updates buffered per stream.
    """

    bytes: int = 1_000_000
    updates: int = 1_000


class Gauge:
    """How much of one stream is in the outbox."""

    __slots__ = ("_room", "bounds", "bytes", "sent_bytes", "sent_updates", "updates")

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.bytes = 0
        self.updates = 0
        self.sent_bytes = 0
        self.sent_updates = 0
        self._room: trio.Event | None = None

    def full(self, times: int = 1) -> bool:
        """Whether the buffer holds `times` its bounds."""
        return self.updates >= times * self.bounds.updates or self.bytes >= times * self.bounds.bytes

    def charge(self, size: int) -> None:
        self.updates += 1
        self.bytes += size

    def release(self, updates: int, size: int) -> None:
        self.updates -= updates
        self.bytes -= size
        if self._room is not None and not self.full():
            self._room.set()
            self._room = None

    async def wait_for_room(self) -> None:
        """Return when the buffer is not full; at once, and without a checkpoint, if it is not."""
        while self.full():
            if self._room is None:
                self._room = trio.Event()
            await self._room.wait()


class Event(NamedTuple):
    """One event on its way to the page: its number, its name, its JSON, and the gauge that it is charged to."""

    number: int
    name: str
    data: bytes
    gauge: Gauge | None


class Outbox:
    """The events that the page has not been sent, in order.

    Attributes:
        closed: nothing is taken in any more.
        unread: bytes of `open` and `end` events that wait: they are not charged to a stream.
    """

    def __init__(self) -> None:
        self.closed = False
        self.unread = 0
        self._events: deque[Event] = deque()
        self._count = 0
        self._news: trio.Event | None = None

    def __len__(self) -> int:
        return len(self._events)

    def put(self, name: str, data: bytes, gauge: Gauge | None = None) -> None:
        """Append an event; dropped if the outbox is closed."""
        if self.closed:
            return
        self._count += 1
        self._events.append(Event(self._count, name, data, gauge))
        if gauge is None:
            self.unread += len(data)
        else:
            gauge.charge(len(data))
        self.nudge()

    def take(self, at_most: int) -> list[Event]:
        """Remove and return the events that wait, in order: at least one, then as many as fit into `at_most` bytes."""
        taken: list[Event] = []
        while self._events and (not taken or at_most >= len(self._events[0].data)):
            event = self._events.popleft()
            taken.append(event)
            at_most -= len(event.data)
            if event.gauge is None:
                self.unread -= len(event.data)
            else:
                event.gauge.sent_updates += 1
                event.gauge.sent_bytes += len(event.data)
                event.gauge.release(1, len(event.data))
        return taken

    def drop(self, gauge: Gauge) -> None:
        """Forget the updates that are charged to `gauge`: their stream was cancelled."""
        if gauge.updates:
            self._events = deque(event for event in self._events if event.gauge is not gauge)
            gauge.release(gauge.updates, gauge.bytes)

    def close(self) -> None:
        """Take in nothing more; what waits can still be taken."""
        self.closed = True
        self.nudge()

    def discard(self) -> None:
        """Close, and forget what waits: nobody will read it."""
        self._events.clear()
        self.close()

    async def wait(self) -> None:
        """Return when there is something to take, or never will be, or after a nudge."""
        if not self._events and not self.closed:
            if self._news is None:
                self._news = trio.Event()
            await self._news.wait()

    def nudge(self) -> None:
        """Let whoever waits look again."""
        if self._news is not None:
            self._news.set()
            self._news = None
