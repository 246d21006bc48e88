"""Says, as Protocols, what a source and those who follow it need of each other.

Two kinds follow sources: `follower.Follower`, which takes the values of a feed from a buffer, and
`stream_follower.StreamFollower`, a stream into whose page the updates go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from .listing import FollowerInfo


class SourceFollower(Protocol):
    """What a source needs of a follower."""

    def begin(self, source: Any, given: Iterable[Any], /) -> None:
        """The source has taken it in, and gives it what its memory has for a new follower."""
        ...

    def put(self, value: Any, /) -> None:
        """Take what the source gives every follower."""
        ...

    def end(self, exception: Callable[[], BaseException], /, *, at_once: bool = False) -> None:
        """The source gives nothing any more; only the first call counts.

        Args:
            exception: makes what is raised for the follower: `StopAsyncIteration`, or the reason.
            at_once: whether what waits is dropped.
        """
        ...

    def hold(self) -> Callable[[], None]:
        """The source lingers, and this was its last follower: keep what leads back to it. Returns what lets that go."""
        ...

    @property
    def info(self) -> FollowerInfo:
        """What `app.feeds()` lists."""
        ...


class Followed(Protocol):
    """What the follower of a feed needs of its source."""

    def leave(self, follower: Any, /) -> None:
        """The follower takes nothing any more. Without effect for one that has left."""
        ...

    def is_full(self, follower: Any, /) -> None:
        """The buffer of the follower is full: with `overflow="wait"` the source waits."""
        ...

    def has_room(self, follower: Any, /) -> None:
        """The buffer of the follower is not full any more."""
        ...
