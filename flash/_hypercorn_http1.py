"""Changes how Hypercorn reads the requests of HTTP/1.1, and sends the responses: plain ones in one go, past h11.

    the connection ─┬─ read_request ──────────────────────────┬─ FlashHTTPStream ── app
                    └─ h11, if the request is not plain ──────┘
    the connection ─┬─ write_answer ──────────────────────────┬─ FlashHTTPStream ── app
                    └─ h11, if one of the two is not plain ───┘  keeps the head until its body comes

ASGI asks a server to send the head of a response no earlier than the first part of its body. Hypercorn sends it at
once, and so has a write for the head, one for the body, and an empty one for the end. Here a head that announces the
length of its body, or that there is none, waits for that body. A head without a length leaves at once: it may belong to
an event stream whose first event is far away.

h11 takes 20 times as long for a request as `plain_http1`, which knows those only that come whole and are alike. While
such a request waits for its answer, h11 has not heard of it. If it is answered in one piece, h11 never does. In all
other cases whoever asks for the `connection` gets an h11 that has read the request in the meantime: when a response is
sent in parts, when it says that the connection closes, or when more data comes.

`_hypercorn_patches` says which servers have these classes.
"""
# pyright: reportPrivateUsage=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Awaitable
from itertools import chain
from time import time
from typing import Any, cast

import h11
from hypercorn.events import Closed, RawData, Updated
from hypercorn.protocol.events import Data, Request, StreamClosed
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.utils import build_and_validate_headers, suppress_body

from ._hypercorn_messages import AppTasks
from .plain_http1 import NO_CONTENT, PlainRequest, read_request, write_answer

IDLE, BUSY = Updated(idle=True), Updated(idle=False)
"""What a connection is told when a request has been answered, and when one has begun."""


