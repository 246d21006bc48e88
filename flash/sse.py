"""Sends a page its events over a link of server-sent events, and answers the routes that a page calls.

    GET  _flash/events?page=<token>   the link: `hello`, then `open`, `props`, `end`, `refused`, and `ping`;
                                      `replaced` when a newer link has taken over
    POST _flash/ack                   acknowledges the last event that the page has applied
    POST _flash/cancel                a cancel Input has changed while a stream that depends on it runs
    POST _flash/close                 the page is being left
    POST _flash/ticket                issues a ticket, which opens a link although the browser's cookie has changed
    GET  _flash/status?page=<token>   why a link is refused, which an EventSource does not tell its page

`hello` names the life of the page's channel that the link belongs to. Events are numbered within that life. A page that
reconnects with the id of the last event it has (`Last-Event-ID`, or `after=` from a new EventSource) gets the events
after it. Each `ping` asks for an acknowledgement. The server sends one when half the window has been sent, and when the
link was silent for the ping interval.

A page is named by its token, which is issued with the layout; the server stores nothing of it until it is used. URLs
reach access logs, so the token alone opens nothing: a channel belongs to the browser (an HttpOnly cookie) that opened
it, and to the page that has the token's secret: see `page_key`.

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
from .asgi.direct_writes import DirectWriter
from .asgi.http_exchange import EndlessBody
from .asgi.page_key import page_token, proves
from .asgi.peer import Peer
from .asgi.refusals import answering_refusals
from .asgi.request_body import read_small_body
from .cancel_scopes import EndReason
from .channels import Channels
from .errors import RequestRefused
from .nursery import Channel
from .streams.events import Event
from .streams.limits import PageLimits
from .streams.link import Link
from .wire import (
    PROOF_HEADER,
    Ack,
    Cancel,
    Close,
    Hello,
    Message,
    Payload,
    Ping,
    Replaced,
    Status,
    Ticket,
    TicketRequest,
    parse_event_id,
)

WRITE_SIZE = 65_536
"""Bytes that one write to the link sends at most: what a socket buffer takes at once."""

DIRECT_WRITE_INTERVAL = 0.001
"""Seconds between two direct writes to a page at least; sooner events are left to the link's task, which joins them."""

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


PING = encode_unnumbered(Ping())


def encode_events(life: str, events: Iterable[Event]) -> bytes:
    """The frames of several events, joined.

    Args:
        life: the life of the channel whose events these are.
        events: in the order of their numbers.
    """
    encoded_life = life.encode()
    return b"".join([_NUMBERED % (encoded_life, event.number, event.name.encode(), event.data) for event in events])


