"""The events that a page is sent: an update of a stream, several that had to wait, or what begins and ends one."""

from __future__ import annotations

from typing import NamedTuple

from .buffer import Gauge


class Event:
    """One event on its way to the page.

    Attributes:
        number: among the events of its outbox.
        name: on the wire.
        gauge: what it is charged to; None if it carries no updates.
        size: bytes of JSON.
        updates: how many updates it carries.
        conflated: of a stream that conflates; the page is to say when it has it.
    """

    conflated = False

    __slots__ = ("_data", "_joined", "gauge", "name", "number", "size")

    def __init__(self, number: int, name: str, data: bytes, gauge: Gauge | None) -> None:
        self.number = number
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

    @property
    def data(self) -> bytes:
        """Its JSON."""
        return self._data if self.gauge is None else b"%b%b]}" % (self.gauge.head, self.pairs)

    @property
    def pairs(self) -> bytes:
        """The inner part of the JSON array of its updates."""
        return self._data if self._joined is None else b",".join(self._joined)

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
    def pairs(self) -> bytes:
        return b",".join(self._values.values())

    @property
    def updates(self) -> int:
        return len(self._values)
