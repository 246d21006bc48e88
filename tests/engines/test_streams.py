"""What a stream shows, how its condition ends it, and how it starts: with its page, in several tabs, on a busy page."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Generator

import pytest

from flash import EndReason, Flash, Input, Output, Update, every, html, stream_props
from tests.engines.conftest import Serve, Visit
from tests.engines.endless import Endless, start
from tests.engines.tabs import Browser
from tests.support.serving import Gate

INITIAL = 12
"""Event callbacks that start when their page is loaded."""

CALLBACKS = 5
"""With the page's link as many connections as a browser has for one host."""


def test_a_stream_updates_its_page_until_its_condition_ends_it(browser: Browser, serving: Serve) -> None:
    """Under a prefix, which every address of the page's has to have."""
    endless = Endless(url_base_pathname="/dashboards/one/")
    tab = browser.open(f"{serving(endless.app).url}/dashboards/one/")
    for run in (1, 2):
        start(tab, run)
        tab.click("#stop")
        tab.expect("#shown", "idle")
        endless.expect_end(EndReason.CANCELLED)


def test_every_update_is_seen_in_its_order(visit: Visit) -> None:
    app = Flash(__name__)
    app.layout = [html.Button("Start", id="start"), html.Div(id="count"), html.Div("", id="seen")]

    @app.event_callback(Input("start", "n_clicks"))
    async def count(n_clicks: int) -> AsyncIterator[Update]:
        for number in range(200):
            yield stream_props("count", {"children": number})

    app.clientside_callback(
        "number => { (window.noted ??= []).push(number); return noted.length; }",
        Output("seen", "children"),
        Input("count", "children"),
        prevent_initial_call=True,
    )
    tab = visit(app)
    tab.click("#start")
    tab.expect("#seen", "200")
    assert tab.evaluate("return noted") == list(range(200))


def test_event_callbacks_that_start_with_their_page_all_start(visit: Visit) -> None:
    app = Flash(__name__)
    app.layout = [html.Div("idle", id=f"out-{number}", className="out") for number in range(INITIAL)]

    def add(number: int) -> None:
        @app.event_callback(Input(f"out-{number}", "id"), prevent_initial_call=False)
        async def run(_: str) -> AsyncIterator[Update]:
            async for count in every(0.05):
                yield stream_props(f"out-{number}", {"children": "first" if count == 0 else "more"})

    for number in range(INITIAL):
        add(number)
    visit(app).expect(".out", *["more"] * INITIAL)


def test_eight_event_callbacks_stream_at_once_on_one_page(browser: Browser, serving: Serve) -> None:
    gates = [Gate() for _ in range(2)]
    app = Flash(__name__)
    app.layout = [
        html.Button("Start", id="start"),
        html.Button("Ask", id="ask"),
        html.Div("idle", id="answer"),
        *[html.Div("idle", id=f"out-{n}", className="out") for n in range(8)],
    ]

    def add(n: int) -> None:
        @app.event_callback(Input("start", "n_clicks"))
        async def work(n_clicks: int) -> AsyncIterator[Update]:
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
    tab = browser.open(server.url)
    tab.click("#start")
    for step, gate in enumerate(gates):
        # None of them goes on before all of them have come as far.
        tab.expect(".out", *[f"{n}: step {step}" for n in range(8)])
        server.expect_streaming(*["work"] * 8)
        tab.click("#ask")
        tab.expect("#answer", f"answer {step + 1}")
        gate.open()
    tab.expect(".out", *[f"{n}: done" for n in range(8)])


def test_tabs_that_are_opened_one_after_the_other_in_a_cold_browser_all_stream(
    browser: Browser, serving: Serve
) -> None:
    endless = Endless()
    server = serving(endless.app)
    tabs = [browser.open(server.url) for _ in range(4)]
    for tab in tabs:
        start(tab)
    server.expect_streaming(*["endless"] * 4)
    for tab in tabs:
        tab.click("#stop")
        tab.expect("#shown", "idle")
        endless.expect_end(EndReason.CANCELLED)


class Busy:
    """An app whose callbacks hold every connection that a page's link leaves, until `done` is set."""

    def __init__(self) -> None:
        self.endless = Endless()
        self.done = threading.Event()
        self.holding = threading.Semaphore(0)
        app = self.endless.app
        app.layout.children.append(html.Button("Slow", id="slow"))
        app.layout.children.extend(html.P("-", id=f"slow-{n}", className="slow") for n in range(CALLBACKS))
        for number in range(CALLBACKS):
            self._add(number)

    def _add(self, number: int) -> None:
        @self.endless.app.callback(
            Output(f"slow-{number}", "children"), Input("slow", "n_clicks"), prevent_initial_call=True
        )
        def hold(clicks: int) -> str:
            self.holding.release()
            self.done.wait(60)
            return "done"


@pytest.fixture
def busy() -> Generator[Busy]:
    busy = Busy()
    yield busy
    busy.done.set()


def test_streams_stop_and_start_whatever_callbacks_hold(busy: Busy, browser: Browser, visit: Visit) -> None:
    """At once, over the websocket; but WebKitGTK counts websockets among a host's connections, so there it waits."""
    tab = visit(busy.endless.app)
    start(tab)
    tab.click("#slow")
    for _ in range(CALLBACKS):
        assert busy.holding.acquire(timeout=30)
    tab.click("#stop")
    if browser.engine == "webkit":
        busy.done.set()
    tab.expect("#shown", "idle")
    busy.endless.expect_end(EndReason.CANCELLED)
    start(tab, 2)
    busy.done.set()
    tab.expect(".slow", *["done"] * CALLBACKS)