class FlashHTTPStream(HTTPStream):
    """One request of HTTP/1 or HTTP/2 and its response."""

    _head: Any

    def set_up(self, report: object) -> None:
        self._head = None
        self.task_group = cast("Any", AppTasks(self.task_group))

    def app_send(self, message: Any) -> Awaitable[None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Send a message of the app's. Not async itself, to save a coroutine for each message."""
        if self._head is not None:
            return self._send_after_head(message)
        if message is not None and self.state is ASGIHTTPState.REQUEST and _may_wait(message):
            self._head = message
            return _nothing()
        return super().app_send(message)

    async def _send_after_head(self, message: Any) -> None:
        """Send the head of the response, and a message that came after it."""
        head, self._head = self._head, None
        protocol = getattr(self.send, "__self__", None)
        if not _is_last_of_body(message) or not isinstance(protocol, FlashH11Protocol):
            await super().app_send(head)
            await super().app_send(message)
            return
        status = int(head["status"])
        headers = build_and_validate_headers(head["headers"])
        body = b"" if suppress_body(self.scope["method"], status) else bytes(message.get("body", b""))
        # From here on no other answer is possible: if this one fails, the connection ends.
        self.response, self.state = head, ASGIHTTPState.RESPONSE
        try:
            await protocol.send_answer(status, headers, body)
        except h11.LocalProtocolError:
            if protocol.connection.our_state is h11.SEND_RESPONSE:
                # h11 has not even taken the head, so that Hypercorn can answer that the app has failed.
                self.state = ASGIHTTPState.REQUEST
            raise
        self.state = ASGIHTTPState.CLOSED
        await self.config.log.access(self.scope, self.response, time() - self.start_time)
        await self.send(StreamClosed(stream_id=self.stream_id))


class FlashH11Protocol(H11Protocol):
    """A connection of HTTP/1.1."""

    keep_alive_requests: int

    def set_up(self, report: object) -> None:
        self._h11: Any = self.__dict__.pop("connection")
        # The plain request that waits for its answer, if h11 has not been given it.
        self._unread = b""
        # Whether a plain request is being answered, without h11; and whether that has failed.
        self._is_answered = self._has_failed = False

    @property
    def connection(self) -> Any:
        """The state of the connection as h11 has it, which is given what it has not read yet."""
        if self._unread:
            data, self._unread = self._unread, b""
            self._h11.receive_data(data)
            while isinstance(self._h11.next_event(), h11.Request | h11.Data):
                pass
        return self._h11

    @connection.setter
    def connection(self, value: Any) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self._h11 = value

    def handle(self, event: Any) -> Awaitable[None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Handle what comes from the connection. Not async itself, to save a coroutine for each request."""
        if type(event) is RawData:
            if self._is_answered:
                return self._handle_after_answer(event)
            if self._is_between_requests and (request := read_request(event.data)) is not None:
                return self._begin(request, event.data)
            if self.stream is not None and type(self._h11) is H11WSConnection and not self._h11.buffer and event.data:
                return self.stream.handle(Data(STREAM_ID, event.data))
        return super().handle(event)

    @property
    def _is_between_requests(self) -> bool:
        """Whether all that came before was requests, whole and answered."""
        connection = self._h11
        return (
            self.stream is None
            and connection.our_state is h11.IDLE
            and connection.their_state is h11.IDLE
            and connection.trailing_data == (b"", False)
            and not self.config.h11_pass_raw_headers
        )

    async def _begin(self, request: PlainRequest, data: bytes) -> None:
        """Run the app for a plain request."""
        await self.send(BUSY)
        stream: Any = FlashHTTPStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        stream.set_up(None)
        self.stream, self._unread = stream, data
        await stream.handle(
            Request(STREAM_ID, request.headers, "1.1", request.method, request.target, self.connection_state)
        )
        self.keep_alive_requests += 1
        await self.context.mark_request()
        if not stream.closed:
            await stream.app_put({"type": "http.request", "body": request.body, "more_body": False})

    async def _handle_after_answer(self, event: Any) -> None:
        """Handle what comes while the socket takes an answer. The end needs nothing: Hypercorn says it once more."""
        if event.data:
            await self.can_read.clear()
            await self.can_read.wait()
            await self.handle(event)

    async def send_answer(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Send a whole response, in one write."""
        all_headers = list(chain(headers, self.config.response_headers("h11")))
        if self.keep_alive_requests >= self.config.keep_alive_max_requests:
            all_headers.append((b"connection", b"close"))
        if self._unread and (plain := write_answer(status, all_headers, body)) is not None:
            self._unread = b""
            self._is_answered = self._has_failed = True
            await self.send(RawData(plain))
            self._has_failed = False
            return
        connection = cast("h11.Connection", self.connection)
        try:
            data = connection.send(h11.Response(status_code=status, headers=all_headers)) or b""
            if body:
                data += connection.send(h11.Data(data=body)) or b""
            data += connection.send(h11.EndOfMessage()) or b""
        except h11.LocalProtocolError:
            if connection.their_state is not h11.ERROR:
                raise
        else:
            await self.send(RawData(data))

    async def _maybe_recycle(self) -> None:
        """Be ready for the next request, if there may be one."""
        if not self._is_answered:
            await super()._maybe_recycle()
            return
        await self._close_stream()
        if self._has_failed or self.context.terminated.is_set():
            # What the client has sent meanwhile is not begun: this ends the reading.
            await self.send(Closed())
            return
        # From here on the next request may begin.
        self._is_answered = False
        await self.can_read.set()
        await self.send(IDLE)


def _may_wait(message: Any) -> bool:
    """Whether a message of the app's is the head of a response that says how long its body is, or that it has none."""
    headers: object = message.get("headers")
    if message["type"] != "http.response.start" or not isinstance(headers, list):
        return False
    if message["status"] == NO_CONTENT:
        return True
    return any(name.lower() == b"content-length" for name, _ in cast("list[tuple[bytes, bytes]]", headers))


def _is_last_of_body(message: Any) -> bool:
    """Whether a message of the app's, if any, is the last part of the body of a response."""
    return message is not None and message["type"] == "http.response.body" and not message.get("more_body", False)


async def _nothing() -> None:
    """Do nothing."""
