"""Callbacks that a page calls over its websocket: their answers, and what they say and ask before it."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
import trio
from quart.signals import websocket_received, websocket_sent
from trio.testing import wait_all_tasks_blocked

from flash import ALL, Flash, Input, Output, State, ctx, exceptions, get_app, html, no_update, set_props
from tests.http.servers import Serve
from tests.support.callback_context import triggered_id, websocket
from tests.websocket.sockets import Connect


def make_app(**options: Any) -> Flash:
    options.setdefault("websocket_callbacks", True)
    app = Flash(__name__, **options)
    app.layout = [html.Button(id="go"), html.Button(id="again"), html.Div("first", id="out"), html.Div(id="other")]
    return app


def ok(**components: Any) -> dict[str, Any]:
    return {"status": "ok", "data": {"multi": True, "response": components}}


async def test_an_async_callback_and_a_plain_one_are_answered(serve: Serve, connect: Connect) -> None:
    app = make_app()
    threads: list[threading.Thread] = []

    @app.callback(Output("out", "children"), Input("go", "n_clicks"), State("other", "children"))
    async def count(clicks: int, other: str) -> str:
        await trio.lowlevel.checkpoint()
        return f"{clicks} {other}"

    @app.callback(Output("other", "children"), Input("again", "n_clicks"))
    def plain(clicks: int) -> str:
        threads.append(threading.current_thread())
        return f"plain {clicks}"

    page = await (await serve(app)).page()
    socket = await connect(page)
    assert await socket.call(page.request("go", value=3)) == ok(out={"children": "3 None"})
    assert await socket.call(page.request("again")) == ok(other={"children": "plain 1"})
    assert threads[0] is not threading.current_thread()


async def test_the_first_request_of_a_worker_may_be_a_websocket(serve: Serve, connect: Connect) -> None:
    app = make_app()

    @app.callback(Output("out", "children"), Input("go", "n_clicks"))
    async def count(clicks: int) -> int:
        return clicks

    page = await (await serve(app)).page(load=False)
    socket = await connect(page)
    inputs = [{"id": "go", "property": "n_clicks", "value": 7}]
    request = {"output": "out.children", "outputs": {"id": "out", "property": "children"}, "inputs": inputs}
    assert await socket.call(request) == ok(out={"children": 7})


async def test_quarts_signals_tell_of_the_messages(serve: Serve, connect: Connect) -> None:
    app = make_app()
    heard: list[Any] = []

    @app.callback(Output("out", "children"), Input("go", "n_clicks"))
    async def count(clicks: int) -> int:
        return clicks

    def received(message: str) -> None:
        heard.append(json.loads(message)["type"])

    async def sent(message: str) -> None:
        heard.append(json.loads(message)["type"])

    page = await (await serve(app)).page()
    socket = await connect(page)
    with websocket_received.connected_to(received), websocket_sent.connected_to(sent):
        await socket.call(page.request("go"))
        await wait_all_tasks_blocked()
    assert heard == ["callback_request", "callback_response"]


async def test_set_props_arrives_while_the_callback_runs(serve: Serve, connect: Connect) -> None:
    app = make_app()
    go_on = trio.Event()

    @app.callback(Output("out", "children"), Input("go", "n_clicks"))
    async def steps(clicks: int) -> str:
        set_props("other", {"children": "under way", "title": "t"})
        await websocket().set_prop({"type": "bar", "index": 1}, "value", 0.5)
        await go_on.wait()
        return "done"

    page = await (await serve(app)).page()
    socket = await connect(page)
    request = await socket.send(page.request("go"))
    updates = [await socket.expect("set_props") for _ in range(3)]
    assert [update["payload"] for update in updates] == [
        {"componentId": "other", "props": {"children": "under way"}},
        {"componentId": "other", "props": {"title": "t"}},
        {"componentId": '{"index":1,"type":"bar"}', "props": {"value": 0.5}},
    ]
    assert {update["rendererId"] for update in updates} == {"tab"}
    go_on.set()
    assert await socket.response(request) == ok(out={"children": "done"})


async def test_set_props_of_a_plain_callback_arrives_while_it_runs(serve: Serve, connect: Connect) -> None:
    app = make_app()
    go_on = threading.Event()

    @app.callback(Output("out", "children"), Input("go", "n_clicks"))
    def steps(clicks: int) -> str:
        set_props("other", {"children": "under way"})
        assert go_on.wait(10)
        return "done"

    page = await (await serve(app)).page()
    socket = await connect(page)
    request = await socket.send(page.request("go"))
    assert (await socket.expect("set_props"))["payload"]["props"] == {"children": "under way"}
    go_on.set()
    assert await socket.response(request) == ok(out={"children": "done"})


async def test_updates_arrive_before_the_last_of_a_steady_flow_is_sent(serve: Serve, connect: Connect) -> None:
    app = make_app()
    arrived = trio.Event()

    @app.callback(Output("out", "children"), Input("go", "n_clicks"))
    async def flow(clicks: int) -> int:
        number = 0
        while not arrived.is_set():
            set_props("other", {"children": number})
            number += 1
            await trio.sleep(0.001)
        return number

    page = await (await serve(app)).page()
    socket = await connect(page)
    request = await socket.send(page.request("go"))
    for number in range(20):
        assert (await socket.expect("set_props"))["payload"]["props"] == {"children": number}
    arrived.set()
    assert (await socket.response(request))["status"] == "ok"
    # The first went at once and alone; then some at a time.
    assert len(socket.frames[0]) == 1
    assert len(socket.frames) < 20


@pytest.mark.parametrize("how", ["async", "plain", "plain, as for Dash"])
async def test_a_callback_reads_props_of_the_page(serve: Serve, connect: Connect, how: str) -> None:
    app = make_app()
    output, trigger = Output("out", "children"), Input("go", "n_clicks")

    if how == "async":

        @app.callback(output, trigger)
        async def ask(clicks: int) -> list[Any]:
            page = websocket()
            return [await page.get_prop("other", "title"), await page.get_prop("other", "nothing")]

    elif how == "plain":

        @app.callback(output, trigger)
        def ask_in_thread(clicks: int) -> list[Any]:
            page = websocket()
            return [page.get_prop_sync("other", "title"), page.get_prop_sync("other", "nothing")]

    else:

        @app.callback(output, trigger)
        def ask_as_for_dash(clicks: int) -> list[Any]:
            page = websocket()
            return [asyncio.run(page.get_prop("other", "title")), asyncio.run(page.get_prop("other", "nothing"))]

    page = await (await serve(app)).page()
    socket = await connect(page)
    request = await socket.send(page.request("go"))
    question = await socket.expect("get_props_request")
    assert question["payload"] == {"componentId": "other", "properties": ["title"]}
    assert question["rendererId"] == "tab"
    await socket.say(type="get_props_response", rendererId="tab", requestId="not asked", payload={"title": "wrong"})
    await socket.answer(question, title="a title")
    await socket.answer(await socket.expect("get_props_request"))
    assert await socket.response(request) == ok(out={"children": ["a title", None]})


async def test_a_page_that_does_not_answer_in_time(serve: Serve, connect: Connect) -> None:
    app = make_app()

    @app.callback(Output("out", "children"), Input("go", "n_clicks"))
    async def ask(clicks: int) -> str:
        try:
            await websocket().get_prop("other", "title", timeout=0.01)
        except TimeoutError as error:
            return str(error)
        return "answered"

    page = await (await serve(app)).page()
    assert await (await connect(page)).call(page.request("go")) == ok(
        out={"children": "Timeout waiting for other.title"}
    )


async def test_each_callback_has_a_context_of_its_own(serve: Serve, connect: Connect) -> None:
    app = make_app()
    both = [trio.Event(), trio.Event()]

    async def describe(number: int) -> str:
        both[number].set()
        await both[1 - number].wait()
        assert get_app() is app
        output: Any = ctx.outputs_list
        return f"{ctx.triggered_id} {output['id']} {'flash_browser' in ctx.cookies} {ctx.path}"

    @app.callback(Output("out", "children"), Input("go", "n_clicks"))
    async def first(clicks: int) -> str:
        return await describe(0)

    @app.callback(Output("other", "children"), Input("again", "n_clicks"))
    async def second(clicks: int) -> str:
        return await describe(1)

    make_app()  # the last app that was made is not the one that get_app() finds
    page = await (await serve(app)).page()
    socket = await connect(page)
    one, two = await socket.send(page.request("go")), await socket.send(page.request("again"), renderer="other tab")
    found = [await socket.next(), await socket.next()]
    answers = {message["requestId"]: message for message in found}
    assert {message["rendererId"] for message in found} == {"tab", "other tab"}
    path = "/_dash-ws-callback?"
    assert answers[one]["payload"] == ok(out={"children": f"go out True {path}"})
    assert answers[two]["payload"] == ok(other={"children": f"again other True {path}"})


async def test_a_callback_that_updates_nothing(serve: Serve, connect: Connect) -> None:
    app = make_app()

    @app.callback(Output("out", "children"), Input("go", "n_clicks"))
    async def prevent(clicks: int) -> None:
        raise exceptions.PreventUpdate

    @app.callback(Output("other", "children"), Output("other", "title"), Input("again", "n_clicks"))
    def half(clicks: int) -> tuple[Any, str]:
        return no_update, "new"

    page = await (await serve(app)).page()
    socket = await connect(page)
    assert await socket.call(page.request("go")) == {"status": "prevent_update"}
    assert await socket.call(page.request("again")) == ok(other={"title": "new"})


@pytest.mark.parametrize("dev_tools", [False, True])
async def test_a_callback_that_fails(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture, dev_tools: bool
) -> None:
    app = make_app()

    @app.callback(Output("out", "children"), Input("go", "n_clicks"))
    async def fail(clicks: int) -> None:
        raise ValueError("a secret")

    if dev_tools:
        app.enable_dev_tools(dev_tools_ui=True, dev_tools_hot_reload=False)
    page = await (await serve(app)).page()
    socket = await connect(page)
    message = "ValueError: a secret" if dev_tools else "The callback failed on the server."
    assert await socket.call(page.request("go")) == {"status": "error", "message": message}
    assert "a secret" in caplog.text
    # The socket goes on.
    assert (await socket.call(page.request("go")))["status"] == "error"


async def test_on_error_answers_for_a_callback_that_fails(serve: Serve, connect: Connect) -> None:
    def on_error(error: Exception) -> str:
        set_props("other", {"children": "handled"})
        return str(error)

    app = make_app(on_error=on_error)

    @app.callback(Output("out", "children"), Input("go", "n_clicks"))
    async def fail(clicks: int) -> None:
        raise ValueError("what went wrong")

    page = await (await serve(app)).page()
    socket = await connect(page)
    assert await socket.call(page.request("go")) == ok(out={"children": "what went wrong"})
    assert [message["payload"]["componentId"] for message in socket.skipped] == ["other"]


async def test_only_callbacks_that_ask_for_it_come_over_a_websocket(serve: Serve, connect: Connect) -> None:
    app = make_app(websocket_callbacks=False)

    @app.callback(Output("out", "children"), Input("go", "n_clicks"), websocket=True)
    async def over_websocket(clicks: int) -> bool:
        return ctx.websocket is not None

    @app.callback(Output("other", "children"), Input("again", "n_clicks"))
    async def over_http(clicks: int) -> bool:
        return ctx.websocket is not None

    @app.callback(Output("other", "title"), Input("out", "title"), background=True, websocket=True)
    def in_background(title: str) -> str:
        return title

    page = await (await serve(app)).page()
    socket = await connect(page)
    assert await socket.call(page.request("go")) == ok(out={"children": True})
    assert await page.call("again") == {"other": {"children": False}}
    refused = {"status": "error", "message": "The request is malformed, or there is no such websocket callback."}
    assert await socket.call(page.request("again")) == refused
    assert await socket.call(page.request("out", "title", "x")) == refused
    assert await socket.call({"output": "nothing.children", "inputs": []}) == refused
    assert await socket.call({"output": "out.children", "inputs": 3}) == refused


async def test_pattern_matching_ids_work(serve: Serve, connect: Connect) -> None:
    app = make_app()
    app.layout = [*app.layout, *[html.Button(id={"type": "row", "index": number}) for number in range(3)]]

    @app.callback(Output("out", "children"), Input({"type": "row", "index": ALL}, "n_clicks"))
    async def which(clicks: list[Any]) -> str:
        return json.dumps([triggered_id()["index"], clicks])

    page = await (await serve(app)).page()
    answer = await (await connect(page)).call(page.request({"type": "row", "index": 1}))
    assert answer == ok(out={"children": "[1, [null, 1, null]]"})
