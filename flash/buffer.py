"""What a page has still to be sent, and what it has not confirmed, both bounded.

An `Outbox` is the queue between a page's streams and its connection: one order for all streams of the page, so
that the order of each is kept.

    put ── waiting ── take ── sent ── acknowledge
              ▲                 │
              └──── rewind ─────┘

Every update that waits is charged to the `Gauge` of its stream; a generator whose gauge is full waits at its
`yield`, and so a page that does not read slows its own generators and nobody else's. `open` and `end` are charged
to the page: they must always find room. What has been sent is kept until the page acknowledges it, so that a
connection that is cut can be taken up where the page stands; of that there may be a window's worth of bytes, and
not more, whatever lies between the server and the page.

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
    """The events of a page, in order.

    Attributes:
        closed: nothing is taken in any more.
        unread: bytes of `open` and `end` events that wait: they are not charged to a stream.
        unacknowledged: bytes that were sent and not acknowledged; at most `window`, or half of it and one event.
        acknowledged: the number of the last event that the page has confirmed; it has no earlier one to come.
    """

    def __init__(self, window: int) -> None:
        self.closed = False
        self.unread = 0
        self.unacknowledged = 0
        self.acknowledged = 0
        self._window = window
        self._waiting: deque[Event] = deque()
        self._again: deque[Event] = deque()
        self._sent: deque[Event] = deque()
        self._count = 0
        self._last_sent = 0
        self._news: trio.Event | None = None

    def __len__(self) -> int:
        return len(self._waiting) + len(self._again)

    def put(self, name: str, data: bytes, gauge: Gauge | None = None) -> None:
        """Append an event; dropped if the outbox is closed."""
        if self.closed:
            return
        self._count += 1
        self._waiting.append(Event(self._count, name, data, gauge))
        if gauge is None:
            self.unread += len(data)
        else:
            gauge.charge(len(data))
        self.nudge()

    def take(self, at_most: int) -> list[Event]:
        """Return the events that come next: one, then as many as fit into `at_most` bytes and the window.

        An empty list if there is none, or if the window is full. What is returned counts as sent.
        """
        taken: list[Event] = []
        while self._again and self._fits(self._again[0], at_most, taken):
            event = self._again.popleft()
            at_most -= len(event.data)
            self._send(event, taken)
        while not self._again and self._waiting and self._fits(self._waiting[0], at_most, taken):
            event = self._waiting.popleft()
            size = len(event.data)
            at_most -= size
            gauge = event.gauge
            if gauge is None:
                self.unread -= size
            else:
                gauge.sent_updates += 1
                gauge.sent_bytes += size
                gauge.release(1, size)
            self._send(event, taken)
        return taken

    def acknowledge(self, number: int) -> bool:
        """The page has applied the events up to `number`: forget them. Says whether these were sent at all."""
        if number > self._last_sent:
            return False
        while self._sent and self._sent[0].number <= number:
            self.unacknowledged -= len(self._sent.popleft().data)
        while self._again and self._again[0].number <= number:
            self._again.popleft()
        self.acknowledged = max(number, self.acknowledged)
        self.nudge()
        return True

    def rewind(self, number: int) -> bool:
        """A new connection of a page that has applied the events up to `number`: what was sent since comes again.

        Says whether that is possible: no event since `number` has been forgotten.
        """
        if number < self.acknowledged or not self.acknowledge(number):
            return False
        self._again.extendleft(reversed(self._sent))
        self._sent.clear()
        self.unacknowledged = 0
        return True

    def drop(self, gauge: Gauge) -> None:
        """Forget the updates that are charged to `gauge`: their stream was cancelled."""
        if gauge.updates:
            self._waiting = deque(event for event in self._waiting if event.gauge is not gauge)
            gauge.release(gauge.updates, gauge.bytes)

    def close(self) -> None:
        """Take in nothing more; what waits can still be taken."""
        self.closed = True
        self.nudge()

    def discard(self) -> None:
        """Close, and forget everything: nobody will read it."""
        self._waiting.clear()
        self._again.clear()
        self._sent.clear()
        self.unacknowledged = 0
        self.close()

    @property
    def over(self) -> bool:
        """There is nothing to take, and never will be."""
        return self.closed and not self._waiting and not self._again

    async def wait(self) -> None:
        """Return when there is something to take, or never will be, or after a nudge."""
        if not self.over and not self._takeable():
            if self._news is None:
                self._news = trio.Event()
            await self._news.wait()

    def nudge(self) -> None:
        """Let whoever waits look again."""
        if self._news is not None:
            self._news.set()
            self._news = None

    def _fits(self, event: Event, at_most: int, taken: list[Event]) -> bool:
        size = len(event.data)
        if taken and size > at_most:
            return False
        # Below half the window no acknowledgement has been asked for: an event of any size may go.
        return self.unacknowledged * 2 < self._window or self.unacknowledged + size <= self._window

    def _send(self, event: Event, taken: list[Event]) -> None:
        taken.append(event)
        self._sent.append(event)
        self._last_sent = max(self._last_sent, event.number)
        self.unacknowledged += len(event.data)

    def _takeable(self) -> bool:
        queue = self._again or self._waiting
        return bool(queue) and self._fits(queue[0], 0, [])
