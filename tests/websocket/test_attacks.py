"""What a client can do to a server with websockets, and what it gets for it."""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
import trio

from flash import Flash, Input, Output, html
from flash.asgi import client_json
from tests.http.servers import Serve, Server
from tests.support.eventually import TIMEOUT, eventually
from tests.websocket.sockets import Connect


def make_app(**options: Any) -> Flash:
    app = Flash(__name__, **options)
    app.layout = [html.Button(id="go"), html.Div(id="out")]

    @app.callback(Output("out", "children"), Input("go", "n_clicks"), websocket=True)
    async def count(clicks: int) -> int:
        return clicks

    return app


def handshake(server: Server, *lines: str) -> bytes:
    """The request that opens a websocket."""
    host = f"127.0.0.1:{server.port}"
    head = [
        "GET /_dash-ws-callback HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        f"Origin: http://{host}",
        *lines,
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n"


def frame(payload: bytes, *, opcode: int = 1, final: bool = True, compressed: bool = False) -> bytes:
    """A frame as clients send it, with a mask of zeros."""
    first = opcode | (0x80 if final else 0) | (0x40 if compressed else 0)
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 65_536:
        length = bytes([0xFE]) + size.to_bytes(2, "big")
    else:
        length = bytes([0xFF]) + size.to_bytes(8, "big")
    return bytes([first]) + length + b"\0\0\0\0" + payload


async def head_of(stream: trio.SocketStream) -> bytes:
    head = b""
    with trio.fail_after(TIMEOUT):
        while b"\r\n\r\n" not in head and (data := await stream.receive_some()):
            head += data
    return head


async def closes(stream: trio.SocketStream) -> None:
    """Fail unless the server closes the connection."""
    with trio.fail_after(TIMEOUT):
        try:
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            pass


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


async def test_a_client_that_does_not_wait_for_its_handshake_leaves_nothing_behind(serve: Serve) -> None:
    server = await serve(make_app())
    await server.page()
    await trio.testing.wait_all_tasks_blocked(0.05)
    before = tasks()
    for _ in range(20):
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        await stream.send_all(handshake(server) + frame(b""))
        assert b" 400 " in await head_of(stream)
        # The server closes it: the client need not.
        await closes(stream)
        await stream.aclose()
    await eventually(lambda: tasks() <= before and len(server.app.websockets) == 0)


async def test_compressed_messages_are_not_negotiated(serve: Serve) -> None:
    server = await serve(make_app())
    await server.page()
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        await stream.send_all(handshake(server, "Sec-WebSocket-Extensions: permessage-deflate"))
        head = await head_of(stream)
        assert b" 101 " in head
        assert b"permessage-deflate" not in head
        bomb = zlib.compress(b" " * 10_000_000)[2:-4]
        await stream.send_all(frame(bomb, compressed=True))
        await closes(stream)
    await eventually(lambda: len(server.app.websockets) == 0)


async def test_a_message_in_endless_fragments_is_let_go_of(serve: Serve) -> None:
    server = await serve(make_app(), websocket_max_message_size=100_000)
    await server.page()
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        await stream.send_all(handshake(server))
        await head_of(stream)
        await stream.send_all(frame(b"[", final=False))
        received = b""
        with trio.fail_after(TIMEOUT):
            while b"\x88\x02\x03\xf1" not in received:
                await stream.send_all(frame(b" " * 10_000, opcode=0, final=False))
                with trio.move_on_after(0.01):
                    received += await stream.receive_some()


async def test_a_message_that_would_take_too_much_memory_closes_its_socket(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = await (await serve(make_app())).page()
    monkeypatch.setattr(client_json, "MAX_OBJECTS", 1_000_000)
    socket = await connect(page)
    await socket.raw.send_message(json.dumps({"type": "heartbeat", "more": [[]] * 100_000}))
    assert (await socket.closed())[0] == 1007


async def test_a_socket_whose_client_answers_no_ping_is_closed(serve: Serve, connect: Connect) -> None:
    server = await serve(make_app(ping_interval=0.1, stall_timeout=0.5))
    page = await server.page()
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as silent:
        await silent.send_all(handshake(server))
        await head_of(silent)
        await closes(silent)
    # A client that does, as browsers do by themselves, may be as silent as it likes.
    socket = await connect(page)
    await trio.sleep(1)
    assert (await socket.call(page.request("go")))["status"] == "ok"
    assert len(server.app.websockets) == 1


async def test_a_browser_cannot_take_every_place(serve: Serve, connect: Connect) -> None:
    server = await serve(make_app(pages_per_browser=2))
    page, other = await server.page(), await server.page()
    await connect(page)
    await connect(page)
    for _ in range(2):
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as refused:
            await refused.send_all(handshake(server, f"Cookie: flash_browser={page.cookie}"))
            assert b" 429 " in await head_of(refused)
    assert (await (await connect(other)).call(other.request("go")))["status"] == "ok"
    # Without a cookie it is the address that counts.
    streams = [await trio.open_tcp_stream("127.0.0.1", server.port) for _ in range(3)]
    heads: list[bytes] = []
    for stream in streams:
        await stream.send_all(handshake(server))
        heads.append(await head_of(stream))
    assert [head.split()[1] for head in heads] == [b"101", b"101", b"429"]
    for stream in streams:
        await stream.aclose()
    await eventually(lambda: len(server.app.websockets) == 3)
