"""The control websocket: requests of a page that its browser cannot send as such.

    page ── {id, to, headers, body} ── ControlSocket ── an HTTP request of the app itself: hooks, routes
         ◄── {id, status, type, text} ────┘

A browser has six connections to a host over HTTP/1.1, and slow callbacks may hold them all for minutes. What a page has
to say then, a start, an acknowledgement, a cancel, would wait in the browser. A websocket is not counted among the
six. Each of its messages becomes a request to the route that it is for, within this process, with the headers of the
handshake, Dash's CSRF header and what proves that it is the page's: so the app's hooks see it, and it is checked,
answered and refused, as if it had come by itself. The page may send it both ways: what comes second changes nothing.

The handshake passes the app's hooks for websockets, and the check that its page is of this site. A socket that nothing
comes over is closed, and one that grows old, since its cookies are those of its handshake. Of each there is a bound: of
sockets, of a message's size, and of the messages that are being answered, beyond which the socket is not read.
"""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import quart
import trio
from quart import Quart

from ..asgi.browser_cookie import browser_of
from ..errors import RequestRefused
from ..sse import answer_refusal
from ..wire import MESSAGES, PROOF_HEADER, START_HEADER, ControlAnswer, ControlMessage
from .callback_socket import CLOSE_TIMEOUT, GOING_AWAY, MALFORMED
from .exchange import MESSAGE_EXCHANGE, MessageExchange
from .open_sockets import OpenSockets

_log = logging.getLogger("flash.server")

Ask = Callable[[str, bytes, Mapping[str, str]], Awaitable["Answer"]]
"""Makes a request of the app, given where to, its body, and its headers."""

TARGETS = {message.route: f"_flash/{message.route}" for message in MESSAGES} | {"start": "_dash-update-component"}
"""Where the messages go, by what they are."""

MESSAGE_LIMIT = 512_000
"""Bytes of a message: a body of the largest size that is taken, and as much again for what it is wrapped in."""

MAX_CONCURRENT_ANSWERS = 32
"""How many messages of a socket are answered at a time."""

IDLE_TIMEOUT = 20.0
"""Seconds after which a socket that nothing comes over is closed."""

MAX_AGE = 120.0
"""Seconds after which a socket is closed: a browser may have other cookies by then."""

ANSWER_TIMEOUT = 10.0
"""Seconds that what is being answered has when its socket is closed for its age."""

NORMAL = 1000
TOO_BIG = 1009
"""Codes with which the server closes a socket, beside those of Dash's websocket."""

_OF_THE_HANDSHAKE = (b"connection", b"upgrade", b"accept-encoding", b"content-length", b"transfer-encoding", b"expect")
"""Headers that are not passed on, beside those that begin with `sec-websocket-`."""


