"""Tabs that are closed, reloaded, left and come back to."""

from __future__ import annotations

import pytest
import quart

from flash import EndReason
from tests.engines.conftest import LONG_GRACE, Serve, Visit
from tests.engines.endless import Endless, start
from tests.engines.tabs import Browser, Tab
from tests.faults.cutting_proxy import cutting_proxy
from tests.support.serving import Journal


def test_closing_the_tab_ends_its_streams(visit: Visit) -> None:
    endless = Endless(reconnect_grace=LONG_GRACE)
    tab = visit(endless.app)
    start(tab)
    tab.close()
    endless.expect_end(EndReason.DISCONNECTED)


def test_the_streams_of_another_tab_go_on_when_one_is_closed(browser: Browser, serving: Serve) -> None:
    endless = Endless(reconnect_grace=LONG_GRACE)
    server = serving(endless.app)
    first, second = browser.open(server.url), browser.open(server.url)
    for tab in (first, second):
        start(tab)
    server.expect_streaming("endless", "endless")
    first.close()
    endless.expect_end(EndReason.DISCONNECTED)
    server.expect_streaming("endless")
    start(second, 2)
    endless.expect_end(EndReason.SUPERSEDED)


def test_reloading_ends_the_streams_and_begins_anew(visit: Visit) -> None:
    endless = Endless(reconnect_grace=LONG_GRACE)
    tab = visit(endless.app)
    for _ in range(2):
        start(tab)
        tab.reload()
        endless.expect_end(EndReason.DISCONNECTED)
        tab.expect("#shown", "idle")
    start(tab)


def test_a_page_that_was_left_works_when_it_is_come_back_to(browser: Browser, serving: Serve) -> None:
    """Whether the browser has kept the page or loads it again: Firefox keeps none that holds a lock or has a link."""
    endless = Endless(reconnect_grace=LONG_GRACE)
    server = serving(endless.app)
    tab = browser.open(server.url)
    run = 0
    for times_left in range(3):
        run += 1
        start(tab, run)
        tab.evaluate("window.kept = true;")
        endless.asked.rest()
        if times_left == 0:
            tab.click("#away")
        else:
            tab.forward()
        # At once: the grace has not passed.
        endless.expect_end(EndReason.DISCONNECTED)
        tab.expect("#elsewhere", "Elsewhere")
        server.expect_streaming()
        assert "close" in endless.asked.rest()
        tab.back()
        tab.expect("#shown", "idle")
        if not tab.evaluate("return window.kept === true"):
            assert browser.engine == "firefox"
            run = 0


def test_the_streams_of_another_tab_go_on_when_one_is_left_and_may_come_back(browser: Browser, serving: Serve) -> None:
    """A browser that keeps the first page may stop the hub with it, which that page has started."""
    endless = Endless(reconnect_grace=LONG_GRACE)
    server = serving(endless.app)
    first, second = browser.open(server.url), browser.open(server.url)
    for tab in (first, second):
        start(tab)
    first.click("#away")
    endless.expect_end(EndReason.DISCONNECTED)
    first.expect("#elsewhere", "Elsewhere")
    for run in (2, 3):
        start(second, run)
        endless.expect_end(EndReason.SUPERSEDED)
    first.back()
    first.expect("#shown", "idle")
    first.click("#start")
    server.expect_streaming("endless", "endless")
    start(second, 4)
    endless.expect_end(EndReason.SUPERSEDED)
    endless.expect_no_end()


def test_a_page_that_is_left_says_goodbye(visit: Visit) -> None:
    endless, farewells = Endless(reconnect_grace=LONG_GRACE), Journal[tuple[str, str, object]]()

    @endless.app.server.before_request
    async def listen() -> None:
        if quart.request.path == "/_flash/close":
            farewells.note((quart.request.method, quart.request.headers["Sec-Fetch-Site"], await quart.request.json))

    tab = visit(endless.app)
    start(tab)
    token = tab.evaluate("return dash_component_api.getLayout('_flash').props.token")
    tab.click("#away")
    assert farewells.next() == ("POST", "same-origin", {"page": token})
    endless.expect_end(EndReason.DISCONNECTED)


def test_a_page_that_is_hidden_and_shown_again_connects_again(browser: Browser, serving: Serve) -> None:
    endless = Endless(reconnect_grace=LONG_GRACE)
    server = serving(endless.app)
    tab = browser.open(server.url)
    start(tab)
    hide_and_show(tab)
    endless.expect_end(EndReason.DISCONNECTED)
    tab.expect("#shown", "idle")
    start(tab, 2)
    server.expect_streaming("endless")
    endless.expect_no_end()


def hide_and_show(tab: Tab) -> None:
    """What a page is told that goes into the back/forward cache and comes out of it."""
    for name in ("pagehide", "pageshow"):
        tab.evaluate("dispatchEvent(new PageTransitionEvent(arguments[0], {persisted: true}));", name)


@pytest.mark.parametrize(("target", "event"), [("document", "visibilitychange"), ("window", "online")])
def test_a_page_that_wakes_up_looks_whether_its_connection_lives(
    browser: Browser, serving: Serve, host: str, target: str, event: str
) -> None:
    """The watchdog's own clock stands still, as it does in a computer that sleeps: only the event makes it look."""
    endless = Endless(ping_interval=0.3, stall_timeout=60, reconnect_grace=60)
    in_head = "<head><script>setInterval = () => 0</script>"
    endless.app.index_string = endless.app.index_string.replace("<head>", in_head)
    server = serving(endless.app)
    with cutting_proxy(int(server.url.rpartition(":")[2]), host) as proxy:
        tab = browser.open(proxy.url)
        start(tab)
        assert proxy.freeze("/_flash/events") == 1
        endless.going_on.open()
        # Three pings, and more.
        tab.wait_for("return performance.now() - arguments[0] > 2_000", tab.evaluate("return performance.now()"))
        tab.expect("#shown", "run 1")

        tab.evaluate(f"{target}.dispatchEvent(new Event(arguments[0]));", event)
        tab.expect("#shown", "run 1 goes on")
        # Before the proxy goes, which what the page says on leaving has to pass.
        tab.load(f"{proxy.url}/away")
        endless.expect_end(EndReason.DISCONNECTED)
    endless.expect_no_end()
