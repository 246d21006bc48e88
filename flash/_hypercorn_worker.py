"""Serves an app with Hypercorn's trio worker on connections that another process has accepted.

Hypercorn's own function takes listening sockets. This one takes connections, and is the same apart from that; and when
no more connections come, those that there are end as soon as their clients can do without them.
"""
# pyright: reportPrivateUsage=false, reportUnknownVariableType=false

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol, cast

import trio
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, LifespanState
from hypercorn.utils import wrap_app

LAST_REQUEST_TIMEOUT = 1.0
"""Seconds that a connection is kept for one more request when no more connections come.

A client that has just connected, or that asks often, is about to send a request, and would find the connection closed.
"""


Adopt = Callable[[socket.socket, bytes], None]
"""Has a server serve a connection that another worker has begun to serve: takes it, and what was read of it."""


class ConnectionSource(Protocol):
    """Where connections come from.

    Attributes:
        ended: no more connections come.
    """

    @property
    def ended(self) -> bool: ...

    async def receive(self) -> tuple[socket.socket, bool]:
        """The next connection, and whether it is TLS.

        Raises:
            trio.EndOfChannel: no more connections come.
        """
        ...

    def rest(self) -> Iterable[tuple[socket.socket, bool]]:
        """The connections that have come and were not received yet."""
        ...

    def count_adopted(self) -> None:
        """A connection has come from another worker."""
        ...

    def count_closed(self) -> None:
        """A connection is closed."""
        ...


class DrainableContext(WorkerContext):
    """What the connections of a server have in common.

    Attributes:
        ending: is set when connections are to be closed that have no request.
        last_request_timeout: seconds that they have had none then.
    """

    last_request_timeout = 0.0

    def __init__(self, max_requests: int | None) -> None:
        super().__init__(max_requests)
        self.ending = trio.Event()


async def serve_connections(
    app: Any,
    config: Config,
    source: ConnectionSource,
    *,
    started: Callable[[Adopt], Awaitable[None]],
    stop: Callable[[], Awaitable[None]],
) -> None:
    """Serve an ASGI app on the connections of `source`.

    Args:
        app: the app.
        config: Hypercorn's configuration.
        source: where connections come from.
        started: is called when the app has started, or failed to, before the first connection is received; with the
            function by which other workers hand over connections, until `stop` returns.
        stop: returns when the server is to stop.
    """
    app = wrap_app(app, config.wsgi_max_body_size, "asgi")
    state: LifespanState = {}
    lifespan = Lifespan(app, config, state)
    context = DrainableContext(_most_requests(config))
    async with trio.open_nursery() as lifespan_nursery:
        await lifespan_nursery.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        async with trio.open_nursery() as server_nursery:
            connections = _Connections(app, config, context, ConnectionState(state.copy()), source, server_nursery)
            try:
                async with trio.open_nursery() as nursery:
                    await started(connections.adopt)
                    nursery.start_soon(connections.receive)
                    for trigger in (stop, context.terminate.wait):
                        nursery.start_soon(_cancel_after, trigger, nursery.cancel_scope)
            finally:
                await connections.finish()
                server_nursery.cancel_scope.deadline = trio.current_time() + config.graceful_timeout
        await lifespan.wait_for_shutdown()
        lifespan_nursery.cancel_scope.cancel()


class _Connections:
    """The connections of one server."""

    def __init__(
        self,
        app: Any,
        config: Config,
        context: DrainableContext,
        state: ConnectionState,
        source: ConnectionSource,
        nursery: trio.Nursery,
    ) -> None:
        self._app = app
        self._config = config
        self._context = context
        self._state = state
        self._source = source
        self._nursery = nursery
        self._ssl_context = config.create_ssl_context()

    async def receive(self) -> None:
        """Serve connections as they come, and when no more come, have those that there are end."""
        with contextlib.suppress(trio.EndOfChannel):
            while True:
                self._nursery.start_soon(self.serve, *await self._source.receive())
        await self.finish()

    async def finish(self) -> None:
        """Have the connections end: at once; or if no more come, as their clients come to know that they do."""
        for connection, is_tls in self._source.rest():
            self._nursery.start_soon(self.serve, connection, is_tls)
        if self._context.ending.is_set():
            return
        if self._source.ended:
            # Each response that begins from now on says that it is the last one of its connection.
            _announce_close(self._config)
            self._context.last_request_timeout = LAST_REQUEST_TIMEOUT
            self._nursery.start_soon(self._terminate, LAST_REQUEST_TIMEOUT)
        else:
            await self._context.terminated.set()
        self._context.ending.set()

    async def _terminate(self, delay: float) -> None:
        """Have connections end on which several requests may be under way, as those of HTTP/2."""
        await trio.sleep(delay)
        await self._context.terminated.set()

    def adopt(self, connection: socket.socket, received: bytes) -> None:
        """Serve a connection without TLS of another worker, which has read `received` of it."""
        self._source.count_adopted()
        self._nursery.start_soon(self.serve, connection, False, received)

    async def serve(self, connection: socket.socket, is_tls: bool, received: bytes = b"") -> None:
        """Serve one connection until it is closed."""
        stream: Any = trio.SocketStream(trio.socket.from_stdlib_socket(connection))
        if is_tls:
            assert self._ssl_context is not None
            stream = trio.SSLStream(stream, self._ssl_context, server_side=True, https_compatible=True)
        try:
            server = TCPServer(self._app, self._config, self._context, self._state, stream)
            cast("Any", server).received = received
            await server
        finally:
            self._source.count_closed()
            await trio.aclose_forcefully(stream)


def _announce_close(config: Any) -> None:
    """Have every response say that its connection closes after it, so that no client sends another request on it."""
    headers_of: Callable[[str], list[tuple[bytes, bytes]]] = config.response_headers

    def response_headers(protocol: str) -> list[tuple[bytes, bytes]]:
        # HTTP/2 has no such header.
        return [*headers_of(protocol), *([(b"connection", b"close")] if protocol == "h11" else [])]

    config.response_headers = response_headers


async def _cancel_after(trigger: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
    await trigger()
    scope.cancel()


def _most_requests(config: Config) -> int | None:
    """The number of requests after which the worker stops; None for no such number."""
    if config.max_requests is None:
        return None
    return config.max_requests + secrets.randbelow(config.max_requests_jitter + 1)
