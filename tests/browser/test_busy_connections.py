"""Plain callbacks hold every connection that the browser has to the server; cookies change under a page that runs."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Dialog, Page, expect

from flash import Flash, Input, Output, StreamCancelled, Update, every, html, stream_props
from tests.browser.conftest import Console, Serve, Visit
from tests.support.browser import without_hub
from tests.support.eventually import eventually_sync
from tests.support.serving import Journal, protect_from_csrf

CALLBACKS = 5
"""With the page's link as many connections as a browser has for one host."""

COUNT = re.compile(r"^\d+$")
"""What a stream that runs shows."""

AT_ONCE = 5.0
"""Seconds from a click on Stop to the generator. On an idle machine it takes a fifth of one."""


class Busy:
    """An app with a stream, and plain callbacks that take until `done` is set.

    Attributes:
        ended: when streams have ended, on the monotonic clock.
        holding: is noted when one of the callbacks runs.
    """

    def __init__(self, **options: Any) -> None:
        self.ended = Journal[float]()
        self.holding = Journal[int]()
        self.done = threading.Event()
        self.app = app = Flash(__name__, **options)
        app.layout = [html.Button("go", id="go"), html.Button("stop", id="stop"), html.Button("slow", id="slow")]
        app.layout += [html.P("-", id="out"), *[html.P("-", id=f"slow-{number}") for number in range(CALLBACKS)]]

        def on_error(error: StreamCancelled) -> None:
            self.ended.note(time.monotonic())

        @app.event_callback(
            Input("go", "n_clicks"),
            cancel=[Input("stop", "n_clicks")],
            on_error=on_error,
            reset_props=[("out", {"children": "stopped"})],
        )
        async def run(clicks: int) -> AsyncIterator[Update]:
            async for count in every(0.1):
                yield stream_props("out", {"children": f"{count}"})

        for number in range(CALLBACKS):
            self._add(number)

    def _add(self, number: int) -> None:
        @self.app.callback(Output(f"slow-{number}", "children"), Input("slow", "n_clicks"), prevent_initial_call=True)
        def hold(clicks: int) -> str:
            self.holding.note(number)
            self.done.wait(60)
            return "done"

    def hold_all(self, page: Page) -> None:
        """Start a stream, and have the callbacks take all connections."""
        page.locator("#go").click()
        expect(page.locator("#out")).to_have_text(COUNT)
        page.locator("#slow").click()
        for _ in range(CALLBACKS):
            self.holding.next()


@pytest.fixture
def busy() -> Iterator[Busy]:
    busy = Busy(ping_interval=1)
    yield busy
    busy.done.set()


def test_stop_reaches_the_generator_at_once_whatever_callbacks_hold(busy: Busy, visit: Visit) -> None:
    page = visit(busy.app)
    busy.hold_all(page)
    page.evaluate("() => document.querySelector('#stop').click()")
    clicked = time.monotonic()
    took = busy.ended.next() - clicked
    expect(page.locator("#out")).to_have_text("stopped")
    assert took < AT_ONCE, took
    busy.done.set()
    expect(page.locator("#slow-4")).to_have_text("done")


def test_a_stream_starts_at_once_whatever_callbacks_hold(busy: Busy, visit: Visit) -> None:
    page = visit(busy.app)
    busy.hold_all(page)
    page.locator("#stop").click()
    busy.ended.next()
    expect(page.locator("#out")).to_have_text("stopped")
    page.locator("#go").click()
    page.locator("#go").click()
    expect(page.locator("#out")).to_have_text(COUNT)
    busy.done.set()
    expect(page.locator("#slow-4")).to_have_text("done")
    # What the browser has sent when it could is not taken a second time: the second click has superseded the first.
    expect(page.locator("#out")).to_have_text(re.compile(r"^\d\d$"))
    busy.ended.next()
    assert busy.ended.rest() == []
    page.locator("#stop").click()
    expect(page.locator("#out")).to_have_text("stopped")


def test_a_page_that_is_loaded_with_many_slow_callbacks_has_its_stream_at_once(visit: Visit) -> None:
    app = Flash(__name__)
    done = threading.Event()
    app.layout = [html.P("-", id="out"), *[html.P("-", id=f"slow-{number}") for number in range(8)]]

    @app.event_callback(Input("out", "id"), prevent_initial_call=False)
    async def run(_: str) -> AsyncIterator[Update]:
        async for count in every(0.1):
            yield stream_props("out", {"children": f"{count}"})

    for number in range(8):

        @app.callback(Output(f"slow-{number}", "children"), Input("out", "id"))
        def hold(_: str) -> str:
            done.wait(60)
            return "done"

    try:
        page = visit(app)
        expect(page.locator("#out")).to_have_text(COUNT)
        assert page.locator("#slow-0").inner_text() == "-"
    finally:
        done.set()
    expect(page.locator("#slow-7")).to_have_text("done")


def test_acknowledgements_get_through_whatever_callbacks_hold(busy: Busy, visit: Visit) -> None:
    page = visit(busy.app)
    busy.hold_all(page)
    [channel] = busy.app.channels.pages()
    before = channel.outbox.acknowledged
    eventually_sync(lambda: channel.outbox.acknowledged >= before + 20)
    page.locator("#stop").click()
    busy.ended.next()
    busy.done.set()
    expect(page.locator("#slow-4")).to_have_text("done")


