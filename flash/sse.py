"""Sends a page its events over a link of server-sent events, and answers the routes that a page calls.

    GET  _flash/events?page=...&page=...  the link: for each page `hello`, then `open`, `props`, `end`, `refused`, and
                                          `ping`; `over` for a page that it does not carry any more
    POST _flash/ack                       acknowledges the last event that each of several pages has applied
    POST _flash/cancel                    a cancel Input or a watched one of a running stream has changed
    POST _flash/close                     the page is being left
    POST _flash/ticket                    issues a ticket for a page whose browser's cookie has changed
    GET  _flash/status?page=...           why a link is refused, which an EventSource does not tell its page

A link names each of its pages with how far it has come: see `wire.Standing`. `hello` names the life of the page's
channel. Events are numbered within that life, and the page gets those after the last one that it has, or has
acknowledged. An EventSource that reconnects by itself says the former in `Last-Event-ID`. `ping` asks pages for an
acknowledgement: when half the window has been sent, and when a page was not asked for the ping interval. A page that is
refused, or whose channel is over, is told by `over`, and the others go on.

A page is named by its token, which is issued with the layout; the server stores nothing of it until it is used. URLs
reach access logs, so the token alone opens nothing: a channel belongs to the browser (an HttpOnly cookie) that opened
it, and to the page that has the token's secret: see `page_secret`.

A refused request gets a 4xx or 503 with one sentence, and changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import trio
from quart import Quart, request
from quart_trio.wrappers import TrioResponse as Response

from .asgi.browser_cookie import browser_of
from .asgi.direct_writes import DirectWriter, Http2Writer
from .asgi.http_exchange import EndlessBody
from .asgi.linked_browser import LinkedBrowser
from .asgi.page_secret import page_token, proven_pages
from .asgi.refusals import add_route
from .asgi.request_body import read_small_body
from .cancel_scopes import EndReason
from .channels import Channels
from .errors import RequestRefused
from .nursery import Channel
from .streams.events import Event
from .streams.limits import PageLimits
from .streams.link import GONE, Attachment, Link
from .wire import PROOF_HEADER, PROPS_DATA, Hello, Over, Payload, Ping, Props, Standing, parse_event_id
from .wire_messages import LINK_ROUTE, Ack, Acknowledged, Cancel, Close, Status, Ticket, TicketRequest

WRITE_SIZE = 65_536
"""Bytes that one write to the link sends at most: what a socket buffer takes at once."""

RETRY = 1_000
"""Milliseconds after which an EventSource that has lost its server connects again."""

HEADERS = {
    "Cache-Control": "no-cache, no-store, no-transform",
    "X-Accel-Buffering": "no",
}

_FRAME = b"event: %b\ndata: %b\n\n"
"""The frame of one event: its name, and its data, which is JSON and so has no line breaks."""

_NUMBERED = b"id: %b.%d\n" + _FRAME
"""The frame of an event that a page acknowledges: its id is the life of the channel and the event's number."""


def encode_unnumbered(payload: Payload) -> bytes:
    """The frame of an event that a page does not acknowledge."""
    return _FRAME % (payload.event.encode(), payload.encode())


def encode_events(life: str, events: Iterable[Event]) -> bytes:
    """The frames of several events, joined.

    Args:
        life: the life of the channel whose events these are.
        events: in the order of their numbers.
    """
    encoded_life = life.encode()
    return b"".join([_NUMBERED % (encoded_life, event.number, event.name.encode(), event.data) for event in events])


def frame_of_props(life: str) -> bytes:
    """The frame of a `props` event of a channel, into which go its number, and what goes into `PROPS_DATA`."""
    return b"id: %b.%%d\n" % life.encode() + _FRAME % (Props.event.encode(), PROPS_DATA)


