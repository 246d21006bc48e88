"""A link: the server's end of one connection to a page, which reads the outbox of the page's channel.

A link owns nothing: the channel that it is attached to goes on without it. While the link's task waits for events, a
`LinkSender` may send them instead, from the task that has put them into the outbox: that saves a switch of tasks.
"""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

import trio

from ..cancel_scopes import EndReason
from .events import Event
from .outbox import DirectSender, Outbox


class LinkedChannel(Protocol):
    """What a link needs of the channel that it reads: see `nursery.Channel`.

    Attributes:
        life: names this channel among those that the page has had.
        outbox: what the page has still to be sent.
    """

    life: str
    outbox: Outbox

    def reschedule(self) -> None:
        """Compute the page's next deadline again."""
        ...

    def detach(self, link: Any, reason: EndReason) -> None:
        """The link is gone, for this reason."""
        ...


ChannelT = TypeVar("ChannelT", bound=LinkedChannel)


class LinkSender(DirectSender, Protocol):
    """Sends events while the link's task waits for some, and leaves to that task what could not be sent at once."""

    async def finish(self) -> None:
        """Send the rest of what `send_now` has begun, if there is any."""
        ...


class Peer(Protocol):
    """What the server can find out about the page at the other end, besides what the page says itself."""

    def has_taken_all(self) -> bool:
        """Whether everything that was sent has arrived."""
        ...

    def has_open_request(self) -> bool:
        """Whether its browser waits for the answer to another request."""
        ...


class Link(Generic[ChannelT]):
    """One reader of a channel's outbox.

    Attributes:
        channel: the channel that it is attached to.
        replaced: a newer link has taken its place.
        ping_due: the page is to be sent a ping.
        pinged_at: when the page was last sent one, on Trio's clock.
        sender: sends events while this link's task waits for some; None if only the task can.
        peer: what is known of the page besides what it says; None if nothing is.
    """

    def __init__(self, channel: ChannelT) -> None:
        self.channel = channel
        self.replaced = False
        self.ping_due: bool = False
        self.pinged_at: float = trio.current_time()
        self.sender: LinkSender | None = None
        self.peer: Peer | None = None

    async def receive(self, at_most: int) -> list[Event]:
        """Return the events that wait, up to `at_most` bytes of them; wait for one if there is none.

        Returns nothing when the channel has closed, when this link was replaced, or when a ping is due.
        """
        outbox = self.channel.outbox
        while True:
            sender = self.sender
            if sender is not None:
                await sender.finish()
            if self.replaced or self.ping_due:
                return []
            events = outbox.take(at_most)
            if events or outbox.exhausted:
                return events
            await outbox.wait(sender)

    def ping_sent(self) -> None:
        """Note that the page is being sent a ping."""
        self.pinged_at = trio.current_time()
        if self.ping_due:
            self.ping_due = False
            self.channel.reschedule()

    def detach(self, reason: EndReason = EndReason.DISCONNECTED) -> None:
        """The connection is gone. With `disconnected` the page may come back within `reconnect_grace`."""
        self.channel.detach(self, reason)
