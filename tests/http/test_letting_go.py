"""What a page makes the server keep: its channel and its streams, and little of the requests that began them."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator

import httpx
import quart
import trio
from dash.exceptions import PreventUpdate

from flash import Flash, Input, Output, Update, ctx, every, html, stream_props
from tests.http.apps import Waiting
from tests.http.servers import Serve
from tests.support.eventually import eventually
from tests.support.live_objects import live_objects


def requests() -> Counter[str]:
    """The paths of the requests that Quart knows of, and how many there are."""
    return Counter(kept.path for kept in live_objects(quart.Request))


def tasks(name: str) -> int:
    """How many tasks there are of whose names this is a part."""
    todo, count = [trio.lowlevel.current_root_task()], 0
    while todo:
        task = todo.pop()
        assert task is not None
        count += name in task.name
        todo += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return count


async def no_task(name: str) -> None:
    """Return when there is none of that name."""
    await eventually(lambda: not tasks(name))


async def test_of_a_page_that_waits_no_request_is_kept(serve: Serve) -> None:
    before = requests()
    page = await (await serve(Waiting().app)).page()
    await page.connect_and_start()
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert not requests() - before


async def test_no_request_waits_for_the_garbage_collector(serve: Serve) -> None:
    waiting = Waiting()

    @waiting.app.callback(Output("out", "title"), Input("out", "n_clicks"), prevent_initial_call=True)
    async def refuse(clicks: int) -> str:
        raise PreventUpdate

    page = await (await serve(waiting.app)).page()
    before = live_objects(quart.Request)
    gc.disable()
    try:
        await page.connect_and_start()
        assert (await page.start("out")).status_code == 204
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert [each for each in gc.get_objects() if issubclass(type(each), quart.Request)] == before
    finally:
        gc.enable()


async def test_the_start_of_a_stream_is_kept_without_its_body(serve: Serve) -> None:
    app, bodies = Flash(__name__), list[dict[str, object]]()
    app.layout = [html.Button(id="go"), html.Div(id="out")]
    asked = trio.Event()

    @app.event_callback(Input("go", "n_clicks"))
    async def tell(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": quart.request.headers["X-Told"]})
        await asked.wait()
        yield stream_props("out", {"children": f"{quart.request.path} {await quart.request.get_data()!r}"})

    @app.server.after_request
    async def read(response: quart.Response) -> quart.Response:
        if quart.request.path == "/_dash-update-component":
            bodies.append(await quart.request.get_json())
        return response

    page = await (await serve(app)).page()
    events = await page.connect()
    page.client.headers["X-Told"] = "told"
    await page.start("go")
    await events.expect("open")
    assert (await events.expect("props"))["props"] == [["out", {"children": "told"}]]
    # The server, which is in this process, has done with the request.
    await trio.testing.wait_all_tasks_blocked(0.05)
    asked.set()
    assert (await events.expect("props"))["props"] == [["out", {"children": "/_dash-update-component b''"}]]
    # Hooks see it whole.
    assert [body["changedPropIds"] for body in bodies] == [["go.n_clicks"]]


async def test_each_further_stream_of_a_page_takes_little_memory_while_it_waits(serve: Serve) -> None:
    buttons = [f"go{number}" for number in range(40)]
    app = Flash(__name__)
    app.layout = [*(html.Button(id=button) for button in buttons), html.Div(id="out")]

    async def show(clicks: int) -> AsyncIterator[Update]:
        async for tick in every(3_600):
            yield stream_props("out", {"children": tick})

    for button in buttons:
        app.event_callback(Input(button, "n_clicks"))(show)
    page = await (await serve(app)).page()
    events = await page.connect()

    async def start(some: list[str]) -> None:
        for button in some:
            await page.start(button)
            await events.expect("open")
            await events.expect("props")
        await trio.testing.wait_all_tasks_blocked(0.05)
        gc.collect()

    await start(buttons[:10])
    tracemalloc.start()
    try:
        await start(buttons[10:])
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Of that, 3 KiB are `open`, which is not acknowledged here, and what the client in this process keeps.
    assert used / len(buttons[10:]) < 10.5 * 1024


async def test_the_response_of_a_stream_is_told_to_be_gone(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Div(id="out")]

    @app.event_callback(Input("go", "n_clicks"))
    async def tell(clicks: int) -> AsyncIterator[Update]:
        try:
            ctx.response.set_cookie("a", "b")
        except Exception as error:
            yield stream_props("out", {"children": f"{type(error).__name__}: {error}"})

    page = await (await serve(app)).page()
    events = await page.connect()
    await page.start("go")
    await events.expect("open")
    ((_, shown),) = (await events.expect("props"))["props"]
    assert shown["children"].startswith(
        "FlashError: ctx.response.set_cookie was used in a stream, which has no response"
    )


async def test_a_connection_has_no_task_for_its_idle_timeout(serve: Serve) -> None:
    waiting = Waiting()
    server = await serve(waiting.app, keep_alive_timeout=0.2)
    page = await server.page()
    events, _ = await page.connect_and_start()
    # There is none for a connection that is idle, either.
    assert not tasks("hypercorn.trio.tcp_server")
    assert not tasks("IdleTimeout")
    # After it, the connection is closed for being idle, as any other.
    waiting.go_on.set()
    await events.expect("props")
    await waiting.app.stream_settings.channels.shut_down()
    await events.until_closed()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
        assert (await client.get("/_favicon.ico")).status_code == 200
        await no_task("serve_listeners._run_handler")
