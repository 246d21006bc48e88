"""What `callback` makes of a function, and what it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import dash
import pytest

import flash
from flash import MATCH, EventCallback, Flash, Input, InvalidEventCallback, Output, State

GO = Input("go", "n_clicks")
OUT = Output("out", "children")


async def numbers(*_: object) -> AsyncIterator[int]:
    yield 1


def plain_numbers(*_: object) -> Iterator[int]:
    yield 1


@pytest.fixture
def app() -> Flash:
    return Flash(__name__)


def registered(app: Flash) -> list[dict[str, Any]]:
    """What the page is told of the app's callbacks."""
    return app._callback_list


@pytest.mark.parametrize("function", [numbers, plain_numbers])
def test_a_generator_becomes_an_event_callback_that_can_be_called(app: Flash, function: Any) -> None:
    decorated = app.callback(OUT, GO)(function)
    assert isinstance(decorated, EventCallback)
    assert type(decorated()) is type(function())


def test_a_function_that_returns_stays_itself_and_is_dashs(app: Flash) -> None:
    def plain(clicks: int) -> str:
        return "done"

    assert app.callback(OUT, GO)(plain) is plain
    assert [entry["output"] for entry in registered(app)] == ["out.children"]


def test_dash_knows_a_streaming_callback_by_its_outputs(app: Flash) -> None:
    app.callback(OUT, GO)(numbers)
    app.callback([Output("a", "value"), Output("b", "value")], GO, prevent_initial_call=True)(numbers)
    single, multiple = registered(app)
    assert (single["output"], single["prevent_initial_call"]) == ("out.children", False)
    assert (multiple["output"], multiple["prevent_initial_call"]) == ("..a.value...b.value..", True)


def test_prevent_initial_call_may_stand_last_as_in_dash(app: Flash) -> None:
    app.callback(OUT, [GO], [State("name", "value")], True)(numbers)
    assert registered(app)[0]["prevent_initial_call"] is True


def test_dash_refuses_an_output_that_another_callback_has(app: Flash) -> None:
    with pytest.raises(dash.exceptions.DashException):
        app.callback(Output("out", "children", allow_duplicate=True), GO)(numbers)


def test_without_an_output_it_is_an_event_callback(app: Flash) -> None:
    app.callback(GO, prevent_initial_call=True)(numbers)
    assert registered(app)[0]["no_output"] is True


def test_without_an_output_and_with_match_there_is_no_initial_call(app: Flash) -> None:
    app.callback(Input({"go": MATCH}, "n_clicks"))(numbers)
    assert registered(app)[0]["prevent_initial_call"] is True


@pytest.mark.parametrize("where", ["the app", "everywhere"])
def test_callbacks_without_output_and_input_are_told_apart(app: Flash, where: str) -> None:
    callback = app.callback if where == "the app" else flash.callback

    @callback()
    def first() -> None: ...

    @callback()
    def second() -> None: ...

    app.layout = flash.html.Div()
    app._setup_server()
    assert len({entry["output"] for entry in registered(app)}) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"background": True}, r"'numbers' yields, and so cannot be a background callback.*leave background= out"),
        ({"api_endpoint": "/numbers"}, "'numbers' yields, and so cannot be an API endpoint"),
        ({"mcp_enabled": True}, "'numbers' yields, and so cannot be an MCP tool"),
        ({"timeout": 0}, "timeout of 'numbers' is to be a positive number of seconds, got 0"),
        ({"watch": "speed"}, "watch of 'numbers' is to be a dict of Inputs by keywords"),
        ({"cancel": "stop"}, "cancel of 'numbers' is to be a list of conditions"),
        ({"reset_props": [(Output({"row": MATCH}, "children").component_id, {"children": ""})]}, "reset_props .*MATCH"),
    ],
)
def test_what_is_wrong_with_a_streaming_callback_is_told_when_it_is_decorated(
    app: Flash, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidEventCallback, match=message):
        app.callback(OUT, GO, **options)(numbers)
    assert registered(app) == []


@pytest.mark.parametrize("option", ["reset_props", "timeout", "restart", "keep", "overlap"])
def test_what_only_streams_have_is_refused_for_a_function_that_returns(app: Flash, option: str) -> None:
    def plain(clicks: int) -> str:
        return "done"

    with pytest.raises(InvalidEventCallback, match=rf"{option}= of .*plain' is for streaming callbacks"):
        app.callback(OUT, GO, **{option: 1})(plain)


def test_a_single_cancel_input_needs_no_list(app: Flash) -> None:
    app.callback(OUT, GO, cancel=Input("stop", "n_clicks"))(numbers)
    assert [entry["id"] for entry in registered(app)[0]["state"]][:1] == ["stop"]


def test_an_event_callback_still_has_no_outputs() -> None:
    with pytest.raises(InvalidEventCallback, match=r"an event callback has no Outputs.*use @callback"):
        flash.event_callback(OUT, GO)(numbers)


def test_a_generator_under_dashs_own_callback_is_refused_when_the_app_is_set_up(app: Flash) -> None:
    # As Dash 4.4 takes it; newer versions mark it as a stream of their own.
    dash.Dash.callback(app, OUT, GO)(numbers)
    app.layout = []
    with pytest.raises(
        InvalidEventCallback, match=r"'numbers' \(Output out.children\) .* `from flash import callback`"
    ):
        app._setup_server()
