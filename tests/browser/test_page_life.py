"""Pages that are closed, reloaded, left and come back to; many streams on one page."""

from __future__ import annotations

from collections.abc import Sequence

import quart
import trio
from playwright.sync_api import BrowserContext, Page, expect

from flash import EndReason, Flash, Input, Output, StreamCancelled, html, stream_props
from tests.browser.conftest import Console, Serve, Visit
from tests.support.serving import Gate, Journal


def endless_app(ended: Journal[object]) -> Flash:
    app = Flash(__name__)
    app.layout = html.Div(
        [html.Button("Start", id="start"), html.Div("idle", id="count"), html.A("Away", href="/away", id="away")]
    )

    def explain(error: StreamCancelled) -> object:
        ended.note(error.reason)
        return stream_props("count", {"children": "nobody sees this"})

    @app.event_callback(Input("start", "n_clicks"), on_error=explain, reset_props=[("count", {"children": "idle"})])
    async def count(n_clicks: int):
        try:
            yield stream_props("count", {"children": f"run {n_clicks}"})
            await trio.sleep_forever()
        finally:
            ended.note("finally")

    @app.server.route("/away")
    async def away() -> str:
        return "<p id=elsewhere>Elsewhere</p>"

    return app


def start(page: Page) -> None:
    page.click("#start")
    expect(page.locator("#count")).to_have_text("run 1")


def ends(ended: Journal[object]) -> Sequence[object]:
    return [ended.next(), ended.next(), *ended.rest()]


def test_closing_the_tab_ends_its_streams(visit: Visit) -> None:
    ended = Journal[object]()
    page = visit(endless_app(ended))
    start(page)
    page.close()
    assert ends(ended) == ["finally", EndReason.DISCONNECTED]


def test_the_streams_of_another_tab_go_on_when_one_is_closed(context: BrowserContext, serving: Serve) -> None:
    ended = Journal[object]()
    app = endless_app(ended)
    server = serving(app)
    first, second = context.new_page(), context.new_page()
    for page in (first, second):
        page.goto(server.url)
        start(page)
    server.expect_streaming("count", "count")
    first.close()
    assert ends(ended) == ["finally", EndReason.DISCONNECTED]
    server.expect_streaming("count")
    second.click("#start")
    expect(second.locator("#count")).to_have_text("run 2")
    assert ends(ended) == ["finally", EndReason.SUPERSEDED]


def test_reloading_ends_the_streams_and_begins_anew(visit: Visit) -> None:
    ended = Journal[object]()
    page = visit(endless_app(ended))
    for _ in range(2):
        start(page)
        page.reload()
        assert ends(ended) == ["finally", EndReason.DISCONNECTED]
        expect(page.locator("#count")).to_have_text("idle")
    start(page)


def test_a_page_that_was_left_works_when_it_is_come_back_to(visit: Visit) -> None:
    ended = Journal[object]()
    page = visit(endless_app(ended))
    start(page)
    page.click("#away")
    expect(page.locator("#elsewhere")).to_be_visible()
    assert ends(ended) == ["finally", EndReason.DISCONNECTED]

    page.go_back()
    expect(page.locator("#count")).to_have_text("idle")
    start(page)
    page.go_forward()
    expect(page.locator("#elsewhere")).to_be_visible()
    assert ends(ended) == ["finally", EndReason.DISCONNECTED]

    page.go_back()
    start(page)


def test_a_page_that_is_left_says_goodbye(visit: Visit) -> None:
    ended, farewells = Journal[object](), Journal[tuple[str, str, object]]()
    app = endless_app(ended)

    @app.server.before_request
    async def listen() -> None:
        if quart.request.path == "/_flash/close":
            farewells.note((quart.request.method, quart.request.headers["Sec-Fetch-Site"], await quart.request.json))

    page = visit(app)
    start(page)
    token = page.evaluate("dash_component_api.getLayout('_flash').props.token")
    page.goto("about:blank")
    assert farewells.next() == ("POST", "same-origin", {"page": token})
    assert ends(ended) == ["finally", EndReason.DISCONNECTED]


