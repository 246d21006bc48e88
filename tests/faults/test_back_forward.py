"""Pages that are left and come back to, and the events by which a browser says that it is worth looking again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import quart
import trio
from playwright.sync_api import BrowserContext, Page, expect

from flash import EndReason, Flash, Input, StreamCancelled, Update, html, stream_props
from tests.faults.cutting_proxy import cutting_proxy
from tests.support.browser import Serve, chromium, context, serving
from tests.support.eventually import eventually_sync
from tests.support.serving import Gate, Journal

__all__ = ["chromium", "context", "serving"]

LONG_GRACE = 600.0
"""Seconds: a stream that ends within a test does not end by this."""


class Endless:
    """An app with one endless stream.

    Attributes:
        ended: the reasons for which it has ended.
        asked: the requests for Flash's routes.
    """

    def __init__(self, **options: Any) -> None:
        self.app = app = Flash(__name__, **options)
        self.ended = Journal[EndReason]()
        self.asked = Journal[str]()
        self.going_on = Gate()
        app.layout = html.Div([html.Button("Start", id="start"), html.Div("idle", id="shown")])

        @app.event_callback(
            Input("start", "n_clicks"), on_error=self._note, reset_props=[("shown", {"children": "idle"})]
        )
        async def endless(n_clicks: int) -> AsyncIterator[Update]:
            yield stream_props("shown", {"children": f"run {n_clicks}"})
            await self.going_on.wait()
            yield stream_props("shown", {"children": f"run {n_clicks} goes on"})
            await trio.sleep_forever()

        @app.server.before_request
        async def listen() -> None:
            if quart.request.path.startswith("/_flash/"):
                self.asked.note(quart.request.path.removeprefix("/_flash/"))

        @app.server.route("/away")
        async def away() -> str:
            return "<p id=elsewhere>Elsewhere</p>"

    def _note(self, error: StreamCancelled) -> None:
        self.ended.note(error.reason)


def test_leaving_a_page_ends_its_streams_at_once_and_coming_back_it_works(
    context: BrowserContext, serving: Serve
) -> None:
    """Whether the browser has kept the page or loads it again; Chromium keeps it, if it has the memory."""
    endless = Endless(reconnect_grace=LONG_GRACE)
    server = serving(endless.app)
    page = context.new_page()
    page.goto(server.url)
    clicks = 0
    for _ in range(3):
        clicks += 1
        page.click("#start")
        expect(page.locator("#shown")).to_have_text(f"run {clicks}")
        page.evaluate("window.kept = true")
        page.goto(f"{server.url}/away")
        # At once: the grace has not passed.
        assert endless.ended.next() == EndReason.DISCONNECTED
        server.expect_streaming()
        assert "close" in endless.asked.rest()
        # A page that was kept is not loaded, and so has nothing to wait for.
        page.go_back(wait_until="commit")
        expect(page.locator("#shown")).to_have_text("idle")
        if not page.evaluate("window.kept === true"):
            clicks = 0
    assert endless.ended.rest() == []


def test_a_page_that_is_hidden_and_shown_again_connects_again(context: BrowserContext, serving: Serve) -> None:
    endless = Endless(reconnect_grace=LONG_GRACE)
    server = serving(endless.app)
    page = context.new_page()
    page.goto(server.url)
    page.click("#start")
    expect(page.locator("#shown")).to_have_text("run 1")
    hide_and_show(page)
    assert endless.ended.next() == EndReason.DISCONNECTED
    expect(page.locator("#shown")).to_have_text("idle")
    assert endless.asked.next() == "events"
    # It and "close" may overtake each other, on connections of their own.
    eventually_sync(lambda: "events" in endless.asked.rest(), "another connection")

    page.click("#start")
    expect(page.locator("#shown")).to_have_text("run 2")
    server.expect_streaming("endless")
    assert endless.ended.rest() == []


def hide_and_show(page: Page) -> None:
    """What a page is told that goes into the back/forward cache and comes out of it."""
    for name in ("pagehide", "pageshow"):
        page.evaluate("name => window.dispatchEvent(new PageTransitionEvent(name, {persisted: true}))", name)


@pytest.mark.parametrize(
    "event",
    ["document.dispatchEvent(new Event('visibilitychange'))", "window.dispatchEvent(new Event('online'))"],
)
def test_a_page_that_wakes_up_looks_whether_its_connection_lives(
    context: BrowserContext, serving: Serve, event: str
) -> None:
    """The watchdog's own clock stands still, as it does in a computer that sleeps: only the event makes it look."""
    endless = Endless(ping_interval=0.3, stall_timeout=60, reconnect_grace=60)
    server = serving(endless.app)
    with cutting_proxy(int(server.url.rpartition(":")[2])) as proxy:
        page = context.new_page()
        page.add_init_script("window.setInterval = () => 0")
        page.goto(proxy.url)
        page.click("#start")
        expect(page.locator("#shown")).to_have_text("run 1")
        assert proxy.freeze("/_flash/events") == 1
        endless.going_on.open()
        # Three pings, and more.
        page.wait_for_function("began => performance.now() - began > 2_000", arg=page.evaluate("performance.now()"))
        expect(page.locator("#shown")).to_have_text("run 1")

        page.evaluate(event)
        expect(page.locator("#shown")).to_have_text("run 1 goes on")
        # Before the proxy goes, which what the page says on leaving has to pass.
        page.goto(f"{proxy.url}/away")
        assert endless.ended.next() == EndReason.DISCONNECTED
    assert endless.ended.rest() == []
