"""Typed access to the private names of Hypercorn that Flash uses.

The other modules import these names from here. `_hypercorn_patches` has what Flash changes in Hypercorn.
`tests/private_names/test_hypercorn.py` fails with the name when an upgrade drops one.
"""
# pyright: reportPrivateUsage=false, reportUnknownVariableType=false

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, cast

import trio
from hypercorn.config import Config, Sockets
from hypercorn.events import RawData
from hypercorn.protocol.events import Body
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.trio.run import worker_serve
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.utils import LifespanFailureError, repr_socket_addr, wrap_app
from wsproto.events import Ping

from ._hypercorn_messages import RequestMessages
from ._trio import TlsWriter


async def serve(app: Any, config: Config, sockets: Sockets, stop: Callable[[], Awaitable[None]] | None) -> None:
    """Serve an ASGI app on sockets that listen, with Hypercorn's trio worker, until `stop` returns."""
    await worker_serve(wrap_app(app, config.wsgi_max_body_size, "asgi"), config, sockets=sockets, shutdown_trigger=stop)


def address_of(listening: socket.socket, *, is_tls: bool) -> str:
    """Where a socket listens, as Hypercorn writes it into its log."""
    return f"{'https' if is_tls else 'http'}://{repr_socket_addr(listening.family, listening.getsockname())}"


def lifespan_failure(message: str) -> Exception:
    """The exception with which a lifespan ends its Hypercorn server. After any other the server goes on."""
    return LifespanFailureError("operation", message)


def messages_at_hand(receive: object) -> Callable[[], Any] | None:
    """The function that returns the next message of a request without waiting, or raises trio.WouldBlock.

    None if a middleware wraps `receive`, or another server made it.
    """
    messages: object = getattr(receive, "__self__", None)
    return messages.receive_nowait if isinstance(messages, RequestMessages) else None


def body_at_hand(receive: object) -> bytes | None:
    """The body of a request, which can still be received; None unless all of it has come.

    Also None if a middleware wraps `receive`, or another server made it.
    """
    messages: object = getattr(receive, "__self__", None)
    return messages.body_at_hand() if isinstance(messages, RequestMessages) else None


def call_on_disconnect(receive: object, call: Callable[[], None]) -> bool:
    """Have a function called when the client of a request has disconnected; at once if it is known to have done so.

    Returns:
        Whether that is possible: not if a middleware wraps `receive`, or another server made it.
    """
    messages: object = getattr(receive, "__self__", None)
    if not isinstance(messages, RequestMessages):
        return False
    messages.on_disconnect = call
    if messages.has_disconnect():
        call()
    return True


class DirectWriteConnection:
    """A connection of Hypercorn's trio worker, HTTP/1.1, on which a response is being sent in chunks.

    Nothing else is written to it while the task that sends the response writes nothing, unless it has TLS.

    Attributes:
        fileno: returns the file descriptor of its socket; -1 if it is closed.
        encryption: writes what is encrypted; None without TLS.
    """

    __slots__ = ("_server", "encryption", "fileno")

    def __init__(self, server: TCPServer, transport: trio.SocketStream, encryption: Encryption | None = None) -> None:
        self.fileno: Callable[[], int] = transport.socket.fileno
        self.encryption: Encryption | None = encryption
        self._server: Any = server

    async def write(self, data: bytes) -> None:
        """Write bytes unchanged, and wait until they are written or the connection is lost."""
        if self.encryption is None:
            await self._server.protocol_send(RawData(data))
        else:
            await self._server.send_all(data)


class Http2Response:
    """A response of HTTP/2 over TLS that is being sent on a connection of Hypercorn's trio worker."""

    __slots__ = ("_encrypted", "_encryption", "_number", "_protocol", "_server")

    def __init__(self, protocol: H2Protocol, number: int, server: TCPServer, encryption: Encryption) -> None:
        self._protocol: Any = protocol
        self._number = number
        self._server: Any = server
        self._encryption = encryption
        self._encrypted: bytes | None = None

    @property
    def busy(self) -> bool:
        """Whether something is being written on the connection, or a part of the response waits for the client."""
        return self._encryption.busy or self._protocol.has_unsent(self._number)

    def write_now(self, data: bytes) -> bytes | None:
        """Write a part of the body without blocking, as far as the client's windows and the socket take it.

        It must not be `busy`.

        Returns:
            None if all of it is written; else what has to be given to `write` before anything else is written.
        """
        taken, frames = self._protocol.take_now(self._number, data)
        self._encrypted = self._encryption.write_now(frames) if frames else None
        return None if taken == len(data) and self._encrypted is None else data[taken:]

    async def write(self, data: bytes) -> None:
        """Write what `write_now` has left of its frames, and a part of the body as Hypercorn does."""
        if self._encrypted is not None:
            encrypted, self._encrypted = self._encrypted, None
            await self._server.send_all(encrypted)
        if data:
            await self._protocol.stream_send(Body(stream_id=self._number, data=data))


