"""What a page was sent and has not acknowledged, to be sent again if its connection is cut.

    append ── sent ── forget
     ▲         │
  resend ◄─────┘ rewind

A busy server keeps a hundred thousand updates here. An object for each would take more memory than the update does,
and live long enough to have Python's garbage collector go through every object of every stream again and again. So
what is kept of an update is its bytes, beside what the JSON of its event begins with, which is its stream's.
"""

from __future__ import annotations

from .events import Event


class SentLog:
    """The events that were sent, oldest first, by number.

    Attributes:
        unacknowledged: bytes that were sent on the connection at hand, and not acknowledged.
    """

    __slots__ = ("_bodies", "_first", "_heads", "_position", "unacknowledged")

    def __init__(self) -> None:
        self.unacknowledged = 0
        self._first = 0
        # Of updates the inner part of their array; whole events of what is not, or is asked for; None where there is
        # no event of that number, as the stream was cancelled while it waited.
        self._bodies: list[bytes | Event | None] = []
        self._heads: list[bytes] = []
        # How many of them the connection at hand has been sent.
        self._position = 0

    def append(self, event: Event) -> None:
        """An event is sent for the first time; nothing is to be sent again before it."""
        if not self._bodies:
            self._first = event.number
        while self._first + len(self._bodies) < event.number:
            self._bodies.append(None)
            self._heads.append(b"")
        if event.buffer is None or event.conflated:
            self._bodies.append(event)
            self._heads.append(b"")
            self.unacknowledged += event.size
        else:
            pairs = event.pairs
            self._bodies.append(pairs)
            self._heads.append(event.buffer.head)
            self.unacknowledged += len(pairs)
        self._position = len(self._bodies)

    def forget(self, number: int) -> list[Event]:
        """The page has the events up to `number`. Returns those of them that are of streams that conflate."""
        count = min(number + 1 - self._first, len(self._bodies))
        if count <= 0:
            return []
        had = self._bodies[:count]
        self.unacknowledged -= sum(map(_size, had[: self._position]))
        del self._bodies[:count], self._heads[:count]
        self._first += count
        self._position = max(0, self._position - count)
        return [body for body in had if isinstance(body, Event) and body.conflated]

    def rewind(self) -> None:
        """A new connection: everything is to be sent again."""
        self.unacknowledged = self._position = 0

    def clear(self) -> None:
        """Keep nothing."""
        self._bodies.clear()
        self._heads.clear()
        self.rewind()

    def next_resend(self) -> Event | None:
        """The event that is to be sent again next; None if there is none."""
        while self._position < len(self._bodies):
            body = self._bodies[self._position]
            if isinstance(body, Event):
                return body
            if body is not None:
                data = b"%b%b]}" % (self._heads[self._position], body)
                return Event(self._first + self._position, "props", data, None)
            self._position += 1
        return None

    def resent(self) -> None:
        """Note that the event which `next_resend` returned has been sent."""
        self.unacknowledged += _size(self._bodies[self._position])
        self._position += 1


def _size(body: bytes | Event | None) -> int:
    if body is None:
        return 0
    return body.size if isinstance(body, Event) else len(body)
