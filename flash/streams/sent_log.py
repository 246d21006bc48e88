"""Keeps what a page was sent and has not acknowledged, so that it can be sent again over another link.

    append ── sent ── forget
     ▲         │
  resend ◄─────┘ rewind

A busy server keeps a hundred thousand updates here. One object for each would take more memory than the update itself,
and would live long enough that Python's garbage collector goes through all of them again and again. So the log keeps
two byte strings per update: its JSON, and the head of its event's JSON, which all updates of a stream share. Many small
updates are *folded*: their JSON is joined into one string, until one of them is asked for. Larger ones stay as they
are: those of a source are the same string in the logs of all its pages.
"""

from __future__ import annotations

from typing import NamedTuple, cast

from ..wire import PROPS_DATA, Props
from .events import Event

FOLDED = 16
"""How many events are folded together. A small update takes half as much memory then."""

SMALL = 100
"""Bytes of JSON that folded updates have on average, at most. It saves 40 for each, whatever their size."""


class _Fold(NamedTuple):
    """Several events that were sent.

    Attributes:
        bodies: in lines, since JSON has no line breaks; as they were if not all of the events are small updates.
        heads: one for each.
    """

    bodies: bytes | list[bytes | Event | None]
    heads: tuple[bytes, ...]


class SentLog:
    """The events that were sent, oldest first, by number.

    Attributes:
        unacknowledged: bytes that were sent on the present link and not acknowledged.
        to_resend: how many of the events, the last ones, are to be sent again: they were not sent on the present link.
    """

    __slots__ = ("_bodies", "_first", "_folds", "_heads", "to_resend", "unacknowledged")

    def __init__(self) -> None:
        self.unacknowledged: int = 0
        self.to_resend: int = 0
        # The events before those that follow here, the oldest first. There are none while some are to be sent again.
        self._folds: tuple[_Fold, ...] = ()
        # The number of the first event of those that follow.
        self._first = 0
        # For an update the inner part of its array; for an event without updates, or a conflated one, the event; None
        # for a number whose event was dropped, because its stream was cancelled while it waited.
        self._bodies: list[bytes | Event | None] = []
        self._heads: list[bytes] = []

    def append(self, event: Event) -> None:
        """An event is sent for the first time; nothing is to be sent again before it."""
        if event.buffer is None or event.conflated:
            self.append_body(event.number, event, b"", event.size)
        else:
            pairs = event.pairs
            self.append_body(event.number, pairs, event.buffer.head, len(pairs))

    def append_body(self, number: int, body: bytes | Event, head: bytes, size: int) -> None:
        """The same for what is kept of an event.

        Args:
            number: of the event.
            body: the inner part of the array of its updates; the event itself if it has none, or is conflated.
            head: what the JSON of the stream's events begins with; nothing if `body` is an event.
            size: bytes of the body.
        """
        bodies = self._bodies
        missing = number - self._first - len(bodies)
        if missing:
            if bodies:
                bodies += [None] * missing
                self._heads += [b""] * missing
            else:
                self._first = number
        if len(bodies) > FOLDED:
            self._fold()
        bodies.append(body)
        self._heads.append(head)
        self.unacknowledged += size

    def append_bodies(self, first: int, bodies: list[bytes], head: bytes, size: int) -> None:
        """The same for updates of one stream, one in each event, none of which is dropped.

        Args:
            first: the number of the first of these events. Nothing is missing before it, unless the log is empty.
            bodies: the inner parts of the arrays.
            head: see `append_body`.
            size: bytes of all bodies.
        """
        if not self._bodies:
            self._first = first
        elif len(self._bodies) > FOLDED:
            self._fold()
        self._bodies += bodies
        self._heads += [head] * len(bodies)
        self.unacknowledged += size

    def _fold(self) -> None:
        """Fold all but the last event, which tells the number of the next."""
        bodies, heads = self._bodies[:-1], tuple(self._heads[:-1])
        updates = cast("list[bytes]", bodies)
        try:
            are_small = sum(map(len, updates)) <= SMALL * len(updates)
        except TypeError:
            # Some are not updates.
            are_small = False
        self._folds = (*self._folds, _Fold(b"\n".join(updates) if are_small else bodies, heads))
        self._first += len(bodies)
        del self._bodies[:-1], self._heads[:-1]

    def _unfold(self) -> None:
        """Undo all of that."""
        bodies: list[bytes | Event | None] = []
        heads: list[bytes] = []
        for fold in self._folds:
            bodies += fold.bodies.split(b"\n") if isinstance(fold.bodies, bytes) else fold.bodies
            heads += fold.heads
        self._folds = ()
        self._first -= len(bodies)
        self._bodies[:0], self._heads[:0] = bodies, heads

    def forget(self, number: int) -> list[Event]:
        """The page has the events up to `number`. Returns those of them that are of streams that conflate."""
        if self._folds:
            self._unfold()
        count = min(number + 1 - self._first, len(self._bodies))
        if count <= 0:
            return []
        had = self._bodies[:count]
        self.unacknowledged -= sum(map(_size, had[: len(self._bodies) - self.to_resend]))
        del self._bodies[:count], self._heads[:count]
        self._first += count
        self.to_resend = min(self.to_resend, len(self._bodies))
        return [body for body in had if isinstance(body, Event) and body.conflated]

    def rewind(self) -> None:
        """There is a new link: everything is to be sent again."""
        self._unfold()
        self.unacknowledged, self.to_resend = 0, len(self._bodies)

    def clear(self) -> None:
        """Keep nothing."""
        self._folds = ()
        self._bodies.clear()
        self._heads.clear()
        self.rewind()

    def next_resend(self) -> Event | None:
        """The event that is to be sent again next; None if there is none."""
        while self.to_resend:
            position = len(self._bodies) - self.to_resend
            body = self._bodies[position]
            if isinstance(body, Event):
                return body
            if body is not None:
                data = PROPS_DATA % (self._heads[position], body)
                return Event(self._first + position, Props.event, data, None)
            self.to_resend -= 1
        return None

    def resent(self) -> None:
        """Note that the event which `next_resend` returned has been sent."""
        self.unacknowledged += _size(self._bodies[-self.to_resend])
        self.to_resend -= 1


def _size(body: bytes | Event | None) -> int:
    if body is None:
        return 0
    return body.size if isinstance(body, Event) else len(body)
