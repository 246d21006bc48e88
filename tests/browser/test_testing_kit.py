"""A page of `flash.testing` shows what a page in Chromium shows, after each thing that a user does."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from playwright.sync_api import Page as Tab

import flash.testing
from flash import (
    ALL,
    MATCH,
    Flash,
    Input,
    Output,
    Patch,
    State,
    ctx,
    dcc,
    every,
    html,
    no_update,
    page_container,
    register_page,
    set_props,
    stream_props,
)
from flash.testing import open_page
from tests.browser.conftest import Visit
from tests.support.eventually import eventually_sync

TIMEOUT = 10.0

COMPONENTS = """() => {
    const found = {};
    const visit = value => {
        if (typeof value !== 'object' || value === null) {
            return;
        }
        if (value.props?.id !== undefined) {
            found[window.dash_component_api.stringifyId(value.props.id)] = value.props;
        }
        Object.values(value).forEach(visit);
    };
    visit(window.dash_stores[0].getState().layout);
    return found;
}"""
"""The properties of each component in the layout that has an id."""

PROPS = ["children", "value", "data", "disabled", "title", "n_clicks", "className", "status", "error", "statuses"]
"""The properties that are compared, of every component that has an id."""

Updates = AsyncGenerator[Any, None]
Act = Callable[[flash.testing.Page], Any]


@dataclass
class Case:
    """An app, the callbacks that it has called, and what a user does: clicks on ids."""

    app: Flash
    clicks: list[Any]
    calls: list[str] = field(default_factory=list[str])


def app_with(*children: Any) -> Flash:
    app = Flash(__name__, suppress_callback_exceptions=True)
    app.layout = html.Div(list(children))
    return app


def chains() -> Case:
    """Initial calls in their order, calls that follow from others, and some that do not."""
    app = app_with(
        html.Button("go", id="go"),
        dcc.Store(id="store", data=1),
        *[html.P(id=name) for name in ("a", "b", "c", "d", "e", "f")],
    )
    case = Case(app, ["go", "go"])

    @app.callback(Output("c", "children"), Input("a", "children"), Input("b", "children"))
    def c(a: str, b: str) -> str:
        case.calls.append("c")
        return f"{a}+{b}"

    @app.callback(Output("a", "children"), Output("a", "title"), Input("go", "n_clicks"), State("store", "data"))
    def a(n_clicks: int | None, data: int) -> Any:
        case.calls.append("a")
        return f"a{n_clicks or 0}", no_update if n_clicks else "first"

    @app.callback(Output("b", "children"), Input("a", "children"))
    async def b(a: str) -> str:
        case.calls.append("b")
        return f"b({a})"

    @app.callback(Output("d", "children"), Input("store", "data"))
    def d(data: int) -> Any:
        case.calls.append("d")
        return no_update

    @app.callback(Output("e", "children"), Input("d", "children"))
    def e(children: Any) -> Any:
        case.calls.append("e")
        return "never"

    @app.callback(Input("go", "n_clicks"), prevent_initial_call=True)
    def by_set_props(n_clicks: int) -> None:
        case.calls.append("set_props")
        set_props("d", {"children": f"set {n_clicks}"})

    @app.callback(Output("f", "children"), Input("c", "children"), prevent_initial_call=True)
    def f(children: str) -> str:
        case.calls.append("f")
        return children.upper()

    return case


def rows() -> Case:
    """Components that come and go, with patterns."""

    def row(index: int) -> html.Div:
        return html.Div(
            [
                html.Button("x", id={"type": "more", "index": index}),
                html.P(id={"type": "out", "index": index}),
                html.P("-", id={"type": "shown", "index": index}),
            ]
        )

    app = app_with(
        html.Button("add", id="add"), html.Button("clear", id="clear"), html.Div([], id="rows"), html.P(id="n")
    )
    more = {"type": "more", "index": 1}
    case = Case(app, ["add", "add", more, more, {"type": "more", "index": 2}, "clear", "add"])

    @app.callback(
        Output("rows", "children"), Input("add", "n_clicks"), Input("clear", "n_clicks"), prevent_initial_call=True
    )
    def change(add: int | None, clear: int | None) -> Any:
        case.calls.append(f"change {ctx.triggered_id}")
        if ctx.triggered_id == "clear":
            return []
        patch = Patch()
        patch.append(row(add or 0))
        return patch

    @app.callback(
        Output({"type": "out", "index": MATCH}, "children"), Input({"type": "more", "index": MATCH}, "n_clicks")
    )
    def count(n_clicks: int | None) -> str:
        case.calls.append("count")
        return f"{n_clicks or 0} clicks"

    @app.callback(Output("n", "children"), Input({"type": "out", "index": ALL}, "children"))
    def total(children: list[str | None]) -> Any:
        case.calls.append("total")
        return json.dumps(children)

    @app.event_callback(Input({"type": "more", "index": MATCH}, "n_clicks"))
    async def show(n_clicks: int) -> Updates:
        triggered: Any = ctx.triggered_id
        case.calls.append(f"show {triggered['index']}")
        yield stream_props({"type": "shown", "index": triggered["index"]}, {"children": f"shown {n_clicks}"})

    return case


def streams() -> Case:
    """Updates, patches, `running`, `reset_props`, conditions, statuses, Outputs, components that are brought."""
    app = app_with(
        *[html.Button(name, id=name) for name in ("go", "stop", "fail", "bring", "leave", "write")],
        *[html.P(id=name, children="") for name in ("out", "log", "text")],
        html.Div(id="place"),
        html.P(id="status"),
        html.P(id="brought"),
    )
    case = Case(app, ["go", "stop", "go", "fail", "write", "bring", "leave", "stop"])

    @app.event_callback(
        Input("go", "n_clicks"),
        cancel=[Input("stop", "n_clicks")],
        on_error=lambda error: stream_props("log", {"title": str(getattr(error, "reason", "failed"))}),
        reset_props=[("out", {"children": "reset"})],
        running=[(Output("go", "disabled"), True, False), (Output("out", "className"), "on", "off")],
    )
    async def waits(n_clicks: int) -> Updates:
        yield stream_props("out", {"children": f"run {n_clicks}"})
        if n_clicks == 1:
            async for _ in every(1_000):
                pass

    @app.event_callback(Input("fail", "n_clicks"))
    async def fails(n_clicks: int) -> Updates:
        yield stream_props("out", {"children": "before"})
        yield stream_props([("out", {"title": "t"}), ("missing", {"children": 1})])
        raise ValueError

    @app.callback(Output("status", "children"), Input(waits, "status"), Input(fails, "status"), State(fails, "error"))
    def show(first: str, second: str, error: str | None) -> str:
        return f"{first} {second} {error}"

    @app.callback(Output("text", "children"), Input("write", "n_clicks"), prevent_initial_call=True)
    async def write(n_clicks: int) -> Updates:
        yield "one"
        for word in (" two", " three"):
            patch = Patch()
            patch += word
            yield patch
        set_props("text", {"title": "written"})

    @app.event_callback(Input("bring", "n_clicks"))
    async def bring(n_clicks: int) -> Updates:
        yield stream_props("place", {"children": html.Div([html.P(id="inner", children="0"), html.P(id="greeted")])})
        async for number in every(1_000):
            yield stream_props("inner", {"children": f"tick {number}"})

    @app.callback(Output("greeted", "children"), Input("inner", "id"))
    def greet(component_id: str) -> str:
        case.calls.append("greet")
        return f"hello {component_id}"

    @app.callback(Output("place", "children"), Input("leave", "n_clicks"), prevent_initial_call=True)
    def leave(n_clicks: int) -> list[Any]:
        return []

    @app.callback(Output("brought", "children"), Input(bring, "status"))
    def brought(status: str) -> str:
        return status

    return case


def pages() -> Case:
    """An app of several pages: streams that belong to one end when it is left."""
    app = Flash(__name__, use_pages=True, pages_folder="", suppress_callback_exceptions=True)
    app.layout = html.Div(
        [dcc.Link("one", href="/", id="to-one"), dcc.Link("two", href="/two", id="to-two"), page_container]
    )
    case = Case(app, ["go", "to-two", "to-one", "go"])
    register_page(
        "one", path="/", layout=lambda: html.Div([html.Button("go", id="go"), html.P(id="out", children="-")])
    )
    register_page("two", path="/two", layout=lambda: html.Div([html.P("second", id="second"), html.P(id="seen")]))

    @app.event_callback(Input("go", "n_clicks"))
    async def ticks(n_clicks: int) -> Updates:
        case.calls.append("ticks")
        async for number in every(1_000):
            yield stream_props("out", {"children": f"tick {number}"})

    @app.callback(Output("seen", "children"), Input("second", "children"))
    def seen(children: str) -> str:
        case.calls.append("seen")
        return children * 2

    return case


def address() -> Case:
    """A page that knows its address, callbacks that run for a while, and one that is called again meanwhile."""
    app = app_with(
        dcc.Location(id="url"),
        dcc.Link("there", href="/there?x=1#y", id="link"),
        html.Div([html.Button("go", id="go"), html.Button("slow", id="slow")], id="around"),
        html.Button("twice", id="twice"),
        *[html.P(id=name) for name in ("path", "out", "clicks", "late", "first", "newest")],
    )
    case = Case(app, ["go", "link", "slow", "go", "twice"])

    @app.callback(Output("path", "children"), Input("url", "pathname"), Input("url", "search"), Input("url", "hash"))
    def path(pathname: str | None, search: str | None, fragment: str | None) -> str:
        case.calls.append(f"path {pathname}")
        return f"{pathname} {search} {fragment}"

    @app.callback(
        Output("out", "children"),
        Input("go", "n_clicks"),
        running=[(Output("go", "disabled"), True, False), (Output("out", "className"), "on", "off")],
        prevent_initial_call=True,
    )
    async def work(n_clicks: int) -> str:
        await trio.sleep(0.05)
        return f"done {n_clicks}"

    @app.callback(Output("first", "children"), Input("twice", "n_clicks"), prevent_initial_call=True)
    async def again(n_clicks: int) -> int:
        set_props("twice", {"title": f"{n_clicks}"})
        return n_clicks

    @app.callback(
        Output("newest", "children"),
        Input("twice", "n_clicks"),
        Input("first", "children"),
        State("first", "children"),
        prevent_initial_call=True,
    )
    async def newest(n_clicks: int | None, first: int | None, state: int | None) -> str:
        await trio.sleep(0.1 if first is None else 0.02)
        return f"{n_clicks} {first} {state}"

    @app.callback(Output("clicks", "children"), Input("around", "n_clicks"), Input("go", "n_clicks"))
    def clicks(around: int | None, go: int | None) -> str:
        case.calls.append("clicks")
        return f"{around or 0} {go or 0} {len(ctx.triggered)}"

    @app.callback(Output("late", "children"), Input("slow", "n_clicks"), Input("out", "children"))
    async def late(n_clicks: int | None, children: str | None) -> str:
        case.calls.append("late")
        await trio.sleep(0.05)
        return f"{n_clicks or 0} {children}"

    return case


@pytest.mark.usefixtures("own_page_registry")
@pytest.mark.parametrize("make", [chains, rows, streams, pages, address])
def test_the_kit_shows_what_chromium_shows_of(make: Callable[[], Case], visit: Visit, console: Any) -> None:
    case = make()
    shown: list[dict[str, Any]] = []
    with open_page(case.app) as page:
        for click in [None, *case.clicks]:
            if click is not None:
                page.click(click)
            page.elapse(2)
            shown.append({key: compared(page[key].props) for key in page.ids})
    called, case.calls[:] = sorted(case.calls), []

    tab = visit(case.app)
    for click, expected in zip([None, *case.clicks], shown, strict=True):
        if click is not None:
            tab.evaluate("id => document.getElementById(id).click()", as_written(click))
        wait_for(tab, expected, f"after a click on {click}")
    # What has been called last may have changed nothing that is shown.
    eventually_sync(lambda: sorted(case.calls) == called, lambda: f"called {called}, not {sorted(case.calls)}")
    console.take()


def compared(props: dict[str, Any]) -> dict[str, Any]:
    """Of a component's properties those that are compared; what has components in it is compared by itself."""
    found = {name: props[name] for name in PROPS if props.get(name) is not None}
    return {
        name: value for name, value in found.items() if '"namespace":' not in json.dumps(value, separators=(",", ":"))
    }


def in_chromium(tab: Tab) -> dict[str, Any]:
    """The same of all components in a tab."""
    return {key: compared(props) for key, props in tab.evaluate(COMPONENTS).items()}


def as_written(component_id: Any) -> str:
    return (
        component_id
        if isinstance(component_id, str)
        else json.dumps(component_id, sort_keys=True, separators=(",", ":"))
    )


def wait_for(tab: Tab, expected: dict[str, Any], when: str) -> None:
    """Wait until the tab shows what the kit has shown."""
    deadline = time.monotonic() + TIMEOUT
    while (there := in_chromium(tab)) != expected:
        if time.monotonic() > deadline:
            assert there == expected, when
        tab.wait_for_timeout(20)
