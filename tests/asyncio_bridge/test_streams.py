"""Callbacks written for asyncio in a served app: streams end by the same contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from flash import Flash, Input, Output, StreamCancelled, Update, ctx, html, on_asyncio, set_props, stream_props
from tests.asyncio_bridge.loops import tasks_left
from tests.http.servers import Serve
from tests.support.eventually import eventually


class Clock:
    """An app with a stream that is written for asyncio: it sends an update and waits for ever.

    Attributes:
        app: `go` starts the stream, `stop` cancels it.
        log: what happened to it, in order.
    """

    def __init__(self, **options: Any) -> None:
        options.setdefault("reconnect_grace", 0)
        self.app = Flash(__name__, **options)
        self.app.layout = [html.Button(id="go"), html.Button(id="stop"), html.Div(id="out")]
        self.log: list[str] = []

        @on_asyncio
        async def on_error(error: StreamCancelled) -> Update:
            await asyncio.sleep(0)
            self.log.append(f"on_error {error.reason}")
            return stream_props("out", {"title": str(error.reason)})

        @self.app.event_callback(Input("go", "n_clicks"), cancel=[Input("stop", "n_clicks")], on_error=on_error)
        @on_asyncio
        async def tick(clicks: int) -> AsyncIterator[Update]:
            try:
                yield stream_props("out", {"children": clicks})
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                self.log.append("cancelled")
                raise
            finally:
                await asyncio.sleep(0.001)
                self.log.append("finally")


async def test_gather_in_a_callback(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Div(id="out")]

    @app.callback(Output("out", "children"), Input("go", "n_clicks"))
    @on_asyncio
    async def both(clicks: int) -> str:
        async def fetch(name: str) -> str:
            await asyncio.sleep(0.001)
            return f"{name} {clicks}"

        set_props("go", {"title": ctx.triggered_id})
        return ", ".join(await asyncio.gather(fetch("one"), fetch("two")))

    page = await (await serve(app)).page()
    response = await page.start("go", value=3)
    assert response.json()["response"] == {"out": {"children": "one 3, two 3"}}
    assert response.json()["sideUpdate"] == {"go": {"title": "go"}}


async def test_updates_arrive_in_order_and_set_props_between_them(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Div(id="out"), html.Div(id="other")]

    @app.event_callback(Input("go", "n_clicks"))
    @on_asyncio
    async def count(clicks: int) -> AsyncIterator[Update]:
        for number in range(3):
            await asyncio.sleep(0.001)
            yield stream_props("out", {"children": number})
            set_props("other", {"children": f"{ctx.triggered_id} {number}"})

    page = await (await serve(app)).page()
    events = await page.connect()
    await page.start("go")
    await events.expect("open")
    for number in range(3):
        assert (await events.expect("props"))["props"] == [["out", {"children": number}]]
        assert (await events.expect("props"))["props"] == [["other", {"children": f"go {number}"}]]
    assert (await events.expect("end"))["reason"] == "completed"


async def test_a_streaming_callback_with_outputs(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Div(id="out")]

    @app.callback(Output("out", "children"), Input("go", "n_clicks"), prevent_initial_call=True)
    @on_asyncio
    async def count(clicks: int) -> AsyncIterator[int]:
        for number in range(2):
            await asyncio.sleep(0)
            yield number

    page = await (await serve(app)).page()
    events = await page.connect()
    await page.start("go")
    await events.expect("open")
    assert [(await events.expect("props"))["props"] for _ in range(2)] == [
        [["out", {"children": 0}]],
        [["out", {"children": 1}]],
    ]
    assert (await events.expect("end"))["reason"] == "completed"


async def test_cancelling_the_stream_cancels_the_task_and_on_error_follows_the_clean_up(serve: Serve) -> None:
    clock = Clock()
    page = await (await serve(clock.app)).page()
    events, stream = await page.connect_and_start()
    await page.cancel(stream, 0, 1)
    ended = await events.expect("end")
    assert (ended["reason"], ended["props"]) == ("cancelled", [["out", {"title": "cancelled"}]])
    assert clock.log == ["cancelled", "finally", "on_error cancelled"]
    assert await tasks_left() == []


async def test_a_stream_that_is_superseded_has_ended_when_the_next_opens(serve: Serve) -> None:
    clock = Clock()
    page = await (await serve(clock.app)).page()
    events, _ = await page.connect_and_start()
    await page.start("go")
    assert (await events.expect("end"))["reason"] == "superseded"
    assert clock.log == ["cancelled", "finally", "on_error superseded"]
    await events.expect("open")
    assert (await events.expect("props"))["props"] == [["out", {"children": 2}]]


async def test_a_page_that_goes_takes_its_tasks_along(serve: Serve) -> None:
    clock = Clock()
    page = await (await serve(clock.app)).page()
    await page.connect_and_start()
    await page.leave()
    await eventually(lambda: clock.log == ["cancelled", "finally", "on_error disconnected"])
    await eventually(lambda: clock.app.streams() == [])
    assert await tasks_left() == []


async def test_a_server_that_stops_cleans_up_first(serve: Serve) -> None:
    clock = Clock()
    server = await serve(clock.app)
    page = await server.page()
    events, _ = await page.connect_and_start()
    await clock.app.channels.shut_down()
    assert (await events.expect("end"))["reason"] == "shutdown"
    assert clock.log == ["cancelled", "finally", "on_error shutdown"]
    assert await tasks_left() == []


@pytest.mark.parametrize("error", [ValueError("mine"), TimeoutError("late"), asyncio.CancelledError()])
async def test_a_failure_is_a_failure_and_the_server_goes_on(serve: Serve, error: BaseException) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Button(id="ask"), html.Div(id="out")]
    errors: list[BaseException] = []

    @app.event_callback(Input("go", "n_clicks"), on_error=errors.append)
    @on_asyncio
    async def fail(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": "before"})
        raise error

    @app.callback(Output("out", "children"), Input("ask", "n_clicks"))
    @on_asyncio
    async def fail_at_once(clicks: int) -> None:
        raise error

    page = await (await serve(app)).page()
    events, _ = await page.connect_and_start()
    assert (await events.expect("end"))["reason"] == "failed"
    (first,) = errors
    assert error in (first, first.__cause__)
    assert (await page.start("ask")).status_code == 500
    assert (await page.get("_flash/health")).status_code == 200


async def test_a_page_that_does_not_read_makes_the_generator_wait(serve: Serve) -> None:
    app = Flash(__name__, stream_buffer_updates=10)
    app.layout = [html.Button(id="go"), html.Div(id="out")]
    yielded = 0

    @app.event_callback(Input("go", "n_clicks"))
    @on_asyncio
    async def flood(clicks: int) -> AsyncIterator[Update]:
        nonlocal yielded
        while True:
            yielded += 1
            yield stream_props("out", {"children": "x" * 10_000})

    page = await (await serve(app)).page()
    await page.connect(receive_buffer=4_096)
    await page.start("go")
    # What is sent, what fills the buffer, and the one that it holds in its hand.
    await eventually(lambda: any(info.buffered == 10 and yielded == info.updates + 11 for info in app.streams()))
    before = yielded
    await tasks_left()
    assert yielded == before
    await page.leave()
    await eventually(lambda: app.streams() == [])
    assert await tasks_left() == []


async def test_a_clean_up_that_hangs_is_cut_at_the_deadline_of_the_app(serve: Serve) -> None:
    app = Flash(__name__, cleanup_timeout=0.1)
    app.layout = [html.Button(id="go"), html.Button(id="stop"), html.Div(id="out")]

    @app.event_callback(Input("go", "n_clicks"), cancel=[Input("stop", "n_clicks")])
    @on_asyncio
    async def hang(clicks: int) -> AsyncIterator[Update]:
        try:
            yield stream_props("out", {"children": "before"})
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.get_running_loop().create_future()

    page = await (await serve(app)).page()
    events, stream = await page.connect_and_start()
    await page.cancel(stream, 0, 1)
    assert (await events.expect("end"))["reason"] == "cancelled"
    await eventually(lambda: app.streams() == [])
    assert await tasks_left() == []
