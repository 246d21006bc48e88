"""`flash.testing.open_page`: a page of a real app, without HTTP or a browser, in virtual time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import trio
import trio.testing

import flash.testing.trio
from flash import (
    ALL,
    MATCH,
    Flash,
    Input,
    Output,
    Patch,
    State,
    Watched,
    ctx,
    dcc,
    every,
    html,
    no_update,
    page_container,
    page_registry,
    register_page,
    set_props,
    stream_props,
)
from flash.testing import open_page
from tests.testing.apps import Updates, app_with


def test_a_condition_ends_a_run(app: Flash) -> None:
    with open_page(app) as page:
        assert page["status"].children == "idle"
        run = page.click("start")
        assert (run.callback.rpartition(".")[2], run.ended) == ("clock", None)
        assert page["progress"].children == "tick 0"
        assert page["start"].disabled
        page.elapse(10.2)
        assert page["progress"].children == "tick 20"
        assert page["status"].children == "running"
        assert page.set("tabs", value="settings") is None
        end = run.end()
        assert (end.reason, end.error) == ("cancelled", None)
        assert (page["progress"].children, page["progress"].title) == ("", "cancelled")
        assert not page["start"].disabled
        assert page["status"].children == "cancelled"


def test_another_click_supersedes_and_a_bare_input_cancels(app: Flash) -> None:
    with open_page(app) as page:
        first = page.click("start")
        page.set("start", disabled=False)
        second = page.click("start")
        assert first.end(timeout=0).reason == "superseded"
        page.click("stop")
        assert second.end(timeout=0).reason == "cancelled"


async def test_the_async_form_does_the_same_and_lets_the_clock_jump_again(
    app: Flash, autojump_clock: trio.testing.MockClock
) -> None:
    async with flash.testing.trio.open_page(app) as page:
        run = await page.click("start")
        await page.elapse(10.2)
        assert page["progress"].children == "tick 20"
        await page.set("tabs", value="settings")
        assert (await run.end()).reason == "cancelled"
    await trio.sleep(1_000)


def test_an_app_may_take_its_time_to_start_and_to_lay_out_its_page() -> None:
    app = Flash(__name__)

    async def layout() -> html.P:
        await trio.sleep(0.2)
        return html.P(f"{trio.current_time():g} s", id="out")

    app.layout = layout

    @app.server.before_serving
    async def connect() -> None:
        await trio.sleep(3)

    @app.server.after_serving
    async def disconnect() -> None:
        await trio.sleep(3)

    with open_page(app) as page:
        # Dash asks for the layout once more, when the app starts.
        assert page["out"].children in ("3.2 s", "3.4 s")


def test_plain_async_and_streaming_callbacks_answer_in_their_order() -> None:
    app = app_with(
        html.Button(id="go"), html.P(id="a"), html.P(id="b"), html.P(id="c"), html.P(id="d"), html.P(id="calls")
    )
    calls: list[str] = []

    @app.callback(Output("c", "children"), Input("a", "children"), Input("b", "children"))
    def third(a: str, b: str) -> str:
        calls.append("third")
        return f"{a}+{b}"

    @app.callback(Output("a", "children"), Input("go", "n_clicks"))
    def first(n_clicks: int | None) -> str:
        time.sleep(0.01)
        calls.append("first")
        return f"a{n_clicks}"

    @app.callback(Output("b", "children"), Input("a", "children"))
    async def second(a: str) -> str:
        await trio.sleep(2)
        calls.append("second")
        return f"b({a})"

    @app.callback(Output("d", "children"), Input("go", "n_clicks"), prevent_initial_call=True)
    async def streams(n_clicks: int) -> Updates:
        for number in range(3):
            yield number
            await trio.sleep(1)

    with open_page(app) as page:
        assert calls == ["first"]
        page.elapse(2)
        assert calls == ["first", "second", "third"]
        assert page["c"].children == "aNone+b(aNone)"
        run = page.click("go")
        assert page["d"].children == 0
        assert run.end().reason == "completed"
        assert (page["d"].children, page["c"].children) == (2, "a1+b(a1)")


def test_callbacks_that_update_nothing_call_none_behind_them_at_first() -> None:
    app = app_with(html.P(id="a"), html.P(id="b"), html.P(id="c"), dcc.Store(id="store", data=1))
    calls: list[str] = []

    @app.callback(Output("a", "children"), Input("store", "data"))
    def nothing(data: int) -> Any:
        calls.append("nothing")
        return no_update

    @app.callback(Output("b", "children"), Input("a", "children"))
    def behind(children: Any) -> Any:
        calls.append("behind")
        return "called"

    with open_page(app) as page:
        assert calls == ["nothing"]
        page.set("a", children="x")
        assert calls == ["nothing", "behind"]


def test_the_app_ends_streams_with_revoked_also_while_the_page_is_away() -> None:
    app = app_with(html.Button(id="go"), html.P(id="out"), reconnect_grace=10)

    @app.event_callback(Input("go", "n_clicks"), restart=True, reset_props=[("out", {"children": "reset"})])
    async def ticks(n_clicks: int) -> Updates:
        async for number in every(1):
            yield stream_props("out", {"children": number})

    @app.background
    async def revoke() -> None:
        await trio.sleep(5)
        app.end_streams(callback=ticks)
        await trio.sleep_forever()

    with open_page(app) as page:
        run = page.click("go")
        page.cut(20)
        assert run.end(0).reason == "revoked"
        assert (page["out"].children, page[ticks].status) == ("reset", "revoked")


def test_patches_lists_and_set_props_reach_the_layout() -> None:
    app = app_with(html.Button(id="go"), html.Ul(id="list", children=["first"]), dcc.Store(id="store", data={"n": [1]}))

    @app.event_callback(Input("go", "n_clicks"))
    async def adds(n_clicks: int) -> Updates:
        for number in range(3):
            more = Patch()
            more.append(f"item {number}")
            yield stream_props("list", {"children": more})
        deep = Patch()
        deep["n"][0] += 5
        deep["new"] = {"a": 1}
        set_props("store", {"data": deep})

    with open_page(app) as page:
        assert page.click("go").end().reason == "completed"
        assert page["list"].children == ["first", "item 0", "item 1", "item 2"]
        assert page["store"].data == {"n": [6], "new": {"a": 1}}


def test_a_stream_watches_a_property_that_comes_and_goes() -> None:
    app = app_with(html.Button(id="start"), html.Div(id="place"), html.P(id="seen", children=""))
    seen: list[Any] = []

    @app.event_callback(Input("start", "n_clicks"), watch={"speed": Input("speed", "value")})
    async def race(n_clicks: int, speed: Watched[int | None]) -> Updates:
        while True:
            seen.append(speed.value)
            yield stream_props("seen", {"children": str(seen)})
            await speed.changed()

    with open_page(app) as page:
        run = page.click("start")
        assert page["seen"].children == "[None]"
        page.set("place", children=dcc.Input(id="speed", value=3))
        page.set("speed", value=4)
        page.set("place", children=None)
        assert page["seen"].children == "[None, 3, 4, None]"
        assert run.ended is None


def test_patterns_match() -> None:
    def row(index: int) -> html.Div:
        return html.Div(
            [
                html.Button(id={"type": "go", "index": index}),
                html.Button(id={"type": "stop", "index": index}),
                html.P(id={"type": "out", "index": index}, children=""),
            ]
        )

    app = app_with(*[row(index) for index in range(3)], html.P(id="sum"), html.Button(id="all"))

    @app.event_callback(
        Input({"type": "go", "index": MATCH}, "n_clicks"),
        State({"type": "go", "index": ALL}, "n_clicks"),
        cancel=[Input({"type": "stop", "index": MATCH}, "n_clicks")],
        reset_props=[({"type": "out", "index": MATCH}, {"title": "reset"})],
    )
    async def each(n_clicks: int, clicks: list[int | None]) -> Updates:
        triggered: Any = ctx.triggered_id
        out = {"type": "out", "index": triggered["index"]}
        async for number in every(1):
            yield stream_props(out, {"children": [number, len(clicks)]})

    @app.callback(Output("sum", "children"), Input({"type": "out", "index": ALL}, "children"))
    def total(children: list[Any]) -> list[Any]:
        return children

    @app.event_callback(Input("all", "n_clicks"))
    async def to_all(n_clicks: int) -> Updates:
        yield stream_props({"type": "out", "index": ALL}, {"children": "all"})

    with open_page(app) as page:
        first = page.click({"type": "go", "index": 0})
        second = page.click({"index": 2, "type": "go"})
        page.elapse(3)
        assert page["sum"].children == [[3, 3], "", [3, 3]]
        page.click({"type": "stop", "index": 0})
        assert first.end(0).reason == "cancelled"
        assert second.ended is None
        assert page[{"type": "out", "index": 0}].title == "reset"
        assert page[{"type": "out", "index": 2}].title is None
        assert page[each].statuses['{"index":0}'] == {"status": "cancelled", "error": None}
        assert page[each].statuses['{"index":2}'] == {"status": "running", "error": None}
        page.click({"type": "stop", "index": 2})
        page.click("all")
        assert page["sum"].children == ["all"] * 3


def test_running_of_a_plain_callback_lasts_as_long_as_it_runs() -> None:
    app = app_with(html.Button(id="go"), html.P(id="out"))

    @app.callback(
        Output("out", "children"),
        Input("go", "n_clicks"),
        running=[(Output("go", "disabled"), True, False)],
        prevent_initial_call=True,
    )
    async def work(n_clicks: int) -> str:
        set_props("go", {"title": "set"})
        await trio.sleep(5)
        return "done"

    with open_page(app) as page:
        assert page.click("go") is None
        assert page["go"].disabled
        with pytest.raises(AssertionError, match="'go' is disabled"):
            page.click("go")
        page.elapse(5)
        assert (page["go"].disabled, page["go"].title, page["out"].children) == (False, "set", "done")


def test_components_that_come_are_given_their_callbacks_and_streams_end_with_those_that_go() -> None:
    app = app_with(html.Button(id="show"), html.Div(id="content"), suppress_callback_exceptions=True)

    @app.callback(Output("content", "children"), Input("show", "n_clicks"))
    def show(n_clicks: int | None) -> Any:
        return [html.P(id="out"), html.P(id="hello")] if n_clicks == 1 else html.P("nothing")

    @app.event_callback(Input("out", "id"), prevent_initial_call=False)
    async def ticks(component_id: str) -> Updates:
        async for number in every(1):
            yield stream_props("out", {"children": number})

    @app.callback(Output("hello", "children"), Input("hello", "id"))
    def hello(component_id: str) -> str:
        return "hello"

    with open_page(app) as page:
        assert "out" not in page
        run = page.click("show")
        page.elapse(2)
        assert (page["out"].children, page["hello"].children) == (2, "hello")
        page.click("show")
        assert run.end(1).reason == "cancelled"
        assert page[ticks].status == "cancelled"


def test_an_interval_and_a_location_do_what_they_do() -> None:
    app = app_with(
        dcc.Interval(id="interval", interval=500, max_intervals=4),
        dcc.Location(id="url"),
        dcc.Link("there", href="/there?x=1", id="link"),
        html.P(id="ticks"),
        html.P(id="path"),
    )

    @app.callback(Output("ticks", "children"), Input("interval", "n_intervals"))
    def count(n_intervals: int | None) -> Any:
        return n_intervals

    @app.callback(Output("path", "children"), Input("url", "pathname"), Input("url", "search"))
    def show(pathname: str, search: str) -> str:
        return pathname + search

    with open_page(app, "/here") as page:
        assert page["path"].children == "/here"
        page.elapse(1.2)
        assert page["ticks"].children == 2
        page.elapse(10)
        assert page["ticks"].children == 4
        page.click("link")
        assert page["path"].children == "/there?x=1"
        page.visit("/")
        assert page["path"].children == "/"
        page.reload()
        assert (page["path"].children, page["ticks"].children) == ("/", None)


@pytest.mark.parametrize(
    "prefixes",
    [
        {"url_base_pathname": "/app/"},
        {"requests_pathname_prefix": "/proxy/app/", "routes_pathname_prefix": "/app/"},
    ],
)
def test_an_app_may_have_prefixes(prefixes: dict[str, str]) -> None:
    app = app_with(dcc.Location(id="url"), html.Button(id="go"), html.P(id="out"), html.P(id="path"), **prefixes)

    @app.event_callback(Input("go", "n_clicks"))
    async def ticks(n_clicks: int) -> Updates:
        async for number in every(1):
            yield stream_props("out", {"children": number})

    @app.callback(Output("path", "children"), Input("url", "pathname"))
    def show(pathname: str) -> str:
        return pathname

    prefix = prefixes.get("requests_pathname_prefix", "/app/")
    with open_page(app, "/here") as page:
        assert page["path"].children == f"{prefix}here"
        page.click("go")
        page.elapse(2)
        assert page["out"].children == 2


@pytest.fixture
def own_page_registry() -> Iterator[None]:
    """The pages that `register_page` keeps for all apps of the process are those of the test alone."""
    page_registry.clear()
    yield
    page_registry.clear()


@pytest.mark.usefixtures("own_page_registry")
def test_an_app_of_several_pages_is_visited_and_a_stream_ends_with_its_page() -> None:
    app = Flash(__name__, use_pages=True, pages_folder="")
    register_page("home", path="/", layout=html.H1("Home", id="home"))

    def layout(name: str = "", unit: str = "") -> Any:
        return html.Div([html.H1(f"{name} {unit}", id="name"), html.Button(id="go"), html.P(id="out")])

    register_page("device", path_template="/device/<name>", layout=layout)
    app.layout = html.Div([dcc.Link("Pump", href="/device/pump?unit=bar", id="to-pump"), page_container])

    @app.event_callback(Input("go", "n_clicks"))
    async def ticks(n_clicks: int) -> Updates:
        async for number in every(1):
            yield stream_props("out", {"children": number})

    with open_page(app) as page:
        assert page["home"].children == "Home"
        page.click("to-pump")
        assert page["name"].children == "pump bar"
        run = page.click("go")
        page.elapse(2)
        assert page["out"].children == 2
        page.visit("/")
        assert run.end().reason == "cancelled"
        assert ("home" in page, "out" in page) == (True, False)
    with open_page(app, "/device/valve") as page:
        assert page["name"].children == "valve "
