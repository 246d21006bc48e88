"""Defines the events that an outbox holds: an update of a stream, several that were merged, or no update at all.

An event that carries updates belongs to the buffer of its stream (`buffer.StreamBuffer`), which counts what waits. The
module `buffer` imports this one, and so `EventBuffer` says here what an event needs of a buffer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ..wire import PROPS_DATA, Props


class EventBuffer(Protocol):
    """What an event needs of the buffer of its stream.

    Attributes:
        head: what the JSON of every event with updates of this stream begins with: see `wire.props_head`.
    """

    head: bytes

    def charge(self, size: int) -> None:
        """Count one more update, of `size` bytes of JSON, that waits."""
        ...

    def release(self, updates: int, size: int) -> None:
        """Count so many updates, of `size` bytes together, as not waiting any more."""
        ...

    def sent(self, event: Event) -> None:
        """Count the updates of an event that has waited as sent."""
        ...

    def acknowledged(self, event: Event) -> Event | None:
        """The page has an event of a stream that conflates. Returns the event that was held back until then, if any."""
        ...


class Event:
    """One event on its way to the page.

    Attributes:
        number: the event's place among the events of its outbox, from 1; 0 while it is held back.
        name: its name on the wire.
        buffer: the buffer of its stream; None if it carries no updates.
        size: bytes of JSON.
        updates: how many updates it carries.
        conflated: it belongs to a stream that conflates, which sends the next one when the page acknowledges this one.
    """

    conflated = False

    __slots__ = ("_data", "_merged", "buffer", "name", "number", "size")

    def __init__(self, number: int, name: str, data: bytes, buffer: EventBuffer | None) -> None:
        self.number: int = number
        self.name: str = name
        self.buffer: EventBuffer | None = buffer
        self.size: int = len(data)
        self._data = data
        # Made by the first merge: most events carry one update, and a list takes more memory than that.
        self._merged: list[bytes] | None = None

    def merge(self, pairs: bytes) -> None:
        """Append another update to the one that the event carries."""
        if self._merged is None:
            self._merged, self._data = [self._data], b""
        self._merged.append(pairs)
        self.size += len(pairs)

    @property
    def data(self) -> bytes:
        """The event's JSON."""
        return self._data if self.buffer is None else PROPS_DATA % (self.buffer.head, self.pairs)

    @property
    def pairs(self) -> bytes:
        """The inner part of the JSON array of its updates."""
        return self._data if self._merged is None else b",".join(self._merged)

    @property
    def updates(self) -> int:
        if self.buffer is None:
            return 0
        return 1 if self._merged is None else len(self._merged)


class PropUpdate(NamedTuple):
    """The part of an update that concerns one property.

    Attributes:
        key: names the property: a newer update of the same key may replace this one.
        whole: it is a whole value, which replaces an older one; a part, of a Patch for instance, replaces nothing.
        pair: its JSON: `[id, props]`.
        base: for a part, the key of the property that it adds to, which may be another one.
    """

    key: object
    whole: bool
    pair: bytes
    base: object = None


class SharedUpdate(NamedTuple):
    """An update of a source, encoded once for all the streams that follow it.

    Attributes:
        pairs: the inner part of the JSON array of its pairs.
        by_prop: the same, property by property; empty if there is nothing to send.
    """

    pairs: bytes
    by_prop: Sequence[PropUpdate]


class ConflatedEvent(Event):
    """An event that keeps only the newest whole value of each property, and every part of a value."""

    __slots__ = ("_values",)

    conflated = True

    def __init__(self, buffer: EventBuffer) -> None:
        super().__init__(0, Props.event, b"", buffer)
        self._values: dict[object, bytes] = {}

    def put(self, prop_update: PropUpdate) -> None:
        """Append a value; if it is a whole one, drop the older value of the same property."""
        assert self.buffer is not None
        key = prop_update.key if prop_update.whole else object()
        replaced = self._values.pop(key, None)
        if replaced is not None:
            self.size -= len(replaced)
            self.buffer.release(1, len(replaced))
        self._values[key] = prop_update.pair
        self.size += len(prop_update.pair)
        self.buffer.charge(len(prop_update.pair))

    def replaces_by(self, prop_updates: Sequence[PropUpdate]) -> bool:
        """Whether all of these are newer values of properties that it has."""
        return all(prop_update.whole and prop_update.key in self._values for prop_update in prop_updates)

    @property
    def pairs(self) -> bytes:
        return b",".join(self._values.values())

    @property
    def updates(self) -> int:
        return len(self._values)
