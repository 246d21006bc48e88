"""The one place that touches names of Hypercorn that are not its to promise, and what Flash changes in it.

Everything else imports them from here, typed. `tests/test_private_names.py` fails with the name when an upgrade
drops one.
"""
# pyright: reportPrivateUsage=false, reportUnknownVariableType=false

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable, Callable
from typing import Any, cast

import trio
from hypercorn.config import Config, Sockets
from hypercorn.events import Closed, RawData
from hypercorn.protocol.events import Body, Data, StreamClosed
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.protocol.ws_stream import (
    ASGIWebsocketState,
    FrameTooLargeError,
    Handshake,
    WebsocketBuffer,
    WSStream,
)
from hypercorn.trio import tcp_server
from hypercorn.trio.run import worker_serve
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.utils import LifespanFailureError, wrap_app
from wsproto.events import Ping

READ_SIZE = 65_536
"""Bytes that are read at a time: as many as Hypercorn reads."""

FAIR_SENDS = 16
"""Writes of one connection after which another task has its turn."""


async def serve(app: Any, config: Config, sockets: Sockets, stop: Callable[[], Awaitable[None]] | None) -> None:
    """Serve an ASGI app on sockets that listen, with Hypercorn's trio worker, until `stop` returns."""
    await worker_serve(wrap_app(app, config.wsgi_max_body_size, "asgi"), config, sockets=sockets, shutdown_trigger=stop)


def lifespan_failure(message: str) -> Exception:
    """The exception that ends a Hypercorn server if the lifespan of its app raises it. With any other, it goes on."""
    return LifespanFailureError("operation", message)


def survive_cut_requests() -> None:
    """Keep Hypercorn's trio worker alive when a request is answered whose body is cut off at that moment.

    Its connection then writes an error while it is closing, and the BusyResourceError of that, which it does not
    expect, would end the worker and with it every page.
    """
    original = TCPServer.protocol_send
    if getattr(original, "survives_cut_requests", False):
        return

    async def protocol_send(self: TCPServer, event: Any) -> None:
        with contextlib.suppress(trio.BusyResourceError):
            await original(self, event)

    protocol_send.survives_cut_requests = True  # type: ignore[attr-defined]
    TCPServer.protocol_send = protocol_send


def messages_at_hand(receive: object) -> Callable[[], Any] | None:
    """What gives the next message of a request without waiting, or raises trio.WouldBlock.

    None if `receive` is wrapped, or of another server.
    """
    channel: object = getattr(receive, "__self__", None)
    return cast("Any", channel).receive_nowait if isinstance(channel, trio.MemoryReceiveChannel) else None


class PlainConnection:
    """A connection of Hypercorn's trio worker, HTTP/1.1 without TLS, on which a response is being sent in chunks."""

    def __init__(self, server: TCPServer) -> None:
        self._server: Any = server

    @property
    def fileno(self) -> int:
        """The socket's; -1 if it is closed."""
        return self._server.stream.socket.fileno()

    @property
    def busy(self) -> bool:
        """Whether something is being written."""
        return self._server.send_lock.locked()

    async def write(self, data: bytes) -> None:
        """Write bytes as they are, and wait until they are written or the connection is lost."""
        await self._server.protocol_send(RawData(data))


class DirectConnection:
    """A connection of Hypercorn's trio worker that serves one HTTP/1.1 request at a time."""

    def __init__(self, transport: trio.SocketStream) -> None:
        self._transport = transport

    @property
    def fileno(self) -> int:
        """The socket's; -1 if it is closed."""
        return self._transport.socket.fileno()


def direct_connection(send: object) -> DirectConnection | None:
    """The connection that an ASGI `send` writes to, with or without TLS; None if it is of another kind, or wrapped."""
    stream: object = getattr(send, "__self__", None)
    protocol: Any = getattr(getattr(stream, "send", None), "__self__", None)
    if not isinstance(stream, HTTPStream) or not isinstance(protocol, H11Protocol):
        return None
    server: Any = getattr(protocol.send, "__self__", None)
    transport: Any = getattr(server, "stream", None)
    if isinstance(transport, trio.SSLStream):
        transport = cast("Any", transport).transport_stream
    return DirectConnection(transport) if isinstance(transport, trio.SocketStream) else None