class EventStream:
    """Sends a page's events over one link, from `hello` until the link or the channel ends."""

    def __init__(
        self, connect: Callable[[], Awaitable[Link[Channel]]], limits: PageLimits, peer: Peer | None = None
    ) -> None:
        """
        Args:
            connect: attaches a new link to the page's channel; raises RequestRefused if there can be none.
            limits: the window and the intervals of the app's pages.
            peer: the browser at the other end; None if the server can find out nothing about it.
        """
        self._connect = connect
        self._peer = peer
        self._limits = limits
        self._link: Link[Channel] | None = None
        self._writer = DirectWriter.of_request()
        self._last_write = 0.0
        self._bytes_since_ping = 0

    async def run(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Attach a link to the page's channel, and send its events until the link is over, or until cancelled.

        Args:
            send: sends bytes of the response's body.
        """
        try:
            self._link = link = await self._connect()
        except RequestRefused:
            # The route admitted the page, which the channel no longer does. The client asks `status` for the reason.
            return
        reason = EndReason.DISCONNECTED
        try:
            link.peer = self._peer
            link.ping_sent()
            await send(b"retry: %d\n\n%b" % (RETRY, self._hello(link)))
            if self._writer is not None:
                link.sender = self
            while data := await self._receive(link):
                await send(data)
            if link.replaced:
                await send(encode_unnumbered(Replaced()))
        except trio.Cancelled as cancelled:
            # When its graceful_timeout is over, Hypercorn cancels by a deadline the requests that still run.
            if cancelled.source == "deadline":
                reason = EndReason.SHUTDOWN
            raise
        finally:
            link.detach(reason)

    async def _receive(self, link: Link[Channel]) -> bytes:
        """Wait for events or a due ping, and return their frames; empty when the link is over."""
        events = await link.receive(WRITE_SIZE)
        if events:
            self._last_write = trio.current_time()
            return self._encode(link, events)
        if link.ping_due and not link.replaced and not link.channel.outbox.exhausted:
            return self._ping(link)
        return b""

    # What the outbox asks, and hands events to, while the link's task waits: see `outbox.DirectSender`.

    def room(self) -> int:
        """0 while the socket is busy, or if the last write is less than `DIRECT_WRITE_INTERVAL` ago."""
        writer = self._writer
        if writer is None or trio.current_time() - self._last_write < DIRECT_WRITE_INTERVAL or not writer.ready:
            return 0
        return WRITE_SIZE

    def send_now(self, events: list[Event]) -> bool:
        """Write events to the socket; says whether it has taken all of them. If not, `finish` writes the rest."""
        link, writer = self._link, self._writer
        assert link is not None
        assert writer is not None
        self._last_write = trio.current_time()
        return writer.write(self._encode(link, events))

    async def finish(self) -> None:
        """Write the bytes that the socket did not take in the last direct write."""
        if self._writer is not None:
            await self._writer.finish()

    def _hello(self, link: Link[Channel]) -> bytes:
        channel, limits = link.channel, self._limits
        # JSON has no infinity.
        ping, grace = (
            seconds if math.isfinite(seconds) else None for seconds in (limits.ping_interval, limits.reconnect_grace)
        )
        hello = Hello(channel.life, ping, grace)
        # The id replaces that of an earlier life, which the EventSource would otherwise send when it reconnects.
        number = channel.outbox.acknowledged
        return _NUMBERED % (channel.life.encode(), number, hello.event.encode(), hello.encode())

    def _encode(self, link: Link[Channel], events: list[Event]) -> bytes:
        data = encode_events(link.channel.life, events)
        self._bytes_since_ping += len(data)
        due = self._bytes_since_ping * 2 >= self._limits.window
        for event in events:
            due = due or event.conflated
        return data + self._ping(link) if due else data

    def _ping(self, link: Link[Channel]) -> bytes:
        link.ping_sent()
        self._bytes_since_ping = 0
        return PING


class Routes:
    """The routes of one app."""

    def __init__(self, channels: Channels, nursery: Callable[[], trio.Nursery]) -> None:
        """
        Args:
            channels: the channels of the app's pages.
            nursery: returns the nursery for new channels; raises AttributeError before the app's ASGI lifespan begins.
        """
        self._channels = channels
        self._nursery = nursery

    def register(self, server: Quart, prefix: str) -> None:
        """Add the routes to `server` under `prefix`, which ends in a slash."""
        for name, method, view in (
            ("events", "GET", self.events),
            (Status.route, "GET", self.status),
            (Ack.route, "POST", self.acknowledge),
            (Cancel.route, "POST", self.cancel),
            (Close.route, "POST", self.close),
            (TicketRequest.route, "POST", self.issue_ticket),
        ):
            path = f"{prefix}_flash/{name}"
            # Both methods lead here, and the view refuses one. Dash's catch-all would answer that one with a page.
            view_func = answering_refusals(view, method)
            server.add_url_rule(path, endpoint=path, view_func=view_func, methods=["GET", "POST"])

    async def events(self) -> Response:
        """The link: a response that sends the page's events and has no end."""
        page, browser = self._page_in_query(), self._browser()
        browser = self._channels.spend_ticket(page, request.args.get("ticket")) or browser
        life, number = parse_event_id(request.headers.get("Last-Event-ID") or request.args.get("after"))
        self._channels.admit(page, browser)

        async def connect() -> Link[Channel]:
            return await self._channels.connect(self._nursery(), page, browser, life, number)

        peer = Peer.of_request(request, self._browser())
        stream = EventStream(connect, self._channels.page_limits, peer)
        response = Response(EndlessBody(stream.run), content_type="text/event-stream")
        response.headers.pop("Content-Length", None)
        response.headers.update(HEADERS)
        return response

    async def status(self) -> Response:
        """200 with `wire.Status` if a link would be accepted, else the refusal."""
        self._channels.admit(self._page_in_query(), self._browser())
        return Response(Status(None).encode(), content_type="application/json", headers=HEADERS)

    async def acknowledge(self) -> Response:
        """`wire.Ack`: acknowledge the events up to the last one that the page has applied."""
        ack = Ack.read(await self._receive_body())
        channel = self._channel(ack)
        life, number = parse_event_id(ack.event)
        if life is None or not channel.acknowledge(life, number):
            raise RequestRefused(409, "This event has not been sent to the page.")
        return Response(status=204)

    async def cancel(self) -> Response:
        """`wire.Cancel`: report to a stream's scope that the property of a cancel condition has changed."""
        cancel = Cancel.read(await self._receive_body())
        channel = self._channel(cancel)
        scope = channel.scopes.get(cancel.stream)
        if scope is None and not channel.has_had(cancel.stream):
            raise RequestRefused(404, "This page has had no such stream.")
        if scope is not None:
            try:
                scope.change(cancel.condition, cancel.value, cancel.change)
            except IndexError:
                raise RequestRefused(400, "The stream has no such condition.") from None
            # The checkpoint lets the generator see the cancellation before the response is sent.
            await trio.lowlevel.checkpoint()
        # A stream that has ended in the meantime needs no cancellation.
        return Response(status=204)

    async def close(self) -> Response:
        """`wire.Close`: close the channel of a page that is being left."""
        self._channel(Close.read(await self._receive_body())).close(EndReason.DISCONNECTED)
        return Response(status=204)

    async def issue_ticket(self) -> Response:
        """`wire.TicketRequest`, with the page's secret: issue a ticket, which goes into the address of one link."""
        page = page_token(TicketRequest.read(await self._receive_body()).page)
        self._browser()
        if not self._is_proven(page):
            raise RequestRefused(403, "The page's secret is missing, or another page's.")
        ticket = self._channels.issue_ticket(page)
        return Response(Ticket(ticket).encode(), content_type="application/json", headers=HEADERS)

    def _page_in_query(self) -> str:
        return page_token(request.args.get("page"))

    def _browser(self) -> str:
        return browser_of(request)

    def _is_proven(self, page: str) -> bool:
        return proves(request.headers.get(PROOF_HEADER), page)

    def _channel(self, message: Message) -> Channel:
        page, browser = page_token(message.page), self._browser()
        channel = self._channels.find(page, browser, proven=self._is_proven(page))
        if channel is None:
            raise RequestRefused(404, "This server has no such page.")
        return channel

    async def _receive_body(self) -> dict[str, Any]:
        # A request without the cookie is refused before the server waits for its body.
        self._browser()
        return await read_small_body(request)