class PageSender:
    """Makes frames of the events of one page, and writes them to the socket for the task that has put them.

    It is the `DirectSender` of the page's outbox.
    """

    __slots__ = (
        "_attachment",
        "_bytes_since_ping",
        "_life",
        "_link",
        "_ping_after",
        "_props_frame",
        "_stream",
        "_writer",
    )

    def __init__(self, stream: EventStream, attachment: Attachment, writer: DirectWriter | Http2Writer | None) -> None:
        self._stream = stream
        self._attachment = attachment
        self._link = attachment.link
        self._writer = writer
        self._life = attachment.channel.life
        self._ping_after = stream.limits.window / 2
        self._bytes_since_ping = 0
        self._props_frame = frame_of_props(self._life)

    def room(self) -> int:
        """Bytes that may be written at once: none while the socket is busy, or too soon after the last write."""
        writer = self._writer
        return WRITE_SIZE if writer is not None and self._link.waiting_task is not None and writer.is_free() else 0

    def send_update(self, number: int, head: bytes, pairs: bytes) -> bool:
        writer, attachment = self._writer, self._attachment
        # The link's task pings, and looks whether other pages are to be pinged, too.
        if writer is None or self._link.waiting_task is None or attachment.ping_due:
            return False
        data = self._props_frame % (number, head, pairs)
        size = self._bytes_since_ping + len(data)
        if size >= self._ping_after or (written := writer.write(data)) is None:
            return False
        self._bytes_since_ping = size
        if not written:
            attachment.wake()
        return True

    def bytes_until_ping(self) -> float:
        return self._ping_after - self._bytes_since_ping

    def send_uncounted(self, number: int, head: bytes, pairs: bytes) -> bool:
        writer = self._writer
        # The link's task does not wait while a ping is due.
        if writer is None or self._link.waiting_task is None:
            return False
        if (written := writer.write(self._props_frame % (number, head, pairs))) is False:
            self._attachment.wake()
        return written is not None

    def count(self, updates: int, head: bytes, size: int) -> None:
        self._bytes_since_ping += size + updates * (len(self._props_frame) + len(head))

    def send_now(self, events: list[Event]) -> bool:
        """Write events to the socket. False if it has not taken all of them: the link's task writes the rest."""
        assert self._writer is not None
        data = self.encode(events)
        if self.is_ping_due(events):
            data += self._stream.ping([self._attachment])
        return self._writer.write(data) is True

    def encode(self, events: list[Event]) -> bytes:
        """The frames of events."""
        data = encode_events(self._life, events)
        self._bytes_since_ping += len(data)
        return data

    def is_ping_due(self, events: list[Event]) -> bool:
        """Whether the page is to be pinged behind these events: half the window is sent, or a stream conflates."""
        due = self._attachment.ping_due or self._bytes_since_ping >= self._ping_after
        for event in events:
            due = due or event.conflated
        return due

    def pinged(self) -> None:
        """The page is being sent a ping."""
        self._bytes_since_ping = 0
        self._attachment.ping_sent()


