"""Defines the events that an outbox holds: an update of a stream, several that were merged, or no update at all.

An event that carries updates belongs to the buffer of its stream (`buffer.StreamBuffer`), which counts what waits. The
module `buffer` imports this one, and so `EventBuffer` says here what an event needs of a buffer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from ..wire import PROPS_DATA, Props


class EventBuffer(Protocol):
    """What an event needs of the buffer of its stream.

    Attributes:
        head: what the JSON of every event with updates of this stream begins with: see `wire.props_head`.
    """

    head: bytes

    def encode_light(self, pairs: list[Any]) -> bytes:
        """Encode the pairs of updates that have waited as they are: see `LightUpdates`."""
        ...

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
        size: bytes of JSON; an estimate, as long as some of its updates wait as they are.
        updates: how many updates it carries.
        limit: the size from which on it takes in no more updates that wait as they are.
        light: the pairs of the last of its updates, which wait as they are; None if none do.
        conflated: it belongs to a stream that conflates, which sends the next one when the page acknowledges this one.
    """

    conflated = False

    __slots__ = ("_data", "_encoded_size", "_merged", "buffer", "light", "limit", "name", "number", "size", "updates")

    def __init__(self, number: int, name: str, data: bytes, buffer: EventBuffer | None) -> None:
        self.number: int = number
        self.name: str = name
        self.buffer: EventBuffer | None = buffer
        self.size: int = len(data)
        self.updates: int = 0 if buffer is None else 1
        self.limit: int = 0
        self.light: list[Any] | None = None
        self._data = data
        # Made by the first merge: most events carry one update, and a list takes more memory than that.
        self._merged: list[bytes] | None = None

    def merge(self, pairs: bytes, updates: int = 1) -> None:
        """Append another update, or several, to those that the event carries."""
        if self.light is not None:
            self.encode_light()
        if self._merged is None:
            self._merged, self._data = [self._data], b""
        self._merged.append(pairs)
        self.size += len(pairs)
        self.updates += updates

    def begin_light(self) -> list[Any]:
        """The list for the pairs of updates that are to wait as they are."""
        self._encoded_size = self.size
        self.light = light = list[Any]()
        return light

    def encode_light(self) -> None:
        """Encode the updates that wait as they are, and correct `size` and what the buffer has counted."""
        light, buffer, estimated = self.light, self.buffer, self.size
        assert light is not None
        assert buffer is not None
        self.light = None
        self.size = self._encoded_size
        self.merge(buffer.encode_light(light), 0)
        buffer.release(0, estimated - self.size)

    @property
    def data(self) -> bytes:
        """The event's JSON."""
        return self._data if self.buffer is None else PROPS_DATA % (self.buffer.head, self.pairs)

    @property
    def pairs(self) -> bytes:
        """The inner part of the JSON array of its updates."""
        if self.light is not None:
            self.encode_light()
        return self._data if self._merged is None else b",".join(self._merged)


class LightUpdates(NamedTuple):
    """Updates that may wait as they are, and are encoded together when they are sent: that is quicker than one by one.

    Nobody can change their values meanwhile, and every such value has a form in JSON.

    Attributes:
        kind: the class of such updates. They have `pairs`, and `size`: about how many bytes their JSON has.
        encode: encodes the pairs of several as the inner part of an array.
    """

    kind: type[Any] | None
    encode: Callable[[list[Any]], bytes]


def _encode_none(pairs: list[Any]) -> bytes:
    raise AssertionError(pairs)


NOT_LIGHT = LightUpdates(None, _encode_none)
"""No update may wait as it is."""


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


FRAME_SIZE = 200
"""Bytes that the frame of an update has at most besides its pairs."""


class SharedUpdate:
    """An update of a source, encoded once for all the streams that follow it.

    Attributes:
        pairs: the inner part of the JSON array of its pairs.
        by_prop: the same, property by property; empty if there is nothing to send.
        place: its place among the updates of its source, from 1.
        total: bytes that the frames of these updates have at most, up to this one's.
        next: the update after it; None while it is the last.
    """

    __slots__ = ("by_prop", "next", "pairs", "place", "total")

    def __init__(self, pairs: bytes, by_prop: Sequence[PropUpdate]) -> None:
        self.pairs: bytes = pairs
        self.by_prop: Sequence[PropUpdate] = by_prop
        self.place: int = 0
        self.total: int = 0
        self.next: SharedUpdate | None = None

    def follow(self, before: SharedUpdate) -> None:
        """This update comes after another one of its source."""
        self.place = before.place + 1
        self.total = before.total + len(self.pairs) + FRAME_SIZE
        before.next = self


class ConflatedEvent(Event):
    """An event that keeps only the newest whole value of each property, and every part of a value."""

    __slots__ = ("_values",)

    conflated = True

    def __init__(self, buffer: EventBuffer) -> None:
        super().__init__(0, Props.event, b"", buffer)
        self.updates = 0
        self._values: dict[object, bytes] = {}

    def put(self, prop_update: PropUpdate) -> None:
        """Append a value; if it is a whole one, drop the older value of the same property."""
        assert self.buffer is not None
        key = prop_update.key if prop_update.whole else object()
        replaced = self._values.pop(key, None)
        if replaced is not None:
            self.size -= len(replaced)
            self.updates -= 1
            self.buffer.release(1, len(replaced))
        self._values[key] = prop_update.pair
        self.size += len(prop_update.pair)
        self.updates += 1
        self.buffer.charge(len(prop_update.pair))

    def replaces_by(self, prop_updates: Sequence[PropUpdate]) -> bool:
        """Whether all of these are newer values of properties that it has."""
        return all(prop_update.whole and prop_update.key in self._values for prop_update in prop_updates)

    @property
    def pairs(self) -> bytes:
        return b",".join(self._values.values())
