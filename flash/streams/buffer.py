"""Counts the updates of one stream that wait for its page, and lets its generator wait for room: the buffer.

Every update that waits in the page's outbox is charged to the buffer of its stream. A generator whose buffer is full
waits at its `yield`. So a page that reads slowly slows down its own generators and nobody else's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import trio

from ..options import DEFAULTS
from .events import NOT_LIGHT, ConflatedEvent, Event, LightUpdates, PropUpdate


class Bounds(NamedTuple):
    """How much of a stream may wait for its page.

    A generator waits at `yield` as soon as either bound is reached, so what is buffered exceeds the byte bound by
    less than one update.

    Attributes:
        bytes: bytes of JSON buffered per stream.
        updates: updates buffered per stream.
    """

    bytes: int = DEFAULTS.stream_buffer_bytes
    updates: int = DEFAULTS.stream_buffer_updates


class BoundedBuffer(ABC):
    """Something that can be full, with a way to wait until it is not."""

    __slots__ = ("_room",)

    def __init__(self) -> None:
        self._room: trio.Event | None = None

    @abstractmethod
    def full(self, times: int = 1) -> bool:
        """Whether it holds as much as it may, or `times` as much."""

    def freed(self) -> None:
        """Something has been taken out: wake the tasks that wait for room, if there is room now."""
        if self._room is not None and not self.full():
            self._room.set()
            self._room = None

    async def wait_for_room(self) -> None:
        """Return when it is not full; at once, and without a checkpoint, if it is not."""
        while self.full():
            if self._room is None:
                self._room = trio.Event()
            await self._room.wait()


class StreamBuffer(BoundedBuffer):
    """How much of one stream waits in the outbox of its page.

    Attributes:
        bounds: how much may wait.
        head: what the JSON of every event with updates of this stream begins with: see `wire.props_head`.
        updates: how many updates wait.
        bytes: bytes of JSON that wait.
        sent_updates: how many updates were sent.
        sent_bytes: bytes of JSON that were sent.
        light_kind: the class of updates that may wait as they are, and be encoded later; None if none may.
        tail: the event that the latest update went into, while it waits; None if no update waits.
        in_flight: for a stream that conflates, the event that was sent and is not acknowledged yet; else None.
    """

    __slots__ = (
        "_encode_light",
        "bounds",
        "bytes",
        "head",
        "in_flight",
        "light_kind",
        "sent_bytes",
        "sent_updates",
        "tail",
        "updates",
    )

    def __init__(self, bounds: Bounds, head: bytes = b"", light: LightUpdates = NOT_LIGHT) -> None:
        super().__init__()
        self.bounds: Bounds = bounds
        self.head: bytes = head
        self.light_kind: type[Any] | None = light.kind
        self._encode_light = light.encode
        self.tail: Event | None = None
        self.in_flight: Event | None = None
        self.bytes: int = 0
        self.updates: int = 0
        self.sent_bytes: int = 0
        self.sent_updates: int = 0

    def full(self, times: int = 1) -> bool:
        return self.updates >= times * self.bounds.updates or self.bytes >= times * self.bounds.bytes

    @property
    def is_behind(self) -> bool:
        """For a source that waits for no page: what comes next is conflated, until what waits was sent."""
        return self.full() or (self.tail is not None and self.tail.conflated)

    def can_conflate(self, prop_updates: Sequence[PropUpdate]) -> bool:
        """Whether a stream that is behind can take in an update, conflated.

        Newer values of properties take the place of older ones, and always can. What needs more room can while what
        waits is less than twice as much as may wait, or the conflated part of it is less than may wait. So what is
        buffered exceeds twice the bound by less than two updates.
        """
        tail = self.tail
        if not self.full(times=2) or not isinstance(tail, ConflatedEvent):
            return True
        has_room = tail.size < self.bounds.bytes and tail.updates < self.bounds.updates
        return has_room or tail.replaces_by(prop_updates)

    def gather(self, update: Any) -> bool:
        """Let an update wait as it is, in the event of the latest one. False if it has to be encoded at once."""
        tail = self.tail
        if tail is None or tail.size >= tail.limit or type(update) is not self.light_kind:
            return False
        light = tail.light
        if light is None:
            light = tail.begin_light()
        light += update.pairs
        size = update.size
        tail.size += size
        tail.updates += 1
        self.bytes += size
        self.updates += 1
        return True

    def encode_light(self, pairs: list[Any]) -> bytes:
        """Encode the pairs of updates that have waited as they are: see `LightUpdates`."""
        return self._encode_light(pairs)

    def charge(self, size: int) -> None:
        """Count one more update, of `size` bytes of JSON, that waits."""
        self.updates += 1
        self.bytes += size

    def release(self, updates: int, size: int) -> None:
        """Count so many updates, of `size` bytes together, as not waiting any more."""
        self.updates -= updates
        self.bytes -= size
        self.freed()

    def sent(self, event: Event) -> None:
        """Count the updates of an event that has waited as sent."""
        if self.tail is event:
            self.tail = None
        if event.conflated:
            self.in_flight = event
        updates, size = event.updates, event.size
        self.sent_updates += updates
        self.sent_bytes += size
        self.updates -= updates
        self.bytes -= size
        self.freed()

    def acknowledged(self, event: Event) -> Event | None:
        """The page has an event of a stream that conflates. Returns the event that was held back until then, if any."""
        if self.in_flight is not event:
            return None
        self.in_flight = None
        return self.held_back

    @property
    def held_back(self) -> Event | None:
        """The event of a stream that conflates that waits for the acknowledgement of the one in flight."""
        return self.tail if self.tail is not None and self.tail.number == 0 else None