def test_eight_event_callbacks_stream_at_once_on_one_page(context: BrowserContext, serving: Serve) -> None:
    gates = [Gate() for _ in range(3)]
    app = Flash(__name__)
    app.layout = html.Div(
        [
            html.Button("Start", id="start"),
            html.Button("Ask", id="ask"),
            html.Div("idle", id="answer"),
            *[html.Div("idle", id=f"out-{n}", className="out") for n in range(8)],
        ]
    )

    def add(n: int) -> None:
        @app.event_callback(Input("start", "n_clicks"))
        async def work(n_clicks: int):
            for step, gate in enumerate(gates):
                yield stream_props(f"out-{n}", {"children": f"{n}: step {step}"})
                await gate.wait()
            yield stream_props(f"out-{n}", {"children": f"{n}: done"})

    for n in range(8):
        add(n)

    @app.callback(Output("answer", "children"), Input("ask", "n_clicks"), prevent_initial_call=True)
    async def answer(n_clicks: int) -> str:
        return f"answer {n_clicks}"

    server = serving(app)
    page = context.new_page()
    page.goto(server.url)
    page.click("#start")
    for step, gate in enumerate(gates):
        # None of them goes on before all of them have come as far.
        expect(page.locator(".out")).to_have_text([f"{n}: step {step}" for n in range(8)])
        server.expect_streaming(*["work"] * 8)
        page.click("#ask")
        expect(page.locator("#answer")).to_have_text(f"answer {step + 1}")
        gate.open()
    expect(page.locator(".out")).to_have_text([f"{n}: done" for n in range(8)])
    protocols = page.evaluate("performance.getEntriesByType('resource').map(entry => entry.nextHopProtocol)")
    assert set(protocols) - {""} == {"http/1.1"}


def test_an_app_may_be_served_under_a_prefix(context: BrowserContext, serving: Serve) -> None:
    ended = Journal[object]()
    app = Flash(__name__, url_base_pathname="/dashboards/one/")
    app.layout = html.Div([html.Button("Start", id="start"), html.Button("Stop", id="stop"), html.Div(id="count")])

    @app.event_callback(
        Input("start", "n_clicks"), cancel=[Input("stop", "n_clicks")], reset_props=[("count", {"children": "idle"})]
    )
    async def count(n_clicks: int):
        try:
            yield stream_props("count", {"children": f"run {n_clicks}"})
            await trio.sleep_forever()
        finally:
            ended.note(n_clicks)

    page = context.new_page()
    page.goto(f"{serving(app).url}/dashboards/one/")
    start(page)
    page.click("#stop")
    expect(page.locator("#count")).to_have_text("idle")
    assert ended.next() == 1


def test_the_newest_connection_of_a_page_is_the_one_that_counts(context: BrowserContext, serving: Serve) -> None:
    ended, warnings = Journal[object](), Journal[str]()
    server = serving(endless_app(ended))
    page, other = context.new_page(), context.new_page()
    page.on("console", lambda message: warnings.note(message.text) if message.type == "warning" else None)
    for each in (page, other):
        each.goto(server.url)
        expect(each.locator("#count")).to_have_text("idle")
    start(page)
    token = page.evaluate("dash_component_api.getLayout('_flash').props.token")
    other.evaluate("token => { window.second = new EventSource(`/_flash/events?page=${token}:9`); }", token)

    # The page has put itself right, and its streams belong to the connection that took over.
    expect(page.locator("#count")).to_have_text("idle")
    assert "opened a second time" in warnings.next()
    server.expect_streaming("count")
    other.evaluate("second.close()")
    assert ends(ended) == ["finally", EndReason.DISCONNECTED]


def test_a_connection_that_is_refused_is_explained_and_tried_again(visit: Visit, console: Console) -> None:
    busy = [True]
    asked = Journal[str]()
    app = endless_app(Journal[object]())

    @app.server.before_request
    async def refuse() -> tuple[str, int] | None:
        if quart.request.path.startswith("/_flash/") and busy[0]:
            asked.note(quart.request.path)
            return "The database is being moved.", 503
        return None

    page = visit(app)
    assert [asked.next(), asked.next()] == ["/_flash/events", "/_flash/status"]
    busy[0] = False
    # The start waits for the connection.
    start(page)
    assert "Flash: no connection: The database is being moved." in console.take()
