"""Components that a stream brings into the layout, or takes away: callbacks notice them as if a callback had."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
import pytest
import trio
from playwright.sync_api import expect

from flash import ALL, MATCH, Flash, Input, Output, Patch, dcc, html, set_props, stream_props
from tests.browser.conftest import Console, Visit
from tests.support.serving import Gate


def row(number: int) -> html.Div:
    return html.Div(
        [
            dcc.Input(id={"kind": "in", "row": number}, value=f"row {number}"),
            html.P(id={"kind": "out", "row": number}, className="out"),
        ]
    )


@pytest.mark.parametrize("way", ["yielded", "patched", "set", "reset"])
def test_callbacks_are_called_for_components_that_a_stream_brings_and_takes_away(
    visit: Visit, console: Console, way: str
) -> None:
    app, go_on = Flash(__name__, suppress_callback_exceptions=True), Gate()
    app.layout = html.Div(
        [html.Button("Start", id="start"), html.Div([row(1)], id="box"), html.P(id="all"), html.P(id="streamed")]
    )
    content: list[Any] = [row(1), row(2), dcc.Input(id="in", value="seed"), html.P(id="out"), html.P(id="first")]

    app.callback(Output("out", "children"), Input("in", "value"))(lambda value: f"[{value}]")
    app.callback(Output({"kind": "out", "row": MATCH}, "children"), Input({"kind": "in", "row": MATCH}, "value"))(
        lambda value: f"<{value}>"
    )
    app.callback(Output("all", "children"), Input({"kind": "in", "row": ALL}, "value"))(
        lambda values: ", ".join(values) or "none"
    )

    @app.event_callback(Input("in", "value"), prevent_initial_call=False)
    async def started_by_what_appears(value: str):
        yield stream_props("streamed", {"children": f"stream of {value}"})

    @app.event_callback(
        Input("start", "n_clicks"), reset_props=[("box", {"children": content})] if way == "reset" else []
    )
    async def bring(n_clicks: int):
        patch = Patch()
        if way == "yielded":
            yield stream_props("box", {"children": content, "title": "brought"})
        elif way == "patched":
            patch.extend(content[1:])
            yield stream_props("box", {"children": patch, "title": "brought"})
        elif way == "set":
            set_props("box", {"children": content})
        else:
            yield stream_props("box", {"children": "nothing"})
            raise OSError("to be reset")
        await go_on.wait()
        yield stream_props("box", {"children": "nothing"})

    page = visit(app)
    expect(page.locator("#all")).to_have_text("row 1")
    page.click("#start")
    expect(page.locator("#all")).to_have_text("row 1, row 2")
    expect(page.locator("#out")).to_have_text("[seed]")
    expect(page.locator(".out")).to_have_text(["<row 1>", "<row 2>"])
    expect(page.locator("#streamed")).to_have_text("stream of seed")
    # They take part from then on.
    page.fill("#in", "typed")
    expect(page.locator("#out")).to_have_text("[typed]")
    expect(page.locator("#streamed")).to_have_text("stream of typed")
    if way != "reset":
        go_on.open()
        expect(page.locator("#box")).to_have_text("nothing")
        expect(page.locator("#all")).to_have_text("none")
    else:
        assert len(console.take()) == 1


def test_a_streaming_callback_that_brings_components_into_its_own_input_runs_once(visit: Visit) -> None:
    app, go_on = Flash(__name__, suppress_callback_exceptions=True), Gate()
    app.layout = html.Div([html.Button("Start", id="start"), html.Div("empty", id="box"), html.P(id="runs")])
    app.callback(Output("out", "children"), Input("in", "value"))(lambda value: f"[{value}]")
    runs: list[int] = []

    @app.callback(
        Output("box", "children"), Input("start", "n_clicks"), Input("box", "children"), prevent_initial_call=True
    )
    async def bring(n_clicks: int, children: object):
        runs.append(n_clicks)
        for value in ("one", "two"):
            yield [dcc.Input(id="in", value=value), html.P(id="out")]
            await trio.sleep(0.2)
        await go_on.wait()
        yield "end"

    page = visit(app)
    page.click("#start")
    expect(page.locator("#out")).to_have_text("[two]")
    go_on.open()
    expect(page.locator("#box")).to_have_text("end")
    assert runs == [1]


def test_a_component_may_come_in_any_property_that_holds_some_and_remembers_what_was_typed(visit: Visit) -> None:
    app = Flash(__name__, suppress_callback_exceptions=True)
    app.layout = dmc.MantineProvider(
        html.Div(
            [html.Button("Start", id="start"), dmc.Alert("alert", id="alert"), html.Div(id="box"), html.P(id="end")]
        )
    )
    app.callback(Output("out", "children"), Input("label", "children"))(lambda value: f"[{value}]")

    @app.event_callback(Input("start", "n_clicks"))
    async def bring(n_clicks: int):
        yield stream_props("box", {"children": "empty"})
        yield stream_props("alert", {"title": html.Div([html.B("title", id="label"), html.I(id="out")])})
        yield stream_props("box", {"children": dcc.Input(id="name", value="nobody", persistence=True)})
        yield stream_props("end", {"children": f"run {n_clicks}"})

    page = visit(app)
    page.click("#start")
    expect(page.locator("#end")).to_have_text("run 1")
    expect(page.locator("#out")).to_have_text("[title]")
    page.fill("#name", "somebody")
    page.click("#start")
    expect(page.locator("#end")).to_have_text("run 2")
    expect(page.locator("#name")).to_have_value("somebody")
