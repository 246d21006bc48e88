"""The connection of a page: another one takes over, the server refuses it. `tests/engines` has the rest of its life."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import quart
import trio
from playwright.sync_api import BrowserContext, Page, expect

from flash import EndReason, Flash, Input, Output, StreamCancelled, html, stream_props
from tests.browser.conftest import Console, Serve, Visit
from tests.support.eventually import eventually_sync
from tests.support.serving import Gate, Journal


def endless_app(ended: Journal[object], **options: Any) -> Flash:
    app = Flash(__name__, **options)
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


NOT_KNOWN = "This server has no such page.", 404


def without_control_websocket(app: Flash) -> None:
    """Have messages come by requests alone."""

    @app.server.before_websocket
    async def hold() -> None:
        await trio.sleep_forever()


def test_what_has_come_of_a_life_is_applied_though_the_server_has_forgotten_the_page(
    context: BrowserContext, serving: Serve
) -> None:
    """As by a server that stops, has ended its streams, and knows the page no more when it acknowledges."""
    seen, answer, complete, hold = Journal[str](), Gate(), Gate(), Gate()
    is_forgetful = [False]
    app = Flash(__name__, ping_interval=0.1)
    app.layout = html.Div([html.Button("Start", id="start"), html.Div("idle", id="count"), html.P(id="status")])

    @app.event_callback(Input("start", "n_clicks"), reset_props=[("count", {"children": "reset"})])
    async def count(n_clicks: int):
        yield stream_props("count", {"children": f"run {n_clicks}"})
        await complete.wait()
        yield stream_props("count", {"children": f"end of run {n_clicks}"})

    @app.callback(Output("status", "children"), Input(count, "status"))
    async def show(status: str | None) -> str | None:
        return status

    @app.server.before_request
    async def pause() -> tuple[str, int] | None:
        if quart.request.path == "/hold":
            seen.note("hold")
            await hold.wait()
        elif quart.request.path == "/_flash/ack" and is_forgetful[0]:
            is_forgetful[0] = False
            seen.note("ack")
            await answer.wait()
            return NOT_KNOWN
        return None

    @app.server.route("/hold")
    async def held() -> str:
        return ""

    without_control_websocket(app)
    server, page = serving(app), context.new_page()
    page.goto(server.url)
    page.click("#start")
    expect(page.locator("#count")).to_have_text("run 1")
    lives = lives_of(app)
    is_forgetful[0] = True
    assert seen.next() == "ack"
    # The page does nothing until the server answers this, and then it has no frames, in which it applies updates.
    page.evaluate(
        "() => void setTimeout(() => {"
        "  window.requestAnimationFrame = () => 0;"
        "  const request = new XMLHttpRequest(); request.open('GET', '/hold', false); request.send();"
        "})"
    )
    assert seen.next() == "hold"
    # What is over comes to the page, and then that it is not known.
    complete.open()
    server.expect_streaming()
    answer.open()
    hold.open()
    expect(page.locator("#count")).to_have_text("end of run 1")
    expect(page.locator("#status")).to_have_text("completed")
    # The server has only played forgetful, so the page has it end the life, and begins another.
    eventually_sync(lambda: lives_of(app).isdisjoint(lives) and lives_of(app) != set(), lambda: f"not {lives}")
    page.click("#start")
    expect(page.locator("#count")).to_have_text("end of run 2")


def lives_of(app: Flash) -> set[str]:
    """The lives of the channels of an app."""
    return {channel.life for channel in app.stream_settings.channels.pages()}


def test_streams_end_if_messages_of_the_page_reach_another_server_for_good(visit: Visit) -> None:
    ended = Journal[object]()
    app = endless_app(ended, ping_interval=0.1)
    is_forgetful = [False]
    without_control_websocket(app)

    @app.server.before_request
    async def answer() -> tuple[str, int] | None:
        return NOT_KNOWN if quart.request.path == "/_flash/ack" and is_forgetful[0] else None

    page = visit(app)
    start(page)
    is_forgetful[0] = True
    assert ends(ended) == ["finally", EndReason.DISCONNECTED]
    expect(page.locator("#count")).to_have_text("idle")
    is_forgetful[0] = False
    page.click("#start")
    expect(page.locator("#count")).to_have_text("run 2")