class EventStream:
    """Sends the events of a browser's pages over one link, until the link or the channels of all its pages end.

    Attributes:
        limits: the window and the intervals of the app's pages.
    """

    __slots__ = ("_connect", "_link", "_senders", "_workers", "_writer", "limits")

    def __init__(
        self,
        connect: Callable[[Link], Awaitable[list[Over]]],
        limits: PageLimits,
        linked_browser: LinkedBrowser | None = None,
        workers: bool = False,
    ) -> None:
        """
        Args:
            connect: attaches the pages' channels to a link; returns the pages that it cannot attach.
            limits: see above.
            linked_browser: the browser at the other end; None if the server can find out nothing about it.
            workers: see `Hello`.
        """
        self.limits: PageLimits = limits
        self._connect = connect
        self._link = Link(linked_browser)
        self._workers = workers
        self._writer = DirectWriter.of_request()
        self._senders: dict[Attachment, PageSender] = {}

    async def run(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Attach the channels of the pages, and send their events until the link is over, or until cancelled.

        Args:
            send: sends bytes of the response's body.
        """
        link, reason = self._link, EndReason.DISCONNECTED
        try:
            refused = await self._connect(link)
            # The route admitted a page. If its channel no longer does, the client asks `status` for the reason.
            if link.attachments:
                await send(self._first(refused))
            del refused
            if self._writer is not None:
                link.finish = self._writer.finish
            for attachment in link.attachments:
                sender = self._senders[attachment] = PageSender(self, attachment, self._writer)
                attachment.sender = None if self._writer is None else sender
            while received := await link.receive(WRITE_SIZE):
                data = self._encode(received)
                # Nothing that was sent is kept here while the link waits.
                del received
                if data:
                    await send(data)
                del data
        except trio.Cancelled as cancelled:
            # When its graceful_timeout is over, Hypercorn cancels by a deadline the requests that still run.
            if cancelled.source == "deadline":
                reason = EndReason.SHUTDOWN
            raise
        finally:
            link.detach(reason)

    def _first(self, refused: Iterable[Over]) -> bytes:
        """What a link begins with."""
        hellos = [self._hello(attachment) for attachment in self._link.attachments]
        return b"".join([b"retry: %d\n\n" % RETRY, *hellos, *map(encode_unnumbered, refused)])

    def _encode(self, received: Iterable[tuple[Attachment, list[Event]]]) -> bytes:
        """The frames of what a link has received: events, one ping for all pages that are asked, and which are over."""
        if self._writer is not None:
            self._writer.rest()
        frames: list[bytes] = []
        asked: list[Attachment] = []
        for attachment, events in received:
            sender = self._senders[attachment]
            if events:
                frames.append(sender.encode(events))
            if attachment.over is not None:
                frames.append(self._over(attachment, attachment.over))
            elif sender.is_ping_due(events):
                asked.append(attachment)
        if any(attachment.ping_due for attachment in asked):
            # The pages that would be asked soon are asked with them: one request answers for all.
            soon = trio.current_time() - self.limits.ping_interval / 2
            asked += [each for each in self._link.attachments if each.pinged_at <= soon and each not in asked]
        if asked:
            frames.append(self.ping(asked))
        return b"".join(frames)

    def ping(self, asked: Iterable[Attachment]) -> bytes:
        """The frame of a ping that asks these pages."""
        for attachment in asked:
            self._senders[attachment].pinged()
        return encode_unnumbered(Ping([attachment.channel.life for attachment in asked]))

    def _hello(self, attachment: Attachment) -> bytes:
        channel, limits = attachment.channel, self.limits
        # JSON has no infinity.
        ping, reconnect_grace = (
            seconds if math.isfinite(seconds) else None for seconds in (limits.ping_interval, limits.reconnect_grace)
        )
        hello = Hello(channel.page, channel.life, ping, reconnect_grace, channel.revoked, self._workers)
        # The id replaces that of an earlier life, which the EventSource would otherwise send when it reconnects.
        number = channel.outbox.acknowledged
        return _NUMBERED % (channel.life.encode(), number, hello.event.encode(), hello.encode())

    def _over(self, attachment: Attachment, why: RequestRefused) -> bytes:
        """What tells a page that this link does not carry it any more. For a link's last channel its end tells that."""
        if why.status == GONE and not self._link.attachments:
            return b""
        channel = attachment.channel
        return encode_unnumbered(Over(channel.page, channel.life, why.status, str(why)))


class Routes:
    """The routes of one app."""

    def __init__(self, channels: Channels, nursery: Callable[[], trio.Nursery]) -> None:
        """
        Args:
            channels: the channels of the app's pages.
            nursery: returns the nursery for new channels; raises RequestRefused before the app's ASGI lifespan begins.
        """
        self._channels = channels
        self._nursery = nursery

    def register(self, server: Quart, prefix: str) -> None:
        """Add the routes to `server` under `prefix`, which ends in a slash."""
        for name, method, view in (
            (LINK_ROUTE, "GET", self.events),
            (Status.route, "GET", self.status),
            (Ack.route, "POST", self.acknowledge),
            (Cancel.route, "POST", self.cancel),
            (Close.route, "POST", self.close),
            (TicketRequest.route, "POST", self.issue_ticket),
        ):
            add_route(server, f"{prefix}_flash/{name}", method, view)

    async def events(self) -> Response:
        """The link: a response that sends the events of one or several pages, and has no end."""
        browser, nursery = self._browser(), self._nursery()
        standings = self._standings()
        tickets = request.args.getlist("ticket")
        refusals: list[RequestRefused] = []
        for standing in standings:
            try:
                self._channels.spend_ticket(standing.page, browser, tickets)
                self._channels.admit(standing.page, browser, standing.order)
            except RequestRefused as refusal:
                refusals.append(refusal)
        if len(refusals) == len(standings):
            raise refusals[0]

        async def connect(link: Link) -> list[Over]:
            refused: list[Over] = []
            for standing in standings:
                try:
                    await self._channels.connect(nursery, link, browser, standing)
                except RequestRefused as refusal:
                    refused.append(Over(standing.page, None, refusal.status, str(refusal)))
            return refused

        linked_browser = LinkedBrowser.of_request(request, browser)
        has_workers = self._channels.holding is not None
        stream = EventStream(connect, self._channels.page_limits, linked_browser, has_workers)
        response = Response(EndlessBody(stream.run), content_type="text/event-stream")
        response.headers.pop("Content-Length", None)
        response.headers.update(HEADERS)
        return response

    async def status(self) -> Response:
        """200 with `Status` if a link of this page would be accepted, else the refusal."""
        browser = self._browser()
        for standing in self._standings():
            self._channels.admit(standing.page, browser, standing.order)
        return Response(Status(None).encode(), content_type="application/json", headers=HEADERS)

    async def acknowledge(self) -> Response:
        """`Ack`: acknowledge the events of pages up to the last one that each has applied.

        Refused as a whole only if it is refused for every page.
        """
        ack = Ack.read(await self._receive_body())
        refused: list[tuple[str, RequestRefused]] = []
        for page, event in ack.events.items():
            life, number = parse_event_id(event)
            try:
                if life is None or not self._channel(page).acknowledge(life, number):
                    raise RequestRefused(409, "This event has not been sent to the page.")
            except RequestRefused as refusal:
                refused.append((page, refusal))
        if not refused:
            return _no_content()
        if len(refused) == len(ack.events):
            raise refused[0][1]
        answer = Acknowledged(
            [{"page": page, "status": refusal.status, "message": str(refusal)} for page, refusal in refused]
        )
        return Response(answer.encode(), content_type="application/json", headers=HEADERS)

    async def cancel(self) -> Response:
        """`wire.Cancel`: report to a stream's scope that the property of a condition, or a watched one, has changed."""
        cancel = Cancel.read(await self._receive_body())
        channel = self._channel(cancel.page)
        scope = channel.scope_of(cancel.stream)
        if scope is None and not channel.has_had(cancel.stream):
            raise RequestRefused(404, "This page has had no such stream.")
        if scope is not None:
            try:
                channel.change(cancel.stream, cancel.condition, cancel.value, cancel.change)
            except IndexError:
                raise RequestRefused(400, "The stream has no such condition.") from None
            # The checkpoint lets the generator see the cancellation before the response is sent.
            await trio.lowlevel.checkpoint()
        # A stream that has ended in the meantime needs no cancellation.
        return _no_content()

    async def close(self) -> Response:
        """`wire.Close`: close the channel of a page that is being left."""
        self._channel(Close.read(await self._receive_body()).page).close(EndReason.DISCONNECTED)
        return _no_content()

    async def issue_ticket(self) -> Response:
        """`wire.TicketRequest`, with the page's secret: issue a ticket, for the address of the next link."""
        page = page_token(TicketRequest.read(await self._receive_body()).page)
        self._browser()
        if not self._is_proven(page):
            raise RequestRefused(403, "The page's secret is missing, or another page's.")
        ticket = self._channels.issue_ticket(page)
        return Response(Ticket(ticket).encode(), content_type="application/json", headers=HEADERS)

    def _standings(self) -> list[Standing]:
        """The pages of a link, from its address."""
        standings = [Standing.read(text) for text in request.args.getlist("page")]
        if not standings:
            page_token(None)
        if len({page_token(standing.page) for standing in standings}) < len(standings):
            raise RequestRefused(400, "A link names a page twice.")
        last = request.headers.get("Last-Event-ID")
        if last and len(standings) == 1:
            # An EventSource reconnects with the address of its first attempt, and the last event since.
            life, number = parse_event_id(last)
            (standing,) = standings
            standings = [Standing(standing.page, standing.turn, life, number, standing.link)]
        return standings

    def _browser(self) -> str:
        return browser_of(request)

    def _is_proven(self, page: str) -> bool:
        return page in proven_pages(request.headers.get(PROOF_HEADER))

    def _channel(self, token: str) -> Channel:
        page, browser = page_token(token), self._browser()
        channel = self._channels.find(page, browser, proven=self._is_proven(page))
        if channel is None:
            raise RequestRefused(404, "This server has no such page.")
        return channel

    async def _receive_body(self) -> dict[str, Any]:
        # A request without the cookie is refused before the server waits for its body.
        self._browser()
        return await read_small_body(request)


def _no_content() -> Response:
    """The response to a request with which nothing was wrong. Its body is known to be empty, and it is sent at once."""
    response = Response(b"", status=204)
    # Quart says that the length is 0, which is not to be said with this status.
    del response.headers["Content-Length"]
    return response
