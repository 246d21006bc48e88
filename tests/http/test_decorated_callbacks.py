"""Generators behind decorators, partials, methods and objects are callbacks like any other."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import trio
import trio.lowlevel

from flash import Flash, Input, Output, Update, html, no_update, stream_props
from tests.http.servers import Serve
from tests.support.link import Link

GO = Input("go", "n_clicks")
OUT = Output("out", "children")


async def words(clicks: int) -> AsyncIterator[str]:
    yield "one"
    yield "two"


def plain_words(clicks: int) -> Iterator[str]:
    yield "one"
    yield "two"


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*values: Any) -> Any:
        return function(*values)

    return wrapper


def checked_while_waiting(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*values: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return function(*values)

    return wrapper


class Chat:
    async def reply(self, clicks: int) -> AsyncIterator[str]:
        yield "one"
        yield "two"

    async def __call__(self, clicks: int) -> AsyncIterator[str]:
        yield "one"
        yield "two"


class PlainChat:
    def __call__(self, clicks: int) -> Iterator[str]:
        yield "one"
        yield "two"


def words_of(prefix: str, clicks: int) -> Iterator[str]:
    yield from ("one", "two")


KINDS = {
    "a decorated generator": checked(words),
    "a plain one": checked(plain_words),
    "one that is decorated twice": checked(checked(words)),
    "an async decorator": checked_while_waiting(words),
    "an async decorator of a plain one": checked_while_waiting(plain_words),
    "a partial": functools.partial(words_of, "x"),
    "a decorated partial": checked(functools.partial(words)),
    "a partial of what is decorated": functools.partial(checked(words)),
    "a method": Chat().reply,
    "an object": Chat(),
    "a plain object": PlainChat(),
}


def make_app() -> Flash:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Div(id="out")]
    return app


async def start(serve: Serve, app: Flash) -> Link:
    page = await (await serve(app)).page()
    events = await page.connect()
    assert (await page.start("go")).status_code == 204
    await events.expect("open")
    return events


async def shown(serve: Serve, app: Flash) -> list[Any]:
    """What the stream shows in `out`, one after the other."""
    updates, end = await (await start(serve, app)).to_end()
    assert end["reason"] == "completed"
    return [props["children"] for _, props in updates]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_streaming_callback_can_be(serve: Serve, kind: str) -> None:
    app = make_app()
    app.callback(OUT, GO)(KINDS[kind])
    assert await shown(serve, app) == ["one", "two"]


@pytest.mark.parametrize("outer", [checked, checked_while_waiting, functools.partial])
async def test_an_event_callback_can_be_decorated(serve: Serve, outer: Callable[..., Any]) -> None:
    app = make_app()

    async def updates(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": "one"})

    declared = app.event_callback(GO)(outer(updates))
    assert "updates" in declared.stream.id
    assert await shown(serve, app) == ["one"]


async def test_what_a_decorator_returns_in_place_of_the_generator_is_the_only_update(serve: Serve) -> None:
    @functools.wraps(words)
    def refuses(*values: Any) -> Any:
        return "Log in first."

    app = make_app()
    app.callback(OUT, GO)(refuses)
    assert await shown(serve, app) == ["Log in first."]


async def test_a_decorator_of_a_plain_generator_function_may_block(serve: Serve) -> None:
    on_loop: list[bool] = []

    @functools.wraps(plain_words)
    def slow(*values: Any) -> Any:
        on_loop.append(trio.lowlevel.in_trio_run())
        return plain_words(*values)

    app = make_app()
    app.callback(OUT, GO)(slow)
    assert await shown(serve, app) == ["one", "two"]
    assert on_loop == [False]


async def test_a_plain_generator_function_may_return_its_last_value(serve: Serve) -> None:
    app = make_app()

    @app.callback(OUT, GO)
    def job(clicks: int) -> Any:
        yield "10 %"
        return f"done {clicks}"

    assert await shown(serve, app) == ["10 %", "done 1"]


async def test_so_may_an_event_callback_return_its_last_update(serve: Serve) -> None:
    app = make_app()

    @app.event_callback(GO)
    def job(clicks: int) -> Any:
        yield stream_props("out", {"children": "10 %"})
        return stream_props("out", {"children": "done"})

    assert await shown(serve, app) == ["10 %", "done"]


async def test_what_else_it_returns_is_told_in_the_log(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()

    @app.event_callback(GO)
    def job(clicks: int) -> Any:
        yield stream_props("out", {"children": "10 %"})
        return {"rows": 3}

    assert await shown(serve, app) == ["10 %"]
    (message,) = [record.getMessage() for record in caplog.records if "returned" in record.getMessage()]
    assert "job" in message
    assert "dict" in message


async def test_returning_no_update_changes_nothing(serve: Serve) -> None:
    app = make_app()

    @app.callback(OUT, GO)
    def job(clicks: int) -> Any:
        yield "10 %"
        return no_update

    assert await shown(serve, app) == ["10 %"]


async def test_a_callback_that_returns_may_be_a_coroutine_function_behind_a_plain_decorator(serve: Serve) -> None:
    app = make_app()

    async def answer(clicks: int) -> str:
        await trio.lowlevel.checkpoint()
        return f"answer {clicks}"

    decorated = checked(answer)
    assert not inspect.iscoroutinefunction(decorated)
    app.callback(OUT, GO)(decorated)
    page = await (await serve(app)).page()
    assert await page.call("go") == {"out": {"children": "answer 1"}}
