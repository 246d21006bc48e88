"""The undocumented names of Hypercorn that Flash uses: an upgrade that drops one fails here, by name."""
# pyright: reportPrivateUsage=false

from __future__ import annotations

import inspect

import h11
import hypercorn.trio.tcp_server
import pytest
from hypercorn.config import Config
from hypercorn.protocol.events import Data, Request
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.protocol.ws_stream import ASGIWebsocketState, Handshake, WebsocketBuffer, WSStream
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.task_group import TaskGroup, _handle
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import EventWrapper, TrioSingleTask, WorkerContext
from wsproto.connection import Connection, ConnectionState, ConnectionType

from flash import _hypercorn_http2


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (TCPServer, "protocol_send"),
        (TCPServer, "run"),
        (TCPServer, "_read_data"),
        (TCPServer, "_initiate_server_close"),
        (WSStream, "handle"),
        (WSStream, "app_send"),
        (WSStream, "_accept"),
        (WSStream, "_send_error_response"),
        (WSStream, "_send_wsproto_event"),
        (H2Protocol, "initiate"),
        (H2Protocol, "stream_send"),
        (H2Protocol, "_handle_events"),
        (H2Protocol, "_window_updated"),
        (Lifespan, "handle_lifespan"),
        (Lifespan, "wait_for_startup"),
        (Lifespan, "wait_for_shutdown"),
        (H2Protocol, "_flush"),
        (HTTPStream, "app_send"),
        (HTTPStream, "handle"),
        (H11Protocol, "handle"),
        (H11Protocol, "stream_send"),
        (H11Protocol, "_maybe_recycle"),
        (H11Protocol, "_close_stream"),
        (TaskGroup, "spawn_app"),
        (TrioSingleTask, "restart"),
        (TrioSingleTask, "stop"),
    ],
)
def test_hypercorn_still_has_what_flash_replaces(owner: type, name: str) -> None:
    assert inspect.iscoroutinefunction(inspect.getattr_static(owner, name))


def test_hypercorn_still_has_the_places_where_the_connections_of_a_worker_are_ended() -> None:
    context = WorkerContext(None)
    assert isinstance(context.terminate, EventWrapper)
    assert isinstance(context.terminated, EventWrapper)
    assert 'self.config.response_headers("h11")' in inspect.getsource(H11Protocol)


def test_hypercorn_still_says_nothing_of_a_request_that_is_closed_and_has_what_came_behind_it() -> None:
    assert "if not self.closed:" in inspect.getsource(HTTPStream.app_send)
    assert "if self.closed:\n            return" in inspect.getsource(HTTPStream.handle)
    assert 'self.scope = {\n                "type": "http"' in inspect.getsource(HTTPStream)
    assert "self.stream = HTTPStream(" in inspect.getsource(H11Protocol)
    assert isinstance(inspect.getattr_static(h11.Connection, "trailing_data"), property)


def test_hypercorn_still_sends_a_response_in_the_parts_that_flash_puts_together() -> None:
    assert [*inspect.signature(TaskGroup.spawn_app).parameters] == ["self", "app", "config", "scope", "send"]
    runs = ["app", "config", "scope", "receive", "send", "sync_spawn", "call_soon"]
    assert [*inspect.signature(_handle).parameters] == runs
    assert "self.task_group.spawn_app(" in inspect.getsource(HTTPStream.handle)
    assert "self.task_group.spawn_app(" in inspect.getsource(WSStream.handle)
    end = inspect.getsource(HTTPStream._send_closed)
    assert [end.index(part) for part in ("EndBody(", "CLOSED", "log.access(", "StreamClosed(")] == sorted(
        end.index(part) for part in ("EndBody(", "CLOSED", "log.access(", "StreamClosed(")
    )
    head = inspect.getsource(H11Protocol.stream_send)
    assert "self.keep_alive_requests >= self.config.keep_alive_max_requests" in head
    assert "self.connection.their_state != h11.ERROR" in inspect.getsource(H11Protocol._send_h11_event)


