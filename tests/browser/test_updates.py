"""What an event callback may be given and may yield, as it arrives in the page."""

from __future__ import annotations

import plotly.graph_objects as go
import trio
from playwright.sync_api import expect

from flash import ALL, Flash, Input, Output, Patch, State, ctx, dcc, html, no_update, set_props, stream_props
from tests.browser.conftest import Visit
from tests.support.serving import Gate, Journal


def test_dependencies_may_be_dicts_and_lists(visit: Visit) -> None:
    app = Flash(__name__)
    app.layout = html.Div(
        [
            dcc.Input("Ada", id="first"),
            dcc.Input("Lovelace", id="last"),
            html.Button("Start", id="start"),
            html.Div(id="by-name"),
            html.Div(id="by-position"),
        ]
    )

    @app.event_callback(
        inputs={"clicks": Input("start", "n_clicks"), "names": [State("first", "value"), State("last", "value")]}
    )
    async def by_name(names: list[str], clicks: int):
        yield stream_props("by-name", {"children": f"{clicks}: {' '.join(names)}"})

    @app.event_callback([Input("start", "n_clicks")], [State("first", "value"), State("last", "value")])
    async def by_position(clicks: int, first: str, last: str):
        yield stream_props("by-position", {"children": f"{clicks}: {last}, {first}"})

    page = visit(app)
    page.click("#start")
    expect(page.locator("#by-name")).to_have_text("1: Ada Lovelace")
    expect(page.locator("#by-position")).to_have_text("1: Lovelace, Ada")


def test_components_stand_for_their_ids(visit: Visit) -> None:
    app = Flash(__name__)
    start, stop, shown = html.Button("Start"), html.Button("Stop"), html.Div("idle", className="shown")
    app.layout = html.Div([start, stop, shown])

    @app.event_callback(
        Input(start, "n_clicks"), cancel=[Input(stop, "n_clicks")], reset_props=[(shown, {"children": "idle"})]
    )
    async def show(n_clicks: int):
        yield stream_props(shown, {"children": f"run {n_clicks}"})
        await trio.sleep_forever()

    page = visit(app)
    page.get_by_text("Start").click()
    expect(page.locator(".shown")).to_have_text("run 1")
    page.get_by_text("Stop").click()
    expect(page.locator(".shown")).to_have_text("idle")


def test_patches_apply_in_order_and_no_update_leaves_a_property_alone(visit: Visit) -> None:
    app = Flash(__name__)
    app.layout = html.Div([html.Button("Start", id="start"), html.Ul(html.Li("first"), id="list", title="kept")])

    @app.event_callback(Input("start", "n_clicks"))
    async def append(n_clicks: int):
        yield stream_props("list", {"children": [html.Li("new")], "title": no_update})
        yield no_update
        for n in range(50):
            more = Patch()
            more.append(html.Li(str(n), className="patched"))
            yield stream_props(batch=[("list", {"children": more}), ("list", {"className": f"{n} items"})])

    page = visit(app)
    page.click("#start")
    expect(page.locator("#list")).to_have_class("49 items")
    expect(page.locator("#list")).to_have_attribute("title", "kept")
    expect(page.locator(".patched")).to_have_text([str(n) for n in range(50)])
    expect(page.locator("#list li")).to_have_count(51)


def test_figures_are_drawn_and_grow(visit: Visit) -> None:
    app = Flash(__name__)
    app.layout = html.Div([html.Button("Start", id="start"), dcc.Graph(id="graph")])
    go_on = Gate()

    @app.event_callback(Input("start", "n_clicks"))
    async def draw(n_clicks: int):
        figure = go.Figure(go.Bar(x=["a"], y=[1]))
        yield stream_props("graph", {"figure": figure})
        await go_on.wait()
        patch = Patch()
        patch["data"][0]["x"].append("b")
        patch["data"][0]["y"].append(2)
        yield stream_props("graph", {"figure": patch})

    page = visit(app)
    bars = page.locator("#graph .bars .point")
    page.click("#start")
    expect(bars).to_have_count(1)
    go_on.open()
    expect(bars).to_have_count(2)


def test_ids_that_are_not_in_the_layout_are_skipped(visit: Visit) -> None:
    app = Flash(__name__)
    app.layout = html.Div([html.Button("Start", id="start"), html.Div("idle", id="shown"), html.Div("", id="after")])

    @app.event_callback(Input("start", "n_clicks"), reset_props=[("nowhere", {"children": "reset"})], timeout=60)
    async def show(n_clicks: int):
        yield stream_props("nowhere", {"children": "lost"})
        yield stream_props([("nowhere", {"children": "lost"}), ("shown", {"children": "in between"})])
        yield stream_props({"type": "nowhere", "index": 1}, {"children": "lost"})
        yield stream_props({"type": "nowhere", "index": ALL}, {"children": "lost"})
        yield stream_props("after", {"children": "last"})

    page = visit(app)
    page.click("#start")
    expect(page.locator("#after")).to_have_text("last")
    expect(page.locator("#shown")).to_have_text("in between")


