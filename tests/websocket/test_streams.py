"""Event callbacks in a page that uses websocket callbacks: their starts come over the socket, too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import trio

from flash import Flash, Input, Output, Update, ctx, html, set_props, stream_props
from tests.http.apps import Waiting
from tests.http.servers import Serve
from tests.websocket.sockets import Connect


async def test_an_event_callback_is_started_over_the_websocket(serve: Serve, connect: Connect) -> None:
    waiting = Waiting(websocket_callbacks=True)
    page = await (await serve(waiting.app)).page()
    events, socket = await page.connect(), await connect(page)
    assert await socket.call(page.request("go")) == {"status": "prevent_update"}
    stream = (await events.expect("open"))["stream"]
    await events.expect("props")
    # The stream is the page's, not the socket's.
    await socket.raw.aclose()
    assert (await page.cancel(stream)).status_code == 204
    assert (await events.expect("end"))["reason"] == "cancelled"


async def test_set_props_in_a_stream_leaves_by_the_streams_own_way(serve: Serve, connect: Connect) -> None:
    app = Flash(__name__, websocket_callbacks=True)
    app.layout = [html.Button(id="go"), html.Div(id="out"), html.Div(id="other")]

    @app.event_callback(Input("go", "n_clicks"), restart=True)
    async def count(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": str(ctx.websocket)})
        set_props("out", {"children": ctx.triggered_id})
        await trio.sleep_forever()

    page = await (await serve(app)).page()
    events, socket = await page.connect(), await connect(page)
    request = page.request("go")
    assert await socket.call(request) == {"status": "prevent_update"}
    assert socket.skipped == []
    opened = await events.expect("open")
    assert opened["again"]["output"] == request["output"]
    assert [(await events.expect("props"))["props"] for _ in range(2)] == [
        [["out", {"children": "None"}]],
        [["out", {"children": "go"}]],
    ]


async def test_a_start_that_is_refused_says_why(serve: Serve, connect: Connect) -> None:
    waiting = Waiting(websocket_callbacks=True, pages_per_server=1)
    server = await serve(waiting.app)
    await (await server.page()).connect()
    page = await server.page()
    answer = await (await connect(page)).call(page.request("go"))
    assert answer["status"] == "error"
    assert "holds as many pages as it may" in answer["message"]


async def test_whose_a_start_is_says_the_handshake_of_its_websocket(serve: Serve, connect: Connect) -> None:
    asked: list[object] = []

    async def identify(handshake: Any) -> str | None:
        asked.append(handshake.path)
        return handshake.args.get("user")

    waiting = Waiting(websocket_callbacks=True, identify=identify, streams_per_user=1)
    server = await serve(waiting.app)
    for number in (1, 2):
        page = await server.page()
        events, socket = await page.connect(), await connect(page, path="_dash-ws-callback?user=ada")
        answer = await socket.call(page.request("go"))
        if number == 1:
            assert answer == {"status": "prevent_update"}
            await events.expect("open")
        else:
            assert answer["status"] == "error"
            assert "1 streams of this user run already" in answer["message"]
            assert (await events.expect("refused"))["message"] == answer["message"]
    assert [info.user for info in waiting.app.streams()] == ["ada"]
    assert asked == ["/_dash-ws-callback"] * 2


async def test_a_start_whose_user_is_not_found_out_is_refused(serve: Serve, connect: Connect) -> None:
    waiting = Waiting(websocket_callbacks=True, identify=lambda handshake: 1 // 0)
    page = await (await serve(waiting.app)).page()
    events, socket = await page.connect(), await connect(page)
    answer = await socket.call(page.request("go"))
    assert (answer["status"], answer["message"]) == ("error", (await events.expect("refused"))["message"])
    assert "does not say whose the request is" in answer["message"]
    assert waiting.log == []


async def test_a_streaming_callback_is_started_over_the_websocket(serve: Serve, connect: Connect) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Div(id="out")]

    @app.callback(Output("out", "children"), Input("go", "n_clicks"), websocket=True)
    async def count(clicks: int) -> AsyncIterator[int]:
        for number in range(3):
            yield number

    page = await (await serve(app)).page()
    events, socket = await page.connect(), await connect(page)
    assert await socket.call(page.request("go")) == {"status": "prevent_update"}
    await events.expect("open")
    assert [(await events.expect("props"))["props"] for _ in range(3)] == [
        [["out", {"children": number}]] for number in range(3)
    ]
