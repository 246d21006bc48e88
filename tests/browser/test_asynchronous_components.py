"""Graphs and grids, which take in later what they are given: what follows does not overtake it, whatever brings it."""

from __future__ import annotations

from typing import Any

import dash_ag_grid as dag
import pytest
from playwright.sync_api import Page, expect

from flash import Flash, Input, Output, Patch, dcc, html, stream_props
from tests.browser.conftest import Console, Visit
from tests.browser.seeing import hide
from tests.support.serving import Gate

SLOWLY = """
() => {
    for (const name of ['react', 'extendTraces', 'prependTraces']) {
        const real = Plotly[name];
        Plotly[name] = (...args) => new Promise(later => setTimeout(later, 60)).then(() => real(...args));
    }
}
"""
"""Lets Plotly take its time, as it does for large figures."""


def figure(*points: int) -> dict[str, Any]:
    return {
        "data": [{"x": list(range(len(points))), "y": list(points), "mode": "markers"}],
        "layout": {"height": 150},
    }


def grid(component: str) -> dag.AgGrid:
    return dag.AgGrid(id=component, columnDefs=[{"field": "id"}], rowData=[{"id": "first"}], getRowId="params.data.id")


ADDED = [
    ("graph", {"extendData": [{"x": [[1]], "y": [[111]]}, [0]]}),
    ("grid", {"rowTransaction": {"add": [{"id": "old"}]}}),
]
FRESH = [("graph", {"figure": figure(5)}), ("grid", {"rowData": [{"id": "fresh"}]})]


def points(page: Page) -> list[int]:
    """What the graph shows."""
    return page.evaluate("() => Array.from(document.querySelector('#graph .js-plotly-plot').data[0].y)")


def rows(page: Page) -> list[str]:
    """What the grid shows."""
    return page.evaluate(
        """async () => {
            const api = await dash_ag_grid.getApiAsync('grid');
            const ids = [];
            api.forEachNode(node => ids.push(node.data.id));
            return ids;
        }"""
    )


def ready(page: Page) -> Page:
    """`page`, when its graph and its grid have been drawn."""
    page.wait_for_selector("#grid .ag-row")
    page.wait_for_selector("#graph .point", state="attached")
    page.wait_for_selector(".dash-graph--pending", state="detached")
    return page


def settled(page: Page) -> None:
    """Return when all that was under way in the components is over, and would have shown."""
    page.evaluate(
        """async () => {
            const api = await dash_ag_grid.getApiAsync('grid');
            api.flushAsyncTransactions();
            for (let i = 0; i < 20; i++) {
                await new Promise(later => setTimeout(later, 20));
            }
        }"""
    )


def clearing() -> list[tuple[str, dict[str, Any]]]:
    """What `FRESH` is, as patches."""
    points, rows = Patch(), Patch()
    points["data"][0]["x"] = [0]
    points["data"][0]["y"] = [5]
    rows.clear()
    rows.append({"id": "fresh"})
    return [("graph", {"figure": points}), ("grid", {"rowData": rows})]


@pytest.mark.parametrize("slow", [False, True], ids=["quick", "slow"])
def test_nothing_that_was_added_before_comes_back_behind_what_replaces_it(
    visit: Visit, console: Console, slow: bool
) -> None:
    app = Flash(__name__)
    ways = ["yielded", "patched", "reset", "running"]
    app.layout = html.Div(
        [*[html.Button(way, id=way) for way in ways], dcc.Graph(id="graph", figure=figure(1)), grid("grid")]
    )

    @app.event_callback(Input("yielded", "n_clicks"))
    async def yielded(n_clicks: int):
        yield stream_props(ADDED)
        yield stream_props(FRESH)

    @app.event_callback(Input("patched", "n_clicks"))
    async def patched(n_clicks: int):
        yield stream_props(ADDED)
        yield stream_props(clearing())

    @app.event_callback(Input("reset", "n_clicks"), reset_props=FRESH)
    async def reset(n_clicks: int):
        yield stream_props(ADDED)
        raise ValueError("to be reset")

    @app.event_callback(
        Input("running", "n_clicks"),
        running=[
            (Output("graph", "figure"), figure(1), figure(5)),
            (Output("grid", "rowData"), [{"id": "first"}], [{"id": "fresh"}]),
        ],
    )
    async def running(n_clicks: int):
        yield stream_props(ADDED)

    statuses = {"yielded": yielded, "patched": patched, "reset": reset, "running": running}
    layout: Any = app.layout
    layout.children.append(html.P(id="over"))
    for stream in statuses.values():
        app.clientside_callback(
            "status => status === 'idle' || status === 'running' ? dash_clientside.no_update : status",
            Output("over", "children", allow_duplicate=True),
            Input(stream.stream, "status"),
            prevent_initial_call=True,
        )

    page = ready(visit(app))
    if slow:
        page.evaluate(SLOWLY)
    for way in ways:
        page.evaluate("() => dash_clientside.set_props('over', {children: ''})")
        page.click(f"#{way}")
        expect(page.locator("#over")).to_have_text("failed" if way == "reset" else "completed")
        settled(page)
        assert points(page) == [5], way
        assert rows(page) == ["fresh"], way
    assert len(console.take()) == 1