def plain_connection(send: object) -> PlainConnection | None:
    """The connection that an ASGI `send` writes to; None if it is of another kind, or wrapped."""
    stream: object = getattr(send, "__self__", None)
    protocol: Any = getattr(getattr(stream, "send", None), "__self__", None)
    if not isinstance(stream, HTTPStream) or not isinstance(protocol, H11Protocol):
        return None
    server: Any = getattr(protocol.send, "__self__", None)
    if not isinstance(server, TCPServer) or not isinstance(cast("object", server.stream), trio.SocketStream):
        return None
    # Older clients do not know chunks.
    return PlainConnection(server) if getattr(protocol.connection, "their_http_version", b"") == b"1.1" else None


def limit_messages(send: object, size: int) -> None:
    """Bound what a websocket takes for one message, however many frames it comes in.

    Args:
        send: the ASGI `send` of the websocket; if it is wrapped, or of another server, that one's own bound holds.
        size: characters, or bytes of a binary message.
    """
    stream: object = getattr(send, "__self__", None)
    if isinstance(stream, WSStream):
        stream.buffer.max_length = size


def send_at_once() -> None:
    """Have Hypercorn's trio worker write what the socket takes without waiting.

    Its own way costs a lock, a shielded scope and a switch of tasks for each write. Only what the socket does not
    take goes that way; and TLS, which has no other.
    """
    original = TCPServer.protocol_send
    if getattr(original, "sends_at_once", False):
        return

    async def protocol_send(self: Any, event: Any) -> None:
        if type(event) is RawData and type(self.stream) is trio.SocketStream and not self.send_lock.locked():
            await trio.lowlevel.checkpoint_if_cancelled()
            try:
                sent = os.write(self.stream.socket.fileno(), event.data)
            except OSError:
                # No room, or a connection that is lost: the longer way tells.
                sent = 0
            if sent == len(event.data):
                self.sends = getattr(self, "sends", 0) + 1
                if self.sends % FAIR_SENDS == 0:
                    await trio.lowlevel.cancel_shielded_checkpoint()
                return
            event = RawData(event.data[sent:])
        await original(self, event)

    protocol_send.sends_at_once = True  # type: ignore[attr-defined]
    TCPServer.protocol_send = protocol_send


class IdleTask:
    """The task that closes a connection of Hypercorn's trio worker when it has been idle for long enough.

    Hypercorn's own is ended and started anew for each request. This one looks when it may be time; a request only
    notes that it has begun or ended.
    """

    def __init__(self) -> None:
        self._idle_since: float | None = None
        self._scope: trio.CancelScope | None = None
        self._over = False

    async def restart(self, task_group: Any, action: Callable[[], Awaitable[None]]) -> None:
        self._idle_since = trio.current_time()
        if self._scope is None and not self._over:
            self._scope = trio.CancelScope()
            task_group.spawn(self._watch, self._scope, cast("Any", action).__self__)

    async def stop(self) -> None:
        self._idle_since = None

    def end(self) -> None:
        """The connection is closed by its client."""
        self._over = True
        if self._scope is not None:
            self._scope.cancel()

    async def _watch(self, scope: trio.CancelScope, server: Any) -> None:
        timeout: float = server.config.keep_alive_timeout
        terminated = server.context.terminated
        with scope:
            while True:
                since = self._idle_since
                with trio.move_on_at((trio.current_time() if since is None else since) + timeout):
                    await terminated.wait()
                now, since = trio.current_time(), self._idle_since
                if since is None:
                    # A long response, which may last for days: `restart` starts this anew when it is over.
                    self._scope = None
                    return
                if terminated.is_set() or now >= since + timeout:
                    break
        if not scope.cancelled_caught:
            with trio.CancelScope(shield=True):
                await server._initiate_server_close()


async def _read_on(server: Any) -> None:
    """What Hypercorn reads by, without a deadline for each read that never comes: that takes as long as the read."""
    data = b"?"
    while data:
        try:
            data = bytes(await server.stream.receive_some(READ_SIZE))
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            break
        await server.protocol.handle(RawData(data))
    await server.protocol.handle(Closed())


