"""Mistakes that can be seen when the decorator runs, and would show nothing later: refused, with what to do instead."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import dash
import pytest
import trio
import trio.lowlevel

import flash
from flash import Flash, Input, InvalidEventCallback, Output, State, Update, clientside_callback, html, stream_props
from tests.support.global_callbacks import forget_global_callbacks

GO = Input("go", "n_clicks")
OUT = Output("out", "children")


def refused(declare: Callable[[Flash], object]) -> str:
    """What is said of a declaration that is refused."""
    with pytest.raises(InvalidEventCallback) as refusal:
        declare(Flash(__name__))
    return str(refusal.value)


async def counts(clicks: int) -> AsyncIterator[Update]:
    yield stream_props("out", {"children": clicks})


async def discards_an_update(clicks: int) -> AsyncIterator[Update]:
    stream_props("out", {"children": clicks})
    yield stream_props("out", {"children": clicks})


async def discards_by_its_module(clicks: int) -> AsyncIterator[Update]:
    if clicks:
        flash.stream_props(component_id="out", props={"children": [f"{number}" for number in range(3)]})
    yield flash.stream_props("out", {"children": clicks})


def discards_inside(clicks: int) -> Iterator[Update]:
    def tell(what: str) -> None:
        stream_props("out", {"children": what})

    tell("begun")
    yield stream_props("out", {"children": clicks})


@pytest.mark.parametrize("function", [discards_an_update, discards_by_its_module, discards_inside])
def test_an_update_that_is_made_and_not_yielded_is_refused(function: Any) -> None:
    message = refused(lambda app: app.event_callback(GO)(function))
    assert function.__name__ in message
    assert "yield stream_props(...)" in message
    assert "test_refused_mistakes.py" in message


def test_so_it_is_in_a_function_that_its_decorator_hides() -> None:
    @functools.wraps(discards_an_update)
    def checked(*values: Any) -> Any:
        return discards_an_update(*values)

    assert "discards_an_update" in refused(lambda app: app.event_callback(GO)(checked))


def test_so_it_is_in_a_callback_that_returns() -> None:
    def shows(clicks: int) -> int:
        stream_props("out", {"children": clicks})
        return clicks

    assert "set_props" in refused(lambda app: app.callback(OUT, GO)(shows))


def test_an_async_function_that_is_called_and_not_awaited_is_refused() -> None:
    async def naps(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": clicks})
        trio.sleep(1)  # noqa: ASYNC105  # pyright: ignore[reportUnusedCoroutine] - that is the mistake

    assert "await trio.sleep(...)" in refused(lambda app: app.event_callback(GO)(naps))


def test_what_does_something_with_an_update_is_fine() -> None:
    app = Flash(__name__)
    log: list[Any] = []

    @app.event_callback(GO)
    async def careful(clicks: int) -> AsyncIterator[Update]:
        update = stream_props("out", {"children": clicks})
        log.append(stream_props("out", {}))
        print(stream_props("out", {}))
        yield update
        yield stream_props("out", {"children": clicks})
        await trio.lowlevel.checkpoint()

    def stream_props_of(clicks: int) -> None: ...

    @app.event_callback(GO)
    async def another(clicks: int) -> AsyncIterator[Update]:
        stream_props = stream_props_of
        stream_props(clicks)
        yield Update(())


@pytest.mark.parametrize(
    "handler",
    [
        lambda: None,
        lambda error, more: None,
        lambda *, error: None,
        functools.partial(lambda error: None, 1),
    ],
)
def test_an_on_error_that_cannot_take_one_exception_is_refused(handler: Any) -> None:
    for message in (
        refused(lambda app: app.event_callback(GO, on_error=handler)(counts)),
        refused(lambda app: app.callback(OUT, GO, on_error=handler)(counts)),
        refused(lambda app: app.callback(OUT, GO, on_error=handler)(lambda clicks: clicks)),
    ):
        assert "on_error" in message
        assert "one argument" in message


class Handler:
    def method(self, error: BaseException) -> None: ...

    def __call__(self, error: BaseException) -> None: ...


@pytest.mark.parametrize(
    "handler",
    [
        lambda error, more=1: None,
        lambda *errors: None,
        functools.partial(lambda prefix, error: None, "x"),
        Handler().method,
        Handler(),
        print,
        repr,
    ],
)
def test_an_on_error_that_can_is_fine(handler: Any) -> None:
    Flash(__name__).event_callback(GO, on_error=handler)(counts)


def test_a_predicate_that_cannot_take_one_value_is_refused() -> None:
    message = refused(lambda app: app.event_callback(GO, cancel=[(Input("tabs", "value"), lambda: True)])(counts))
    assert "tabs.value" in message
    assert "one argument" in message


def test_an_async_predicate_is_refused() -> None:
    async def is_open(value: object) -> bool:
        return True

    assert "async" in refused(lambda app: app.event_callback(GO, cancel=[(Input("tabs", "value"), is_open)])(counts))


def test_cancel_of_a_callback_that_returns_is_refused() -> None:
    message = refused(lambda app: app.callback(OUT, GO, cancel=[Input("stop", "n_clicks")])(lambda clicks: clicks))
    assert "@event_callback" in message


@pytest.mark.parametrize("option", [{"reset_props": {"out": {"children": ""}}}, {"reset_props": {}}])
def test_reset_props_as_a_dict_is_refused_with_the_form_it_has(option: Any) -> None:
    message = refused(lambda app: app.event_callback(GO, **option)(counts))
    assert "'counts'" in message
    assert 'reset_props=[("out", {"children": ""})]' in message


def test_an_event_callback_stands_for_its_stream_in_dependencies() -> None:
    app = Flash(__name__)
    app.layout = []
    example = app.event_callback(GO)(counts)
    for dependency in (Input(example, "status"), State(example, "error")):
        assert dependency.component_id == example.stream.id

    @app.callback(OUT, Input(example, "status"))
    def show(status: str) -> str:
        return status

    app.clientside_callback("status => status", Output("other", "children"), Input(example, "status"))
    assert clientside_callback is not None
    app._setup_server()
    assert any(example.stream.id in str(entry["inputs"]) for entry in app.callback_map.values())


def test_an_app_of_dashs_does_not_take_over_an_event_callback() -> None:
    app = dash.Dash(__name__)
    app.layout = html.Button(id="go")

    @flash.event_callback(GO)
    async def astray(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": clicks})

    try:
        with pytest.raises(InvalidEventCallback, match=r"astray.*app = Flash"):
            app._setup_server()
    finally:
        forget_global_callbacks()


def test_nor_does_it_once_flash_has_stood_where_dash_was_when_the_first_app_was_made() -> None:
    program = """
        import dash
        import flash
        from flash import Input, html, stream_props

        plain, dash.Dash = dash.Dash, flash.Flash
        dash.Dash(__name__)

        @flash.event_callback(Input("go", "n_clicks"))
        async def astray(clicks):
            yield stream_props("out", {"children": clicks})

        app = plain(__name__)
        app.layout = html.Button(id="go")
        try:
            app._setup_server()
        except flash.InvalidEventCallback as refused:
            print(refused)"""
    arguments = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert re.search(r"astray.*app = Flash", done.stdout)


def test_a_counter_that_is_to_have_been_clicked_is_doubted(caplog: pytest.LogCaptureFixture) -> None:
    app = Flash(__name__)
    declared = app.event_callback(GO, cancel=[(Input("stop", "n_clicks"), 1)])(counts)
    assert "the bare Input('stop', 'n_clicks')" in caplog.text
    assert len(declared.stream.mistakes) == 1  # pyright: ignore[reportAttributeAccessIssue] - a prop
    caplog.clear()
    app.event_callback(GO, cancel=[(Input("stop", "n_clicks"), 0), (Input("tabs", "value"), 1)])(counts)
    assert caplog.text == ""


async def yields_its_update(error: BaseException) -> AsyncIterator[Update]:
    yield stream_props("out", {"children": "failed"})


def yields_it_plainly(error: BaseException) -> Iterator[Update]:
    yield stream_props("out", {"children": "failed"})


def throws_it_away(error: BaseException) -> None:
    stream_props("out", {"children": "failed"})


@pytest.mark.parametrize("handler", [yields_its_update, yields_it_plainly, throws_it_away])
def test_an_on_error_whose_update_goes_nowhere_is_refused(handler: Any) -> None:
    for message in (
        refused(lambda app: app.event_callback(GO, on_error=handler)(counts)),
        refused(lambda app: app.callback(OUT, GO, on_error=handler)(counts)),
    ):
        assert "on_error of 'counts'" in message
        assert "`return stream_props(...)`" in message


def given_more(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that adds an argument."""

    @functools.wraps(function)
    def call(value: Any) -> Any:
        return function(value, "more")

    return call


