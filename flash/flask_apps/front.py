"""The ASGI app in front of Dash: every request passes the Flask app first.

    Hypercorn ── FlaskFront ── the Flask app, in a thread ──┬── one of its own routes: its response
                                                            └── a view that lets through ── Quart: Dash, Flash

Dash's routes are routes of the Flask app as well. Only their views lead on to Quart, so that no request reaches Dash in
which Flask has found another route, or which it has refused. Quart gets the path that Flask has matched, and answers
only if it finds the same route.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Container
from functools import partial
from typing import Any

import trio
from flask import Flask
from werkzeug.exceptions import ClientDisconnected, HTTPException, RequestTimeout

from ..user_code.containment import log_failure
from .ended_request import end_request
from .request import Answer, ByteHeaders, FlaskRequest
from .wsgi import IncomingBody, Receive, environ_of, path_of

_log = logging.getLogger("flash.server")

Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]

HOOK_THREADS = 40
"""How many requests to Dash run Flask's hooks at a time. Views of the Flask app's own do not use these threads."""

OWN_THREADS = 200
"""How many requests to routes of the Flask app's own run at a time; one that sends events has its thread for good."""

RULE = "flash.flask_rule"
"""Where the ASGI scope has the rule of the route that Flask has found."""

_TEXT: ByteHeaders = [(b"content-type", b"text/plain; charset=utf-8")]

_GONE = Answer(499, [], b"")
"""What Flask is told if Dash has sent no answer, as the client has gone."""


class FlaskFront:
    """Passes each request to a Flask app, and on to Dash if Flask lets it through."""

    def __init__(self, app: Flask, endpoints: Container[str]) -> None:
        """
        Args:
            app: the Flask app, which has the routes of Dash among its own.
            endpoints: of the routes of Dash.
        """
        self._app = app
        self._endpoints = endpoints
        self._hook_threads = trio.CapacityLimiter(HOOK_THREADS)
        self._own_threads = trio.CapacityLimiter(OWN_THREADS)

    async def __call__(
        self,
        scope: Any,
        receive: Receive,
        send: Send,
        dash: App,
        body_timeout: float | None,
        response_timeout: float | None,
    ) -> None:
        """Answer a request or a handshake.

        Args:
            scope: of ASGI.
            receive: of ASGI.
            send: of ASGI.
            dash: answers what Flask lets through.
            body_timeout: seconds in which the body has to come; None for no limit.
            response_timeout: seconds in which the response of a route of the app's own has to be taken; None for no
                limit. Event streams have none: they last for as long as the client is there.
        """
        body = IncomingBody(receive, body_timeout)
        client = _Client(scope, send)
        if scope["type"] == "websocket":
            body.is_complete = True
        else:
            try:
                await body.receive_ahead()
            except ClientDisconnected:
                return
            except RequestTimeout:
                await client.refuse(408, b"The body of the request has not come along.")
                return
        request = FlaskRequest(self._app, environ_of(scope, body.file()))
        # A large body is received as it is read, for which the threads of the hooks are not to wait.
        is_quick = body.is_complete and self._leads_to_dash(scope["scheme"], request.environ)
        threads = self._hook_threads if is_quick else self._own_threads
        try:
            await trio.to_thread.run_sync(request.begin, limiter=threads)
        except Exception as error:
            log_failure(_log, error, "Flask failed at %s.", scope["path"])
            await client.refuse(500, b"Internal Server Error")
            return
        if request.is_let_through:
            await self._pass_on(request, scope, receive, client, dash)
        else:
            await self._send(request, threads, receive if body.is_complete else None, client, response_timeout)

    def _leads_to_dash(self, scheme: str, environ: dict[str, Any]) -> bool:
        """Whether Flask is going to find a route of Dash's, as far as can be told before its middleware has run."""
        try:
            asked = self._app.url_map.bind("localhost", url_scheme=scheme)
            endpoint, _ = asked.match(path_of(environ), environ["REQUEST_METHOD"])
        except HTTPException:
            return False
        return endpoint in self._endpoints

    async def _pass_on(self, request: FlaskRequest, scope: Any, receive: Receive, client: _Client, dash: App) -> None:
        """Have Dash answer a request that Flask lets through."""
        answering = _Answering(request, client, self._hook_threads)
        environ = request.environ
        scope = {**scope, "path": path_of(environ), "root_path": "", RULE: request.rule}
        if scope["type"] == "http":
            scope["method"] = environ["REQUEST_METHOD"]
            receive = _after(request.body, receive)
        failures: list[Exception] = []

        async def answer() -> None:
            try:
                await dash(scope, receive, answering.send)
            except Exception as error:
                failures.append(error)

        try:
            async with trio.open_nursery() as nursery:
                # Flask's context is in a copy: the original changes when Flask concludes the request.
                request.context.copy().run(nursery.start_soon, answer)
        finally:
            if not request.is_over:
                with trio.CancelScope(shield=True):
                    await answering.conclude(_GONE)
        if failures:
            raise failures[0]

    async def _send(
        self,
        request: FlaskRequest,
        threads: trio.CapacityLimiter,
        receive: Receive | None,
        client: _Client,
        seconds: float | None,
    ) -> None:
        """Send the response of one of the app's own routes, or of a hook."""
        scope = trio.CancelScope()

        async def start(status: int, headers: ByteHeaders) -> None:
            if seconds is not None and not _is_event_stream(headers):
                scope.deadline = trio.current_time() + seconds
            await client.start(status, headers)

        with scope:
            async with trio.open_nursery() as nursery:
                if receive is not None and not client.is_websocket:
                    nursery.start_soon(client.watch, receive)
                # When the server stops, a thread that waits in the app's generator is left alone.
                await trio.to_thread.run_sync(
                    request.send,
                    partial(trio.from_thread.run, start),
                    partial(trio.from_thread.run, client.send),
                    limiter=threads,
                    abandon_on_cancel=True,
                )
                nursery.cancel_scope.cancel()
        if scope.cancelled_caught:
            # The server cuts a response that has no end. The thread is told with the next chunk.
            client.is_gone = True
        else:
            await client.end()


