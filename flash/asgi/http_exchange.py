"""One HTTP request and its response on ASGI: what Quart makes of them, and what goes on when Quart is done.

    Hypercorn ── FlashConnection ── Quart: hooks, session, view, headers
                        └────────── the rest of a response that has no end

Quart keeps a request, with two tasks, for as long as its response takes. An event stream takes as long as its page is
looked at, and needs neither: so Quart says no more than how it begins, and the connection carries on by itself.

Most requests are small, and answered without waiting for anything. Their body is there already when they come in, and
their response is said in one piece; the task that watches for a client that goes away starts when there is a wait.
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
from .._quart import Body, DataBody, HTTPConnection, ResponseBody, TrioBody, encode_headers
from ..user_code.cleanup import Deadline
from ..user_code.containment import log_failure, split_cancellation
from ..user_code.inner_generators import InnerGenerators
from ..user_code.suspension import when_suspended
from .body_progress import PER_BROWSER, AwaitedBody, BodyProgress
from .browser_cookie import browser_or_address
from .unattended import Attendance

_log = logging.getLogger("flash.server")

Send = Callable[[Any], Awaitable[None]]

Rest = Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[None]]
"""Sends the rest of a response, in the pieces that it gives to its argument; cancelled when the client has gone."""

Headers = Iterable[tuple[bytes, bytes]]
"""The headers of a request, as ASGI has them."""

SMALL = 65_536
"""Bytes of a response that is said in one piece: what a socket buffer takes at once."""

CALLBACKS = "/_dash-update-component"
"""What the path of a callback request ends with."""

END_TIMEOUT = 1.0
"""Seconds in which the end of a response has to be sent once the client has disconnected."""


class Exchange:
    """The sending side of one request.

    Attributes:
        gone: the client is.
        attendance: whether the request goes on then.
        begun: the response is being sent.
        deadline: of what the callback cleans up; None if there is no async callback.
        said: set when the response is over; None before its end is being sent.
        rest: what sends the response from where Quart ends.
        outlived_by: a request that something goes on with when this is over, but not with its body.
        body: of the request, if it had come when the request did.
        of_request: what Quart knows that body as.
        headers: of the request.
    """

    def __init__(self, send: Send, attendance: Attendance, headers: Headers = ()) -> None:
        self.gone = False
        self.begun = False
        self.attendance = attendance
        self.deadline: Deadline | None = None
        self.said: trio.Event | None = None
        self.rest: Rest | None = None
        self.outlived_by: Request | None = None
        self.body: bytes | None = None
        self.of_request: Body | None = None
        self.headers = headers
        self._send = send
        _open.add(self)

    def __call__(self, message: Any) -> Awaitable[None]:
        self.begun = True
        if self.gone and self.said is None:
            return _nowhere(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            return self._end(message) if self.rest is None else _nowhere(message)
        return self._send(message)

    async def carry_on(self) -> None:
        """Send the rest, and the end."""
        if self.rest is not None:
            await self.rest(self._send_piece)
            await self._end({"type": "http.response.body", "body": b"", "more_body": False})

    def target(self) -> Send:
        """The server's side."""
        return self._send

    def release(self) -> None:
        """Let go of both sides: it is over. Quart's request refers to this, and a stream to what has started it."""
        _open.discard(self)
        self.headers = ()
        self._send, self.rest, self.said, self.deadline = _nowhere, None, None, None
        self.body = self.of_request = None
        if self.outlived_by is not None:
            self.outlived_by.body = _READ
            self.outlived_by = None

    async def _send_piece(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def _end(self, message: Any) -> None:
        self.said = trio.Event()
        try:
            await self._send(message)
        finally:
            self.said.set()


_open: set[Exchange] = set()
"""The requests of this process that are not over."""


def in_progress() -> Iterator[Headers]:
    """The headers of the requests whose clients wait for the end of an answer: not those of event streams."""
    return (exchange.headers for exchange in _open if exchange.rest is None and not exchange.gone)


async def _nowhere(message: Any) -> None:
    """Where to send what comes when the request is over."""


_READ = TrioBody(None, None)
"""The body of a request that is over."""
_READ.set_complete()

_TOO_SLOW = b"The body of the request has not come along."
_TOO_MANY = b"This browser has announced %d requests already whose bodies have not come." % PER_BROWSER

EXCHANGE: ContextVar[Exchange | None] = ContextVar("flash_exchange", default=None)
"""The request at hand."""


def cancel_with_client() -> None:
    """Have the request at hand cancelled when its client goes, or at once if it has gone."""
    exchange = EXCHANGE.get()
    if exchange is not None:
        exchange.attendance.release()


def body_at_hand(incoming: Request) -> bytes | None:
    """The body that came with a request; None if Quart is to be asked, which may wait for it, or refuse it."""
    exchange = EXCHANGE.get()
    # A hook may have put another in its place.
    if exchange is None or exchange.body is None or incoming.body is not exchange.of_request:
        return None
    limit = incoming.max_content_length
    return exchange.body if limit is None or len(exchange.body) <= limit else None


class EndlessBody(ResponseBody):
    """The body of a response that Quart begins and the connection carries on. Entered only if it is really sent."""

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    async def __aenter__(self) -> EndlessBody:
        exchange = EXCHANGE.get()
        assert exchange is not None
        exchange.rest = self._rest
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
    """One HTTP request. The end of its response is sent before a disconnect is acted on.

    Hypercorn tells the app that the request is over from within the `send` that ends the response. Quart-Trio takes
    that for a disconnect and cancels the `send`: the connection would then never be known to be idle, and never be
    closed for it.
    """

    async def __call__(self, receive: Any, send: Any) -> None:
        attendance = Attendance(self.scope["method"] == "POST" and self.scope["path"].endswith(CALLBACKS))
        exchange = Exchange(send, attendance, self.scope["headers"])
        EXCHANGE.set(exchange)
        # A list: an empty deque takes 600 bytes of every page.
        early: list[Any] = []

        async def receive_in_time() -> Any:
            message = early.pop(0) if early else await receive()
            if message["type"] == "http.disconnect":
                exchange.gone = True
                if exchange.said is not None:
                    with trio.move_on_after(END_TIMEOUT):
                        await exchange.said.wait()
                else:
                    await attendance.hold()
                if exchange.deadline is not None:
                    exchange.deadline.begin()
            elif not message.get("more_body", False):
                attendance.is_complete = True
            return message

        try:
            exchange.body = await self._body_at_hand(receive, early)
            attendance.is_complete = exchange.body is not None
            await self._answer(receive_in_time, exchange)
            # Of a client that has gone already, nobody would tell a second time.
            if exchange.rest is not None and not exchange.gone:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_cancel_when_gone, nursery.cancel_scope, receive_in_time)
                    await exchange.carry_on()
                    nursery.cancel_scope.cancel()
        finally:
            exchange.release()

    @property
    def _is_http_1(self) -> bool:
        return self.scope["http_version"].startswith("1")

    async def _body_at_hand(self, receive: Any, early: list[Any]) -> bytes | None:
        """The body of the request, if it has come; else what has come of it is in `early`."""
        # HTTP/2 says when a body is over, whatever its headers do.
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
                # Hypercorn is about to say so. Before it has, it would take an answer for one to half a request.
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

    async def _answer(self, receive: Any, exchange: Exchange) -> None:
        """What Quart-Trio does with a request, in two tasks less: every request pays for each."""
        request = self.create_request(exchange)
        if exchange.body is None:
            await self._answer_as_the_body_comes(request, receive, exchange)
            return
        request.body.set_result(exchange.body)
        exchange.of_request = request.body
        async with trio.open_nursery() as nursery:

            def watch() -> None:
                # With HTTP/1, once the end is being sent, the server notices by itself that the client has gone.
                if exchange.said is None or not self._is_http_1:
                    nursery.start_soon(_cancel_when_gone, nursery.cancel_scope, receive)

            await when_suspended(self.handle_request(nursery, request, exchange), watch)

    async def _answer_as_the_body_comes(self, request: Request, receive: Any, exchange: Exchange) -> None:
        place = AwaitedBody(browser_or_address(request))
        try:
            if place.is_too_many:
                await self._refuse(exchange, 429, _TOO_MANY)
                return
            async with trio.open_nursery() as nursery:

                def give_up() -> bool:
                    if not exchange.begun:
                        nursery.cancel_scope.cancel()
                    return not exchange.begun

                progress = BodyProgress(receive, give_up, place.leave)
                nursery.start_soon(self.handle_messages, nursery, request, progress)
                await self.handle_request(nursery, request, exchange)
            if progress.given_up and not exchange.begun:
                await self._refuse(exchange, 408, _TOO_SLOW)
        finally:
            place.leave()

    async def _refuse(self, exchange: Exchange, status: int, sentence: bytes) -> None:
        """Answer a request whose body has not come."""
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(sentence))]
        if self._is_http_1:
            # Else what is left of the body would be taken for the next request.
            headers.append((b"connection", b"close"))
        await exchange({"type": "http.response.start", "status": status, "headers": headers})
        await exchange({"type": "http.response.body", "body": sentence, "more_body": False})

    # A Ctrl-C is never raised in here: see `containment`.
    @trio.lowlevel.enable_ki_protection
    async def _respond(self, request: Request) -> Any:
        """The app's response. Whatever its code raises, or leaves open, is this request's affair."""
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
        response = await self._respond(request)
        body = response.response
        if isinstance(body, DataBody) and body.end - body.begin <= SMALL:
            headers = encode_headers(response.headers)
            await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
            await send({"type": "http.response.body", "body": body.data[body.begin : body.end], "more_body": False})
        else:
            timeout: Any = getattr(response, "timeout", ...)
            if timeout is ...:
                timeout = cast("Any", self.app.config["RESPONSE_TIMEOUT"])
            with trio.move_on_after(inf if timeout is None else timeout):
                await self.send_response(send, response)
        nursery.cancel_scope.cancel()


async def _cancel_when_gone(scope: trio.CancelScope, receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