def test_hypercorn_still_begins_a_request_as_flash_does_for_one_that_is_plain() -> None:
    begin = inspect.getsource(H11Protocol._create_stream)
    parts = (
        "self.stream = HTTPStream(",
        "self.config.h11_pass_raw_headers",
        "await self.stream.handle(\n            Request(",
        "self.keep_alive_requests += 1",
        "await self.context.mark_request()",
    )
    assert [begin.index(part) for part in parts] == sorted(begin.index(part) for part in parts)
    fields = ["stream_id", "headers", "http_version", "method", "raw_path", "state"]
    assert [*inspect.signature(Request).parameters] == fields
    given = ["app", "config", "context", "task_group", "ssl", "client", "server", "stream_send"]
    made = f"HTTPStream({', '.join(f'self.{name}' for name in given)}, STREAM_ID, )"
    assert made.replace("(", "( ") in " ".join(begin.split())
    assert "await self.app_put(" in inspect.getsource(HTTPStream.handle)
    assert "self.connection: h11.Connection | H11WSConnection = h11.Connection(" in inspect.getsource(H11Protocol)
    end = inspect.getsource(H11Protocol._maybe_recycle)
    parts = ("self._close_stream()", "self.context.terminated.is_set()", "self.can_read.set()", "Updated(idle=True)")
    assert [end.index(part) for part in parts] == sorted(end.index(part) for part in parts)
    assert inspect.getsource(TCPServer._read_data).count("await self.protocol.handle(") == 2


def test_hypercorn_still_gathers_the_fragments_of_a_message_in_a_buffer_with_a_bound() -> None:
    assert WebsocketBuffer(7).max_length == 7
    assert "self.buffer = WebsocketBuffer(" in inspect.getsource(WSStream)


def test_hypercorn_still_passes_on_what_a_websocket_brings_as_it_comes() -> None:
    connection = H11WSConnection(h11.Connection(h11.SERVER))
    connection.receive_data(b"frame")
    assert connection.next_event() == Data(STREAM_ID, b"frame")
    assert not connection.buffer
    assert "elif isinstance(event, Data):" in inspect.getsource(H11Protocol._handle_events)
    assert "await self.app_put(self.buffer.to_message())" in inspect.getsource(WSStream._handle_events)
    assert Connection(ConnectionType.SERVER, []).state is ConnectionState.OPEN


def test_hypercorn_still_has_the_option_that_bounds_a_shutdown() -> None:
    assert Config().graceful_timeout > 0


def test_hypercorn_still_has_what_flash_bounds_in_its_websockets_and_http2() -> None:
    handshake = Handshake([(b"sec-websocket-extensions", b"permessage-deflate")], "1.1")
    assert handshake.extensions == ["permessage-deflate"]
    handshake.extensions = None
    _, headers, _ = handshake.accept(None, [])
    assert not [value for name, value in headers if name == b"sec-websocket-extensions"]
    buffer = WebsocketBuffer(10)
    assert (buffer.value, buffer.length, buffer.max_length) == (None, 0, 10)
    assert isinstance(inspect.getattr_static(H2Protocol, "idle"), property)
    assert "self.stream_buffers[request.stream_id] = StreamBuffer(" in inspect.getsource(H2Protocol)
    assert "self.handshake.accept(" in inspect.getsource(WSStream._accept)
    assert "self.idle_task = TrioSingleTask()" in inspect.getsource(hypercorn.trio.tcp_server)
    assert ASGIWebsocketState.HANDSHAKE


async def test_hypercorn_still_has_buffers_as_flash_bounds_them() -> None:
    assert _hypercorn_http2.BUFFER_HIGH_WATER == 32_768
    buffer = _hypercorn_http2.BufferWithTimeout(EventWrapper)
    await buffer.push(b"x")
    assert bytes(buffer.buffer) == b"x"
    assert await buffer.pop(0) == b""
    assert (buffer._complete, buffer._is_empty.is_set()) == (False, False)
    assert await buffer.pop(10) == b"x"
    assert buffer._is_empty.is_set()
