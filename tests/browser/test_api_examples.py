"""The examples of the API, used as a user would: conditions, `reset_props`, `on_error`, second runs, supersede."""

from __future__ import annotations

import itertools
import time

import dash
import trio
from playwright.sync_api import Page, expect

from flash import EndReason, Flash, Input, Output, StreamCancelled, callback, dcc, event_callback, html, stream_props
from tests.browser.conftest import Console, Visit
from tests.support.serving import Journal


def tabs_app(errors: Journal[BaseException], ended: Journal[str]) -> Flash:
    """A report that streams while its tab is shown. The button is there on both tabs."""
    app = Flash(__name__)
    app.layout = html.Div(
        [
            html.Button("Start", id="start"),
            dcc.Tabs(
                id="tabs",
                value="dashboard",
                children=[dcc.Tab(label="Dashboard", value="dashboard"), dcc.Tab(label="About", value="about")],
            ),
            html.Div("nothing", id="report"),
            html.Div("fine", id="message"),
        ]
    )

    def explain(error: BaseException) -> object:
        errors.note(error)
        return stream_props([("message", {"children": "the report was left"}), ("report", {"children": "reset me"})])

    @app.event_callback(
        Input("start", "n_clicks"),
        cancel=[(Input("tabs", "value"), "dashboard")],
        on_error=explain,
        reset_props=[("report", {"children": "nothing"})],
    )
    async def report(n_clicks: int):
        yield stream_props([("report", {"children": f"run {n_clicks}"}), ("message", {"children": "running"})])
        try:
            await trio.sleep_forever()
        finally:
            ended.note(f"run {n_clicks}")

    return app


def test_leaving_the_tab_ends_the_stream_and_puts_the_page_right(visit: Visit) -> None:
    errors, ended = Journal[BaseException](), Journal[str]()
    page = visit(tabs_app(errors, ended))

    page.click("#start")
    expect(page.locator("#report")).to_have_text("run 1")
    page.get_by_text("About").click()

    expect(page.locator("#report")).to_have_text("nothing")
    expect(page.locator("#message")).to_have_text("the report was left")
    assert ended.next() == "run 1"
    error = errors.next()
    assert isinstance(error, StreamCancelled)
    assert (error.reason, error.condition, error.value) == (EndReason.CANCELLED, "tabs.value", "about")
    assert errors.rest() == []


def test_a_stream_that_was_cancelled_by_a_tab_starts_again_on_that_tab(visit: Visit) -> None:
    errors, ended = Journal[BaseException](), Journal[str]()
    page = visit(tabs_app(errors, ended))

    for run in (1, 2):
        page.click("#start")
        expect(page.locator("#report")).to_have_text(f"run {run}")
        page.get_by_text("About").click()
        expect(page.locator("#report")).to_have_text("nothing")
        assert ended.next() == f"run {run}"
        page.get_by_text("Dashboard").click()


def test_a_start_while_the_tab_is_elsewhere_does_not_run(visit: Visit) -> None:
    errors, ended = Journal[BaseException](), Journal[str]()
    page = visit(tabs_app(errors, ended))

    page.get_by_text("About").click()
    with page.expect_response("**/_dash-update-component*") as response:
        page.click("#start")
    assert response.value.ok
    # Had the first click started a stream, the second would have superseded it, and on_error been told.
    page.get_by_text("Dashboard").click()
    page.click("#start")
    expect(page.locator("#report")).to_have_text("run 2")
    assert errors.rest() == []
    assert ended.rest() == []


def clicks_app(errors: Journal[StreamCancelled], condition: object) -> Flash:
    """A count with a button that stops it."""
    app = Flash(__name__)
    app.layout = html.Div(
        [
            html.Button("Start", id="start"),
            html.Button("Stop", id="stop", n_clicks=0),
            html.Div("idle", id="count"),
        ]
    )

    @app.event_callback(
        Input("start", "n_clicks"),
        cancel=[condition],
        on_error=errors.note,
        reset_props=[("count", {"children": "idle"})],
    )
    async def count(n_clicks: int):
        yield stream_props("count", {"children": f"run {n_clicks}"})
        await trio.sleep_forever()

    return app


