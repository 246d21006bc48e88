"""Callbacks that a page of the kit cannot call: clientside ones, and those that run in the background."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from dash.exceptions import PreventUpdate

from flash import ALL, Flash, Input, Output, State, dcc, every, html, no_update, stream_props
from flash.testing import Page, open_page
from tests.testing.apps import Updates, app_with


def make_app(**options: Any) -> Flash:
    """An app in which JavaScript changes `middle`, on which much depends."""
    names = ("go", "ask", "stream", "middle", "end", "asked", "ticks", "aside")
    app = app_with(*(html.Button(id=name) for name in names))
    app.clientside_callback(
        "clicks => clicks + 1", Output("middle", "title"), Input("go", "n_clicks"), prevent_initial_call=True
    )
    app.clientside_callback("clicks => window.scroll(0, 0)", Output("aside", "title"), Input("go", "n_clicks"))
    app.callback(Output("end", "title"), Input("middle", "title"), prevent_initial_call=True)(lambda title: f"{title}!")
    app.callback(
        Output("asked", "title"), Input("ask", "n_clicks"), State("middle", "title"), prevent_initial_call=True
    )(lambda clicks, title: f"{title}?")

    @app.event_callback(Input("stream", "n_clicks"), cancel=[Input("middle", "title")])
    async def ticks(clicks: int) -> Updates:
        async for number in every(1):
            yield stream_props("ticks", {"title": number})

    return app


DEPENDING: dict[str, Callable[[Page], Any]] = {
    "an Input": lambda page: page.click("go"),
    "a State": lambda page: (page.set("middle", title=1), page.click("go"), page.click("ask")),
    "a property that the test reads": lambda page: page["aside"].title,
    "a condition": lambda page: (page.click("stream"), page.click("go")),
}


@pytest.mark.parametrize("act", DEPENDING.values(), ids=DEPENDING)
def test_needing_what_a_clientside_callback_would_have_set_fails_the_test(act: Callable[[Page], Any]) -> None:
    with pytest.raises(AssertionError, match=r"is an Output of a clientside callback.*stand_ins=\{'\w+.title': fun"):  # noqa: SIM117
        with open_page(make_app()) as page:
            act(page)


def test_a_clientside_callback_that_nothing_depends_on_needs_no_stand_in() -> None:
    with open_page(make_app()) as page:
        page.click("ask")
        assert page["asked"].title == "None?"
        page.click("stream")
        page.elapse(1.5)
        assert page["ticks"].title == 1


def test_what_a_test_sets_itself_is_known() -> None:
    app = app_with(html.Button(id="go"), html.P(id="middle"), html.P(id="end"))
    app.clientside_callback("clicks => 1", Output("middle", "title"), Input("go", "n_clicks"))
    with open_page(app) as page:
        with pytest.raises(AssertionError, match="clientside"):
            page["middle"].title
        page.set("middle", title=5)
        assert page["middle"].title == 5


def test_a_stand_in_is_called_in_the_place_of_a_clientside_callback() -> None:
    with open_page(make_app(), stand_ins={"middle.title": lambda clicks: clicks + 1}) as page:
        page.click("go")
        assert (page["middle"].title, page["end"].title) == (2, "2!")
        page.click("ask")
        assert page["asked"].title == "2?"
        other = page.open_page()
        other.click("go")
        assert other["end"].title == "2!"


def test_a_stand_in_has_inputs_states_and_outputs_as_the_callback_has_them() -> None:
    names = [{"name": name} for name in ("a", "b")]
    app = app_with(*(dcc.Input(id=each, value=each["name"]) for each in names), html.P(id="one"), html.P(id="two"))
    app.clientside_callback(
        "(values, title) => [...]",
        [Output("one", "children"), Output({"name": ALL}, "value"), Output("two", "children")],
        Input({"name": ALL}, "value"),
        State("one", "title"),
    )
    given: list[Any] = []

    def stand_in(values: list[str], title: str | None) -> Any:
        given.append((values, title))
        if values == ["stop", "b"]:
            raise PreventUpdate
        return html.B("x"), ["A", no_update], no_update

    with open_page(app, stand_ins={'{"name":["ALL"]}.value': stand_in}) as page:
        assert given == [(["a", "b"], None)]
        assert page["one"].children["props"]["children"] == "x"
        assert [page[each].value for each in names] == ["A", "b"]
        assert page["two"].children is None
        page.set(names[0], value="stop")
        assert page[names[0]].value == "stop"


def test_a_stand_in_answers_for_a_background_callback() -> None:
    app = app_with(html.Button(id="go"), html.P(id="out"), html.P(id="state"))
    app.callback(
        Output("out", "children"),
        Input("go", "n_clicks"),
        background=True,
        running=[(Output("state", "children"), "running", "over")],
        prevent_initial_call=True,
    )(lambda clicks: clicks)
    with open_page(app, stand_ins={"out.children": lambda clicks: f"clicked {clicks}"}) as page:
        page.click("go")
        assert (page["out"].children, page["state"].children) == ("clicked 1", "over")
    with (
        pytest.raises(AssertionError, match=r"runs in the background.*stand_ins=\{'out.children'"),
        open_page(app) as page,
    ):
        page.click("go")


def test_a_stand_in_that_fails_or_stands_in_for_nothing_is_named() -> None:
    with (
        pytest.raises(AssertionError, match=r"stands in for 'middle.title' failed at .*test_stand_ins.py:\d+"),
        open_page(make_app(), stand_ins={"middle.title": lambda clicks: 1 / 0}) as page,
    ):
        page.click("go")
    with (
        pytest.raises(AssertionError, match=r"stand_ins names 'end.title', .* are: 'middle.title', 'aside.title'"),
        open_page(make_app(), stand_ins={"end.title": lambda: None}),
    ):
        pass
