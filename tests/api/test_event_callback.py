"""`@event_callback`: what it makes of a generator function, and what it says of anything else."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

import pytest

import flash
from flash import (
    ALL,
    MATCH,
    EventCallback,
    Flash,
    FlashError,
    Input,
    InvalidEventCallback,
    Output,
    State,
    Update,
    html,
    stream_props,
)
from tests.support.global_callbacks import forget_global_callbacks

GO = Input("go", "n_clicks")
NAME = Input("name", "value")
GO_MATCH = Input({"go": MATCH}, "n_clicks")


def declare(*dependencies: Any, function: Any = None, **options: Any) -> Any:
    """Declare an event callback called `example` on an app of its own."""

    async def example(*values: Any, **named: Any) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": 1})

    if not dependencies and "inputs" not in options:
        dependencies = (GO,)
    return Flash(__name__).event_callback(*dependencies, **options)(example if function is None else function)


def test_an_event_callback_is_the_function_that_was_decorated() -> None:
    app = Flash(__name__)

    @app.event_callback(GO)
    async def count(clicks: int) -> AsyncIterator[Update]:
        """Counts."""
        yield stream_props("out", {"children": clicks})

    assert isinstance(count, EventCallback)
    assert count.__name__ == "count"
    assert count.__doc__ == "Counts."
    assert count.__wrapped__.__name__ == "count"  # pyright: ignore[reportAttributeAccessIssue]
    assert list(inspect.signature(count).parameters) == ["clicks"]


async def test_an_event_callback_can_be_called_and_gives_the_generator() -> None:
    example = declare()
    generator = example(1)
    assert inspect.isasyncgen(generator)
    assert [update.pairs async for update in cast("AsyncIterator[Update]", generator)] == [(("out", {"children": 1}),)]


def test_a_plain_generator_function_will_do() -> None:
    def plain(clicks: int) -> Iterator[Update]:
        yield stream_props("out", {"children": clicks})

    assert [update.pairs for update in declare(function=plain)(3)] == [(("out", {"children": 3}),)]


def test_the_stream_of_an_event_callback_can_be_an_input() -> None:
    example = declare()
    status = Input(example.stream, "status")
    assert (status.component_id, status.component_property) == (example.stream.id, "status")
    assert (example.stream.status, example.stream.error, example.stream.statuses) == ("idle", None, {})


def test_each_event_callback_has_a_stream_of_its_own() -> None:
    assert declare().stream.id != declare().stream.id


def test_two_event_callbacks_may_have_the_same_inputs() -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go")]

    async def one(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": clicks})

    async def two(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": clicks})

    for dependency in (GO, GO_MATCH):
        app.event_callback(dependency)(one)
        app.event_callback(dependency)(two)
    # Another test may have declared one without an app.
    forget_global_callbacks()
    app._setup_server()
    assert len(app.callback_map) == 4


def test_concat_is_taken_and_ignored() -> None:
    assert isinstance(declare(concat=True), EventCallback)
    assert isinstance(declare(concat=None), EventCallback)


def test_every_option_at_once_is_fine() -> None:
    async def on_error(error: Exception) -> None: ...

    example = declare(
        GO,
        State("name", "value"),
        cancel=[(Input("tabs", "value"), "a"), (Input("x", "value"), lambda value: value), Input("stop", "n_clicks")],
        on_error=on_error,
        reset_props=[("out", {"children": ""}), (html.Div(id="other"), {"title": None})],
        prevent_initial_call=False,
        running=[(Output("go", "disabled"), True, False)],
        timeout=1.5,
    )
    assert isinstance(example, EventCallback)


@pytest.mark.parametrize("empty", [None, [], ()])
def test_nothing_is_as_good_as_none(empty: Any) -> None:
    assert isinstance(declare(cancel=empty, reset_props=empty, running=empty), EventCallback)


def test_one_running_tuple_need_not_be_in_a_list() -> None:
    assert isinstance(declare(running=(Output("go", "disabled"), True, False)), EventCallback)


def test_dependencies_take_every_form_that_dash_takes() -> None:
    assert declare([GO], [State("a", "value")])
    assert declare(inputs=[GO], state=[State("a", "value")])
    assert declare(inputs={"go": GO, "rest": (State("a", "value"), State({"b": ALL}, "value"))})
    assert declare(Input(html.Button(), "n_clicks"))


def test_match_may_be_where_an_input_matches_it() -> None:
    assert declare(
        GO_MATCH,
        State({"go": MATCH}, "title"),
        cancel=[Input({"go": MATCH}, "title")],
        reset_props=[({"go": MATCH}, {"children": ""})],
        running=[(Output({"go": MATCH}, "disabled"), True, False)],
    )


async def coroutine(clicks: int) -> None: ...


def plain_function(clicks: int) -> None: ...


@pytest.mark.parametrize("function", [coroutine, plain_function, lambda clicks: clicks, "text", None])
def test_what_is_not_a_generator_function_is_refused(function: Any) -> None:
    if function is None:
        function = functools.partial(plain_function)
    with pytest.raises(InvalidEventCallback, match="not a generator function") as caught:
        declare(function=function)
    assert "@callback" in str(caught.value)


def test_an_event_callback_is_not_decorated_twice() -> None:
    with pytest.raises(InvalidEventCallback, match=r"example.*already"):
        declare(function=declare())


async def two(clicks: int, other: int) -> AsyncIterator[Update]:
    yield stream_props("out", {"children": clicks})


async def three(clicks: int, other: int, *, name: object) -> AsyncIterator[Update]:
    yield stream_props("out", {"children": clicks})


def test_a_watched_input_is_a_keyword_of_the_function_wherever_that_has_it() -> None:
    assert declare(GO, GO, function=three, watch={"name": NAME})
    assert declare(GO, function=two, watch={"other": NAME})
    assert declare(inputs={"clicks": GO}, function=two, watch={"other": NAME})
    assert declare(GO, watch={"anything": NAME})
    assert declare(GO, watch={})
    assert declare(GO_MATCH, watch={"title": Input({"go": MATCH}, "title")})


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "no Input, and no start either": (
        lambda: declare(State("a", "value"), prevent_initial_call=True),
        "no Input and prevent_initial_call=True",
    ),
    "an Output": (lambda: declare(Output("out", "children"), GO), "Outputs"),
    "an Output in a list": (lambda: declare([Output("out", "children")], [GO]), "Outputs"),
    "not a dependency": (lambda: declare("go", GO), "'go'"),
    "an unknown keyword": (lambda: declare(canel=[]), "canel"),
    "an Output keyword": (lambda: declare(output=Output("out", "children")), "output"),
    "MATCH and an initial call": (lambda: declare(GO_MATCH, prevent_initial_call=False), "prevent_initial_call"),
    "MATCH in a State alone": (lambda: declare(GO, State({"a": MATCH}, "value")), "MATCH"),
    "MATCH in cancel alone": (lambda: declare(cancel=[Input({"a": MATCH}, "value")]), "cancel.*MATCH"),
    "MATCH in reset_props alone": (lambda: declare(reset_props=[({"a": MATCH}, {})]), "reset_props.*MATCH"),
    "MATCH in running alone": (
        lambda: declare(running=[(Output({"a": MATCH}, "title"), 1, 2)]),
        "running.*MATCH",
    ),
    "cancel is an Input": (lambda: declare(cancel=Input("stop", "n_clicks")), "cancel.*list"),
    "cancel is a dict": (lambda: declare(cancel={"stop": 1}), "cancel.*list"),
    "cancel of a State": (lambda: declare(cancel=[State("stop", "n_clicks")]), "cancel.*Input"),
    "cancel of a State and a value": (lambda: declare(cancel=[(State("stop", "n_clicks"), 1)]), "cancel.*Input"),
    "cancel of a string": (lambda: declare(cancel=["stop"]), "cancel.*'stop'"),
    "cancel of a triple": (lambda: declare(cancel=[(Input("a", "value"), 1, 2)]), "cancel.*desired"),
    "cancel of one pair": (lambda: declare(cancel=(Input("a", "value"), "x")), "cancel.*'x'"),
    "cancel of what is not JSON": (lambda: declare(cancel=[(Input("a", "value"), object())]), "cancel.*JSON"),
    "on_error is not a function": (lambda: declare(on_error="log"), "on_error.*'log'"),
    "reset_props is a dict": (lambda: declare(reset_props={"out": {"children": 1}}), "reset_props"),
    "reset_props is one pair": (lambda: declare(reset_props=("out", {"children": 1})), "reset_props.*'out'"),
    "reset_props without props": (lambda: declare(reset_props=[("out", None)]), "reset_props.*None"),
    "reset_props that is not JSON": (lambda: declare(reset_props=[("out", {"x": object()})]), "'x'.*object"),
    "running is an Output": (lambda: declare(running=Output("go", "disabled")), "running.*list"),
    "running of pairs": (lambda: declare(running=[(Output("go", "disabled"), True)]), "running.*Output, on, off"),
    "running of an Input": (lambda: declare(running=[(Input("go", "disabled"), True, False)]), "running.*Output"),
    "running that is not JSON": (lambda: declare(running=[(Output("go", "title"), object(), 1)]), "'title'.*object"),
    "watch is a list": (lambda: declare(watch=[NAME]), "watch.*dict"),
    "watch of no Input": (lambda: declare(watch={"name": "name"}), "watch.*Input.*'name'"),
    "watch of a State": (lambda: declare(watch={"name": State("name", "value")}), "watch.*Input.*State"),
    "watch by a name that is none": (lambda: declare(watch={"a name": NAME}), "watch.*'a name'.*keyword"),
    "watch without a name": (lambda: declare(watch={1: NAME}), "watch.*1.*keyword"),
    "watch of a MATCH that no Input has": (lambda: declare(watch={"name": Input({"x": MATCH}, "value")}), "watch.*'x'"),
    "watch with the keyword of an Input": (
        lambda: declare(inputs={"name": GO}, watch={"name": NAME}),
        "Input or State as 'name', and watch has the same keyword",
    ),
    "watch with the parameter of an Input": (
        lambda: declare(function=two, watch={"clicks": NAME}),
        r"watches 'clicks' \(watch=\), and does not take that as a keyword",
    ),
    "watch without a parameter": (
        lambda: declare(GO, GO, function=two, watch={"name": NAME}),
        r"watches 'name' \(watch=\), and does not take that as a keyword.*\(clicks.*other",
    ),
    "watch with one parameter too few": (
        lambda: declare(GO, GO, GO, function=three, watch={"name": NAME}),
        "is called with the values of its Inputs and States",
    ),
    "timeout of nought": (lambda: declare(timeout=0), "timeout.*0"),
    "timeout below nought": (lambda: declare(timeout=-1), "timeout.*-1"),
    "timeout is True": (lambda: declare(timeout=True), "timeout.*True"),
    "timeout is a string": (lambda: declare(timeout="5"), "timeout.*'5'"),
    "timeout is not a number": (lambda: declare(timeout=float("nan")), "timeout.*nan"),
}


@pytest.mark.parametrize(("wrong", "named"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_told_when_it_is_decorated(wrong: Callable[[], Any], named: str) -> None:
    with pytest.raises(InvalidEventCallback, match=named) as caught:
        wrong()
    assert isinstance(caught.value, FlashError)


@pytest.mark.parametrize(
    "options", [{"cancel": ["stop"]}, {"watch": 1}, {"running": 1}, {"timeout": 0}, {"on_error": 1}, {"reset_props": 1}]
)
def test_what_is_wrong_is_told_with_the_name_of_the_callback(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidEventCallback, match="example"):
        declare(**options)


def test_a_decorator_without_its_arguments_is_told_so() -> None:
    """Written as `@app.event_callback`, it is given the function in place of Inputs, and never anything else."""
    with pytest.raises(InvalidEventCallback, match="Input"):
        Flash(__name__).event_callback(plain_function)


def test_what_is_wrong_registers_nothing() -> None:
    app = Flash(__name__)

    async def example(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": clicks})

    with pytest.raises(InvalidEventCallback):
        app.event_callback(GO, timeout=0)(example)
    app.layout = html.Div()
    app._setup_server()
    assert not app.callback_map


def test_the_function_of_the_module_checks_the_same() -> None:
    with pytest.raises(InvalidEventCallback, match="not a generator function"):
        flash.event_callback(GO)(plain_function)
    with pytest.raises(InvalidEventCallback, match="canel"):
        flash.event_callback(GO, canel=[])


def partial(dependency: Any) -> Any:
    """What `partial_pattern=True` of Dash 4.5 does to a dependency."""
    dependency.partial_pattern = True
    return dependency


@pytest.mark.parametrize(
    "options",
    [
        {"cancel": [partial(Input({"stop": ALL}, "n_clicks"))]},
        {"watch": {"name": partial(Input({"name": ALL}, "value"))}},
        {"running": [(partial(Output({"go": ALL}, "disabled")), True, False)]},
        {"state": [partial(State({"go": ALL}, "n_clicks"))], "inputs": [GO], "restart": True},
    ],
    ids=["cancel", "watch", "running", "restart"],
)
def test_ids_that_only_dash_can_resolve_are_refused_where_the_page_resolves_them(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidEventCallback, match=r"'.*example'.*partial_pattern=True: write all keys of the ids"):
        declare(**options)


@pytest.mark.parametrize("overlap", ["parallel", "", None, True, ["queue"]])
def test_what_may_become_of_a_start_while_its_key_runs_is_one_of_three(overlap: Any) -> None:
    with pytest.raises(InvalidEventCallback, match=r"overlap of .*'supersede', 'drop' or 'queue', got "):
        declare(GO, overlap=overlap)
    for each in ("supersede", "drop", "queue"):
        declare(GO, overlap=each)


@pytest.mark.parametrize("flag", ["restart", "conflate", "keep"])
def test_flags_are_true_or_false(flag: str) -> None:
    with pytest.raises(InvalidEventCallback, match=rf"{flag} of .* is to be True or False, got 'yes'"):
        declare(GO, **{flag: "yes"})
