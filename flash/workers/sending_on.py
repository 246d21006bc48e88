"""Sends a request that needs the holder of its browser on to that worker, and everything else to the app here.

    browser ── Hypercorn ── SendingOn ── the app                       (no holder needed, or it is this worker)
                                └─────── a connection ── Peers of the holder ── the app there

It stands above the app and all its middleware. So a request passes hooks, sessions and middleware once, on the worker
that answers it, and reaches that as it would have reached it directly: the messages of ASGI go over the connection, in
both directions. While they pass, either end waits for the other: there are no queues.

Whatever ends on one side ends on the other. When the browser leaves, its disconnect is a message like any other. When
this worker dies, the holder sees the connection close, and tells its app that the browser has left. When the holder
dies, the response is cut off here: a link is opened again by its page, within a second, and finds another holder.

The link of a page is *handed over* instead, where that can be done: see `handing_over`.

A request whose body has come goes as one message: see `whole_requests`.

A request is sent on once. The other worker says whether it takes it: if the request begins something, or has not come
whole, before its app sees anything of it. If it does not hold the browser, or leaves, or does not answer at all, the
directory is asked again, which may give the browser to this worker now. When another worker has begun with a request
and dies, nobody knows how far it came: the request fails.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable

import trio

from .. import _hypercorn
from ..asgi.client_log import ClientWarnings
from ..websockets.transport import drain
from .directory import Holder
from .frames import HELD, NOT_HELD, OVER, App, MalformedFrame, Message, Receive, Send, encode_scope
from .handing_over import ADOPTED, Handover
from .holdings import Holdings
from .kept_connections import KeptConnections
from .leaving import Leaving, read_body
from .peer_connection import PeerConnection, PeerGone
from .routing import begins_something, browser_needed, is_long
from .signatures import GONE, REFUSED, BadSignature
from .whole_requests import whole_body

_log = logging.getLogger("flash.workers")
_warnings = ClientWarnings(_log)

VERDICTS = (HELD, ADOPTED, NOT_HELD, REFUSED, GONE)

TO_APP = ("http.request", "http.disconnect", "websocket.connect", "websocket.receive", "websocket.disconnect")
"""The messages that an app may receive."""

FROM_APP = (
    OVER,
    "http.response.start",
    "http.response.body",
    "http.response.trailers",
    "http.response.push",
    "http.response.early_hint",
    "websocket.accept",
    "websocket.send",
    "websocket.close",
    "websocket.http.response.start",
    "websocket.http.response.body",
)
"""The messages that an app may send, and what follows the last of them."""

VERDICT_TIMEOUT = 10.0
"""Seconds in which another worker has to say whether it holds a browser: its event loop may be held up for moments."""

SEARCH_TIMEOUT = 5.0
"""Seconds for which a holder is looked for when the first one was none, beside those in which workers say that they are
none. The directory knows it in less, unless the machine is so busy that what it is told takes seconds."""

SEARCH_INTERVAL = 0.02
"""Seconds between two questions for a holder that cannot be reached."""

GIVEN_UP_TIMEOUT = 2.0
"""Seconds for which requests are refused at once whose holder could not be reached for `SEARCH_TIMEOUT`. A machine that
has lost the others and not the directory stays the holder, and else each request would wait for that long."""

SERVICE_RESTART = 1012
"""The code with which a websocket is closed whose holder has died."""


class WorkerGone(Exception):
    """The machine of another worker says that it has no such worker any more."""


class NoAnswer(Exception):
    """Another worker, or its machine, does not answer."""


class SendingOn:
    """An ASGI app that has requests answered by the holders of their browsers."""

    def __init__(
        self,
        app: App,
        holdings: Holdings,
        connections: KeptConnections,
        leaving: Leaving,
        start_soon: Callable[..., None],
    ) -> None:
        """
        Args:
            app: answers requests on this worker.
            holdings: says which worker is a browser's holder.
            connections: those of this worker to others.
            leaving: whether this worker leaves.
            start_soon: starts a task that may outlast its request by a moment.
        """
        self._app = app
        self._holdings = holdings
        self._connections = connections
        self._leaving = leaving
        self._start_soon = start_soon
        self._long: dict[trio.CancelScope, Holder] = {}
        # The addresses of holders that could not be reached, and until when no request tries to.
        self._given_up: dict[str, float] = {}
        self._is_cut: Callable[[Holder], bool] = lambda holder: False

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        browser = browser_needed(scope)
        if browser is None:
            return await self._app(scope, receive, send)
        deadline = math.inf
        while True:
            holder = await self._holdings.claim(browser)
            if holder is None:
                # This worker stops. Whether the request can be sent again, to others who go on, is to be known first.
                await self._leaving.decided()
                if begins_something(scope):
                    await read_body(receive)
                    return await _refuse(scope, send, "The server is stopping.")
                return await self._app(scope, receive, send)
            if holder.here:
                try:
                    return await self._app(scope, receive, send)
                finally:
                    self._holdings.release(browser)
            if is_long(scope) and self._is_cut(holder):
                return await _refuse(scope, send, "The server is stopping.")
            asked_at = trio.current_time()
            if asked_at < self._given_up.get(holder.address, 0):
                # Where it is now, the next request asks the directory.
                self._holdings.forget(browser)
                break
            self._given_up.pop(holder.address, None)
            is_silent = True
            with contextlib.suppress(NoAnswer):
                if await self._send_on(holder, scope, receive, send):
                    return None
                is_silent = False
                # It has said no, or died. However long that took, the directory hears of it only now.
                deadline += trio.current_time() - asked_at
            self._holdings.forget(browser)
            if self._leaving.refuses(scope):
                # The holder leaves as well, most likely, and says no for as long as it has streams to end. Refused now,
                # the request is sent again to those who go on.
                return await _refuse(scope, send, "The server is stopping.")
            # Whoever was known may take long to say no, or nothing. And the directory may take long to hear it.
            now = trio.current_time()
            if now >= deadline:
                if is_silent:
                    self._given_up[holder.address] = now + GIVEN_UP_TIMEOUT
                break
            deadline = min(deadline, now + SEARCH_TIMEOUT)
            await trio.sleep(SEARCH_INTERVAL)
        _warnings.warn("no holder", "A request was refused: the worker that holds its browser did not answer")
        return await _refuse(scope, send, "The server process that holds this page does not answer. Try again.")

    def stop(self, goes_on: Callable[[Holder], bool]) -> None:
        """Cut the links and websockets that are sent on, and send on none any more, because this worker stops.

        The pages come back to their holders through another worker.

        Args:
            goes_on: whether another worker does not stop as well. If it does, it tells the pages by these links.
        """
        self._is_cut = goes_on
        for scope, holder in self._long.items():
            if goes_on(holder):
                scope.cancel()

    async def _send_on(self, holder: Holder, scope: Message, receive: Receive, send: Send) -> bool:
        """Have `holder` answer a request. Returns False, and nothing has happened, if it does not hold the browser.

        Raises:
            NoAnswer: it does not answer, and nothing has begun. It may still read what a page has said.
        """
        response = _Response(scope, send)
        is_held = False
        with trio.CancelScope() as cut:
            if is_long(scope):
                self._long[cut] = holder
            try:
                async with self._connections.connect(holder.address, VERDICTS) as connection:
                    handover = Handover.of_request(scope, send) if connection.is_local else None
                    body = whole_body(scope, receive)
                    head = encode_scope(scope, body) if handover is None else handover.offer
                    verdict = await _verdict(connection, head)
                    if handover is not None and verdict == ADOPTED:
                        await handover.run(connection, receive)
                        return True
                    is_held = verdict == HELD
                    if is_held and body is None:
                        await _relay(connection, receive, response)
                    elif is_held:
                        await _relay_answer(connection, receive, response, cut)
            except WorkerGone:
                self._holdings.note_gone(holder)
                return False
            except (ConnectionRefusedError, TimeoutError) as error:
                await self._holdings.note_unreachable(holder)
                raise NoAnswer from error
            except (OSError, PeerGone):
                return False
            except MalformedFrame as error:
                _warnings.warn(
                    f"distrust of {holder.address}",
                    "A request was refused: worker %s at %s and this one do not know each other by the same secret",
                    holder.name,
                    holder.address,
                    error=error,
                )
                await response.cut()
                return True
            finally:
                self._long.pop(cut, None)
                if is_held and scope["type"] == "websocket":
                    self._start_soon(drain, receive)
        if cut.cancelled_caught:
            # The server of this worker stops. It ends the response, as it would have done with one of its own.
            await response.cut()
        return is_held or cut.cancelled_caught


async def _verdict(connection: PeerConnection, head: Message) -> str:
    """Give the other worker the head of a request, and return what it says: whether it holds the browser.

    Raises:
        WorkerGone: its machine says that it is dead, or has stopped.
        NoAnswer: it has said nothing for `VERDICT_TIMEOUT`.
        PeerGone: it has closed the connection.
        MalformedFrame: it answers with something else than a verdict, or neither side can trust the other.
    """
    with trio.move_on_after(VERDICT_TIMEOUT):
        await connection.send(head)
        verdict = await connection.receive()
        if verdict["type"] == GONE:
            raise WorkerGone
        if verdict["type"] == REFUSED:
            raise BadSignature("It says that what this worker signs is forged.")
        connection.expect(FROM_APP)
        return verdict["type"]
    raise NoAnswer


async def _relay(connection: PeerConnection, receive: Receive, response: _Response) -> None:
    """Pass the messages of a request on, until it is over on one side."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_pass_request, connection, receive)
        await _pass_response(connection, response)
        nursery.cancel_scope.cancel()


