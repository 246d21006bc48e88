"""Streams whose components leave the layout: they end, unless something of theirs is still there."""

from __future__ import annotations

from typing import Any

import dash
import pytest
import trio
from playwright.sync_api import expect

from flash import ALL, MATCH, EndReason, Flash, Input, Output, StreamCancelled, dcc, every, html, stream_props
from tests.browser.conftest import Serve, Visit
from tests.support.callback_context import triggered_id
from tests.support.serving import Gate, Journal

pytestmark = pytest.mark.usefixtures("own_page_registry")


def test_leaving_a_page_ends_what_belongs_to_it_and_nothing_else(serving: Serve, context: Any) -> None:
    errors, kept = Journal[StreamCancelled](), Journal[StreamCancelled]()
    app = Flash(__name__, use_pages=True, pages_folder="", suppress_callback_exceptions=True)
    live = html.Div(
        [html.P("-", id="value"), html.P("-", id={"row": 1}), html.P("-", id="kept"), html.P("-", id="out")]
    )
    dash.register_page("home", path="/", layout=html.H3("Home", id="home"))
    dash.register_page("live", path="/live", layout=live)
    app.layout = html.Div(
        [
            dcc.Link("Home", href="/"),
            dcc.Link("Live", href="/live"),
            html.P("", id="status"),
            html.P("", id="everywhere"),
            html.P("never", id="reset"),
            dash.page_container,
        ]
    )

    @app.event_callback(
        Input("value", "id"),
        prevent_initial_call=False,
        on_error=errors.note,
        restart=True,
        reset_props=[("reset", {"children": "reset"}), ("value", {"children": "-"})],
    )
    async def of_the_page(_: str):
        async for number in every(0.05):
            yield stream_props([("value", {"children": number}), ({"row": ALL}, {"children": number})])

    @app.callback(Output("out", "children"), Input("value", "id"))
    async def yielding(_: str):
        async for number in every(0.05):
            yield number

    @app.event_callback(Input("value", "id"), prevent_initial_call=False, keep=True, on_error=kept.note)
    async def kept_alive(_: str):
        async for number in every(0.05):
            yield stream_props("kept", {"children": number})

    @app.event_callback(Input("value", "id"), prevent_initial_call=False)
    async def of_the_app(_: str):
        async for number in every(0.05):
            yield stream_props([("everywhere", {"children": number}), ("value", {"title": number})])

    app.clientside_callback("status => status", Output("status", "children"), Input(of_the_page.stream, "status"))

    server = serving(app)
    page = context.new_page()
    page.goto(f"{server.url}/live")
    for _ in range(2):
        expect(page.locator("#value")).not_to_have_text("-")
        expect(page.locator("#kept")).not_to_have_text("-")
        server.expect_streaming("of_the_page", "yielding", "kept_alive", "of_the_app", in_order=False)
        page.get_by_text("Home", exact=True).click()
        expect(page.locator("#home")).to_be_visible()
        error = errors.next()
        assert (error.reason, error.condition, error.value) == (EndReason.CANCELLED, "layout", None)
        expect(page.locator("#status")).to_have_text("cancelled")
        expect(page.locator("#reset")).to_have_text("reset")
        server.expect_streaming("kept_alive", "of_the_app", in_order=False)
        # Coming back starts what Dash calls when its components appear.
        page.go_back()
    assert kept.next().reason == EndReason.SUPERSEDED
    assert errors.rest() == []


def test_a_stream_without_inputs_is_left_alone_until_it_has_updated_something(serving: Serve, context: Any) -> None:
    ended, go_on = Journal[str | None](), Gate()
    app = Flash(__name__, use_pages=True, pages_folder="", suppress_callback_exceptions=True)
    dash.register_page("home", path="/", layout=html.H3("Home", id="home"))
    dash.register_page("live", path="/live", layout=html.P("-", id="value"))
    app.layout = html.Div([dcc.Link("Home", href="/"), dcc.Link("Live", href="/live"), dash.page_container])

    @app.event_callback(on_error=lambda error: ended.note(error.condition))
    async def feed():
        await go_on.wait()
        async for number in every(0.05):
            yield stream_props("value", {"children": number})

    server = serving(app)
    page = context.new_page()
    page.goto(f"{server.url}/live")
    server.expect_streaming("feed")
    page.get_by_text("Home", exact=True).click()
    expect(page.locator("#home")).to_be_visible()
    page.get_by_text("Live", exact=True).click()
    go_on.open()
    expect(page.locator("#value")).not_to_have_text("-")
    assert ended.rest() == []
    page.get_by_text("Home", exact=True).click()
    assert ended.next() == "layout"


