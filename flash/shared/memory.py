"""Says, as a Protocol, what a source remembers for those who join late; that of a feed are its last values."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Protocol


class Nothing:
    """What `Memory.take` returns of a value that followers are not given."""


NOTHING = Nothing()


class Memory(Protocol):
    """What a source remembers of what its generator has yielded."""

    def take(self, value: object, /) -> object:
        """Remember a value. Returns what the followers are given of it, or `NOTHING`.

        Raises:
            FlashError: the value is none that can be given to followers.
        """
        ...

    def given(self) -> Iterable[Any]:
        """What a new follower is given first."""
        ...

    @property
    def refusal(self) -> str | None:
        """Why nobody can join any more, as a sentence; None if one can."""
        ...


class LastValues:
    """The memory of a feed: the last values."""

    refusal = None

    def __init__(self, count: int) -> None:
        self._values: deque[Any] = deque(maxlen=count)

    def take(self, value: object) -> object:
        """See `Memory`."""
        self._values.append(value)
        return value

    def given(self) -> Iterable[Any]:
        """See `Memory`."""
        return self._values