class Encryption:
    """Writes to such a connection with TLS."""

    __slots__ = ("_lock", "_writer")

    def __init__(self, server: TCPServer, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self._lock: trio.Lock = cast("Any", server).send_lock
        self._writer = TlsWriter(stream)

    @property
    def busy(self) -> bool:
        """Whether something is being written, which may be TLS's own."""
        return self._lock.locked() or self._writer.busy

    def write_now(self, data: bytes) -> bytes | None:
        """Write bytes as far as the socket takes them without blocking. It must not be `busy`.

        Returns:
            None if all of it is written; else what has to be given to the connection's `write` before anything else.
        """
        try:
            # With no bytes, `write` sends what is encrypted already.
            return None if self._writer.write(data) else b""
        except ssl.SSLError:
            return data


class PeerSocket:
    """A connection of Hypercorn's trio worker that serves one HTTP/1.1 request at a time."""

    def __init__(self, transport: trio.SocketStream) -> None:
        self._transport = transport

    @property
    def fileno(self) -> int:
        """The file descriptor of the socket; -1 if it is closed."""
        return self._transport.socket.fileno()


class UnansweredRequest:
    """A request of HTTP/1.1 without TLS and without a body, with its connection; sending the response has not begun."""

    def __init__(self, stream: HTTPStream, protocol: H11Protocol, server: TCPServer) -> None:
        self._stream = stream
        self._protocol: Any = protocol
        self._server: Any = server

    @property
    def fileno(self) -> int:
        """The file descriptor of the socket; -1 if it is closed."""
        return self._server.stream.socket.fileno()

    async def take_back(self) -> bytes:
        """Have Hypercorn read no more of the connection, and neither answer the request nor log it.

        Returns:
            The request as bytes, and what has come after it.
        """
        scope = self._stream.scope
        self._stream.closed = True
        await self._server.stop_reading()
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        head = b"%b %b HTTP/%b\r\n" % (scope["method"].encode(), target, scope["http_version"].encode())
        headers = b"".join([b"%b:%b\r\n" % (name, value) for name, value in scope["headers"]])
        return b"%b%b\r\n%b" % (head, headers, self._protocol.connection.trailing_data[0])

    async def let_go(self) -> None:
        """Close the connection in this process; it stays open if another process has it, too."""
        await trio.aclose_forcefully(self._server.stream)


def _stream_of(send: object) -> object:
    """The object of the server that an ASGI `send` belongs to; some other object if it is wrapped.

    It is found behind a method whose object says that it passes all on to another `send`, by that attribute.
    """
    owner: object = getattr(send, "__self__", None)
    behind: object = getattr(owner, "passes_on_to", None)
    return owner if behind is None else _stream_of(behind)


def _http_1_protocol(send: object) -> Any:
    """The HTTP/1.1 protocol that an ASGI `send` writes to; None if it is of another kind, or wrapped."""
    stream = _stream_of(send)
    protocol: Any = getattr(getattr(stream, "send", None), "__self__", None)
    return protocol if isinstance(stream, HTTPStream) and isinstance(protocol, H11Protocol) else None


def peer_socket(send: object) -> PeerSocket | None:
    """The connection that an ASGI `send` writes to, with or without TLS; None if it is of another kind, or wrapped."""
    protocol = _http_1_protocol(send)
    if protocol is None:
        return None
    server: Any = getattr(protocol.send, "__self__", None)
    transport: Any = getattr(server, "stream", None)
    if isinstance(transport, trio.SSLStream):
        transport = cast("Any", transport).transport_stream
    return PeerSocket(transport) if isinstance(transport, trio.SocketStream) else None


def direct_http2_response(send: object) -> Http2Response | None:
    """The response of HTTP/2 that an ASGI `send` writes; None if it is of another kind, or wrapped."""
    stream = _stream_of(send)
    protocol: Any = getattr(getattr(stream, "send", None), "__self__", None)
    # Servers of other apps than Flash's cannot send what is encrypted already.
    if not isinstance(stream, HTTPStream) or not isinstance(protocol, H2Protocol) or not hasattr(protocol, "take_now"):
        return None
    server: Any = getattr(protocol.send, "__self__", None)
    tls: Any = getattr(server, "stream", None)
    if not isinstance(tls, trio.SSLStream) or not isinstance(cast("Any", tls).transport_stream, trio.SocketStream):
        return None
    return Http2Response(protocol, stream.stream_id, server, Encryption(server, cast("Any", tls)))


def direct_write_connection(send: object) -> DirectWriteConnection | None:
    """The connection that an ASGI `send` writes to; None if it is of another kind, or wrapped."""
    protocol = _http_1_protocol(send)
    if protocol is None:
        return None
    server: Any = getattr(protocol.send, "__self__", None)
    # Clients of HTTP/1.0 do not know chunks.
    if not isinstance(server, TCPServer) or getattr(protocol.connection, "their_http_version", b"") != b"1.1":
        return None
    stream: Any = server.stream
    if isinstance(stream, trio.SocketStream):
        return DirectWriteConnection(server, stream)
    # Only Flash's own connections send what is encrypted already.
    if isinstance(stream, trio.SSLStream) and hasattr(server, "stop_reading"):
        encrypted: Any = stream
        transport: object = encrypted.transport_stream
        if isinstance(transport, trio.SocketStream):
            return DirectWriteConnection(server, transport, Encryption(server, encrypted))
    return None


def unanswered_request(send: object) -> UnansweredRequest | None:
    """The request that an ASGI `send` is to answer, before it is called; None if it is of another kind, or wrapped."""
    protocol = _http_1_protocol(send)
    if protocol is None:
        return None
    server: Any = getattr(protocol.send, "__self__", None)
    # Servers of other apps than Flash's cannot stop reading.
    if not hasattr(server, "stop_reading") or not isinstance(server.stream, trio.SocketStream):
        return None
    stream: HTTPStream | None = protocol.stream
    # There is none any more if the client has left.
    if stream is None or any(name in (b"content-length", b"transfer-encoding") for name, _ in stream.scope["headers"]):
        return None
    return UnansweredRequest(stream, protocol, server)


class RefusableRequest:
    """A request of HTTP/2 of which no response was begun."""

    def __init__(self, protocol: H2Protocol, number: int) -> None:
        self._protocol: Any = protocol
        self._number = number

    async def refuse(self) -> None:
        """Have the client send it again, over another connection: this one takes no more requests.

        Hypercorn neither answers it any more nor logs it. Those that are being answered go on.
        """
        await self._protocol.refuse(self._number)


def refusable_request(send: object) -> RefusableRequest | None:
    """The request that an ASGI `send` is to answer, before it is called; None if it is of another kind, or wrapped."""
    stream = _stream_of(send)
    protocol: object = getattr(getattr(stream, "send", None), "__self__", None)
    if not isinstance(stream, HTTPStream) or not isinstance(protocol, H2Protocol):
        return None
    # Servers of other apps than Flash's cannot refuse a request.
    return RefusableRequest(protocol, stream.stream_id) if hasattr(protocol, "refuse") else None


def limit_messages(send: object, size: int) -> None:
    """Limit the size of a message that a websocket accepts, however many frames the message has.

    Args:
        send: the ASGI `send` of the websocket. If a middleware wraps it, or another server made it, nothing changes.
        size: characters, or bytes of a binary message.
    """
    stream = _stream_of(send)
    if isinstance(stream, WSStream):
        stream.buffer.max_length = size


class WebsocketClient:
    """The client of a websocket: a browser, which answers pings whatever its page does."""

    def __init__(self, stream: WSStream) -> None:
        self._stream: Any = stream

    @property
    def chunks_received(self) -> int:
        """How often the client has sent anything; answers to pings count."""
        return getattr(self._stream, "chunks_received", 0)

    @property
    def is_being_written_to(self) -> bool:
        """Whether a write to the client is under way, for which a ping would have to wait."""
        server: object = getattr(getattr(getattr(self._stream.send, "__self__", None), "send", None), "__self__", None)
        return isinstance(server, TCPServer) and server.send_lock.locked()

    async def ping(self) -> None:
        """Send a ping, which the client answers."""
        await self._stream._send_wsproto_event(Ping())


def websocket_client(send: object) -> WebsocketClient | None:
    """The client of the websocket that an ASGI `send` writes to; None if it is wrapped, or of another server."""
    stream = _stream_of(send)
    return WebsocketClient(stream) if isinstance(stream, WSStream) else None
