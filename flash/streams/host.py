"""Says, as a Protocol, what a stream needs of the channel that it runs in; `nursery.Channel` is one."""

from __future__ import annotations

from typing import Protocol

from .outbox import Outbox
from .thread import Spawn


class StreamHost(Protocol):
    """The channel, as its streams see it.

    Attributes:
        outbox: where the stream puts its events.
    """

    outbox: Outbox

    def ended(self, stream_id: str, key: str) -> None:
        """A stream has sent its `end`; the next run of its key may start."""
        ...

    def task_over(self, stream_id: str) -> None:
        """The task of a stream is over."""
        ...

    def report(self, callback: str, kind: str, message: str) -> None:
        """Show a mistake in the page's dev tools, unless one of its kind was shown before."""
        ...

    @property
    def spawn(self) -> Spawn:
        """Runs a function as a task of the channel's nursery, with given contextvars."""
        ...
