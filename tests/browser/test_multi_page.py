"""Event callbacks of apps with several pages."""

from __future__ import annotations

import dash
import pytest
import trio
from playwright.sync_api import expect

from flash import EndReason, Flash, Input, Output, StreamCancelled, dcc, every, html, stream_props
from tests.browser.conftest import Visit
from tests.support.serving import Gate, Journal

pytestmark = pytest.mark.usefixtures("own_page_registry")


def news_app(errors: Journal[StreamCancelled], go_on: Gate, cancel: list[object]) -> Flash:
    """A news ticker on one page of an app that has another."""
    app = Flash(__name__, use_pages=True, pages_folder="")
    dash.register_page(
        "news", path="/", layout=html.Div([html.Button("Start", id="start"), html.Div("no news", id="news")])
    )
    dash.register_page("about", path="/about", layout=html.Div("About us", id="about"))
    app.layout = html.Div(
        [
            dcc.Location(id="url"),
            dcc.Link("News", href="/"),
            dcc.Link("About", href="/about"),
            html.Div("0", id="stories"),
            html.Div("idle", id="status"),
            dash.page_container,
        ]
    )

    @app.event_callback(
        Input("start", "n_clicks"), cancel=cancel, on_error=errors.note, reset_props=[("news", {"children": "no news"})]
    )
    async def ticker(n_clicks: int):
        yield stream_props([("news", {"children": f"story 1 of run {n_clicks}"}), ("stories", {"children": "1"})])
        await go_on.wait()
        yield stream_props([("news", {"children": f"story 2 of run {n_clicks}"}), ("stories", {"children": "2"})])
        await trio.sleep_forever()

    @app.callback(Output("status", "children"), Input(ticker.stream, "status"))
    def show(status: str) -> str:
        return status

    return app


def test_leaving_the_page_of_an_event_callback_ends_its_stream(visit: Visit) -> None:
    errors = Journal[StreamCancelled]()
    page = visit(news_app(errors, Gate(), [(Input("url", "pathname"), "/")]))
    for run in (1, 2):
        page.click("#start")
        expect(page.locator("#news")).to_have_text("story 1 of run 1")
        expect(page.locator("#status")).to_have_text("running")
        page.get_by_text("About", exact=True).click()
        expect(page.locator("#about")).to_be_visible()
        expect(page.locator("#status")).to_have_text("cancelled")
        error = errors.next()
        assert (error.reason, error.condition, error.value) == (EndReason.CANCELLED, "url.pathname", "/about"), run
        page.get_by_text("News", exact=True).click()
        expect(page.locator("#news")).to_have_text("no news")


def test_a_stream_without_condition_goes_on_while_its_page_is_not_shown(visit: Visit) -> None:
    errors, go_on = Journal[StreamCancelled](), Gate()
    page = visit(news_app(errors, go_on, []))
    page.click("#start")
    expect(page.locator("#news")).to_have_text("story 1 of run 1")
    page.get_by_text("About", exact=True).click()
    expect(page.locator("#about")).to_be_visible()
    go_on.open()
    # What is there is updated, what is not is skipped.
    expect(page.locator("#stories")).to_have_text("2")
    expect(page.locator("#status")).to_have_text("running")
    assert errors.rest() == []


def test_an_app_may_be_opened_at_any_of_its_pages(visit: Visit) -> None:
    errors = Journal[StreamCancelled]()
    page = visit(news_app(errors, Gate(), [(Input("url", "pathname"), "/")]))
    page.goto(f"{page.url.rstrip('/')}/about")
    expect(page.locator("#about")).to_be_visible()
    page.get_by_text("News", exact=True).click()
    page.click("#start")
    expect(page.locator("#news")).to_have_text("story 1 of run 1")
    page.go_back()
    expect(page.locator("#status")).to_have_text("cancelled")
    assert errors.next().value == "/about"
    page.go_forward()
    expect(page.locator("#news")).to_have_text("no news")


def test_a_stream_does_not_start_because_its_button_appears(visit: Visit) -> None:
    runs = Journal[int | None]()
    app = Flash(__name__, suppress_callback_exceptions=True)
    app.layout = html.Div([html.Button("Show", id="show"), html.Div(id="content"), html.Div("idle", id="shown")])

    @app.callback(Output("content", "children"), Input("show", "n_clicks"), prevent_initial_call=True)
    def show(n_clicks: int) -> object:
        return html.Button("Start", id="start")

    @app.event_callback(Input("start", "n_clicks"))
    async def work(n_clicks: int | None):
        runs.note(n_clicks)
        yield stream_props("shown", {"children": f"run {n_clicks}"})

    page = visit(app)
    page.click("#show")
    page.click("#start")
    expect(page.locator("#shown")).to_have_text("run 1")
    assert [runs.next(), *runs.rest()] == [1]


def test_a_page_of_mere_text_in_the_place_of_what_a_stream_updates_does_not_stop_it(visit: Visit) -> None:
    app = Flash(__name__)
    app.layout = html.Div(
        [html.Button("Start", id="start"), html.Button("Leave", id="leave"), html.Div(id="content"), html.P(id="count")]
    )

    @app.callback(Output("content", "children"), Input("leave", "n_clicks"))
    def show(n_clicks: int | None) -> object:
        return html.H3("Home") if n_clicks else html.Div([html.H3("Live"), html.P(id="value"), html.P(id="more")])

    @app.event_callback(Input("start", "n_clicks"), keep=True, cancel=[Input("more", "title")])
    async def work(n_clicks: int | None):
        async for number in every(0.02):
            yield stream_props([("value", {"children": number}), ("more", {"children": "x"})])
            yield stream_props("count", {"children": number})

    page = visit(app)
    page.click("#start")
    expect(page.locator("#value")).not_to_be_empty()
    page.click("#leave")
    expect(page.locator("#value")).to_have_count(0)
    seen = int(page.inner_text("#count"))
    page.wait_for_function(f"() => Number(document.querySelector('#count').innerText) > {seen + 20}")