async def _relay_answer(
    connection: PeerConnection, receive: Receive, response: _Response, cut: trio.CancelScope
) -> None:
    """Pass the response to a request on of which all was sent, until it is over on one side.

    Args:
        connection: to the holder.
        receive: says whether the browser has left.
        response: is passed on.
        cut: the scope of all that, which is cancelled if the browser has left.
    """

    def leave() -> None:
        # While it sends the end of a response, the server says by itself that the request is over.
        if not response.is_over:
            response.is_over = True
            cut.cancel()

    _hypercorn.call_on_disconnect(receive, leave)
    connection.is_free = await _pass_response(connection, response)


async def _pass_response(connection: PeerConnection, response: _Response) -> bool:
    """Pass a response on. Returns whether the other worker has said that the request is over."""
    try:
        while (message := await connection.receive())["type"] != OVER:
            await response.send(message)
        # An app that has failed may not have begun: the server here answers for that.
        if response.has_begun:
            await response.cut()
        return True
    except PeerGone:
        await response.cut()
    except MalformedFrame as error:
        _log.error("What another worker has answered was refused: %s", error)
        await response.cut()
    return False


async def _pass_request(connection: PeerConnection, receive: Receive) -> None:
    """Pass on what comes from the browser, until it has left."""
    message: Message = {"type": ""}
    while not message["type"].endswith(".disconnect"):
        message = await receive()
        try:
            await connection.send(message)
        except PeerGone:
            # What the other worker has sent before may still be there to be read.
            return


