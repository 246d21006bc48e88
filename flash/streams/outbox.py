"""What a page has still to be sent, and what it has not confirmed, both bounded.

An `Outbox` is the queue between a page's streams and its connection: one order for all streams of the page, so
that the order of each is kept.

    put ── waiting ── take ── sent ── acknowledge
              ▲                 │
              └──── rewind ─────┘

Updates of a stream that have to wait join up: while some wait, the next ones go into the event of the last one, so that
a stream that is ahead of its page costs one event, one frame and one acknowledgement for many updates.

A stream may *conflate*: then at most one event of it is on its way, unconfirmed, and one waits, in which a newer value
of a property takes the place of the older one. So what the page gets is the newest there is, however slow it is.

Every update that waits is charged to the `Gauge` of its stream; a generator whose gauge is full waits at its
`yield`, and so a page that does not read slows its own generators and nobody else's. `open` and `end` are charged
to the page: they must always find room. What has been sent is kept until the page acknowledges it, so that a
connection that is cut can be taken up where the page stands; of that there may be a window's worth of bytes, and
not more, whatever lies between the server and the page.

No I/O and no tasks: one side puts, the other takes, and waits for an event when there is nothing to take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import trio

from .buffer import Gauge
from .events import ConflatedEvent, Event, Piece
from .sent_log import SentLog

CROWD = 8
"""Updates of a stream that wait by themselves before others join the last of them."""

JOINED_SIZE = 8_192
"""Bytes of JSON from which on an event takes in no more updates: a page has to parse it in one go."""


class Outbox:
    """The events of a page, in order.

    Attributes:
        closed: nothing is taken in any more.
        unread: bytes of `open` and `end` events that wait: they are not charged to a stream.
        acknowledged: the number of the last event that the page has confirmed; it has no earlier one to come.
        hand_over: called when there is news; says whether it has been taken, so that nobody need be woken.
    """

    def __init__(self, window: int) -> None:
        self.closed = False
        self.unread = 0
        self.acknowledged = 0
        self.hand_over: Callable[[], bool] | None = None
        self._window = window
        # What comes in one piece is to be small beside what may be on its way.
        self._joined_size = min(JOINED_SIZE, window // 8)
        # A list: an empty deque takes 600 bytes of every page.
        self._waiting: list[Event] = []
        self._sent = SentLog()
        self._count = 0
        self._last_sent = 0
        self._news: trio.Event | None = None

    @property
    def unacknowledged(self) -> int:
        """Bytes that were sent and not acknowledged; at most the window, or half of it and one event."""
        return self._sent.unacknowledged

    @property
    def may_stay_unacknowledged(self) -> bool:
        """Whether what was sent is less than what the page is asked to acknowledge before it gets more."""
        return self._sent.unacknowledged * 2 < self._window

    def put(self, name: str, data: bytes) -> None:
        """Append an event; dropped if the outbox is closed."""
        if self.closed:
            return
        self._count += 1
        self._waiting.append(Event(self._count, name, data, None))
        self.unread += len(data)
        self._tell()

    def put_update(self, pairs: bytes, gauge: Gauge, direct: bool = True) -> None:
        """Append an update, in a `props` event; dropped if the outbox is closed.

        Args:
            pairs: the inner part of a JSON array.
            gauge: of its stream.
            direct: it may be handed over; else whoever waits for news is woken.
        """
        if self.closed:
            return
        size = len(pairs)
        last = gauge.last
        if last is not None and gauge.updates >= CROWD and last.size < self._joined_size:
            last.join(pairs)
            # As `gauge.charge`: most updates of a stream that is ahead of its page come by here.
            gauge.updates += 1
            gauge.bytes += size
        else:
            self._count += 1
            gauge.last = last = Event(self._count, "props", pairs, gauge)
            self._waiting.append(last)
            gauge.charge(size)
            if direct:
                self._tell()
            else:
                self.nudge()

    def put_pieces(self, pieces: Iterable[Piece], gauge: Gauge) -> None:
        """Take in an update of a stream that conflates; dropped if the outbox is closed."""
        if self.closed:
            return
        event = gauge.last
        if isinstance(event, ConflatedEvent):
            for piece in pieces:
                event.put(piece)
            return
        event = gauge.last = ConflatedEvent(gauge)
        for piece in pieces:
            event.put(piece)
        if gauge.on_its_way is None:
            self._enqueue(event)

    def flush(self, gauge: Gauge) -> None:
        """Let what waits for an acknowledgement go: nothing will come that could replace it."""
        if gauge.last is not None and gauge.last.number == 0:
            self._enqueue(gauge.last)

    def take(self, at_most: int) -> list[Event]:
        """Return the events that come next: one, then as many as fit into `at_most` bytes and the window.

        An empty list if there is none, or if the window is full. What is returned counts as sent.
        """
        taken: list[Event] = []
        while (event := self._sent.again()) is not None:
            if not self._fits(event, at_most, taken):
                return taken
            at_most -= event.size
            self._sent.sent_again()
            taken.append(event)
        first = 0
        for event in self._waiting:
            if not self._fits(event, at_most, taken):
                break
            first += 1
            size = event.size
            at_most -= size
            gauge = event.gauge
            if gauge is None:
                self.unread -= size
            else:
                if gauge.last is event:
                    gauge.last = None
                if event.conflated:
                    gauge.on_its_way = event
                updates = event.updates
                gauge.sent_updates += updates
                gauge.sent_bytes += size
                gauge.release(updates, size)
            self._sent.append(event)
            self._last_sent = event.number
            taken.append(event)
        del self._waiting[:first]
        return taken

    def acknowledge(self, number: int) -> bool:
        """The page has applied the events up to `number`: forget them. Says whether these were sent at all."""
        if number > self._last_sent:
            return False
        for event in self._sent.forget(number):
            self._arrived(event)
        self.acknowledged = max(number, self.acknowledged)
        self.nudge()
        return True

    def rewind(self, number: int) -> bool:
        """A new connection of a page that has applied the events up to `number`: what was sent since comes again.

        Says whether that is possible: no event since `number` has been forgotten.
        """
        if number < self.acknowledged or not self.acknowledge(number):
            return False
        self._sent.rewind()
        return True

    def drop(self, gauge: Gauge) -> None:
        """Forget the updates that are charged to `gauge`: their stream was cancelled."""
        if gauge.updates:
            self._waiting = [event for event in self._waiting if event.gauge is not gauge]
            gauge.last = None
            gauge.release(gauge.updates, gauge.bytes)

    def close(self) -> None:
        """Take in nothing more; what waits can still be taken."""
        self.closed = True
        self.nudge()

    def discard(self) -> None:
        """Close, and forget everything: nobody will read it."""
        self._waiting.clear()
        self._sent.clear()
        self.close()

    @property
    def over(self) -> bool:
        """There is nothing to take, and never will be."""
        return self.closed and not self._waiting and self._sent.again() is None

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

    def _enqueue(self, event: Event) -> None:
        self._count += 1
        event.number = self._count
        self._waiting.append(event)
        self._tell()

    def _tell(self) -> None:
        """There is news."""
        if self.hand_over is None or not self.hand_over():
            self.nudge()

    def _arrived(self, event: Event) -> None:
        """The page has an event: if its stream conflates, what has come since may follow."""
        gauge = event.gauge
        if gauge is not None and gauge.on_its_way is event:
            gauge.on_its_way = None
            self.flush(gauge)

    def _fits(self, event: Event, at_most: int, taken: list[Event]) -> bool:
        size = event.size
        if taken and size > at_most:
            return False
        # Below half the window no acknowledgement has been asked for: an event of any size may go.
        return self.unacknowledged * 2 < self._window or self.unacknowledged + size <= self._window

    def _takeable(self) -> bool:
        again = self._sent.again()
        if again is not None:
            return self._fits(again, 0, [])
        return bool(self._waiting) and self._fits(self._waiting[0], 0, [])