def test_a_stream_starts_with_the_page_if_initial_calls_are_wanted(visit: Visit) -> None:
    app = Flash(__name__)
    app.layout = html.Div(
        [html.Button("Start", id="start"), html.Div("idle", id="shown"), html.Div("idle", id="other")]
    )

    @app.event_callback(Input("start", "n_clicks"), prevent_initial_call=False)
    async def show(n_clicks: int | None):
        yield stream_props("shown", {"children": f"{n_clicks} {ctx.triggered_id}"})
        await trio.sleep_forever()

    @app.event_callback(Input("start", "n_clicks"))
    async def wait(n_clicks: int | None):
        yield stream_props("other", {"children": f"{n_clicks} {ctx.triggered_id}"})

    page = visit(app)
    expect(page.locator("#shown")).to_have_text("None None")
    page.click("#start")
    expect(page.locator("#shown")).to_have_text("1 start")
    expect(page.locator("#other")).to_have_text("1 start")


def test_set_props_and_ctx_work_inside_a_stream_of_either_kind(visit: Visit) -> None:
    go_on = Gate()
    triggers = Journal[object]()
    app = Flash(__name__)
    app.layout = html.Div(
        [
            html.Button("Start", id="start"),
            html.Div("idle", id="set"),
            html.Div("idle", id={"row": 1}, className="row"),
            html.Div("idle", id="shown"),
            html.Div("idle", id="plain"),
        ]
    )

    @app.event_callback(Input("start", "n_clicks"), State("set", "children"))
    async def show(n_clicks: int, before: str):
        triggers.note((ctx.triggered_id, ctx.inputs, ctx.states, ctx.triggered[0]["value"]))
        set_props("set", {"children": "at once"})
        set_props({"row": 1}, {"children": "at once, too"})
        await go_on.wait()
        triggers.note(ctx.triggered_id)
        set_props("set", {"children": "later"})
        yield stream_props("shown", {"children": "yielded"})

    @app.event_callback(Input("start", "n_clicks"))
    def show_plainly(n_clicks: int):
        set_props("plain", {"children": f"{ctx.triggered_id} set it"})
        yield no_update

    page = visit(app)
    page.click("#start")
    expect(page.locator("#set")).to_have_text("at once")
    expect(page.locator(".row")).to_have_text("at once, too")
    expect(page.locator("#plain")).to_have_text("start set it")
    assert triggers.next() == ("start", {"start.n_clicks": 1}, {"set.children": "idle"}, 1)
    expect(page.locator("#shown")).to_have_text("idle")
    go_on.open()
    expect(page.locator("#shown")).to_have_text("yielded")
    expect(page.locator("#set")).to_have_text("later")
    assert triggers.next() == "start"


def test_updates_trigger_the_callbacks_and_streams_that_depend_on_them(visit: Visit) -> None:
    app = Flash(__name__)
    app.layout = html.Div(
        [
            html.Button("Start", id="start"),
            dcc.Store(id="store"),
            html.Div(id="clientside"),
            html.Div(id="streamed"),
        ]
    )
    app.clientside_callback(
        "function (data) { return data && `browser saw ${data.n}`; }",
        Output("clientside", "children"),
        Input("store", "data"),
    )

    @app.event_callback(Input("start", "n_clicks"))
    async def first(n_clicks: int):
        yield stream_props("store", {"data": {"n": n_clicks}})

    @app.event_callback(Input("store", "data"))
    async def second(data: dict[str, int]):
        yield stream_props("streamed", {"children": f"server saw {data['n']}"})

    page = visit(app)
    page.click("#start")
    expect(page.locator("#streamed")).to_have_text("server saw 1")
    expect(page.locator("#clientside")).to_have_text("browser saw 1")


def test_of_many_updates_every_patch_counts_and_every_last_value_is_shown(visit: Visit) -> None:
    app = Flash(__name__)
    app.layout = html.Div(
        [
            html.Button("Start", id="start"),
            html.Div("", id="text"),
            html.Div(id="number"),
        ]
    )

    @app.event_callback(Input("start", "n_clicks"))
    async def flood(n_clicks: int):
        for number in range(200):
            patch = Patch()
            patch += f"{number} "
            yield stream_props([("text", {"children": patch}), ("number", {"children": number, "title": "fixed"})])
            yield stream_props("number", {"children": -number})

    page = visit(app)
    page.click("#start")
    expect(page.locator("#text")).to_have_text(" ".join(map(str, range(200))))
    expect(page.locator("#number")).to_have_text("-199")
    expect(page.locator("#number")).to_have_attribute("title", "fixed")


def test_a_page_that_is_hidden_is_kept_up_to_date(visit: Visit) -> None:
    app, go_on = Flash(__name__), Gate()
    app.layout = html.Div([html.Button("Start", id="start"), html.Div(id="shown")])

    @app.event_callback(Input("start", "n_clicks"))
    async def show(n_clicks: int):
        yield stream_props("shown", {"children": "before"})
        await go_on.wait()
        yield stream_props("shown", {"children": "after"})

    page = visit(app)
    page.click("#start")
    expect(page.locator("#shown")).to_have_text("before")
    # As the page sees it in a tab behind another: hidden, and without frames.
    page.evaluate(
        """() => {
            Object.defineProperty(document, 'hidden', {get: () => true});
            window.requestAnimationFrame = () => 0;
        }"""
    )
    go_on.open()
    expect(page.locator("#shown")).to_have_text("after")