def start_and_stop_three_times(page: Page, errors: Journal[StreamCancelled]) -> None:
    for run in (1, 2, 3):
        page.click("#start")
        expect(page.locator("#count")).to_have_text(f"run {run}")
        page.click("#stop")
        expect(page.locator("#count")).to_have_text("idle")
        error = errors.next()
        assert (error.reason, error.condition, error.value) == (EndReason.CANCELLED, "stop.n_clicks", run)


def test_a_click_count_that_is_to_be_zero_stops_each_run(visit: Visit) -> None:
    errors = Journal[StreamCancelled]()
    start_and_stop_three_times(visit(clicks_app(errors, (Input("stop", "n_clicks"), 0))), errors)


def test_a_bare_input_stops_each_run(visit: Visit) -> None:
    errors = Journal[StreamCancelled]()
    start_and_stop_three_times(visit(clicks_app(errors, Input("stop", "n_clicks"))), errors)


def test_a_generator_that_raises_shows_what_on_error_says_and_then_the_reset_props(
    visit: Visit, console: Console
) -> None:
    errors = Journal[Exception]()
    app = Flash(__name__)
    app.layout = html.Div(
        [html.Button("Start", id="start"), html.Div("empty", id="table"), html.Div("fine", id="message")]
    )

    async def explain(error: Exception) -> object:
        await trio.lowlevel.checkpoint()
        errors.note(error)
        return stream_props([("message", {"children": f"Failed: {error}"}), ("table", {"children": "overwritten"})])

    @app.event_callback(
        Input("start", "n_clicks"), on_error=explain, reset_props=[("table", {"children": "empty again"})]
    )
    async def fill(n_clicks: int):
        yield stream_props("table", {"children": "half"})
        await trio.lowlevel.checkpoint()
        raise LookupError("no more rows")

    page = visit(app)
    page.click("#start")
    expect(page.locator("#message")).to_have_text("Failed: no more rows")
    expect(page.locator("#table")).to_have_text("empty again")
    assert isinstance(errors.next(), LookupError)
    assert errors.rest() == []
    # A failure that `on_error` has handled is handled.
    assert console.take() == []


def test_a_generator_that_completes_leaves_what_it_showed(visit: Visit) -> None:
    errors = Journal[Exception]()
    app = Flash(__name__)
    app.layout = html.Div([html.Button("Start", id="start"), html.Div("empty", id="table")])

    @app.event_callback(
        Input("start", "n_clicks"), on_error=errors.note, reset_props=[("table", {"children": "empty again"})]
    )
    async def fill(n_clicks: int):
        for rows in range(1, 101):
            yield stream_props("table", {"children": f"{rows} rows"})

    page = visit(app)
    for _ in range(2):
        page.click("#start")
        expect(page.locator("#table")).to_have_text("100 rows")
    assert errors.rest() == []


def test_a_new_start_supersedes_the_run_before_it(visit: Visit) -> None:
    ended = Journal[object]()
    app = Flash(__name__)
    app.layout = html.Div([dcc.Input(id="city", value=""), html.Div("empty", id="weather")])

    def explain(error: StreamCancelled) -> None:
        ended.note(error.reason)

    @app.event_callback(Input("city", "value"), on_error=explain, reset_props=[("weather", {"children": "empty"})])
    async def forecast(city: str):
        try:
            yield stream_props("weather", {"children": f"in {city}"})
            await trio.sleep_forever()
        finally:
            ended.note(city)

    page = visit(app)
    for city in ("Oslo", "Rome", "Lima"):
        page.fill("#city", city)
        expect(page.locator("#weather")).to_have_text(f"in {city}")
    assert [ended.next() for _ in range(4)] == ["Oslo", EndReason.SUPERSEDED, "Rome", EndReason.SUPERSEDED]
    assert ended.rest() == []


