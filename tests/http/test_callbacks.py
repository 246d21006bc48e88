"""Ordinary Dash callbacks: plain ones run in worker threads with all that Dash gives them, async ones on Trio."""

from __future__ import annotations

import contextvars
import threading
from typing import Any

import pytest
import quart
import trio

from flash import (
    ALL,
    Flash,
    Input,
    Output,
    Patch,
    State,
    callback_context,
    ctx,
    dcc,
    exceptions,
    html,
    no_update,
    set_props,
)
from tests.http.apps import Waiting
from tests.http.servers import Serve
from tests.support.callback_context import triggered_id


def make_app(**options: Any) -> Flash:
    app = Flash(__name__, **options)
    app.layout = [html.Button(id="go"), dcc.Input(id="name", value="Ada"), html.Div(id="out"), html.Div(id="other")]
    return app


async def test_a_plain_callback_runs_in_a_worker_thread(serve: Serve) -> None:
    app = make_app()
    threads: list[threading.Thread] = []

    @app.callback(Output("out", "children"), Input("go", "n_clicks"), State("name", "value"))
    def greet(clicks: int, name: str) -> str:
        threads.append(threading.current_thread())
        assert not trio.lowlevel.in_trio_task()
        return f"{name} {clicks}"

    page = await (await serve(app)).page()
    assert await page.call("go", value=3) == {"out": {"children": "Ada 3"}}
    assert threads[0] is not threading.current_thread()


async def test_a_plain_callback_that_blocks_holds_nobody_up(serve: Serve) -> None:
    app = make_app()
    app.layout = [*app.layout, html.Button(id="free")]
    entered, release = trio.Event(), threading.Event()

    @app.callback(Output("out", "children"), Input("go", "n_clicks"))
    def block(clicks: int) -> str:
        trio.from_thread.run_sync(entered.set)
        assert release.wait(10)
        return "at last"

    @app.callback(Output("other", "children"), Input("free", "n_clicks"))
    def at_once(clicks: int) -> str:
        return "at once"

    page = await (await serve(app)).page()
    answers: list[Any] = []

    async def call() -> None:
        answers.append(await page.call("go"))

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await entered.wait()
            assert await page.call("free") == {"other": {"children": "at once"}}
            assert answers == []
            release.set()
    finally:
        release.set()
    assert answers == [{"out": {"children": "at last"}}]


async def test_an_async_callback_runs_on_trio(serve: Serve) -> None:
    app = make_app()

    @app.callback(Output("out", "children"), Input("go", "n_clicks"), State("name", "value"))
    async def greet(clicks: int, name: str) -> str:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.checkpoint)
        return f"{name} {clicks} {await trio.to_thread.run_sync(lambda: 'from a thread')}"

    page = await (await serve(app)).page()
    assert await page.call("go") == {"out": {"children": "Ada 1 from a thread"}}


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_the_context_of_a_callback_is_complete(serve: Serve, kind: str) -> None:
    app = make_app()

    def describe() -> dict[str, Any]:
        assert callback_context.triggered_id == ctx.triggered_id
        return {
            "triggered_id": ctx.triggered_id,
            "triggered": ctx.triggered,
            "inputs": ctx.inputs,
            "states": ctx.states,
            "outputs_list": ctx.outputs_list,
            "cookie": ctx.cookies.get("seen"),
            "header": ctx.headers["X-Test"],
            "path": ctx.path,
            "quart path": quart.request.path,
            "quart cookie": quart.request.cookies["seen"],
        }

    if kind == "plain":

        @app.callback(Output("out", "children"), Input("go", "n_clicks"), State("name", "value"))
        def show(clicks: int, name: str) -> dict[str, Any]:
            return describe()

    else:

        @app.callback(Output("out", "children"), Input("go", "n_clicks"), State("name", "value"))
        async def show_async(clicks: int, name: str) -> dict[str, Any]:
            return describe()

    page = await (await serve(app)).page()
    page.client.cookies.set("seen", "yes", domain="127.0.0.1")
    page.client.headers["X-Test"] = "here"
    shown = (await page.call("go"))["out"]["children"]
    assert shown.pop("path").startswith("/_dash-update-component")
    assert shown == {
        "triggered_id": "go",
        "triggered": [{"prop_id": "go.n_clicks", "value": 1}],
        "inputs": {"go.n_clicks": 1},
        "states": {"name.value": "Ada"},
        "outputs_list": {"id": "out", "property": "children"},
        "cookie": "yes",
        "header": "here",
        "quart path": "/_dash-update-component",
        "quart cookie": "yes",
    }


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_a_callback_can_set_cookies_headers_and_the_session(serve: Serve, kind: str) -> None:
    app = make_app()
    app.server.secret_key = "secret"

    def visit() -> int:
        ctx.response.set_cookie("visited", "yes", httponly=True)
        ctx.response.set_header("X-Answer", "42")
        quart.session["visits"] = quart.session.get("visits", 0) + 1
        return quart.session["visits"]

    if kind == "plain":

        @app.callback(Output("out", "children"), Input("go", "n_clicks"))
        def plain(clicks: int) -> int:
            return visit()

    else:

        @app.callback(Output("out", "children"), Input("go", "n_clicks"))
        async def on_trio(clicks: int) -> int:
            return visit()

    page = await (await serve(app)).page()
    response = await page.start("go")
    assert response.cookies["visited"] == "yes"
    assert response.headers["X-Answer"] == "42"
    assert (await page.call("go"))["out"]["children"] == 2


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_set_props_in_a_callback_arrives_with_its_answer(serve: Serve, kind: str) -> None:
    app = make_app()

    if kind == "plain":

        @app.callback(Output("out", "children"), Input("go", "n_clicks"))
        def plain(clicks: int) -> str:
            set_props("other", {"children": "by the way"})
            return "answer"

    else:

        @app.callback(Output("out", "children"), Input("go", "n_clicks"))
        async def on_trio(clicks: int) -> str:
            set_props("other", {"children": "by the way"})
            return "answer"

    page = await (await serve(app)).page()
    answer = (await page.start("go")).json()
    assert answer["response"] == {"out": {"children": "answer"}}
    assert answer["sideUpdate"] == {"other": {"children": "by the way"}}