def keep_idle_tasks() -> None:
    """Have connections of Hypercorn's trio worker keep one task for their idle timeout: see `IdleTask`."""
    original = TCPServer._read_data
    if getattr(original, "keeps_idle_tasks", False):
        return
    cast("Any", tcp_server).TrioSingleTask = IdleTask

    async def _read_data(self: Any) -> None:
        try:
            await (original(self) if self.config.read_timeout else _read_on(self))
        finally:
            self.idle_task.end()

    _read_data.keeps_idle_tasks = True  # type: ignore[attr-defined]
    TCPServer._read_data = _read_data


def survive_failing_connections(warn: Callable[[str, Exception], None]) -> None:
    """Keep Hypercorn's trio worker alive when the code of one of its connections fails.

    One way is open to every client: a websocket handshake that is refused, as one to a path that does not exist,
    and then more data on the same connection.
    """
    original = TCPServer.run
    if getattr(original, "survives_failing_connections", False):
        return

    async def run(self: TCPServer) -> None:
        try:
            await original(self)
        except Exception as error:
            warn(f"connection {type(error).__name__}", error)
        except BaseExceptionGroup as group:
            failures, others = group.split(Exception)
            if failures is not None:
                warn("connections", cast("Exception", failures.exceptions[0]))
            if others is not None:
                raise others from None

    run.survives_failing_connections = True  # type: ignore[attr-defined]
    TCPServer.run = run


def end_handshakes_that_are_not_waited_for() -> None:
    """Tell the app when a client has gone on before its websocket was accepted.

    Hypercorn refuses such a handshake and says nothing to the app, which accepts it and waits for messages for ever:
    the task and the socket are never given back.
    """
    original = WSStream.handle
    if getattr(original, "ends_early_handshakes", False):
        return

    def handle(self: Any, event: Any) -> Awaitable[None]:
        if type(event) in (Body, Data):
            self.heard = True
            if not self.closed and not self.handshake.accepted:
                return _refuse_handshake(self)
        return original(self, event)

    handle.ends_early_handshakes = True  # type: ignore[attr-defined]
    WSStream.handle = handle  # type: ignore[method-assign]


async def _refuse_handshake(stream: Any) -> None:
    if stream.state is ASGIWebsocketState.HANDSHAKE:
        await stream._send_error_response(400)
    await stream.send(StreamClosed(stream_id=stream.stream_id))


class WebsocketPeer:
    """The client of a websocket, as far as its connection knows: a browser answers a ping, whatever its page is at."""

    def __init__(self, stream: WSStream) -> None:
        self._stream: Any = stream

    def was_heard(self) -> bool:
        """Whether anything has come from it since this was asked last."""
        heard: bool = getattr(self._stream, "heard", False)
        self._stream.heard = False
        return heard

    @property
    def is_being_written_to(self) -> bool:
        """Whether something is on its way to it, which a ping would have to wait for."""
        server: object = getattr(getattr(getattr(self._stream.send, "__self__", None), "send", None), "__self__", None)
        return isinstance(server, TCPServer) and server.send_lock.locked()

    async def ping(self) -> None:
        """Have it answer."""
        await self._stream._send_wsproto_event(Ping())


def websocket_peer(send: object) -> WebsocketPeer | None:
    """The client of the websocket that an ASGI `send` writes to; None if it is wrapped, or of another server."""
    stream: object = getattr(send, "__self__", None)
    return WebsocketPeer(stream) if isinstance(stream, WSStream) else None


def bound_websocket_messages() -> None:
    """Have a websocket's messages take the memory that their bytes on the wire say.

    What a frame of the extension permessage-deflate inflates to is bounded by nothing but zlib, a thousandfold: the
    extension is not negotiated. And a message that is too large is let go of, with what may still come of it.
    """
    if getattr(Handshake.accept, "bounds_messages", False):
        return
    accept_as_offered = Handshake.accept

    def accept(self: Any, *arguments: Any, **keywords: Any) -> Any:
        self.extensions = None
        return accept_as_offered(self, *arguments, **keywords)

    def extend(self: Any, event: Any) -> None:
        if self.length + len(event.data) > self.max_length:
            self.value, self.length = None, self.max_length + 1
            raise FrameTooLargeError
        extend_as_it_is(self, event)

    extend_as_it_is = cast("Any", WebsocketBuffer).extend
    accept.bounds_messages = True  # type: ignore[attr-defined]
    Handshake.accept = accept
    WebsocketBuffer.extend = extend
