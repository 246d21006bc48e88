"""Runs one HTTP request through Quart, and sends its response, in fewer tasks than Quart itself would use.

    Hypercorn ── FlashConnection ── Quart: hooks, session, view, headers
                        └────────── the body of an event stream

Quart keeps a request, and two tasks for it, until the response has been sent. An event stream lasts as long as its page
is open, and needs neither. So Quart sends only the headers of an event stream, and `FlashConnection` sends its body.

Most requests are small, and are answered without waiting for anything. Their body has arrived by the time the server
starts them, and their response is sent in one piece. The task that watches for a disconnect starts only when the
request first waits.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextvars import ContextVar
from math import inf
from typing import Any, cast

import trio
from quart import Request

from .. import _hypercorn
from .._quart import Body, HTTPConnection, ResponseBody, complete_body, data_of, encode_headers
from ..user_code.cleanup import Deadline
from ..user_code.containment import log_failure, split_cancellation
from ..user_code.first_wait import when_suspended
from ..user_code.inner_generators import InnerGenerators
from .body_progress import PER_BROWSER, BodyProgress, UnfinishedBody
from .browser_cookie import browser_or_address
from .disconnect_policy import DisconnectPolicy
from .disconnect_watch import DisconnectWatch, cancel_on_disconnect

_log = logging.getLogger("flash.server")

Send = Callable[[Any], Awaitable[None]]

SendBody = Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[None]]
"""Sends the body of a response, by passing each chunk to its argument; cancelled when the client disconnects."""

Headers = Iterable[tuple[bytes, bytes]]
"""The headers of a request, as ASGI has them."""

SMALL = 65_536
"""Bytes up to which a response is sent in one piece: what a socket buffer takes at once."""

CALLBACK_ROUTE = "_dash-update-component"
"""The route by which Dash's renderer calls callbacks."""

CALLBACKS = f"/{CALLBACK_ROUTE}"
"""What the path of a callback request ends with."""

END_TIMEOUT = 1.0
"""Seconds that sending the end of a response may take once the client has disconnected."""


