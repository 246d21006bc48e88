"""Keeps what a page was sent and has not acknowledged, so that it can be sent again over another link.

    append ── sent ── forget
     ▲         │
  resend ◄─────┘ rewind

A busy server keeps a hundred thousand updates here. One object for each would take more memory than the update itself,
and would live long enough that Python's garbage collector goes through all of them again and again. So the log keeps
two byte strings per update: its JSON, and the head of its event's JSON, which all updates of a stream share.
"""

from __future__ import annotations

from ..wire import PROPS_DATA, Props
from .events import Event


class SentLog:
    """The events that were sent, oldest first, by number.

    Attributes:
        unacknowledged: bytes that were sent on the present link and not acknowledged.
    """

    __slots__ = ("_bodies", "_first", "_heads", "_position", "unacknowledged")

    def __init__(self) -> None:
        self.unacknowledged: int = 0
        self._first = 0
        # For an update the inner part of its array; for an event without updates, or a conflated one, the event; None
        # for a number whose event was dropped, because its stream was cancelled while it waited.
        self._bodies: list[bytes | Event | None] = []
        self._heads: list[bytes] = []
        # How many of them were sent on the present link.
        self._position = 0

    @property
    def is_up_to_date(self) -> bool:
        """Nothing is to be sent again."""
        return self._position == len(self._bodies)

    def append(self, event: Event) -> None:
        """An event is sent for the first time; nothing is to be sent again before it."""
        if event.buffer is None or event.conflated:
            self._append(event.number, event, b"", event.size)
        else:
            self.append_update(event.number, event.pairs, event.buffer.head)

    def append_update(self, number: int, pairs: bytes, head: bytes) -> None:
        """Updates of a stream are sent for the first time, in one event; nothing is to be sent again before it."""
        self._append(number, pairs, head, len(pairs))

    def _append(self, number: int, body: bytes | Event, head: bytes, size: int) -> None:
        if not self._bodies:
            self._first = number
        while self._first + len(self._bodies) < number:
            self._bodies.append(None)
            self._heads.append(b"")
        self._bodies.append(body)
        self._heads.append(head)
        self.unacknowledged += size
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
        """There is a new link: everything is to be sent again."""
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
                data = PROPS_DATA % (self._heads[self._position], body)
                return Event(self._first + self._position, Props.event, data, None)
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
