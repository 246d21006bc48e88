"""The connection of a page: another one takes over, the server refuses it. `tests/engines` has the rest of its life."""

from __future__ import annotations

from collections.abc import Sequence

import quart
import trio
from playwright.sync_api import BrowserContext, Page, expect

from flash import EndReason, Flash, Input, StreamCancelled, html, stream_props
from tests.browser.conftest import Console, Serve, Visit
from tests.support.serving import Journal


def endless_app(ended: Journal[object]) -> Flash:
    app = Flash(__name__)
    app.layout = html.Div([html.Button("Start", id="start"), html.Div("idle", id="count")])

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

    return app


def start(page: Page) -> None:
    page.click("#start")
    expect(page.locator("#count")).to_have_text("run 1")


def ends(ended: Journal[object]) -> Sequence[object]:
    return [ended.next(), ended.next(), *ended.rest()]


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
        if quart.request.path in {"/_flash/events", "/_flash/status"} and busy[0]:
            asked.note(quart.request.path)
            return "The database is being moved.", 503
        return None

    page = visit(app)
    assert [asked.next(), asked.next()] == ["/_flash/events", "/_flash/status"]
    busy[0] = False
    # The start waits for the connection.
    start(page)
    assert "Flash: no connection: The database is being moved." in console.take()