def test_a_stream_that_takes_longer_than_its_timeout_ends(visit: Visit) -> None:
    errors = Journal[StreamCancelled]()
    app = Flash(__name__)
    app.layout = html.Div([html.Button("Start", id="start"), html.Div("idle", id="count")])

    @app.event_callback(
        Input("start", "n_clicks"), timeout=0.2, on_error=errors.note, reset_props=[("count", {"children": "too late"})]
    )
    async def count(n_clicks: int):
        yield stream_props("count", {"children": "counting"})
        await trio.sleep_forever()

    page = visit(app)
    page.click("#start")
    expect(page.locator("#count")).to_have_text("too late")
    assert errors.next().reason is EndReason.TIMED_OUT


def test_a_plain_generator_streams_and_is_cancelled_like_an_async_one(visit: Visit) -> None:
    ended = Journal[object]()
    app = Flash(__name__)
    app.layout = html.Div([html.Button("Start", id="start"), html.Button("Stop", id="stop"), html.Div(0, id="count")])

    @app.event_callback(
        Input("start", "n_clicks"), cancel=[Input("stop", "n_clicks")], reset_props=[("count", {"children": "off"})]
    )
    def count(n_clicks: int):
        try:
            for step in itertools.count(1):
                yield stream_props("count", {"children": "many" if step > 20 else "few"})
                time.sleep(0.005)
        except GeneratorExit:
            ended.note("closed")
            raise
        finally:
            ended.note(n_clicks)

    page = visit(app)
    for run in (1, 2):
        page.click("#start")
        expect(page.locator("#count")).to_have_text("many")
        page.click("#stop")
        expect(page.locator("#count")).to_have_text("off")
        assert [ended.next(), ended.next()] == ["closed", run]


def test_the_layout_may_be_a_list(visit: Visit) -> None:
    app = Flash(__name__)
    app.layout = [html.Button("Start", id="start"), html.Div("idle", id="count")]

    @app.event_callback(Input("start", "n_clicks"))
    async def count(n_clicks: int):
        yield stream_props("count", {"children": "streamed"})

    page = visit(app)
    page.click("#start")
    expect(page.locator("#count")).to_have_text("streamed")


def test_the_decorators_of_the_package_work_for_the_app_that_is_served(visit: Visit) -> None:
    @event_callback(Input("start", "n_clicks"), cancel=[Input("stop", "n_clicks")])
    async def count(n_clicks: int):
        yield stream_props("count", {"children": f"run {n_clicks}"})
        await trio.sleep_forever()

    @callback(Output("twice", "children"), Input("count", "children"))
    async def double(text: str) -> str:
        return f"{text}, {text}"

    app = Flash(__name__)
    app.layout = html.Div(
        [
            html.Button("Start", id="start"),
            html.Button("Stop", id="stop"),
            html.Div("idle", id="count"),
            html.Div(id="twice"),
            html.Div(id="ends"),
        ]
    )

    @callback(Output("ends", "children"), Input(count.stream, "status"))
    def show(status: str) -> str:
        return status

    page = visit(app)
    assert dash.get_app() is app
    page.click("#start")
    expect(page.locator("#count")).to_have_text("run 1")
    expect(page.locator("#twice")).to_have_text("run 1, run 1")
    page.click("#stop")
    expect(page.locator("#ends")).to_have_text("cancelled")


def test_a_generator_that_never_pauses_can_be_stopped_by_a_click(visit: Visit) -> None:
    app = Flash(__name__)
    app.layout = html.Div([html.Button("Start", id="start"), html.Button("Stop", id="stop"), html.Div(0, id="count")])

    @app.event_callback(
        Input("start", "n_clicks"), cancel=[Input("stop", "n_clicks")], reset_props=[("count", {"children": "off"})]
    )
    async def count(n_clicks: int):
        for step in itertools.count(1):
            yield stream_props("count", {"children": step, "title": "many" if step > 5_000 else "few"})

    page = visit(app)
    page.click("#start")
    expect(page.locator("#count")).to_have_attribute("title", "many")
    page.click("#stop")
    expect(page.locator("#count")).to_have_text("off")