def test_an_on_error_and_a_predicate_that_their_decorators_call_with_more_are_fine() -> None:
    @given_more
    def on_error(error: BaseException, more: str) -> None: ...

    @given_more
    def is_open(value: object, more: str) -> bool:
        return True

    Flash(__name__, on_error=on_error).event_callback(
        GO, on_error=on_error, cancel=[(Input("tabs", "value"), is_open)]
    )(counts)


class Thing:
    async def counts(self, clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": clicks})


async def takes_two(clicks: int, value: str) -> AsyncIterator[Update]:
    yield stream_props("out", {"children": value})


@pytest.mark.parametrize(
    ("dependencies", "function"),
    [
        ([GO, State("in", "value")], counts),
        ([GO], takes_two),
        ([GO], Thing.counts),
        ([GO], Thing.__dict__["counts"].__get__(None, Thing)),
    ],
)
def test_a_function_that_does_not_take_its_values_is_refused(dependencies: Any, function: Any) -> None:
    for message in (
        refused(lambda app: app.event_callback(*dependencies, cancel=[Input("stop", "n_clicks")])(function)),
        refused(lambda app: app.callback(OUT, *dependencies)(function)),
    ):
        assert function.__name__ in message
        assert "go.n_clicks" in message
        assert "parameters (" in message


def test_so_are_names_that_it_does_not_take() -> None:
    message = refused(lambda app: app.event_callback(inputs={"clicked": GO})(counts))
    assert "(clicked=)" in message


def test_a_method_of_no_object_is_refused() -> None:
    assert "thing.method" in refused(lambda app: app.event_callback(GO)(classmethod(counts)))  # pyright: ignore[reportArgumentType]


def test_a_function_that_takes_its_values_in_whatever_way_is_fine() -> None:
    app = Flash(__name__)

    @given_more
    async def with_more(clicks: int, more: str) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": more})

    async def of_any(*values: Any) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": values})

    async def with_default(clicks: int, more: int = 1) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": clicks})

    async def by_name(*, clicked: int, **others: Any) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": clicked})

    async def alone() -> AsyncIterator[Update]:
        yield stream_props("out", {"children": "loaded"})

    functions: list[Any] = [with_more, of_any, with_default, Thing().counts, functools.partial(takes_two, value="x")]
    for function in functions:
        app.event_callback(GO)(function)
    app.event_callback(inputs={"clicked": GO}, state={"other": State("in", "value")})(by_name)
    app.event_callback([GO, State("in", "value")])(takes_two)
    app.event_callback(inputs=[(GO, Input("in", "value"))])(counts)
    app.event_callback()(alone)


def test_a_callback_above_an_event_callback_is_refused() -> None:
    message = refused(lambda app: app.callback(OUT, GO)(app.event_callback(GO)(counts)))
    assert "'counts' is an event callback already" in message


def test_an_event_callback_or_a_generator_that_is_called_and_not_iterated_is_refused() -> None:
    def starts(app: Flash) -> object:
        streams = app.event_callback(GO)(counts)

        @app.callback(OUT, Input("other", "n_clicks"))
        def start(clicks: int) -> str:
            streams(clicks)
            return "started"

        return start

    message = refused(starts)
    assert "calls streams(...), which makes a generator" in message
    assert "a change of an Input" in message

    async def lists(clicks: int) -> AsyncIterator[Update]:
        counts(clicks)
        yield stream_props("out", {"children": clicks})

    assert "calls counts(...)" in refused(lambda app: app.event_callback(GO)(lists))
