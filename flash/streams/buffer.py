"""How much of a stream waits for its page, what of it may, and waiting for room.

Every update that waits is charged to the gauge of its stream; a generator whose gauge is full waits at its `yield`, and
so a page that does not read slows its own generators and nobody else's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from .events import Event


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


class Room(ABC):
    """What can be full, and waiting until it is not."""

    __slots__ = ("_freed",)

    def __init__(self) -> None:
        self._freed: trio.Event | None = None

    @abstractmethod
    def full(self, times: int = 1) -> bool:
        """Whether as much is in it as may, or so many times as much."""

    def freed(self) -> None:
        """Something has gone: wake whoever waits, if there is room now."""
        if self._freed is not None and not self.full():
            self._freed.set()
            self._freed = None

    async def wait_for_room(self) -> None:
        """Return when it is not full; at once, and without a checkpoint, if it is not."""
        while self.full():
            if self._freed is None:
                self._freed = trio.Event()
            await self._freed.wait()


class Gauge(Room):
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

    __slots__ = ("bounds", "bytes", "head", "last", "on_its_way", "sent_bytes", "sent_updates", "updates")

    def __init__(self, bounds: Bounds, head: bytes = b"") -> None:
        super().__init__()
        self.bounds = bounds
        self.head = head
        self.last: Event | None = None
        self.on_its_way: Event | None = None
        self.bytes = 0
        self.updates = 0
        self.sent_bytes = 0
        self.sent_updates = 0

    def full(self, times: int = 1) -> bool:
        return self.updates >= times * self.bounds.updates or self.bytes >= times * self.bounds.bytes

    def charge(self, size: int) -> None:
        self.updates += 1
        self.bytes += size

    def release(self, updates: int, size: int) -> None:
        self.updates -= updates
        self.bytes -= size
        self.freed()