class HttpExchange:
    """One request and its response. Quart calls it as the ASGI `send`.

    Attributes:
        disconnected: whether the client has disconnected.
        disconnect_policy: whether the request goes on once the client has disconnected.
        begun: whether sending the response has begun.
        deadline: when the cleanup of the request's async callback has to be over; None without such a callback.
        end_sent: set when the end of the response has been sent; None until sending it begins.
        send_body: sends the body of an event stream, once Quart has sent the headers; None for other responses.
        body_scope: in which it is sent.
        body: of the request, if it had arrived when the request started.
        quart_body: the object by which Quart knows that body.
        headers: of the request.
    """

    __slots__ = (
        "_send",
        "begun",
        "body",
        "body_scope",
        "deadline",
        "disconnect_policy",
        "disconnected",
        "end_sent",
        "headers",
        "quart_body",
        "send_body",
    )

    def __init__(self, send: Send, disconnect_policy: DisconnectPolicy, headers: Headers = ()) -> None:
        self.disconnected = False
        self.begun: bool = False
        self.disconnect_policy = disconnect_policy
        self.deadline: Deadline | None = None
        self.end_sent: trio.Event | None = None
        self.send_body: SendBody | None = None
        # Only an event stream has one.
        self.body_scope: trio.CancelScope
        self.body: bytes | None = None
        self.quart_body: Body | None = None
        self.headers: Headers = headers
        self._send = send
        _open.add(self)

    def __call__(self, message: Any) -> Awaitable[None]:
        self.begun = True
        if self.disconnected and self.end_sent is None:
            return _discard(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            return self._send_end(message) if self.send_body is None else _discard(message)
        return self._send(message)

    def end_with_client(self) -> None:
        """The client of an event stream has disconnected."""
        self.disconnected = True
        if self.end_sent is None:
            self.body_scope.cancel()
        else:
            # The server itself says so while it sends the end of the response.
            self.body_scope.deadline = trio.current_time() + END_TIMEOUT

    def server_send(self) -> Send:
        """The ASGI `send` of the server."""
        return self._send

    def forget_request(self) -> None:
        """Drop what the body of an event stream, which may last for days, has no use for."""
        self.headers = ()
        self.body = self.quart_body = None

    def release(self) -> None:
        """Drop all references once the exchange is over: Quart's request refers to it, and that may be kept."""
        _open.discard(self)
        self.forget_request()
        self._send, self.send_body, self.end_sent, self.deadline = _discard, None, None, None

    async def send_chunk(self, data: bytes) -> None:
        """Send a part of the body of an event stream."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    def send_end(self) -> Awaitable[None]:
        """Send the end of an event stream."""
        return self._send_end({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_end(self, message: Any) -> None:
        self.end_sent = trio.Event()
        try:
            await self._send(message)
        finally:
            self.end_sent.set()


_open: set[HttpExchange] = set()
"""The exchanges of this process that are not over."""


def headers_in_progress() -> Iterator[Headers]:
    """The headers of each request whose client waits for the end of its response; event streams do not count."""
    return (exchange.headers for exchange in _open if exchange.send_body is None and not exchange.disconnected)


async def _discard(message: Any) -> None:
    """An ASGI `send` that sends nothing."""


_TOO_SLOW = b"The body of the request has not come along."
_TOO_MANY = b"This browser has announced %d requests already whose bodies have not come." % PER_BROWSER

HTTP_EXCHANGE: ContextVar[HttpExchange | None] = ContextVar("flash_http_exchange", default=None)
"""The exchange of the current request."""


def cancel_with_client() -> None:
    """Have the current request cancelled when its client disconnects, or at once if it has done so."""
    exchange = HTTP_EXCHANGE.get()
    if exchange is not None:
        exchange.disconnect_policy.cancel_with_client()


def arrived_body(incoming: Request) -> bytes | None:
    """The body of a request, if it had arrived when the request started.

    Returns:
        None if the caller has to read the body from Quart, which may wait for it, or refuse it for its size.
    """
    exchange = HTTP_EXCHANGE.get()
    # A hook of the app may have replaced the body.
    if exchange is None or exchange.body is None or incoming.body is not exchange.quart_body:
        return None
    limit = incoming.max_content_length
    return exchange.body if limit is None or len(exchange.body) <= limit else None


class EndlessBody(ResponseBody):
    """The body of an event stream: empty for Quart, and sent by `FlashConnection` once Quart has sent the headers.

    Quart enters it only if it really sends the response, which is when the exchange gets `send_body`.
    """

    def __init__(self, send_body: SendBody) -> None:
        self._send_body = send_body

    async def __aenter__(self) -> EndlessBody:
        exchange = HTTP_EXCHANGE.get()
        assert exchange is not None
        exchange.send_body = self._send_body
        exchange.body_scope = trio.CancelScope()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        pass

    def __aiter__(self) -> EndlessBody:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration

    async def convert_to_sequence(self) -> bytes:
        raise TypeError("This body has no end to wait for.")

    async def make_conditional(self, *args: object) -> Any:
        raise TypeError("This body has no ranges.")


class FlashConnection(HTTPConnection):
    """Runs one HTTP request; it sends the end of the response before it acts on a disconnect.

    Hypercorn sends `http.disconnect` to the app from within the `send` that ends the response. Quart-Trio takes that
    for a disconnect and cancels the `send`: Hypercorn would then never see that the connection is idle, and never close
    it for that.
    """

    async def __call__(self, receive: Any, send: Any) -> None:
        policy = DisconnectPolicy(self.scope["method"] == "POST" and self.scope["path"].endswith(CALLBACKS))
        exchange = HttpExchange(send, policy, self.scope["headers"])
        # This function lasts as long as a link, and keeps no more than it needs.
        del policy
        HTTP_EXCHANGE.set(exchange)
        try:
            receive_rest = await self._answer_request(receive, exchange)
            # The server reports a disconnect only once, so a body begun after it would never be cancelled.
            if exchange.send_body is not None and not exchange.disconnected:
                exchange.forget_request()
                if _hypercorn.call_on_disconnect(receive, exchange.end_with_client):
                    # The usual way, without a task that waits for the disconnect.
                    del receive_rest
                    with exchange.body_scope:
                        await exchange.send_body(exchange.send_chunk)
                        await exchange.send_end()
                else:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(cancel_on_disconnect, nursery.cancel_scope, receive_rest)
                        await exchange.send_body(exchange.send_chunk)
                        await exchange.send_end()
                        nursery.cancel_scope.cancel()
        finally:
            exchange.release()

    async def _answer_request(self, receive: Any, exchange: HttpExchange) -> Callable[[], Awaitable[Any]]:
        """Have Quart answer the request; of an event stream, only send its headers.

        Returns:
            The `receive` with which to wait for what comes after the request.
        """
        policy = exchange.disconnect_policy
        # A list, since an empty deque takes 600 bytes of memory.
        early: list[Any] = []

        async def receive_after_response() -> Any:
            message = early.pop(0) if early else await receive()
            if message["type"] == "http.disconnect":
                exchange.disconnected = True
                if exchange.end_sent is not None:
                    with trio.move_on_after(END_TIMEOUT):
                        await exchange.end_sent.wait()
                else:
                    await policy.wait_to_cancel()
                if exchange.deadline is not None:
                    exchange.deadline.begin()
            elif not message.get("more_body", False):
                policy.is_complete = True
            return message

        exchange.body = await self._receive_arrived_body(receive, early)
        policy.is_complete = exchange.body is not None
        await self._answer(receive_after_response, exchange)
        return receive_after_response

    @property
    def _is_http_1(self) -> bool:
        return self.scope["http_version"].startswith("1")

    async def _receive_arrived_body(self, receive: Any, early: list[Any]) -> bytes | None:
        """The body of the request if all of it has arrived; else None, and `early` holds the messages so far."""
        # HTTP/2 marks the end of a body itself, so its headers need not be read.
        length = None
        if self._is_http_1:
            length = 0
            for name, value in self.scope["headers"]:
                if name == b"content-length":
                    length = int(value)
                elif name == b"transfer-encoding":
                    return None
        receive_nowait = _hypercorn.messages_at_hand(receive)
        if receive_nowait is None:
            return None
        body, more = b"", True
        while more:
            if len(body) == length:
                # Hypercorn is about to send the message that ends the body. It would take a response
                # before that for a response to an incomplete request.
                message = await receive()
            else:
                try:
                    message = receive_nowait()
                except (trio.WouldBlock, trio.EndOfChannel):
                    return None
            early.append(message)
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            more = message.get("more_body", False)
        early.clear()
        return body

    async def _answer(self, receive: Any, exchange: HttpExchange) -> None:
        """Do what Quart-Trio does with a request, in two tasks fewer: each task costs time in every request."""
        request = self.create_request(exchange)
        if exchange.body is None:
            await self._answer_while_receiving(request, receive, exchange)
            return
        complete_body(request, exchange.body)
        exchange.quart_body = request.body
        watch = DisconnectWatch(receive)

        def begin_watch() -> None:
            # Over HTTP/1 the server itself notices a disconnect while the end of the response is being sent.
            if exchange.end_sent is None or not self._is_http_1:
                watch.begin()

        with watch.request_scope:
            try:
                await when_suspended(self._answer_and_send(request, exchange), begin_watch)
            finally:
                watch.end()

    async def _answer_while_receiving(self, request: Request, receive: Any, exchange: HttpExchange) -> None:
        unfinished = UnfinishedBody(browser_or_address(request))
        try:
            if unfinished.is_too_many:
                await self._refuse(exchange, 429, _TOO_MANY)
                return
            async with trio.open_nursery() as nursery:

                def give_up() -> bool:
                    if not exchange.begun:
                        nursery.cancel_scope.cancel()
                    return not exchange.begun

                progress = BodyProgress(receive, give_up, unfinished.release)
                nursery.start_soon(self.receive_messages, nursery, request, progress)
                await self.handle_request(nursery, request, exchange)
            if progress.given_up and not exchange.begun:
                await self._refuse(exchange, 408, _TOO_SLOW)
        finally:
            unfinished.release()

    async def _refuse(self, exchange: HttpExchange, status: int, sentence: bytes) -> None:
        """Refuse a request whose body has not arrived."""
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(sentence))]
        if self._is_http_1:
            # On a connection left open, the remaining bytes of the body would be read as the next request.
            headers.append((b"connection", b"close"))
        await exchange({"type": "http.response.start", "status": status, "headers": headers})
        await exchange({"type": "http.response.body", "body": sentence, "more_body": False})

    # Trio never raises KeyboardInterrupt in this function: see `containment`.
    @trio.lowlevel.enable_ki_protection
    async def _respond(self, request: Request) -> Any:
        """The app's response. An exception or an open generator of the app's code affects this request only."""
        what = f"the request {request.method} {request.path}"
        response: Any = None
        try:
            async with InnerGenerators(what):
                response = await self.app.handle_request(request)
        except BaseException as error:
            cancelled, failure = split_cancellation(error)
            if cancelled is None and response is None and isinstance(error, Exception):
                raise
            if failure is not None:
                log_failure(_log, failure, "%s failed.", what[:1].upper() + what[1:])
            if cancelled is not None:
                raise cancelled from None
        return cast("Any", self.app).response_class("Internal Server Error", 500) if response is None else response

    async def handle_request(self, nursery: trio.Nursery, request: Request, send: Any) -> None:
        await self._answer_and_send(request, send)
        nursery.cancel_scope.cancel()

    async def _answer_and_send(self, request: Request, send: Any) -> None:
        response = await self._respond(request)
        data = data_of(response.response, SMALL)
        if data is not None:
            headers = encode_headers(response.headers)
            await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
            await send({"type": "http.response.body", "body": data, "more_body": False})
        else:
            timeout: Any = getattr(response, "timeout", ...)
            if timeout is ...:
                timeout = cast("Any", self.app.config["RESPONSE_TIMEOUT"])
            with trio.move_on_after(inf if timeout is None else timeout):
                await self.send_response(send, response)
