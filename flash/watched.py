"""Defines `Watched`, what a generator gets for an Input of `watch=`: a value that follows the page.

A watched Input starts nothing and ends nothing. The page sends its changes as it sends those of cancel Inputs, and
`StreamScope.change` passes each on to the `Watched` of the stream. Only the newest value is kept: a generator that is
busy misses the values between, and never gets an old one.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import trio

from .errors import FlashError

T = TypeVar("T")


class Watched(Generic[T]):
    """A property of the page, for a stream that watches it: `speed` in `watch={"speed": Input("speed", "value")}`."""

    __slots__ = ("_changed", "_name", "_value", "_waiting")

    def __init__(self, value: T, name: str = "the watched property") -> None:
        """
        Args:
            value: what the property is when the stream starts; None if its component is not in the layout.
            name: the property, for messages.
        """
        self._value = value
        self._name = name
        self._changed = False
        self._waiting = trio.lowlevel.ParkingLot()

    @property
    def value(self) -> T:
        """What the page shows now, which is the newest value that has reached the server. May be read in any thread.

        None while the component is not in the layout.
        """
        # In this order: a change that another thread makes in between is at worst noted although it was read.
        self._changed = False
        return self._value

    async def changed(self) -> None:
        """Return when the property has changed since `value` was last read, or the stream began: maybe at once.

        This is a checkpoint in any case. A plain generator writes `trio.from_thread.run(speed.changed)`.

        Raises:
            FlashError: it was awaited on asyncio's event loop.
        """
        if not trio.lowlevel.in_trio_task():
            raise FlashError(
                f"changed() of {self._name} was awaited outside of Trio: it waits on Trio's event loop. Read `.value` "
                "each time instead, or write the event callback without @on_asyncio."
            )
        if self._changed:
            await trio.lowlevel.checkpoint()
        else:
            await self._waiting.park()

    def change(self, value: T) -> None:
        """Note that the property has become `value`, and wake who waits for a change. Flash calls it on Trio's loop."""
        self._value = value
        self._changed = True
        self._waiting.unpark_all()

    def __repr__(self) -> str:
        return f"<Watched {self._name}: {self._value!r}>"
