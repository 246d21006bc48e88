"""How callbacks end with their socket, and what a socket does to a page that is silent, slow or talks nonsense."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

import pytest
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request, TextMessage

from flash import Flash, Input, Output, cleanup, ctx, exceptions, html, set_props
from tests.http.servers import Serve
from tests.support.callback_context import websocket
from tests.support.eventually import TIMEOUT, eventually
from tests.websocket.sockets import Connect


def make_app(**options: Any) -> Flash:
    options.setdefault("websocket_callbacks", True)
    app = Flash(__name__, **options)
    app.layout = [html.Button(id=name) for name in ("go", "again", "size")] + [html.Div(id="out")]

    @app.callback(Output("out", "title"), Input("size", "n_clicks"))
    async def quick(clicks: int) -> int:
        return clicks

    return app


@pytest.mark.parametrize("how", ["closed", "lost"])
async def test_callbacks_are_cancelled_when_the_page_leaves(serve: Serve, connect: Connect, how: str) -> None:
    app = make_app()
    log: list[str] = []
    over = trio.Event()

    @app.callback(Input("go", "n_clicks"), persistent=True)
    async def clock(clicks: int) -> None:
        try:
            while True:
                set_props("out", {"children": trio.current_time()})
                await trio.sleep(0.001)
        finally:
            log.append("finally")
            set_props("out", {"children": "nobody hears this"})
            with trio.CancelScope(shield=True):
                await trio.sleep(0.01)
            log.append(f"over {websocket().is_shutdown}")
            over.set()

    page = await (await serve(app)).page()
    socket = await connect(page)
    await socket.send(page.request("go"))
    await socket.expect("set_props")
    if how == "closed":
        await socket.raw.aclose()
    else:
        await socket.leave()
    with trio.fail_after(TIMEOUT):
        await over.wait()
    assert log == ["finally", "over True"]
    await eventually(lambda: len(app.websockets) == 0)


async def test_clean_up_of_a_callback_that_awaits_has_its_time_or_is_reported(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    log: list[str] = []

    @app.callback(Input("go", "n_clicks"))
    async def with_shield(clicks: int) -> None:
        set_props("out", {"children": 1})
        try:
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(0.05)
                log.append("saved")

    @app.callback(Input("again", "n_clicks"))
    async def without(clicks: int) -> None:
        set_props("out", {"children": 2})
        try:
            await trio.sleep_forever()
        finally:
            await trio.sleep(0.05)
            log.append("never")

    page = await (await serve(app)).page()
    socket = await connect(page)
    for button in ("go", "again"):
        await socket.send(page.request(button))
        await socket.expect("set_props")
    await socket.leave()
    await eventually(lambda: len(app.websockets) == 0)
    assert log == ["saved"]
    [warning] = [record.getMessage() for record in caplog.records if "cleanup" in record.getMessage()]
    assert "without'" in warning
    assert "test_lifetime.py:" in warning


async def test_a_thread_is_told_once_that_the_socket_has_closed(serve: Serve, connect: Connect) -> None:
    app = make_app()
    log: list[str] = []
    closed, over = threading.Event(), trio.Event()

    @app.callback(Output("out", "children"), Input("go", "n_clicks"))
    def plain(clicks: int) -> None:
        page = websocket()
        set_props("out", {"children": page.is_shutdown})
        assert closed.wait(10)
        log.append(f"is_shutdown {page.is_shutdown}")
        for _ in range(2):
            try:
                set_props("out", {"children": "anybody?"})
                log.append("nothing")
            except exceptions.WebsocketDisconnected:
                log.append("disconnected")
        try:
            page.get_prop_sync("out", "children")
        except exceptions.WebsocketDisconnected:
            log.append("disconnected")
        trio.from_thread.run_sync(over.set, trio_token=token)

    token = trio.lowlevel.current_trio_token()
    page = await (await serve(app)).page()
    socket = await connect(page)
    await socket.send(page.request("go"))
    assert (await socket.expect("set_props"))["payload"]["props"] == {"children": False}
    (connection,) = app.websockets
    await socket.raw.aclose()
    await eventually(lambda: connection.is_shutdown)
    assert len(app.websockets) == 1  # which waits for the thread
    closed.set()
    with trio.fail_after(TIMEOUT):
        await over.wait()
    assert log == ["is_shutdown True", "disconnected", "nothing", "disconnected"]
    await eventually(lambda: len(app.websockets) == 0)


async def test_a_thread_that_waits_for_the_page_is_released(serve: Serve, connect: Connect) -> None:
    app = make_app()
    log: list[str] = []

    @app.callback(Output("out", "children"), Input("go", "n_clicks"))
    def plain(clicks: int) -> None:
        try:
            websocket().get_prop_sync("out", "children")
        except exceptions.WebsocketDisconnected:
            log.append("disconnected")

    page = await (await serve(app)).page()
    socket = await connect(page)
    await socket.send(page.request("go"))
    await socket.expect("get_props_request")
    await socket.leave()
    await eventually(lambda: len(app.websockets) == 0)
    assert log == ["disconnected"]


async def test_a_thread_that_blocks_is_left_to_itself(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(cleanup_timeout=0.05)
    entered, release, left = trio.Event(), threading.Event(), threading.Event()

    @app.callback(Output("out", "children"), Input("go", "n_clicks"))
    def stubborn(clicks: int) -> None:
        trio.from_thread.run_sync(entered.set)
        assert release.wait(10)
        left.set()

    page = await (await serve(app)).page()
    socket = await connect(page)
    await socket.send(page.request("go"))
    await entered.wait()
    await socket.leave()
    await eventually(lambda: len(app.websockets) == 0)
    assert "The callback 'out.children' was left running in its thread" in caplog.text
    release.set()
    assert await trio.to_thread.run_sync(left.wait, 5)


async def test_a_stopping_server_ends_the_callbacks_and_says_that_it_goes(serve: Serve, connect: Connect) -> None:
    app = make_app()
    log: list[str] = []

    @app.callback(Input("go", "n_clicks"), persistent=True)
    async def clock(clicks: int) -> None:
        try:
            set_props("out", {"children": "runs"})
            await trio.sleep_forever()
        finally:
            log.append("finally")

    page = await (await serve(app)).page()
    socket = await connect(page)
    await socket.send(page.request("go"))
    await socket.expect("set_props")
    with trio.fail_after(TIMEOUT):
        await app.websockets.shut_down()
    assert log == ["finally"]
    assert await socket.closed() == (1001, "The server stops.")


@pytest.mark.parametrize("data", ["", "no JSON", "[]", "3", '"x"', b"\xff\xfe", "[" * 100_000])
async def test_what_is_not_a_message_closes_the_socket(serve: Serve, connect: Connect, data: str | bytes) -> None:
    page = await (await serve(make_app())).page()
    socket = await connect(page)
    await socket.raw.send_message(data)
    assert await socket.closed() == (1007, "A message is a JSON object.")


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"type": "set_props", "payload": {}},
        {"type": ["callback_request"]},
        {"type": "callback_request", "payload": {}},
        {"type": "callback_request", "requestId": 3, "payload": {}},
        {"type": "callback_request", "requestId": "x", "payload": "text"},
        {"type": "get_props_response", "requestId": "x"},
    ],
    ids=str,
)
async def test_a_message_that_makes_no_sense_changes_nothing(
    serve: Serve, connect: Connect, message: dict[str, Any]
) -> None:
    page = await (await serve(make_app())).page()
    socket = await connect(page)
    await socket.say(rendererId="tab", **message)
    error = await socket.expect("error")
    assert (error["rendererId"], error["payload"]["code"]) == ("tab", "malformed")
    assert (await socket.call(page.request("size")))["status"] == "ok"


async def test_heartbeats_are_answered(serve: Serve, connect: Connect) -> None:
    page = await (await serve(make_app())).page()
    socket = await connect(page)
    await socket.say(type="heartbeat")
    assert await socket.next() == {"type": "heartbeat_ack"}


KILOBYTES = "x" * 100_000
MANY = 80
"""So many of them are more than what lies between the server and the page holds."""


@pytest.mark.parametrize("how", ["async", "plain"])
async def test_a_page_that_does_not_read_makes_its_callbacks_wait(serve: Serve, connect: Connect, how: str) -> None:
    app = make_app(stream_buffer_bytes=500_000)
    sent: list[int] = []

    if how == "async":

        @app.callback(Output("out", "children"), Input("go", "n_clicks"))
        async def flood(clicks: int) -> str:
            for number in range(MANY):
                set_props("out", {"children": KILOBYTES})
                sent.append(number)
                await trio.lowlevel.checkpoint()
            return "done"

    else:

        @app.callback(Output("out", "children"), Input("go", "n_clicks"))
        def flood_from_thread(clicks: int) -> str:
            for number in range(MANY):
                set_props("out", {"children": KILOBYTES})
                sent.append(number)
            return "done"

    server = await serve(app)
    slow, other = await server.page(), await server.page()
    socket = await connect(slow, receive_buffer=4096)
    request = await socket.send(slow.request("go"))
    (connection,) = app.websockets
    await eventually(lambda: connection.waiting_bytes >= 500_000)
    # Whoever reads is served meanwhile.
    reader = await connect(other)
    for _ in range(10):
        assert (await reader.call(other.request("size")))["status"] == "ok"
    assert connection.waiting_bytes < 700_000
    assert len(sent) < MANY
    # When the page reads again it misses nothing.
    assert (await socket.response(request))["status"] == "ok"
    assert len(socket.skipped) == len(sent) == MANY


async def test_a_page_that_never_reads_has_its_callbacks_cancelled(serve: Serve, connect: Connect) -> None:
    app = make_app(stream_buffer_bytes=100_000, ping_interval=0.1, stall_timeout=0.5)
    over = trio.Event()

    @app.callback(Output("out", "children"), Input("go", "n_clicks"))
    async def flood(clicks: int) -> None:
        try:
            while True:
                set_props("out", {"children": KILOBYTES})
                await trio.lowlevel.checkpoint()
        finally:
            over.set()

    page = await (await serve(app)).page()
    socket = await connect(page, receive_buffer=4096)
    await socket.send(page.request("go"))
    (connection,) = app.websockets
    with trio.fail_after(TIMEOUT):
        await over.wait()
    assert connection.is_shutdown
    assert connection.waiting_bytes == 0
    await socket.leave()
    await eventually(lambda: len(app.websockets) == 0)


async def test_a_result_that_was_awaited_is_not_lost_to_a_cancellation_while_the_page_does_not_read(
    serve: Serve, connect: Connect
) -> None:
    app = make_app(stream_buffer_bytes=100_000)
    taken: list[object] = []
    put, get = trio.open_memory_channel[int](0)
    scopes: list[trio.CancelScope] = []

    @app.callback(Output("out", "children"), Input("go", "n_clicks"))
    async def flood(clicks: int) -> str:
        with trio.CancelScope() as scope:
            scopes.append(scope)
            for _ in range(MANY):
                set_props("out", {"children": KILOBYTES})
                taken.append(await get.receive())
                if ctx.websocket is None:
                    break
        return "cancelled"

    page = await (await serve(app)).page()
    socket = await connect(page, receive_buffer=4096)
    request = await socket.send(page.request("go"))
    (connection,) = app.websockets
    given = 0
    with trio.move_on_after(10):
        while connection.waiting_bytes < 100_000 or len(taken) == given:
            await put.send(given)
            given += 1
            await trio.sleep(0.002)
    assert len(taken) == given - 1  # it has the last, and does not go on with it
    scopes[0].cancel()
    await eventually(lambda: len(taken) == given)
    assert (await socket.response(request))["data"]["response"] == {"out": {"children": "cancelled"}}


@pytest.mark.parametrize("first", ["nonsense", '{"type":"heartbeat"}'])
async def test_a_peer_that_goes_on_sending_does_not_hold_a_socket_that_was_closed(serve: Serve, first: str) -> None:
    app = make_app()
    server = await serve(app, graceful_timeout=60)
    peer = WSConnection(ConnectionType.CLIENT)
    host = f"127.0.0.1:{server.port}"
    origin = [(b"Origin", f"http://{host}".encode())]
    flood = b""
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        await stream.send_all(peer.send(Request(host=host, target="/_dash-ws-callback", extra_headers=origin)))
        peer.receive_data(await stream.receive_some())
        assert [type(event) for event in peer.events()] == [AcceptConnection]
        await stream.send_all(peer.send(TextMessage(first)))
        for _ in range(2_000):
            flood += peer.send(TextMessage('{"type":"heartbeat"}'))
        with trio.fail_after(TIMEOUT), contextlib.suppress(trio.BrokenResourceError):
            while True:
                # Heartbeats are welcome; this socket is closed because the server is to stop.
                for connection in app.websockets:
                    connection.stop()
                await stream.send_all(flood)
    with trio.fail_after(TIMEOUT):
        await server.stop()


def test_no_module_of_websockets_knows_asyncio() -> None:
    for path in (Path(__file__).parents[2] / "flash").glob("websocket*.py"):
        assert "import asyncio" not in path.read_text()
