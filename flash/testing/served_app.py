"""Serves an app in memory: its ASGI lifespan, and requests that no socket carries.

    browser ── Request ── app(scope, receive, send) ── Response, or chunk after chunk of a link

The app is the real one: hooks, sessions, Dash's dispatch and Flash's routes do what they do behind a server.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import trio
from quart import got_request_exception

from ..app import Flash
from .work_outside import where

SHUTDOWN_MARGIN = 20.0
"""Virtual seconds that the shutdown of an app may take beyond thrice its `cleanup_timeout`."""


@dataclass
class Response:
    """The response to a request.

    Attributes:
        status: HTTP's.
        headers: names in lower case, and values.
        body: all of it, as far as it has come.
        failure: what the app's code has raised, if that is why the status is what it is.
    """

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    body: bytes = b""
    failure: BaseException | None = None

    def json(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    def header(self, name: str) -> str | None:
        return next((value for each, value in self.headers if each == name), None)


Chunk = Callable[[bytes], Awaitable[None]]


_FAILURES: ContextVar[list[BaseException] | None] = ContextVar("flash_testing_failures", default=None)
"""What the app's code has raised in the request at hand."""


async def _note_failure(sender: object, exception: BaseException, **more: object) -> None:
    failures = _FAILURES.get()
    if failures is not None:
        failures.append(exception)


class ServedApp:
    """An app whose lifespan runs in memory.

    Attributes:
        app: the app.
        config: Dash's configuration of it.
        failure: what it says of its shutdown if that has failed.
    """

    def __init__(self, app: Flash, nursery: trio.Nursery) -> None:
        self.app = app
        self.config: Any = getattr(app, "config")  # noqa: B009 - Dash does not type it
        self._nursery = nursery
        got_request_exception.connect(_note_failure, getattr(app, "server"))  # noqa: B009 - as above
        self._send: trio.MemorySendChannel[Any] | None = None
        self._answers: trio.MemoryReceiveChannel[Any] | None = None
        self._over = trio.Event()
        self.failure: str | None = None

    async def start(self) -> None:
        """Begin the lifespan, which runs `before_serving` and what else the app does before it is served.

        Raises:
            AssertionError: the app did not start.
        """
        self._send, receive = trio.open_memory_channel[Any](10)
        send, self._answers = trio.open_memory_channel[Any](10)
        self._over = trio.Event()
        self._nursery.start_soon(self._live, receive, send, self._over)
        await self._send.send({"type": "lifespan.startup"})
        answer = await self._answers.receive()
        if answer["type"] != "lifespan.startup.complete":
            raise AssertionError(f"The app did not start: {answer.get('message')}")

    async def stop(self) -> None:
        """End the lifespan: streams end with `shutdown`, then the app's background work and its sources."""
        if self._send is not None:
            await self._send.send({"type": "lifespan.shutdown"})
            self._send = None
            await self._over.wait()

    def address(self, path: str) -> str:
        """Where a browser finds a path of the app: below the prefix of its requests."""
        prefix: str = self.config.requests_pathname_prefix
        return path if path.startswith(prefix) else prefix + path.lstrip("/")

    @property
    def shutdown_timeout(self) -> float:
        """Virtual seconds in which `stop` has to be over."""
        return 3 * self.app.channels.limits.cleanup_timeout + SHUTDOWN_MARGIN

    def running(self) -> str:
        """The streams that run, and where, for messages."""
        return "; ".join(f"{info.callback!r} ({info.state}): {where(info.callback)}" for info in self.app.streams())

    @property
    def is_over(self) -> bool:
        """Whether the lifespan has ended."""
        return self._over.is_set()

    async def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        gone: trio.Event | None = None,
        chunk: Chunk | None = None,
    ) -> Response:
        """Send a request, and return its response.

        Args:
            method: HTTP's.
            target: the path and the query, below the app's prefix.
            headers: beside `Host` and those of the body.
            body: of the request.
            gone: when this is set, the client has disconnected.
            chunk: is called with each part of the response's body, as it comes; by default it is collected.
        """
        response = Response()
        has_sent = False

        async def receive() -> Any:
            nonlocal has_sent
            if not has_sent:
                has_sent = True
                return {"type": "http.request", "body": body, "more_body": False}
            await (trio.Event() if gone is None else gone).wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                response.status = message["status"]
                response.headers += [(name.decode().lower(), value.decode()) for name, value in message["headers"]]
            elif message["type"] == "http.response.body" and chunk is not None:
                if data := message.get("body", b""):
                    await chunk(data)
            elif message["type"] == "http.response.body":
                response.body += message.get("body", b"")

        token = _FAILURES.set(failures := [])
        try:
            await self.app(self._scope(method, target, headers, body), receive, send)
        finally:
            _FAILURES.reset(token)
        response.failure = failures[0] if failures else None
        return response

    def _scope(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Any:
        below, _, query = target.partition("?")
        path = self.config.routes_pathname_prefix + below
        sent = {"host": "localhost", "content-length": str(len(body)), **headers}
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": quote(path).encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
            "client": ("127.0.0.1", 50_000),
            "server": ("localhost", 80),
            "extensions": {},
        }

    async def _live(self, receive: Any, send: Any, over: trio.Event) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.3"}, "state": {}}
        with trio.CancelScope() as scope_of_lifespan:

            async def receive_message() -> Any:
                try:
                    return await receive.receive()
                except trio.EndOfChannel:
                    await trio.sleep_forever()

            async def send_message(message: Any) -> None:
                await send.send(message)
                if message["type"].startswith("lifespan.shutdown."):
                    self.failure = message.get("message")
                    scope_of_lifespan.cancel()

            await self.app(scope, receive_message, send_message)
        over.set()