class _Client:
    """The client of one request, which is sent a response; the handshake of a websocket is refused with it.

    Attributes:
        is_gone: it has disconnected, or is to be sent nothing more.
    """

    def __init__(self, scope: Any, send: Send) -> None:
        self.server_send = send
        self.is_websocket = scope["type"] == "websocket"
        self._prefix = "websocket." if self.is_websocket else ""
        self._can_respond = not self.is_websocket or "websocket.http.response" in scope.get("extensions", {})
        self.is_gone = False

    async def watch(self, receive: Receive) -> None:
        """Notice when the client disconnects."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self.is_gone = True

    async def start(self, status: int, headers: ByteHeaders) -> None:
        """Send status and headers."""
        if self.is_websocket:
            # Hypercorn cannot read another request on a connection whose handshake was refused.
            headers = [*headers, (b"connection", b"close")]
        if self._can_respond:
            await self.server_send({"type": f"{self._prefix}http.response.start", "status": status, "headers": headers})

    async def send(self, chunk: bytes, *, more: bool = True) -> bool:
        """Send some of the body, and return whether the client is there to take more."""
        if self.is_gone:
            return False
        if self._can_respond:
            await self.server_send({"type": f"{self._prefix}http.response.body", "body": chunk, "more_body": more})
        elif not more:
            await self.server_send({"type": "websocket.close"})
        return not self.is_gone

    async def end(self) -> None:
        """Send the end of the body."""
        await self.send(b"", more=False)

    async def refuse(self, status: int, sentence: bytes) -> None:
        """Send a response of one sentence."""
        await self.start(status, [*_TEXT, (b"content-length", b"%d" % len(sentence))])
        await self.send(sentence, more=False)


class _Answering:
    """Sends what Dash answers, once Flask has concluded the request.

    Attributes:
        passes_on_to: the `send` of the server, which messages reach unchanged when the response has begun.
    """

    def __init__(self, request: FlaskRequest, client: _Client, threads: trio.CapacityLimiter) -> None:
        self.passes_on_to = client.server_send
        self._asked = request
        self._client = client
        self._threads = threads
        self._start: Any = None
        self._is_replaced = False

    async def send(self, message: Any) -> None:
        """The ASGI `send` that Dash has."""
        kind = message["type"]
        if self._asked.is_over:
            if not self._is_replaced:
                await self.passes_on_to(message)
        elif kind.endswith("http.response.start"):
            self._start = message
            if _is_event_stream(message["headers"]):
                # Its first event may be long in coming.
                await self._begin(None)
        elif kind.endswith("http.response.body"):
            if message.get("more_body", False):
                await self._begin(None)
                await self.send(message)
            else:
                await self._begin(message.get("body", b""))
        else:
            await self._open(message)

    async def conclude(self, answer: Answer) -> Answer:
        """Have Flask conclude the request. If that fails, the failure is logged, and is what is answered."""
        try:
            return await trio.to_thread.run_sync(self._asked.conclude, answer, limiter=self._threads)
        except Exception as error:
            log_failure(_log, error, "Flask failed at the end of %s.", self._asked.environ.get("PATH_INFO"))
            return Answer(500, [*_TEXT], b"Internal Server Error")

    async def _begin(self, body: bytes | None) -> None:
        """Send the response as Flask has changed it; its body, unless Dash goes on to send that."""
        answer = await self.conclude(Answer(self._start["status"], list(self._start["headers"]), body))
        await self._client.start(answer.status, answer.headers)
        if answer.body is not None:
            self._is_replaced = True
            await self._client.send(answer.body, more=False)

    async def _open(self, message: Any) -> None:
        """Send that Dash opens a websocket, or closes it in the handshake."""
        is_accepted = message["type"] == "websocket.accept"
        headers: ByteHeaders = list(message.get("headers", ())) if is_accepted else []
        answer = await self.conclude(Answer(101 if is_accepted else 403, headers, b""))
        if is_accepted:
            # From here on the task of the websocket calls the user's code.
            end_request()
            message = {**message, "headers": [header for header in answer.headers if header[0] not in _OF_BODIES]}
        await self.passes_on_to(message)


_OF_BODIES = (b"content-type", b"content-length")


def _is_event_stream(headers: ByteHeaders) -> bool:
    return any(name.lower() == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers)


def _after(body: bytes, receive: Receive) -> Receive:
    """An ASGI `receive` for a request whose body has been received."""
    messages: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_after() -> Any:
        return messages.pop() if messages else await receive()

    return receive_after
