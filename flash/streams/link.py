"""One reader of a page's outbox: the server's end of one connection.

It owns nothing: the channel that it is attached to goes on without it. While it waits for news, whoever has some
may have it written directly, if there is a way: that saves waking the task that waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import trio

from ..cancel_scopes import EndReason
from .events import Event

if TYPE_CHECKING:
    from ..nursery import Channel


class Direct(Protocol):
    """What can write news to a page at once, while its connection's task waits for some."""

    def hand_over(self) -> bool:
        """Write what the outbox has; says whether the task need not be woken."""
        ...

    async def finish(self) -> None:
        """Write what that has left, if anything, before the task says anything else."""
        ...


class Peer(Protocol):
    """What can be known of the page at the other end, besides what it says itself."""

    def has_taken_all(self) -> bool:
        """Whether everything that was sent has arrived."""
        ...

    def is_asking(self) -> bool:
        """Whether its browser waits for the answer to another request."""
        ...


class Connection:
    """One reader of a channel's outbox.

    Attributes:
        channel: what it is attached to.
        replaced: a newer connection has taken its place.
        due: it is to ping the page.
        pinged_at: when it last did, on Trio's clock.
        direct: what writes news to the page while this waits for it; None if nothing can.
        peer: what is known of the page besides what it says; None if nothing is.
    """

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.replaced = False
        self.due = False
        self.pinged_at = trio.current_time()
        self.direct: Direct | None = None
        self.peer: Peer | None = None

    async def receive(self, at_most: int) -> list[Event]:
        """Return the events that wait, up to `at_most` bytes of them; wait for one if there is none.

        Returns nothing when the channel has closed, when this connection was replaced, or when a ping is due.
        """
        outbox = self.channel.outbox
        while True:
            if self.direct is not None:
                await self.direct.finish()
            if self.replaced or self.due:
                return []
            events = self.channel.take(at_most)
            if events or outbox.over:
                return events
            hand_over = None if self.direct is None else self.direct.hand_over
            outbox.hand_over = hand_over
            try:
                await outbox.wait()
            finally:
                # A connection that has taken this one's place may wait, too.
                if outbox.hand_over is hand_over:
                    outbox.hand_over = None

    def pinged(self) -> None:
        """The page is being asked whether it is there."""
        self.pinged_at = trio.current_time()
        if self.due:
            self.due = False
            self.channel.look()

    def detach(self, reason: EndReason = EndReason.DISCONNECTED) -> None:
        """The connection is gone; with `disconnected` the page may come back within the grace."""
        self.channel.detach(self, reason)
