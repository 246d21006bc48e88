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
from dataclasses import dataclass
from typing import NamedTuple

import trio

CROWD = 8
"""Updates of a stream that wait by themselves before others join the last of them."""

JOINED_SIZE = 8_192
"""Bytes of JSON from which on an event takes in no more updates: a page has to parse it in one go."""


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
    """How much of one stream is in the outbox.

    Attributes:
        bounds: what may be.
        head: what the JSON of its updates' events begins with; `]}` ends it.
        updates: how many updates wait.
        bytes: of JSON that wait.
        sent_updates: how many updates were sent.
        sent_bytes: of JSON that were sent.
        last: the event that the last update went into, while it waits.
        on_its_way: of a stream that conflates, the event that was sent and not acknowledged.
    """

    __slots__ = ("_room", "bounds", "bytes", "head", "last", "on_its_way", "sent_bytes", "sent_updates", "updates")

    def __init__(self, bounds: Bounds, head: bytes = b"") -> None:
        self.bounds = bounds
        self.head = head
        self.last: Event | None = None
        self.on_its_way: Event | None = None
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


class Event:
    """One event on its way to the page.

    Attributes:
        number: among the events of its outbox.
        first: the number of its first update: an event that is kept may be several that were sent.
        name: on the wire.
        gauge: what it is charged to; None if it carries no updates.
        size: bytes of JSON.
        updates: how many updates it carries.
        conflated: of a stream that conflates; the page is to say when it has it.
    """

    conflated = False

    __slots__ = ("_data", "_joined", "first", "gauge", "name", "number", "size")

    def __init__(self, number: int, name: str, data: bytes, gauge: Gauge | None) -> None:
        self.number = self.first = number
        self.name = name
        self.gauge = gauge
        self.size = len(data)
        self._data = data
        # Most carry one update; a list for each would take more than it.
        self._joined: list[bytes] | None = None

    def join(self, pairs: bytes) -> None:
        """Take in another update, behind the one it carries."""
        if self._joined is None:
            self._joined, self._data = [self._data], b""
        self._joined.append(pairs)
        self.size += len(pairs)

    def absorb(self, later: Event, at_most: int) -> bool:
        """Stand for the next event, too, if both are single updates of a stream; says whether it does.

        For what is kept of what was sent: an object for each would take more than the updates do.
        """
        joined = self._joined
        if (
            later.gauge is not self.gauge
            or self.gauge is None
            or later.conflated
            or later._joined is not None
            or (joined is not None and self.first == self.number)
            or later.number != self.number + 1
            or self.size + later.size > at_most
        ):
            return False
        if joined is None:
            self._joined = joined = [self._data]
            self._data = b""
        joined.append(later._data)
        self.size += later.size
        self.number = later.number
        return True

    def forget(self, number: int) -> int:
        """Drop what came up to `number`, which is not all; says how many bytes that was."""
        if number < self.first or self._joined is None:
            return 0
        count = number + 1 - self.first
        size = sum(map(len, self._joined[:count]))
        del self._joined[:count]
        self.first = number + 1
        self.size -= size
        return size

    @property
    def data(self) -> bytes:
        """Its JSON."""
        if self.gauge is None:
            return self._data
        return b"%b%b]}" % (self.gauge.head, self._data if self._joined is None else b",".join(self._joined))

    @property
    def updates(self) -> int:
        if self.gauge is None:
            return 0
        return 1 if self._joined is None else len(self._joined)


class Piece(NamedTuple):
    """One property's part of an update: what it is a value of, whether it takes an older one's place, and its JSON."""

    key: object
    whole: bool
    pair: bytes


class ConflatedEvent(Event):
    """An event in which the newest value of each property is kept, and everything that adds up."""

    __slots__ = ("_values",)

    conflated = True

    def __init__(self, gauge: Gauge) -> None:
        super().__init__(0, "props", b"", gauge)
        self._values: dict[object, bytes] = {}

    def put(self, piece: Piece) -> None:
        """Take in a value: behind all others, so that what it replaces altogether need not be there."""
        assert self.gauge is not None
        key = piece.key if piece.whole else object()
        replaced = self._values.pop(key, None)
        if replaced is not None:
            self.size -= len(replaced)
            self.gauge.release(1, len(replaced))
        self._values[key] = piece.pair
        self.size += len(piece.pair)
        self.gauge.charge(len(piece.pair))

    @property
    def data(self) -> bytes:
        assert self.gauge is not None
        return b"%b%b]}" % (self.gauge.head, b",".join(self._values.values()))

    @property
    def updates(self) -> int:
        return len(self._values)


