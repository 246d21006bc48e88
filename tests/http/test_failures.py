"""What exceptions of the user's code are taken for: alone out of a nursery, and with a note if they are well known."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

import flask
import pytest
import trio
from flash.exceptions import PreventUpdate  # pyright: ignore[reportMissingImports] - lent by Dash, at run time

from flash import Flash, Input, Output, every, html, stream_props
from tests.http.servers import Serve

GO = Input("go", "n_clicks")
OUT = Output("out", "children")


def make_app(**options: Any) -> Flash:
    app = Flash(__name__, **options)
    app.layout = [html.Button(id="go"), html.Div(id="out")]
    return app


async def both(*failures: Exception) -> None:
    """Two tasks of which some fail."""

    async def fail(failure: Exception) -> None:
        raise failure

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep, 0.01)
        for failure in failures:
            nursery.start_soon(fail, failure)


async def test_one_exception_out_of_a_nursery_is_that_exception_for_on_error(serve: Serve) -> None:
    errors: list[BaseException] = []
    app = make_app(on_error=errors.append)

    @app.callback(OUT, GO)
    async def fails(clicks: int) -> str:
        await both(KeyError("k"))
        return "new"

    page = await (await serve(app)).page()
    assert (await page.start("go")).status_code == 200
    assert [type(error) for error in errors] == [KeyError]


async def test_so_it_is_in_a_stream(serve: Serve) -> None:
    app = make_app()

    @app.callback(OUT, GO, on_error=lambda error: type(error).__name__)
    async def fails(clicks: int) -> AsyncIterator[str]:
        yield "first"
        await both(KeyError("k"))

    page = await (await serve(app)).page()
    events = await page.connect()
    await page.start("go")
    await events.expect("open")
    _, end = await events.to_end()
    assert (end["reason"], end["props"]) == ("failed", [["out", {"children": "KeyError"}]])


@pytest.mark.parametrize("count", [1, 2])
async def test_prevent_update_out_of_a_nursery_prevents_the_update(serve: Serve, count: int) -> None:
    errors: list[BaseException] = []
    app = make_app(on_error=errors.append)

    @app.callback(OUT, GO)
    async def prevents(clicks: int) -> str:
        await both(*(PreventUpdate() for _ in range(count)))
        return "new"

    page = await (await serve(app)).page()
    assert (await page.start("go")).status_code == 204
    assert errors == []


async def test_a_stream_that_raises_prevent_update_in_a_nursery_is_completed(serve: Serve) -> None:
    app = make_app()

    @app.callback(OUT, GO)
    async def prevents(clicks: int) -> AsyncIterator[str]:
        yield "first"
        await both(PreventUpdate())

    page = await (await serve(app)).page()
    events = await page.connect()
    await page.start("go")
    await events.expect("open")
    _, end = await events.to_end()
    assert end["reason"] == "completed"


async def test_several_exceptions_stay_a_group(serve: Serve) -> None:
    errors: list[BaseException] = []
    app = make_app(on_error=errors.append)

    @app.callback(OUT, GO)
    async def fails(clicks: int) -> str:
        await both(KeyError("k"), ValueError("v"))
        return "new"

    page = await (await serve(app)).page()
    await page.start("go")
    (group,) = errors
    assert isinstance(group, ExceptionGroup)
    assert {type(error) for error in group.exceptions} == {KeyError, ValueError}


async def sleeps(clicks: int) -> Any:
    await asyncio.sleep(1)


async def sleeps_for_no_time(clicks: int) -> Any:
    await asyncio.sleep(0)


async def gathers(clicks: int) -> Any:
    # A loop of its own, which the test can close: without one, `gather` makes one and leaves it behind.
    loop = asyncio.new_event_loop()
    try:
        await asyncio.gather(loop.create_future())
    finally:
        loop.close()


async def uses_a_thread(clicks: int) -> Any:
    await asyncio.to_thread(print)


async def sleeps_in_a_nursery(clicks: int) -> Any:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asyncio.sleep, 1)


def asks_for_the_loop(clicks: int) -> Any:
    asyncio.get_running_loop()


def asks_flask(clicks: int) -> Any:
    return flask.request.path


async def asks_the_session_of_flask(clicks: int) -> Any:
    return flask.session["user"]


async def load() -> dict[str, int]:
    return {"rows": 1}


async def reads_what_it_has_not_awaited(clicks: int) -> Any:
    loading: Any = load()
    try:
        return loading["rows"]
    finally:
        loading.close()


async def asks_it_for_an_attribute(clicks: int) -> Any:
    loading: Any = load()
    try:
        return loading.rows
    finally:
        loading.close()


async def awaits_a_generator(clicks: int) -> Any:
    generator: Any = sleeps_twice()
    return await generator


async def awaits_a_result(clicks: int) -> Any:
    result: Any = print
    return await result("")


async def sleeps_twice() -> AsyncIterator[int]:
    yield 1


async def awaits_ticks(clicks: int) -> Any:
    ticks: Any = every(1)
    return await ticks


async def runs_trio(clicks: int) -> Any:
    return trio.run(trio.sleep, 0)


def gives_props_by_name(clicks: int) -> Any:
    make: Any = stream_props
    return make("out", children=clicks)


CALLS = [
    (reads_what_it_has_not_awaited, "write `await` in front"),
    (asks_it_for_an_attribute, "write `await` in front"),
    (awaits_a_generator, "iterate it"),
    (awaits_a_result, "leave `await` out"),
    (awaits_ticks, "async for _ in every"),
    (runs_trio, "`await` the async function"),
    (gives_props_by_name, 'stream_props("id", {"prop": value})'),
    (sleeps, "trio.sleep"),
    (sleeps_for_no_time, "trio.sleep"),
    (gathers, "@on_asyncio"),
    (uses_a_thread, "trio.to_thread.run_sync"),
    (sleeps_in_a_nursery, "trio.sleep"),
    (asks_for_the_loop, "@on_asyncio"),
    (asks_flask, "from quart import request"),
    (asks_the_session_of_flask, "docs/migrating.md"),
]


@pytest.mark.parametrize(("function", "remedy"), CALLS)
async def test_a_callback_is_told_the_remedy_of_a_mistake_that_is_well_known(
    serve: Serve, function: Any, remedy: str
) -> None:
    errors: list[BaseException] = []
    app = make_app(on_error=errors.append)
    app.callback(OUT, GO)(function)
    page = await (await serve(app)).page()
    await page.start("go")
    assert [remedy in " ".join(error.__notes__) for error in errors] == [True]


@pytest.mark.parametrize(("function", "remedy"), CALLS)
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
async def test_a_stream_is_told_it_too(
    serve: Serve, function: Any, remedy: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    if inspect.iscoroutinefunction(function):

        @app.callback(OUT, GO)
        async def stream(clicks: int) -> AsyncGenerator[Any]:
            yield await function(clicks)

    else:

        @app.callback(OUT, GO)
        def plain_stream(clicks: int) -> Iterator[Any]:
            yield function(clicks)

    page = await (await serve(app)).page()
    events = await page.connect()
    with caplog.at_level(logging.ERROR):
        await page.start("go")
        await events.expect("open")
        _, end = await events.to_end()
    assert end["reason"] == "failed"
    assert remedy in caplog.text