@dataclass(slots=True)
class Answer:
    """What the app answers to a request, as far as it has come."""

    status: int = 500
    type: str = ""
    body: bytes = b""

    async def send(self, message: Any) -> None:
        """Take in what the app sends: the sending side of the request."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = {bytes(name).lower(): bytes(value) for name, value in message["headers"]}
            self.type = headers.get(b"content-type", b"").decode("latin1")
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")

    def to(self, number: int) -> str:
        """The answer to the message with this number."""
        return ControlAnswer(number, self.status, self.type, self.body.decode(errors="replace")).encode().decode()


class ControlSocket:
    """One control websocket.

    Args:
        websocket: its handshake, as Quart has it.
        exchange: what its messages come and go by.
        ask: makes a request of the app.
    """

    def __init__(self, websocket: Any, exchange: MessageExchange, ask: Ask) -> None:
        self._websocket = websocket
        self._exchange = exchange
        self._ask = ask
        self._reading_scope = trio.CancelScope()
        self._close_frame: tuple[int, str] | None = (GOING_AWAY, "The server stops.")
        self._room = trio.CapacityLimiter(MAX_CONCURRENT_ANSWERS)

    async def run(self) -> None:
        """Answer messages until either side closes the socket."""
        with trio.CancelScope() as life:
            async with trio.open_nursery() as nursery:
                with self._reading_scope:
                    self._close_frame = await self._read(nursery, trio.current_time() + MAX_AGE)
                    if self._close_frame is None:
                        # Nobody is there to be answered.
                        nursery.cancel_scope.cancel()
                    life.deadline = trio.current_time() + ANSWER_TIMEOUT
                if self._reading_scope.cancelled_caught:
                    nursery.cancel_scope.cancel()
        if self._close_frame is not None:
            with trio.move_on_after(CLOSE_TIMEOUT):
                await self._websocket.close(*self._close_frame)

    def stop(self) -> None:
        """Close the socket, because the server stops."""
        self._reading_scope.cancel()

    async def _read(self, nursery: trio.Nursery, until: float) -> tuple[int, str] | None:
        """Read messages; returns the code and the reason to close with, None if the peer has closed."""
        while trio.current_time() < until:
            data: str | bytes | None = ""
            with trio.move_on_after(IDLE_TIMEOUT) as waiting:
                data = await self._exchange.receive()
            if waiting.cancelled_caught:
                if not nursery.child_tasks:
                    break
                continue
            if data is None:
                return None
            if len(data) > MESSAGE_LIMIT:
                return TOO_BIG, f"A message is larger than {MESSAGE_LIMIT} bytes."
            message = ControlMessage.read(data)
            if message is None:
                return MALFORMED, "A message is a JSON object with an id, what it is, and a body."
            # As long as there is no room for another, the socket is not read.
            place = object()
            await self._room.acquire_on_behalf_of(place)
            nursery.start_soon(self._answer, message, place)
        return NORMAL, "The socket was not needed any more."

    async def _answer(self, message: ControlMessage, place: object) -> None:
        try:
            answer = Answer(404, "text/plain", b"There is no such message.")
            if message.to in TARGETS:
                try:
                    # Half a surrogate pair is no text, and makes no request.
                    body = message.body.encode(errors="replace")
                    answer = await self._ask(TARGETS[message.to], body, message.headers)
                except Exception as error:
                    # Of middleware: what fails in Quart is answered there.
                    _log.error("A message of a page failed: %s.", message.to, exc_info=error)
                    answer = Answer()
            await self._exchange.send(answer.to(message.id))
        finally:
            self._room.release_on_behalf_of(place)


def register(
    server: Quart,
    prefix: str,
    sockets: OpenSockets[ControlSocket],
    check_handshake: Callable[[], Awaitable[None]],
    csrf_header: Callable[[], str],
) -> None:
    """Serve the control websockets of an app.

    Args:
        server: what to add the route to.
        prefix: of the app's routes; ends in a slash.
        sockets: what bounds them.
        check_handshake: raises RequestRefused if the handshake at hand is not one of a page that may have a websocket.
        csrf_header: gives the name of the header by which Dash answers CSRF protections.
    """
    path = f"{prefix}_flash/{ControlMessage.route}"

    async def serve() -> Any:
        websocket = cast("Any", quart.websocket)
        try:
            await check_handshake()
            browser = browser_of(websocket)
            sockets.check(browser)
        except RequestRefused as refusal:
            answer = answer_refusal(refusal)
            # Hypercorn cannot take another request where a handshake was refused.
            answer.headers["Connection"] = "close"
            return answer
        exchange = MESSAGE_EXCHANGE.get()
        exchange.take_over()
        exchange.limit(MESSAGE_LIMIT)
        await websocket.accept()
        ask = partial(_ask, server, websocket.scope, (PROOF_HEADER, START_HEADER, csrf_header()))
        await sockets.serve(ControlSocket(websocket, exchange, ask), browser)
        return None

    async def refuse() -> Any:
        return answer_refusal(RequestRefused(426, "This address is for websockets."))

    server.add_websocket(path, endpoint=path, view_func=serve)
    # Else Dash's catch-all would answer with a page.
    server.add_url_rule(path, endpoint=f"{path} over HTTP", view_func=refuse, methods=["GET", "POST"])


async def _ask(
    server: Quart, handshake: Any, known: Iterable[str], target: str, body: bytes, headers: Mapping[str, str]
) -> Answer:
    """Make a request of the app, as if it had come where the handshake did, to a route beside that of the handshake.

    Of the headers only those are passed on that are `known`.
    """
    answer = Answer()
    message: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if not message:
            # As long as the socket is open, the client has not gone.
            await trio.sleep_forever()
        return message.pop()

    async def run() -> None:
        extra = [(name, headers[name]) for name in known if name in headers]
        scope = _request_scope(handshake, target, len(body), extra)
        await server.asgi_app(cast("Any", scope), receive, cast("Any", answer.send))

    async with trio.open_nursery() as nursery:
        # The context of a request is not to be that of the handshake.
        contextvars.Context().run(nursery.start_soon, run)
    return answer


def _request_scope(handshake: Any, target: str, length: int, extra: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The ASGI scope of a POST of JSON to a route beside that of a handshake."""
    path = handshake["path"].removesuffix("_flash/control") + target
    headers = [
        (name, value)
        for name, value in handshake["headers"]
        if name.lower() not in _OF_THE_HANDSHAKE and not name.lower().startswith(b"sec-websocket-")
    ]
    headers += [(b"content-type", b"application/json"), (b"content-length", str(length).encode())]
    headers += [(name.lower().encode("latin1"), value.encode("latin1", "replace")) for name, value in extra]
    return {
        **handshake,
        "type": "http",
        "method": "POST",
        "scheme": "https" if handshake["scheme"] == "wss" else "http",
        "http_version": "1.1",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
        "extensions": {},
    }
