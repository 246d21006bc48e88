"""A link: the server's end of one connection to a browser, which reads the outboxes of the channels of several pages.

    channel ── outbox ──┐ attachment
    channel ── outbox ──┼── link ── the response that the browser reads
    channel ── outbox ──┘

A link owns nothing: the channels that are attached to it go on without it. An outbox that has something new to say
queues its attachment, and the link's task takes from the queued ones in turn, a share of each write from each: so a
page that has much to say does not keep the others waiting, and one whose window is full is not in the queue at all.

While the link's task waits, the sender of an attachment may send new events itself, from the task that has put them
into the outbox: that saves a switch of tasks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import trio

from ..cancel_scopes import EndReason
from ..errors import RequestRefused
from .events import Event
from .outbox import DirectSender, Outbox

GONE = 410
"""The status of a page whose channel is over: a new link begins another."""


class LinkedChannel(Protocol):
    """What a link needs of a channel that it reads: see `nursery.Channel`.

    Attributes:
        page: the page's token.
        life: names this channel among those that the page has had.
        outbox: what the page has still to be sent.
        revoked: the ids of those of the page's streams that were revoked last.
        confirmed_at: when the page last acknowledged something, on Trio's clock.
    """

    page: str
    life: str
    outbox: Outbox
    revoked: tuple[str, ...]

    @property
    def confirmed_at(self) -> float: ...

    def pinged(self) -> None:
        """The page is being asked for an acknowledgement."""
        ...

    def detach(self, attachment: Any, reason: EndReason) -> None:
        """The link is gone, for this reason."""
        ...


class LinkedBrowser(Protocol):
    """What the server can find out about the browser at the other end, besides what its pages say themselves."""

    def has_taken_all(self) -> bool:
        """Whether everything that was sent has arrived."""
        ...

    def has_open_request(self) -> bool:
        """Whether the browser waits for the answer to another request."""
        ...


class Attachment:
    """A channel as one link reads it: the `OutboxReader` of its outbox.

    Attributes:
        channel: the channel.
        link: the link.
        sender: sends the channel's events while the link's task waits; None if only that task can.
        is_queued: the link's task is going to look at it.
        ping_due: the page is to be sent a ping.
        pinged_at: when the page was last sent one, on Trio's clock; at first, when it was attached.
        over: why the link does not read the channel any more; None while it does.
    """

    __slots__ = ("channel", "is_queued", "link", "over", "ping_due", "pinged_at", "sender")

    def __init__(self, link: Link, channel: LinkedChannel) -> None:
        self.channel: LinkedChannel = channel
        self.link: Link = link
        self.sender: DirectSender | None = None
        self.is_queued: bool = False
        self.ping_due: bool = False
        self.pinged_at: float = trio.current_time()
        self.over: RequestRefused | None = None

    def wake(self) -> None:
        """Have the link's task look at the channel."""
        self.link.queue(self)

    def ping_sent(self) -> None:
        """Note that the page is being sent a ping."""
        self.pinged_at = trio.current_time()
        self.ping_due = False
        self.channel.pinged()

    def end(self, why: RequestRefused) -> None:
        """Have the link say that it does not read the channel any more."""
        if self.over is None:
            self.over = why
            self.wake()


class Link:
    """One reader of the channels of a browser's pages.

    Attributes:
        attachments: the channels that it reads.
        linked_browser: what is known of the browser besides what its pages say; None if nothing is.
        finish: sends the rest of what a `DirectSender` has begun; None without such senders.
        waiting_task: the link's task while it waits for something to do; else None.
    """

    __slots__ = ("_queue", "attachments", "finish", "linked_browser", "waiting_task")

    def __init__(self, linked_browser: LinkedBrowser | None = None) -> None:
        self.attachments: list[Attachment] = []
        self.linked_browser: LinkedBrowser | None = linked_browser
        self.finish: Callable[[], Awaitable[None]] | None = None
        # A list: an empty deque takes 600 bytes of every link.
        self._queue: list[Attachment] = []
        # Not an Event: it would take half a KiB of every link.
        self.waiting_task: trio.lowlevel.Task | None = None

    def attach(self, channel: LinkedChannel) -> Attachment:
        """Read this channel, too."""
        attachment = Attachment(self, channel)
        self.attachments.append(attachment)
        self.queue(attachment)
        return attachment

    def queue(self, attachment: Attachment) -> None:
        """Have the link's task look at an attachment."""
        if not attachment.is_queued:
            attachment.is_queued = True
            self._queue.append(attachment)
        if self.waiting_task is not None:
            trio.lowlevel.reschedule(self.waiting_task)
            self.waiting_task = None

    async def receive(self, at_most: int) -> list[tuple[Attachment, list[Event]]]:
        """Return the channels that have something to say, in turn, each with the events that it has taken.

        One without events is due for a ping, or is over: this link does not read it any more. Waits until there is one.

        Args:
            at_most: bytes of events altogether, or one event if that is larger.

        Returns:
            Nothing when the link has no channel left.
        """
        while self.attachments:
            if self.finish is not None:
                await self.finish()
            received = self._take(at_most)
            if received:
                return received
            if not self._queue:
                self.waiting_task = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)
        return []

    def _stop_waiting(self, _: object) -> trio.lowlevel.Abort:
        self.waiting_task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _take(self, at_most: int) -> list[tuple[Attachment, list[Event]]]:
        queue, self._queue = self._queue, []
        received: list[tuple[Attachment, list[Event]]] = []
        later: list[Attachment] = []
        for index, attachment in enumerate(queue):
            if at_most <= 0:
                later = queue[index:]
                break
            attachment.is_queued = False
            if attachment not in self.attachments:
                continue
            outbox = attachment.channel.outbox
            events: list[Event] = []
            if attachment.over is None:
                events = outbox.take(at_most // (len(queue) - index))
                at_most -= sum(event.size for event in events)
                if outbox.exhausted:
                    attachment.over = RequestRefused(GONE, "The streams of this page have ended: connect anew.")
                elif outbox.has_more():
                    attachment.wake()
            if attachment.over is not None:
                self.attachments.remove(attachment)
            if events or attachment.ping_due or attachment.over is not None:
                received.append((attachment, events))
        # Those whose turn has not come are first the next time.
        self._queue = later + self._queue
        return received

    def detach(self, reason: EndReason = EndReason.DISCONNECTED) -> None:
        """The connection is gone. With `disconnected` the pages may come back within `reconnect_grace`."""
        attachments, self.attachments = self.attachments, []
        for attachment in attachments:
            attachment.channel.detach(attachment, reason)