@pytest.mark.parametrize("hidden", [False, True], ids=["shown", "hidden"])
def test_all_that_is_added_is_added_once_and_in_order_however_slowly_it_is_drawn(visit: Visit, hidden: bool) -> None:
    app = Flash(__name__)
    app.layout = html.Div(
        [html.Button("Start", id="start"), dcc.Graph(id="graph", figure=figure(1)), grid("grid"), html.P(id="end")]
    )

    @app.event_callback(Input("start", "n_clicks"))
    async def add(n_clicks: int):
        for number in range(2, 8):
            yield stream_props(
                [
                    ("graph", {"extendData": [{"x": [[number]], "y": [[number]]}, [0]]}),
                    ("grid", {"rowTransaction": {"add": [{"id": f"{number}"}]}}),
                ]
            )
            yield stream_props("graph", {"prependData": [{"x": [[-number]], "y": [[-number]]}, [0]]})
        yield stream_props("end", {"children": "end"})

    page = ready(visit(app))
    page.evaluate(SLOWLY)
    if hidden:
        hide(page)
    page.click("#start")
    expect(page.locator("#end")).to_have_text("end")
    settled(page)
    assert points(page) == [-7, -6, -5, -4, -3, -2, 1, 2, 3, 4, 5, 6, 7]
    assert rows(page) == ["first", "2", "3", "4", "5", "6", "7"]


def test_rows_that_are_the_same_as_the_last_are_added_as_well(visit: Visit) -> None:
    app = Flash(__name__)
    app.layout = html.Div(
        [
            html.Button("Start", id="start"),
            dag.AgGrid(id="grid", columnDefs=[{"field": "id"}], rowData=[{"id": "first"}]),
            html.P(id="end"),
        ]
    )

    @app.event_callback(Input("start", "n_clicks"))
    async def add(n_clicks: int):
        for _ in range(4):
            yield stream_props("grid", {"rowTransaction": {"add": [{"id": "same"}]}})
        yield stream_props("end", {"children": "end"})

    page = visit(app)
    page.wait_for_selector("#grid .ag-row")
    page.click("#start")
    expect(page.locator("#end")).to_have_text("end")
    settled(page)
    assert rows(page) == ["first", *["same"] * 4]


def test_components_that_are_not_shown_yet_or_any_more_hold_nothing_up_for_long(visit: Visit) -> None:
    app, go_on = Flash(__name__), Gate()
    app.layout = html.Div(
        [
            html.Button("Start", id="start"),
            html.Div(id="box"),
            html.P(id="between"),
            html.P(id="end"),
        ]
    )

    @app.event_callback(Input("start", "n_clicks"))
    async def show(n_clicks: int):
        # They have to be loaded first.
        yield stream_props("box", {"children": [dcc.Graph(id="graph", figure=figure(1)), grid("grid")]})
        yield stream_props(ADDED)
        yield stream_props(FRESH)
        yield stream_props("between", {"children": "between"})
        await go_on.wait()
        yield stream_props(ADDED)
        yield stream_props("box", {"children": "gone"})
        yield stream_props(FRESH)
        yield stream_props("end", {"children": "end"})

    page = visit(app)
    page.click("#start")
    expect(page.locator("#between")).to_have_text("between")
    settled(ready(page))
    assert points(page) == [5]
    assert rows(page) == ["fresh"]
    go_on.open()
    expect(page.locator("#end")).to_have_text("end")
    expect(page.locator("#box")).to_have_text("gone")
