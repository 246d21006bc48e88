"""Websocket callbacks written for asyncio: what one waits for holds up no other, though they share a thread."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from flash import Flash, Input, Output, html, on_asyncio, set_props
from tests.http.servers import Serve
from tests.support.callback_context import websocket
from tests.support.eventually import eventually
from tests.websocket.sockets import Connect


def make_app() -> Flash:
    app = Flash(__name__, websocket_callbacks=True)
    app.layout = [html.Button(id="go"), html.Button(id="again"), html.Div(id="out"), html.Div(id="other")]
    return app


def ok(**components: Any) -> dict[str, Any]:
    return {"status": "ok", "data": {"multi": True, "response": components}}


async def test_a_question_to_the_page_holds_up_nobody_else(serve: Serve, connect: Connect) -> None:
    app = make_app()

    @app.callback(Output("out", "children"), Input("go", "n_clicks"))
    @on_asyncio
    async def ask(clicks: int) -> str:
        return await websocket().get_prop("other", "title")

    @app.callback(Output("other", "children"), Input("again", "n_clicks"))
    @on_asyncio
    async def answer(clicks: int) -> str:
        await asyncio.sleep(0)
        return "meanwhile"

    page = await (await serve(app)).page()
    socket = await connect(page)
    request = await socket.send(page.request("go"))
    question = await socket.expect("get_props_request")
    assert await socket.call(page.request("again")) == ok(other={"children": "meanwhile"})
    await socket.answer(question, title="a title")
    assert await socket.response(request) == ok(out={"children": "a title"})


async def test_a_page_that_does_not_read_holds_up_nobody_else(serve: Serve, connect: Connect) -> None:
    app = make_app()
    sent, waited = threading.Event(), threading.Event()

    @app.callback(Output("out", "children"), Input("go", "n_clicks"))
    @on_asyncio
    async def flood(clicks: int) -> None:
        for _ in range(30):
            set_props("other", {"children": "x" * 100_000})
        sent.set()
        await websocket().set_prop("other", "title", "the end")
        waited.set()

    @app.callback(Output("other", "children"), Input("again", "n_clicks"))
    @on_asyncio
    async def answer(clicks: int) -> int:
        return clicks

    server = await serve(app)
    deaf, other = await server.page(), await server.page()
    flooded = await connect(deaf, receive_buffer=4_096)
    await flooded.send(deaf.request("go"))
    assert (await flooded.expect("set_props"))["payload"]["componentId"] == "other"
    assert await (await connect(other)).call(other.request("again", value=5)) == ok(other={"children": 5})
    await eventually(sent.is_set)
    assert not waited.is_set()
    for _ in range(29):
        await flooded.expect("set_props")
    assert (await flooded.expect("set_props"))["payload"]["props"] == {"title": "the end"}
    await eventually(waited.is_set)