class Outbox:
    """The events of a page, in order.

    Attributes:
        closed: nothing is taken in any more.
        unread: bytes of `open` and `end` events that wait: they are not charged to a stream.
        unacknowledged: bytes that were sent and not acknowledged; at most `window`, or half of it and one event.
        acknowledged: the number of the last event that the page has confirmed; it has no earlier one to come.
        hand_over: called when there is news; says whether it has been taken, so that nobody need be woken.
    """

    def __init__(self, window: int) -> None:
        self.closed = False
        self.unread = 0
        self.unacknowledged = 0
        self.acknowledged = 0
        self.hand_over: Callable[[], bool] | None = None
        self._window = window
        # What comes in one piece is to be small beside what may be on its way.
        self._joined_size = min(JOINED_SIZE, window // 8)
        # Lists: an empty deque takes 600 bytes of every page. What is to be sent again is in reverse.
        self._waiting: list[Event] = []
        self._again: list[Event] = []
        self._sent: list[Event] = []
        self._count = 0
        self._last_sent = 0
        self._news: trio.Event | None = None

    def __len__(self) -> int:
        return len(self._waiting) + len(self._again)

    def put(self, name: str, data: bytes) -> None:
        """Append an event; dropped if the outbox is closed."""
        if self.closed:
            return
        self._count += 1
        self._waiting.append(Event(self._count, name, data, None))
        self.unread += len(data)
        self._tell()

    def put_update(self, pairs: bytes, gauge: Gauge) -> None:
        """Append an update, in a `props` event; dropped if the outbox is closed.

        Args:
            pairs: the inner part of a JSON array.
            gauge: of its stream.
        """
        if self.closed:
            return
        size = len(pairs)
        last = gauge.last
        if last is not None and gauge.updates >= CROWD and last.size < self._joined_size:
            last.join(pairs)
            gauge.charge(size)
        else:
            self._count += 1
            gauge.last = last = Event(self._count, "props", pairs, gauge)
            self._waiting.append(last)
            gauge.charge(size)
            self._tell()

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
        # What an earlier call returned has been written.
        if len(self._sent) > 1 and self._sent[-2].absorb(self._sent[-1], self._joined_size):
            self._sent.pop()
        while self._again and self._fits(self._again[-1], at_most, taken):
            event = self._again.pop()
            at_most -= event.size
            self._send(event, taken)
        if self._again:
            return taken
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
            self._send(event, taken)
        del self._waiting[:first]
        return taken

    def acknowledge(self, number: int) -> bool:
        """The page has applied the events up to `number`: forget them. Says whether these were sent at all."""
        if number > self._last_sent:
            return False
        arrived = 0
        while arrived < len(self._sent) and self._sent[arrived].number <= number:
            self.unacknowledged -= self._sent[arrived].size
            self._arrived(self._sent[arrived])
            arrived += 1
        del self._sent[:arrived]
        if self._sent:
            self.unacknowledged -= self._sent[0].forget(number)
        while self._again and self._again[-1].number <= number:
            self._arrived(self._again.pop())
        if self._again:
            self._again[-1].forget(number)
        self.acknowledged = max(number, self.acknowledged)
        self.nudge()
        return True

    def rewind(self, number: int) -> bool:
        """A new connection of a page that has applied the events up to `number`: what was sent since comes again.

        Says whether that is possible: no event since `number` has been forgotten.
        """
        if number < self.acknowledged or not self.acknowledge(number):
            return False
        self._again.extend(reversed(self._sent))
        self._sent.clear()
        self.unacknowledged = 0
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

    def _enqueue(self, event: Event) -> None:
        self._count += 1
        event.number = event.first = self._count
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

    def _send(self, event: Event, taken: list[Event]) -> None:
        taken.append(event)
        self._sent.append(event)
        self._last_sent = max(self._last_sent, event.number)
        self.unacknowledged += event.size

    def _takeable(self) -> bool:
        if self._again:
            return self._fits(self._again[-1], 0, [])
        return bool(self._waiting) and self._fits(self._waiting[0], 0, [])
