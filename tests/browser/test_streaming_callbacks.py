"""Streaming callbacks in the page: what Dash's renderer makes of callbacks whose Outputs are streamed."""

from __future__ import annotations

from typing import Any

import trio
from playwright.sync_api import expect

from flash import ALL, MATCH, EndReason, Flash, Input, Output, Patch, State, dcc, html
from tests.browser.conftest import Visit
from tests.support.serving import Gate, Journal


def test_it_is_called_initially_and_feeds_the_callbacks_behind_it(visit: Visit) -> None:
    app = Flash(__name__)
    app.layout = html.Div([html.Button(id="go"), dcc.Store(id="total"), html.Div(id="shown"), html.Div(id="double")])

    @app.callback(Output("total", "data"), Output("shown", "children"), Input("go", "n_clicks"))
    async def count(n_clicks: int | None):
        for number in range(1, 4):
            yield number, f"{n_clicks}: {number}"

    @app.callback(Output("double", "children"), Input("total", "data"))
    async def double(total: int | None) -> str:
        return f"twice is {2 * (total or 0)}"

    page = visit(app)
    expect(page.locator("#shown")).to_have_text("None: 3")
    expect(page.locator("#double")).to_have_text("twice is 6")
    page.click("#go")
    expect(page.locator("#shown")).to_have_text("1: 3")


def test_each_match_is_a_stream_of_its_own_and_a_new_run_takes_the_place_of_the_old(visit: Visit) -> None:
    app, ended = Flash(__name__), Journal[Any]()
    app.layout = html.Div(
        [
            html.Div(
                [
                    html.Button(id={"type": "go", "row": row}),
                    html.Div("idle", id={"type": "out", "row": row}, className="out"),
                ]
            )
            for row in ("a", "b")
        ]
        + [html.Button(id="stop")]
    )

    def on_error(error: Any) -> str:
        ended.note((error.reason, error.condition and "stop"))
        return "stopped"

    @app.callback(
        Output({"type": "out", "row": MATCH}, "children"),
        Input({"type": "go", "row": MATCH}, "n_clicks"),
        State({"type": "go", "row": MATCH}, "id"),
        cancel=Input("stop", "n_clicks"),
        on_error=on_error,
        prevent_initial_call=True,
    )
    async def wait(n_clicks: int, which: dict[str, str]):
        yield f"{which['row']} {n_clicks}"
        await trio.sleep_forever()

    page = visit(app)
    first, second = page.locator("button").nth(0), page.locator("button").nth(1)
    first.click()
    second.click()
    expect(page.locator(".out")).to_have_text(["a 1", "b 1"])
    first.click()
    expect(page.locator(".out")).to_have_text(["a 2", "b 1"])
    assert ended.next() == (EndReason.SUPERSEDED, None)
    page.click("#stop")
    expect(page.locator(".out")).to_have_text(["stopped", "stopped"])
    assert [ended.next(), ended.next()] == [(EndReason.CANCELLED, "stop")] * 2


def test_all_and_patches_go_where_they_belong(visit: Visit) -> None:
    app, go_on = Flash(__name__), Gate()
    app.layout = html.Div([html.Button(id="go"), *(html.Div([], id={"row": row}, className="row") for row in range(3))])

    @app.callback(Output({"row": ALL}, "children"), Input("go", "n_clicks"), prevent_initial_call=True)
    async def fill(n_clicks: int):
        yield [["a"], ["b"], ["c"]]
        await go_on.wait()
        patch = Patch()
        patch.append("+")
        yield [patch, patch, list[str]()]

    page = visit(app)
    page.click("#go")
    expect(page.locator(".row")).to_have_text(["a", "b", "c"])
    go_on.open()
    expect(page.locator(".row")).to_have_text(["a+", "b+", ""])
