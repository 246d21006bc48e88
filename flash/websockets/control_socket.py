"""Serves the control websocket: it takes requests of a page that its browser cannot send over HTTP at the moment.

    page ── {id, to, headers, body} ── ControlSocket ── an HTTP request of the app itself: hooks, routes
         ◄── {id, status, type, text} ────┘

A browser opens six connections to a host over HTTP/1.1, and slow callbacks may occupy all six for minutes. A start, an
acknowledgement or a cancel would then wait in the browser. Browsers do not count websockets among the six.

Each message becomes a request to a route of the app, within this process. The request has the headers of the handshake,
Dash's CSRF header, and the proof that the page sent it. So the app's hooks see the request, and the route checks and
answers it, as if the browser had sent it over HTTP. A page may send a request both ways; the second changes nothing.

The handshake passes the app's websocket hooks, and the check that its page belongs to this site. The server closes a
socket without messages after `IDLE_TIMEOUT`, and any socket after `MAX_AGE`, because the cookies of its requests are
those of its handshake. The number of sockets and the size of a message are bounded. A socket is not read while
`MAX_CONCURRENT_ANSWERS` of its messages are being answered.
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
from ..asgi.http_exchange import CALLBACK_ROUTE
from ..asgi.refusals import answer_refusal, answer_refused_handshake
from ..errors import RequestRefused
from ..wire import LIFE_HEADER, PROOF_HEADER, START_HEADER
from ..wire_messages import MESSAGES, ControlAnswer, ControlMessage
from .callback_socket import CLOSE_TIMEOUT, GOING_AWAY, MALFORMED
from .open_sockets import OpenSockets
from .transport import TRANSPORT, MessageTransport

_log = logging.getLogger("flash.server")

Ask = Callable[[str, bytes, Mapping[str, str]], Awaitable["RouteAnswer"]]
"""Makes a request of the app, given its target, its body and its headers."""

TARGETS = {message.route: f"_flash/{message.route}" for message in MESSAGES} | {"start": CALLBACK_ROUTE}
"""The path of the route for each kind of message, relative to the prefix of the app's routes."""

MESSAGE_LIMIT = 512_000
"""The most bytes of a message: twice the largest body, since JSON adds an envelope and escapes."""

MAX_CONCURRENT_ANSWERS = 32
"""The most messages of one socket that are being answered at the same time."""

IDLE_TIMEOUT = 20.0
"""Seconds without a message after which a socket is closed."""

MAX_AGE = 120.0
"""Seconds after its handshake at which a socket is closed: the browser's cookies may have changed."""

ANSWER_TIMEOUT = 10.0
"""Seconds for the answers under way when a socket stops reading before it closes."""

NORMAL = 1000
TOO_BIG = 1009
"""Codes with which the server closes a socket, besides those in `callback_socket`."""

_OF_THE_HANDSHAKE = (b"connection", b"upgrade", b"accept-encoding", b"content-length", b"transfer-encoding", b"expect")
"""Headers of the handshake that its requests do not get, besides those that begin with `sec-websocket-`."""


@dataclass(slots=True)
class RouteAnswer:
    """The app's answer to a request, as far as the app has sent it."""

    status: int = 500
    type: str = ""
    body: bytes = b""
    life: str = ""

    async def send(self, message: Any) -> None:
        """Take an ASGI event of the response. This is the `send` of the request."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = {bytes(name).lower(): bytes(value) for name, value in message["headers"]}
            self.type = headers.get(b"content-type", b"").decode("latin1")
            self.life = headers.get(LIFE_HEADER.lower().encode(), b"").decode("latin1")
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")

    def to(self, number: int) -> str:
        """Encode the answer to the message with this number."""
        text = self.body.decode(errors="replace")
        return ControlAnswer(number, self.status, self.type, text, self.life).encode().decode()


class ControlSocket:
    """One control websocket.

    Args:
        websocket: the websocket as Quart has it.
        transport: receives and sends its messages.
        ask: makes a request of the app.
    """

    def __init__(self, websocket: Any, transport: MessageTransport, ask: Ask) -> None:
        self._websocket = websocket
        self._transport = transport
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
                        # The page has gone, so no answer can be sent.
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
        """Read messages, and return the code and the reason to close with; None if the peer has closed."""
        while trio.current_time() < until:
            data: str | bytes | None = ""
            with trio.move_on_after(IDLE_TIMEOUT) as waiting:
                data = await self._transport.receive()
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
            # The next message is not read until there is room to answer this one.
            place = object()
            await self._room.acquire_on_behalf_of(place)
            nursery.start_soon(self._answer, message, place)
        return NORMAL, "The socket was not needed any more."

    async def _answer(self, message: ControlMessage, place: object) -> None:
        try:
            answer = RouteAnswer(404, "text/plain", b"There is no such message.")
            if message.to in TARGETS:
                try:
                    # Half a surrogate pair has no encoding, so it is replaced.
                    body = message.body.encode(errors="replace")
                    answer = await self._ask(TARGETS[message.to], body, message.headers)
                except Exception as error:
                    # ASGI middleware has failed. Quart would have answered a failure of its own.
                    _log.error("A message of a page failed: %s.", message.to, exc_info=error)
                    answer = RouteAnswer()
            await self._transport.send(answer.to(message.id))
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
        server: the server that gets the route.
        prefix: the prefix of the app's routes; ends in a slash.
        sockets: counts the sockets, and bounds their number.
        check_handshake: raises RequestRefused if the page of the current handshake may not open a websocket.
        csrf_header: returns the name of the header in which Dash sends a CSRF token.
    """
    path = f"{prefix}_flash/{ControlMessage.route}"

    async def serve() -> Any:
        websocket = cast("Any", quart.websocket)
        try:
            await check_handshake()
            browser = browser_of(websocket)
            sockets.check(browser)
        except RequestRefused as refusal:
            return answer_refused_handshake(refusal)
        transport = TRANSPORT.get()
        transport.take_over()
        transport.limit(MESSAGE_LIMIT)
        await websocket.accept()
        ask = partial(_ask, server, websocket.scope, (PROOF_HEADER, START_HEADER, csrf_header()))
        await sockets.serve(ControlSocket(websocket, transport, ask), browser)
        return None

    async def refuse() -> Any:
        return answer_refusal(RequestRefused(426, "This address is for websockets."))

    server.add_websocket(path, endpoint=path, view_func=serve)
    # Without this route, Dash's catch-all route would answer with the page of the app.
    server.add_url_rule(path, endpoint=f"{path} over HTTP", view_func=refuse, methods=["GET", "POST"])


async def _ask(
    server: Quart, handshake: Any, known: Iterable[str], target: str, body: bytes, headers: Mapping[str, str]
) -> RouteAnswer:
    """Make a request of the app, to a route under the same prefix as the handshake's, and return the answer.

    Of `headers`, the request gets those that are `known`.
    """
    answer = RouteAnswer()
    message: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if not message:
            # The client is there as long as the socket is open, so this never reports a disconnect.
            await trio.sleep_forever()
        return message.pop()

    async def run() -> None:
        extra = [(name, headers[name]) for name in known if name in headers]
        scope = _request_scope(handshake, target, len(body), extra)
        await server.asgi_app(cast("Any", scope), receive, cast("Any", answer.send))

    async with trio.open_nursery() as nursery:
        # The request gets a context of its own, not that of the handshake.
        contextvars.Context().run(nursery.start_soon, run)
    return answer


def _request_scope(handshake: Any, target: str, length: int, extra: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return the ASGI scope of a POST of JSON to a route under the same prefix as the handshake's."""
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