def test_a_start_button_that_is_taken_away_does_not_end_what_it_began(visit: Visit) -> None:
    ended = Journal[StreamCancelled]()
    go_on = Gate()
    app = Flash(__name__, suppress_callback_exceptions=True)
    app.layout = html.Div(
        [
            html.Div(html.Button("Start", id="start"), id="buttons"),
            html.Div("idle", id="shown"),
            html.Div([html.Button("Rebuild", id="rebuild"), html.Div(html.Button("Quiet", id="quiet"), id="box")]),
            html.P("", id="quietly"),
        ]
    )

    # Its Input and what it updates are taken away, and come back, by callbacks of which one waits for the other.
    @app.callback(
        Output("box", "children"), Output("box", "title"), Input("rebuild", "n_clicks"), prevent_initial_call=True
    )
    def take_away(n_clicks: int) -> tuple[str, str]:
        return "nothing", "taken"

    @app.callback(Output("box", "children", allow_duplicate=True), Input("box", "title"), prevent_initial_call=True)
    async def bring_back(title: str) -> object:
        await trio.sleep(0.4)
        return html.Button("Quiet", id="quiet")

    @app.event_callback(Input("quiet", "n_clicks"), on_error=ended.note)
    async def quiet(n_clicks: int):
        await go_on.wait()
        yield stream_props("quietly", {"children": "said at last"})

    @app.event_callback(Input("start", "n_clicks"), cancel=[Input("stop", "n_clicks")], on_error=ended.note)
    async def work(n_clicks: int):
        yield stream_props(
            [("shown", {"children": "works"}), ("buttons", {"children": html.Button("Stop", id="stop")})]
        )
        await trio.sleep_forever()

    page = visit(app)
    page.click("#quiet")
    page.click("#start")
    expect(page.locator("#shown")).to_have_text("works")
    page.click("#rebuild")
    expect(page.locator("#box")).to_have_text("nothing")
    expect(page.locator("#box")).to_have_text("Quiet")
    go_on.open()
    expect(page.locator("#quietly")).to_have_text("said at last")
    page.click("#stop")
    assert ended.next().condition == "stop.n_clicks"
    assert ended.rest() == []


def test_each_stream_of_a_pattern_ends_with_its_own_row(visit: Visit) -> None:
    ended = Journal[str]()
    app = Flash(__name__)
    rows = [
        html.Div([html.Button(f"Start {row}", id={"start": row}), html.P("-", id={"shown": row})], id=f"row{row}")
        for row in (1, 2)
    ]
    app.layout = html.Div([html.Button("Drop", id="drop"), html.Div(rows, id="rows")])

    @app.callback(Output("rows", "children"), Input("drop", "n_clicks"), prevent_initial_call=True)
    def drop(n_clicks: int) -> object:
        return rows[1:] if n_clicks == 1 else "no rows"

    @app.event_callback(
        Input({"start": MATCH}, "n_clicks"), on_error=lambda error: ended.note(f"one {error.condition}")
    )
    async def of_one(n_clicks: int):
        yield stream_props({"shown": triggered_id()["start"]}, {"children": "runs"})
        await trio.sleep_forever()

    @app.event_callback(Input({"start": ALL}, "n_clicks"), on_error=lambda error: ended.note(f"all {error.condition}"))
    async def of_all(n_clicks: list[int]):
        await trio.sleep_forever()
        yield

    page = visit(app)
    for row in (1, 2):
        page.get_by_text(f"Start {row}").click()
    expect(page.get_by_text("runs")).to_have_count(2)
    # The stream of all rows was started twice.
    assert ended.next() == "all None"
    page.click("#drop")
    assert ended.next() == "one layout"
    expect(page.locator("#row1")).to_have_count(0)
    expect(page.locator("#row2")).to_have_count(1)
    page.click("#drop")
    assert sorted([ended.next(), ended.next()]) == ["all layout", "one layout"]


def test_a_stream_whose_button_has_gone_before_it_opened_ends_as_well(visit: Visit) -> None:
    ended = Journal[str | None]()
    app = Flash(__name__)
    app.layout = html.Div(html.Button("Start", id="start"), id="box")
    app.clientside_callback(
        "() => 'gone'", Output("box", "children"), Input("start", "n_clicks"), prevent_initial_call=True
    )

    @app.event_callback(Input("start", "n_clicks"), on_error=lambda error: ended.note(error.condition))
    async def work(n_clicks: int):
        await trio.sleep_forever()
        yield

    page = visit(app)
    page.click("#start")
    expect(page.locator("#box")).to_have_text("gone")
    assert ended.next() == "layout"
