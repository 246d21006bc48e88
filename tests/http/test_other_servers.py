"""A Hypercorn that serves another app in the process of a Flash app, even in its run of Trio, is unchanged."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypercorn.config import Config
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.protocol.ws_stream import WebsocketBuffer, WSStream
from hypercorn.trio import serve as serve_with_hypercorn
from hypercorn.trio.tcp_server import TCPServer

from flash import Flash, html
from flash._hypercorn_http1 import FlashH11Protocol, FlashHTTPStream
from flash._hypercorn_http2 import FlashH2Protocol
from flash._hypercorn_patches import FlashTCPServer
from flash._hypercorn_websocket import BoundedMessage, FlashWSStream

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)
REQUEST = b"GET /seen HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Seen:
    """An ASGI app in front of another, which notes what its server serves it with."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.kinds: list[type] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            stream = send.__self__
            protocol = stream.send.__self__
            connection: Any = getattr(protocol, "send", protocol).__self__
            self.kinds += [type(connection), type(protocol), type(stream), type(connection.idle_task)]
        await self.app(scope, receive, send)


async def other_app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for name in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{name}.complete"})
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
    else:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()


def flash_app() -> Flash:
    app = Flash(__name__)
    app.layout = html.Div()

    @app.server.route("/seen")
    async def seen() -> str:
        return "ok"

    @app.server.websocket("/ws")
    async def ws() -> None:
        from quart import websocket

        await websocket.accept()
        await websocket.receive()

    return app


async def ask(port: int, request: bytes) -> bytes:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += await stream.receive_some(65_536)
        return answer


async def start(nursery: trio.Nursery, app: Any) -> int:
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.graceful_timeout = 1.0
    bound: list[str] = await nursery.start(
        lambda task_status: serve_with_hypercorn(app, config, mode="asgi", task_status=task_status)
    )
    return int(bound[0].rpartition(":")[2])


@pytest.mark.parametrize("flash_first", [True, False])
async def test_a_hypercorn_that_serves_another_app_is_unchanged(flash_first: bool) -> None:
    ours, other = Seen(flash_app().server), Seen(other_app)
    async with trio.open_nursery() as nursery:
        with trio.fail_after(20):
            apps = [ours, other] if flash_first else [other, ours]
            ports = {app: await start(nursery, app) for app in apps}
            answers = {app: [await ask(ports[app], REQUEST), await ask(ports[app], HANDSHAKE)] for app in apps}
        nursery.cancel_scope.cancel()
    for _, accepted in answers.values():
        assert accepted.startswith(b"HTTP/1.1 101")
    assert b"permessage-deflate" in answers[other][1]
    assert b"permessage-deflate" not in answers[ours][1]
    assert [kind.__name__ for kind in other.kinds] == [
        "TCPServer",
        "H11Protocol",
        "HTTPStream",
        "TrioSingleTask",
        "TCPServer",
        "H11Protocol",
        "WSStream",
        "TrioSingleTask",
    ]
    assert [kind.__module__.partition(".")[0] for kind in other.kinds] == ["hypercorn"] * 8
    assert [kind.__name__ for kind in ours.kinds] == [
        "FlashTCPServer",
        "FlashH11Protocol",
        "FlashHTTPStream",
        "IdleTimeout",
        "FlashTCPServer",
        "FlashH11Protocol",
        "FlashWSStream",
        "IdleTimeout",
    ]


async def test_a_middleware_that_hides_the_lifespans_server_takes_nothing_from_flash() -> None:
    app = flash_app().server

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        async def wrapped() -> Any:
            return await receive()

        await app(scope, wrapped if scope["type"] == "lifespan" else receive, send)

    ours = Seen(middleware)
    async with trio.open_nursery() as nursery:
        with trio.fail_after(20):
            await ask(await start(nursery, ours), REQUEST)
        nursery.cancel_scope.cancel()
    assert ours.kinds[0] is FlashTCPServer


async def test_hypercorns_own_classes_keep_their_methods() -> None:
    async with trio.open_nursery() as nursery:
        await start(nursery, flash_app().server)
        nursery.cancel_scope.cancel()
    for kind, replacement in (
        (TCPServer, FlashTCPServer),
        (H2Protocol, FlashH2Protocol),
        (H11Protocol, FlashH11Protocol),
        (HTTPStream, FlashHTTPStream),
        (WSStream, FlashWSStream),
        (WebsocketBuffer, BoundedMessage),
    ):
        assert issubclass(replacement, kind)
        foreign = {name for name, value in vars(kind).items() if "flash" in getattr(value, "__module__", "")}
        assert foreign <= {"__init__"}
