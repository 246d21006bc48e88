"""What the code of callbacks raises or leaves open, over HTTP and websockets, is the affair of that one request."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
import trio

from flash import Flash, Input, Output, Update, html, stream_props
from tests.http.servers import Serve
from tests.support.eventually import TIMEOUT
from tests.websocket.conftest import connect
from tests.websocket.sockets import Connect

__all__ = ["connect"]

RAISED = [SystemExit, KeyboardInterrupt, GeneratorExit, ValueError]


async def feed() -> AsyncGenerator[int, None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        while True:
            yield 1


def make_app(**options: Any) -> Flash:
    app = Flash(__name__, **options)
    app.layout = [html.Button(id="go"), html.Button(id="ask"), html.Div(id="out"), html.Div(id="answer")]

    @app.event_callback(Input("go", "n_clicks"))
    async def count(clicks: int) -> AsyncIterator[Update]:
        while True:
            yield stream_props("out", {"children": "x"})
            await trio.sleep(0.01)

    return app


@pytest.mark.parametrize("error", RAISED)
@pytest.mark.parametrize("is_async", [True, False])
async def test_a_callback_that_exits_is_answered_with_an_error_and_ends_nothing(
    serve: Serve, error: type[BaseException], is_async: bool
) -> None:
    app = make_app()

    def plain(clicks: int) -> str:
        raise error

    async def asynchronous(clicks: int) -> str:
        raise error

    callback = app.callback(Output("answer", "children"), Input("ask", "n_clicks"), prevent_initial_call=True)
    callback(asynchronous if is_async else plain)
    server = await serve(app)
    page = await server.page()
    events = await page.connect()
    await page.start("go")
    await events.expect("open")
    answer = await page.start("ask")
    assert answer.status_code == 500
    for _ in range(3):
        await events.expect("props")


async def test_a_callback_that_leaves_a_nursery_open_is_answered(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()

    @app.callback(Output("answer", "children"), Input("ask", "n_clicks"), prevent_initial_call=True)
    async def first(clicks: int) -> str:
        async for number in feed():
            return str(number)
        raise AssertionError

    server = await serve(app)
    page = await server.page()
    events = await page.connect()
    await page.start("go")
    await events.expect("open")
    answer = await page.start("ask")
    assert answer.json()["response"] == {"answer": {"children": "1"}}
    for _ in range(3):
        await events.expect("props")
    [warning] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "'feed'" in warning
    assert "aclosing" in warning


@pytest.mark.parametrize("error", RAISED)
async def test_a_callback_that_fails_because_it_is_cancelled_ends_nothing(
    serve: Serve, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    app = make_app()
    began, over = trio.Event(), trio.Event()

    @app.callback(
        Output("answer", "children"),
        Input("ask", "n_clicks"),
        prevent_initial_call=True,
        on_disconnect="cancel",
    )
    async def asks(clicks: int) -> str:
        async def fail_at_the_end() -> None:
            try:
                await trio.sleep_forever()
            finally:
                over.set()
                raise error

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_at_the_end)
            nursery.start_soon(trio.sleep_forever)
            began.set()
        raise AssertionError

    server = await serve(app)
    page, other = await server.page(), await server.page()
    events = await page.connect()
    await page.start("go")
    await events.expect("open")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other.start, "ask")
        await began.wait()
        nursery.cancel_scope.cancel()
    with trio.fail_after(TIMEOUT):
        await over.wait()
    for _ in range(3):
        await events.expect("props")
    assert (await page.get("_flash/health")).status_code == 200
    assert error.__name__ in caplog.text


@pytest.mark.parametrize("error", RAISED)
async def test_a_websocket_callback_that_exits_is_answered_and_ends_nothing(
    serve: Serve, connect: Connect, error: type[BaseException]
) -> None:
    app = make_app(websocket_callbacks=True)
    going = trio.Event()

    @app.callback(Output("answer", "children"), Input("ask", "n_clicks"), prevent_initial_call=True)
    async def asks(clicks: int) -> str:
        if clicks == 1:
            async for _ in feed():
                raise error
        await going.wait()
        return "answered"

    page = await (await serve(app)).page()
    socket = await connect(page)
    async with trio.open_nursery() as nursery:
        answers: list[object] = []

        async def wait() -> None:
            answers.append(await socket.call(page.request("ask", value=2)))

        failed = await socket.call(page.request("ask", value=1))
        assert failed["status"] == "error"
        going.set()
        nursery.start_soon(wait)
    assert answers == [{"status": "ok", "data": {"multi": True, "response": {"answer": {"children": "answered"}}}}]