class _Response:
    """The response to a request that is sent on, as far as it has come.

    Attributes:
        has_begun: whether something of it was sent.
        is_over: whether all of it was sent, or is being sent.
    """

    def __init__(self, scope: Message, send: Send) -> None:
        self.has_begun = False
        self._scope = scope
        self._send = send
        self.is_over = False

    async def send(self, message: Message) -> None:
        """Send the server of this worker a message of the response."""
        self.has_begun = True
        is_body = message["type"].endswith("response.body")
        self.is_over = message["type"] == "websocket.close" or (is_body and not message.get("more_body", False))
        await self._send(message)

    async def cut(self) -> None:
        """End a response that has not come to its end: by an answer if there is none yet.

        The server closes a connection of HTTP/1 on which the end is missing, so that nobody takes the part for the
        whole. A connection of HTTP/2 has other responses, and a link no end to wait for: those are ended.
        """
        if self.is_over:
            return
        self.is_over = True
        if not self.has_begun:
            await _refuse(self._scope, self._send, "The server process that held this page is gone. Try again.")
        elif self._scope["type"] == "websocket":
            await self._send({"type": "websocket.close", "code": SERVICE_RESTART, "reason": "The server has gone."})
        elif is_long(self._scope) or not self._scope["http_version"].startswith("1"):
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})


async def _refuse(scope: Message, send: Send, sentence: str) -> None:
    """Answer a request with 503, or close a websocket."""
    kind = "websocket.http" if scope["type"] == "websocket" else "http"
    body = sentence.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    if scope["http_version"].startswith("1"):
        # The body of the request may not have been read.
        headers.append((b"connection", b"close"))
    await send({"type": f"{kind}.response.start", "status": 503, "headers": headers})
    await send({"type": f"{kind}.response.body", "body": body, "more_body": False})