def test_a_message_over_the_websocket_carries_dashs_csrf_header(busy: Busy, visit: Visit) -> None:
    refused = protect_from_csrf(busy.app)
    page = visit(busy.app)
    busy.hold_all(page)
    page.locator("#stop").click()
    busy.ended.next()
    assert refused.rest() == []
    busy.done.set()
    expect(page.locator("#slow-4")).to_have_text("done")


def test_where_websockets_are_blocked_everything_goes_by_requests(busy: Busy, visit: Visit, console: Console) -> None:
    @busy.app.server.before_websocket
    async def block() -> tuple[str, int]:
        return "Nobody may", 403

    page = visit(busy.app)
    tried: list[str] = []
    page.on("console", lambda message: tried.append(message.text) if "_flash/control" in message.text else None)
    busy.hold_all(page)
    page.locator("#stop").click()

    def is_tried() -> bool:
        page.wait_for_timeout(20)
        return bool(tried)

    eventually_sync(is_tried, "a websocket is tried")
    # It is not tried again.
    page.wait_for_timeout(1_000)
    busy.done.set()
    busy.ended.next()
    expect(page.locator("#out")).to_have_text("stopped")
    errors = console.take()
    assert len(errors) == 1
    assert "_flash/control" in errors[0]


def test_a_dialog_that_is_left_open_does_not_end_the_streams_behind_it(visit: Visit) -> None:
    busy = Busy(ping_interval=0.5, stall_timeout=2.5)
    page = visit(busy.app)
    page.locator("#go").click()
    expect(page.locator("#out")).to_have_text(COUNT)
    dialogs: list[Dialog] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog))
    with page.expect_event("dialog"):
        page.evaluate("() => { setTimeout(() => alert('Lunch?')); }")
    page.wait_for_timeout(4_000)
    [dialog] = dialogs
    assert busy.ended.rest() == []
    dialog.accept()
    page.locator("#stop").click()
    expect(page.locator("#out")).to_have_text("stopped")


def test_a_page_that_is_not_busy_opens_no_websocket(busy: Busy, visit: Visit) -> None:
    page = visit(busy.app)
    opened: list[str] = []
    page.on("websocket", lambda socket: opened.append(socket.url))
    page.evaluate("fetch('/_flash/health')")
    page.locator("#go").click()
    expect(page.locator("#out")).to_have_text(re.compile(r"^1\d$"))
    page.locator("#stop").click()
    expect(page.locator("#out")).to_have_text("stopped")
    # A moment may be long on a machine that is busy itself.
    assert len(opened) <= 1


def test_pages_that_are_opened_together_in_a_cold_browser_lose_no_click(
    busy: Busy, serving: Serve, context: BrowserContext
) -> None:
    url = serving(busy.app).url
    refused: list[str] = []
    context.on("response", lambda response: refused.append(response.url) if response.status == 403 else None)
    pages = [context.new_page() for _ in range(4)]
    for page in pages:
        page.evaluate("url => { location.href = url; }", url)
    for page in pages:
        # A document that comes later may change the cookie under a link: that is another test.
        page.locator("#go").wait_for()
    for page in pages:
        page.locator("#go").click()
    for page in pages:
        expect(page.locator("#out")).to_have_text(COUNT)
    for page in pages:
        page.locator("#stop").click()
        expect(page.locator("#out")).to_have_text("stopped")
    assert refused == []


def test_a_cookie_that_changes_under_a_page_costs_no_click_and_no_stream(
    busy: Busy, visit: Visit, context: BrowserContext, console: Console
) -> None:
    without_hub(context)
    context.add_init_script(
        "window.links = []; window.EventSource = class extends EventSource"
        " { constructor(url) { super(url); links.push(this); } }"
    )
    page = visit(busy.app)
    page.locator("#go").click()
    expect(page.locator("#out")).to_have_text(COUNT)
    # The document of another tab, which was asked for before there was a cookie, comes now.
    cookies: list[Any] = context.cookies()
    [cookie] = [cookie for cookie in cookies if cookie["name"] == "flash_browser"]
    context.add_cookies([cookie | {"value": "v" * 32}])
    page.locator("#stop").click()
    expect(page.locator("#out")).to_have_text("stopped")
    page.locator("#go").click()
    expect(page.locator("#out")).to_have_text(COUNT)
    assert console.take() == []
    # The link is cut; the page comes back to its streams, with a ticket.
    [channel] = busy.app.channels.pages()
    life = channel.life
    with page.expect_response(lambda response: "ticket=" in response.url and response.status == 200):
        page.evaluate("() => { const link = links.at(-1); link.close(); link.onerror(); }")
    shown = page.locator("#out").inner_text()
    expect(page.locator("#out")).not_to_have_text(shown)
    assert [channel.life for channel in busy.app.channels.pages()] == [life]
    page.locator("#stop").click()
    expect(page.locator("#out")).to_have_text("stopped")
    # The browser says that its question, why, was answered with 403.
    assert all("403" in error for error in console.take())
