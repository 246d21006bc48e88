"""Inputs that a stream watches: `watch=`."""

from __future__ import annotations

import dash
import pytest
import quart
import trio
from playwright.sync_api import expect

from flash import MATCH, Flash, Input, Output, Watched, dcc, html, stream_props
from tests.browser.conftest import Visit
from tests.support.callback_context import triggered_id
from tests.support.serving import Gate, Journal


def race_app(reads: Journal[object]) -> Flash:
    """An app whose stream shows the speed, each time when it has changed."""
    app = Flash(__name__)
    app.layout = html.Div(
        [html.Button("Start", id="start"), dcc.Input(id="speed", value="1"), html.Div("idle", id="shown")]
    )

    @app.event_callback(Input("start", "n_clicks"), watch={"speed": Input("speed", "value")})
    async def race(n_clicks: int, speed: Watched[str]):
        while True:
            value = speed.value
            reads.note(value)
            yield stream_props("shown", {"children": f"run {n_clicks} at {value}"})
            await speed.changed()

    return app


def test_a_stream_follows_what_is_typed_and_is_not_started_anew(visit: Visit) -> None:
    page = visit(race_app(Journal()))
    shown = page.locator("#shown")
    page.fill("#speed", "2")
    page.click("#start")
    expect(shown).to_have_text("run 1 at 2")
    for speed in ("3", "5", "8"):
        page.fill("#speed", speed)
        expect(shown).to_have_text(f"run 1 at {speed}")


def test_a_change_between_the_start_and_the_open_is_not_lost(visit: Visit) -> None:
    reads, gate, arrived = Journal[object](), Gate(), Journal[str]()
    app = race_app(reads)

    @app.server.before_request
    async def hold_starts() -> None:
        if quart.request.path == "/_dash-update-component":
            arrived.note("start")
            await gate.wait()

    page = visit(app)
    page.click("#start")
    arrived.next()
    page.fill("#speed", "7")
    gate.open()
    expect(page.locator("#shown")).to_have_text("run 1 at 7")
    assert reads.next() == "1"


def test_while_one_change_is_on_its_way_only_the_newest_of_the_others_is_sent(visit: Visit) -> None:
    reads, gate, arrived = Journal[object](), Gate(), Journal[str]()
    app = race_app(reads)

    @app.server.before_request
    async def hold_changes() -> None:
        if quart.request.path == "/_flash/cancel":
            arrived.note("change")
            await gate.wait()

    page = visit(app)
    page.click("#start")
    expect(page.locator("#shown")).to_have_text("run 1 at 1")
    page.fill("#speed", "2")
    arrived.next()
    for speed in ("3", "4", "5"):
        page.fill("#speed", speed)
    gate.open()
    expect(page.locator("#shown")).to_have_text("run 1 at 5")
    assert [reads.next() for _ in range(3)] == ["1", "2", "5"]


def test_each_run_of_a_callback_with_match_watches_its_own(visit: Visit) -> None:
    app = Flash(__name__)
    app.layout = html.Div(
        [
            html.Div(
                [
                    html.Button(f"Start {name}", id={"type": "start", "name": name}),
                    dcc.Input(id={"type": "speed", "name": name}, value="1", className=f"speed-{name}"),
                    html.Div("idle", id={"type": "shown", "name": name}, className=f"shown-{name}"),
                ]
            )
            for name in ("a", "b")
        ]
    )

    @app.event_callback(
        Input({"type": "start", "name": MATCH}, "n_clicks"),
        watch={"speed": Input({"type": "speed", "name": MATCH}, "value")},
    )
    async def race(n_clicks: int, speed: Watched[str]):
        while True:
            name = triggered_id()["name"]
            yield stream_props({"type": "shown", "name": name}, {"children": f"run {n_clicks} at {speed.value}"})
            await speed.changed()

    page = visit(app)
    for name in ("a", "b"):
        page.get_by_text(f"Start {name}").click()
    page.fill(".speed-b input", "2")
    expect(page.locator(".shown-b")).to_have_text("run 1 at 2")
    expect(page.locator(".shown-a")).to_have_text("run 1 at 1")


@pytest.mark.usefixtures("own_page_registry")
def test_a_component_of_another_page_has_the_value_none(visit: Visit) -> None:
    app = Flash(__name__, use_pages=True, pages_folder="")
    dash.register_page("a", path="/", layout=html.Div("First"))
    dash.register_page("b", path="/b", layout=dcc.Input(id="speed", value="3"))
    app.layout = html.Div(
        [
            dcc.Location(id="url"),
            dcc.Link("A", href="/"),
            dcc.Link("B", href="/b"),
            html.Button("Start", id="start"),
            html.Div("idle", id="shown"),
            dash.page_container,
        ]
    )

    @app.event_callback(Input("start", "n_clicks"), watch={"speed": Input("speed", "value")})
    async def race(n_clicks: int, speed: Watched[str | None]):
        while True:
            yield stream_props("shown", {"children": f"at {speed.value}"})
            await speed.changed()

    page = visit(app)
    shown = page.locator("#shown")
    page.click("#start")
    expect(shown).to_have_text("at None")
    page.get_by_text("B", exact=True).click()
    expect(shown).to_have_text("at 3")
    page.fill("#speed", "4")
    expect(shown).to_have_text("at 4")
    page.get_by_text("A", exact=True).click()
    expect(shown).to_have_text("at None")


def test_what_a_stream_itself_puts_into_the_watched_property_comes_back_to_it(visit: Visit) -> None:
    app = Flash(__name__)
    app.layout = html.Div([html.Button("Start", id="start"), dcc.Input(id="speed", value="1"), html.Div(id="shown")])

    @app.callback(
        Output("speed", "value"),
        Input("start", "n_clicks"),
        watch={"speed": Input("speed", "value")},
        prevent_initial_call=True,
    )
    async def push(n_clicks: int, speed: Watched[str]):
        yield "2"
        await speed.changed()
        yield speed.value + "0"
        await trio.sleep_forever()

    page = visit(app)
    page.click("#start")
    expect(page.locator("#speed")).to_have_value("20")