async def test_callbacks_at_the_same_time_do_not_share_a_context(serve: Serve) -> None:
    app = make_app()
    app.layout = [*(html.Button(id={"go": index}) for index in range(6)), html.Div(id="out")]
    barrier = threading.Barrier(6, timeout=10)
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=-1)

    @app.callback(Output("out", "children"), Input({"go": ALL}, "n_clicks"))
    def who(clicks: list[int]) -> list[Any]:
        assert variable.get() == -1
        mine = triggered_id()["go"]
        variable.set(mine)
        barrier.wait()
        return [mine, triggered_id()["go"], variable.get()]

    page = await (await serve(app)).page()
    answers: dict[int, Any] = {}

    async def call(index: int) -> None:
        answers[index] = (await page.call({"go": index}))["out"]["children"]

    async with trio.open_nursery() as nursery:
        for index in range(6):
            nursery.start_soon(call, index)
    assert answers == {index: [index, index, index] for index in range(6)}


async def test_no_update_prevent_update_patch_and_several_outputs_work(serve: Serve) -> None:
    app = make_app()
    app.layout = [*app.layout, html.Button(id="nothing"), html.Button(id="patch")]

    @app.callback(Output("out", "children"), Output("other", "children"), Input("go", "n_clicks"))
    def both(clicks: int) -> tuple[Any, Any]:
        return no_update, clicks

    @app.callback(Output("out", "title"), Input("nothing", "n_clicks"))
    def nothing(clicks: int) -> str:
        raise exceptions.PreventUpdate

    @app.callback(Output("out", "style"), Input("patch", "n_clicks"))
    def patch(clicks: int) -> Patch:
        patched = Patch()
        patched["color"] = "red"
        return patched

    page = await (await serve(app)).page()
    assert await page.call("go") == {"other": {"children": 1}}
    assert (await page.start("nothing")).status_code == 204
    assert (await page.call("patch"))["out"]["style"]["operations"][0]["params"] == {"value": "red"}


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_a_callback_that_raises_shows_nothing_of_the_server(serve: Serve, kind: str) -> None:
    app = make_app()

    if kind == "plain":

        @app.callback(Output("out", "children"), Input("go", "n_clicks"))
        def plain(clicks: int) -> str:
            raise ValueError("the password is 1234")

    else:

        @app.callback(Output("out", "children"), Input("go", "n_clicks"))
        async def on_trio(clicks: int) -> str:
            raise ValueError("the password is 1234")

    page = await (await serve(app)).page()
    response = await page.start("go")
    assert response.status_code == 500
    assert "1234" not in response.text
    assert "Traceback" not in response.text


async def test_on_error_of_a_callback_is_called(serve: Serve) -> None:
    app = make_app()
    errors: list[Exception] = []

    def on_error(error: Exception) -> None:
        errors.append(error)
        set_props("other", {"children": "failed"})

    @app.callback(Output("out", "children"), Input("go", "n_clicks"), on_error=on_error)
    def fail(clicks: int) -> str:
        raise ValueError("no")

    page = await (await serve(app)).page()
    answer = (await page.start("go")).json()
    assert str(errors[0]) == "no"
    assert answer["sideUpdate"] == {"other": {"children": "failed"}}


async def test_a_layout_function_has_the_request(serve: Serve) -> None:
    app = Flash(__name__)

    def layout() -> html.Div:
        # Dash calls it once outside of a request, to learn of the ids in it.
        return html.Div(quart.request.headers["X-Test"] if quart.has_request_context() else "", id="out")

    app.layout = layout
    server = await serve(app)
    browser = server.browser()
    browser.headers["X-Test"] = "here"
    page = await server.page(browser=browser)
    assert page.layout["props"]["children"] == "here"


async def test_hooks_of_the_server_see_the_requests_of_streams(serve: Serve) -> None:
    waiting = Waiting()
    seen: list[str] = []

    @waiting.app.server.before_request
    async def guard() -> Any:
        seen.append(quart.request.path)
        if "X-Refuse" in quart.request.headers:
            return "no", 401
        return None

    page = await (await serve(waiting.app)).page()
    refused = await page.connect(headers={"Cookie": f"flash_browser={page.cookie}", "X-Refuse": "1"}, ok=False)
    assert refused.status == 401
    events = await page.connect()
    await page.start("go")
    await events.expect("open")
    assert seen[-3:] == ["/_flash/events", "/_flash/events", "/_dash-update-component"]
