"""Event callbacks with pattern-matching ids."""

from __future__ import annotations

import trio
from playwright.sync_api import expect

from flash import ALL, MATCH, EndReason, Flash, Input, Output, State, StreamCancelled, ctx, dcc, html, stream_props
from tests.browser.conftest import Visit
from tests.support.callback_context import triggered_id
from tests.support.serving import Journal


def test_an_event_callback_with_all_is_told_all_values_and_which_triggered(visit: Visit) -> None:
    app = Flash(__name__)
    app.layout = html.Div(
        [
            *[html.Button(f"Start {n}", id={"type": "start", "index": n}) for n in (1, 2, 3)],
            *[html.Div("idle", id={"type": "row", "index": n}, className="row") for n in (1, 2, 3)],
        ]
    )

    @app.event_callback(Input({"type": "start", "index": ALL}, "n_clicks"), State({"type": "row", "index": ALL}, "id"))
    async def work(clicks: list[int | None], ids: list[dict[str, object]]):
        yield stream_props({"type": "row", "index": ALL}, {"children": f"{clicks} of {len(ids)}"})
        yield stream_props({"type": "row", "index": triggered_id()["index"]}, {"title": "triggered"})
        await trio.sleep_forever()

    page = visit(app)
    rows = page.locator(".row")
    page.get_by_text("Start 2").click()
    expect(rows).to_have_text(["[None, 1, None] of 3"] * 3)
    expect(page.locator("[title=triggered]")).to_have_count(1)
    expect(rows.nth(1)).to_have_attribute("title", "triggered")
    page.get_by_text("Start 3").click()
    expect(rows).to_have_text(["[None, 1, 1] of 3"] * 3)
    expect(rows.nth(2)).to_have_attribute("title", "triggered")


def test_the_runs_of_an_event_callback_with_match_are_independent(visit: Visit) -> None:
    ends, inputs = Journal[tuple[str, EndReason]](), Journal[dict[str, object]]()
    app = Flash(__name__)
    app.layout = html.Div(
        [
            html.Div(
                [
                    html.Button(f"Start {n}", id={"type": "start", "index": n}),
                    html.Button(f"Stop {n}", id={"type": "stop", "index": n}),
                    html.Div("idle", id={"type": "row", "index": n}, className="row"),
                ]
            )
            for n in ("a", "b")
        ]
    )

    def tell(error: StreamCancelled) -> None:
        ends.note((triggered_id()["index"], error.reason))

    @app.event_callback(
        Input({"type": "start", "index": MATCH}, "n_clicks"),
        State({"type": "row", "index": MATCH}, "id"),
        cancel=[Input({"type": "stop", "index": MATCH}, "n_clicks")],
        on_error=tell,
        reset_props=[({"type": "row", "index": MATCH}, {"children": "idle"})],
        running=[(Output({"type": "row", "index": MATCH}, "title"), "on", "off")],
    )
    async def work(n_clicks: int, row: dict[str, str]):
        inputs.note(ctx.inputs)
        yield stream_props(row, {"children": f"run {n_clicks} of {row['index']}"})
        await trio.sleep_forever()

    page = visit(app)
    rows = page.locator(".row")
    page.get_by_text("Start a").click()
    page.get_by_text("Start b").click()
    expect(rows).to_have_text(["run 1 of a", "run 1 of b"])
    page.get_by_text("Start a").click()
    expect(rows).to_have_text(["run 2 of a", "run 1 of b"])
    assert inputs.next() == {'{"index":"a","type":"start"}.n_clicks': 1}
    assert ends.next() == ("a", EndReason.SUPERSEDED)

    page.get_by_text("Stop b").click()
    expect(rows).to_have_text(["run 2 of a", "idle"])
    expect(rows.nth(0)).to_have_attribute("title", "on")
    expect(rows.nth(1)).to_have_attribute("title", "off")
    assert ends.next() == ("b", EndReason.CANCELLED)
    assert ends.rest() == []


def test_rows_that_are_added_later_can_stream(visit: Visit) -> None:
    app = Flash(__name__)
    app.layout = html.Div([html.Button("Add", id="add"), html.Div(id="rows")])

    @app.callback(Output("rows", "children"), Input("add", "n_clicks"), prevent_initial_call=True)
    def add(n_clicks: int) -> list[object]:
        return [
            html.Div([html.Button(f"Start {n}", id={"start": n}), html.Div("idle", id={"row": n}, className="row")])
            for n in range(1, n_clicks + 1)
        ]

    @app.event_callback(Input({"start": MATCH}, "n_clicks"), prevent_initial_call=True)
    async def work(n_clicks: int):
        yield stream_props({"row": triggered_id()["start"]}, {"children": f"run {n_clicks}"})
        await trio.sleep_forever()

    page = visit(app)
    rows = page.locator(".row")
    page.click("#add")
    page.get_by_text("Start 1").click()
    expect(rows).to_have_text(["run 1"])
    page.click("#add")
    expect(rows).to_have_text(["idle", "idle"])
    page.get_by_text("Start 2").click()
    expect(rows).to_have_text(["idle", "run 1"])


def test_a_stream_with_match_and_one_with_all_share_a_page_and_an_input(visit: Visit) -> None:
    app = Flash(__name__)
    app.layout = html.Div(
        [
            *[dcc.Input(id={"type": "name", "index": n}, value="") for n in (1, 2)],
            *[html.Div("", id={"type": "greeting", "index": n}, className="greeting") for n in (1, 2)],
            html.Div("", id="summary"),
        ]
    )

    @app.event_callback(Input({"type": "name", "index": MATCH}, "value"))
    async def greet(name: str):
        yield stream_props({"type": "greeting", "index": triggered_id()["index"]}, {"children": f"Hello {name}"})

    @app.event_callback(Input({"type": "name", "index": MATCH}, "value"))
    async def mark(name: str):
        yield stream_props({"type": "greeting", "index": triggered_id()["index"]}, {"title": name})

    @app.event_callback(Input({"type": "name", "index": ALL}, "value"))
    async def sum_up(names: list[str]):
        yield stream_props("summary", {"children": " and ".join(names)})

    page = visit(app)
    expect(page.locator("input")).to_have_count(2)
    for box, name in zip(page.locator("input").all(), ("Ada", "Bob"), strict=True):
        box.fill(name)
    expect(page.locator(".greeting")).to_have_text(["Hello Ada", "Hello Bob"])
    expect(page.locator(".greeting[title=Bob]")).to_have_count(1)
    expect(page.locator("#summary")).to_have_text("Ada and Bob")
