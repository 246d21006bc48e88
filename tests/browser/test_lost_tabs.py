"""Tabs that crash, are killed, closed, or stand still, while others go on. HTTP/1.1 with a hub throughout."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import pytest
import quart
from playwright.sync_api import BrowserContext, Error as PlaywrightError, Page, expect

from tests.browser.conftest import Serve
from tests.browser.tabs import COUNT, OpenTab, Tabs, expect_going_on, process_of
from tests.support.chromium import INSECURE_HOST
from tests.support.serving import Journal

STALL_TIMEOUT = 3.0
"""Seconds, in the tests in which a page is to be missed by its silence. In the others it is missed otherwise."""

LONG = 600.0

LATE_LOCK = """
// The page that a tab begins with has no locks.
if (navigator.locks) {
    const {locks} = navigator;
    const request = locks.request.bind(locks);
    const mayLock = new Promise(resolve => (window.giveLock = resolve));
    locks.request = (...of) => mayLock.then(() => request(...of));
}
"""
"""A page gets no lock until `giveLock` is called; it announces itself to its hub after a second."""

HOLDS_LOCK = (
    "navigator.locks.query().then(({held}) => held.some(({name}) => name.endsWith(` ${flash.requests.page()}`)))"
)
"""Whether a page holds its lock."""


def crash(page: Page) -> None:
    """Have a page crash, as by a bug of the browser's."""
    with page.expect_event("crash"), contextlib.suppress(PlaywrightError):
        page.goto("chrome://crash")


def kill(page: Page) -> None:
    """Have the system end a page's process, as a lack of memory does."""
    with page.expect_event("crash"):
        process_of(page).kill()


def links_of(tabs: Tabs) -> Journal[str]:
    """Notes each request for a link that comes to the app from now on."""
    opened = Journal[str]()

    @tabs.app.server.before_request
    async def note() -> None:
        if quart.request.path.endswith("_flash/events"):
            opened.note(quart.request.query_string.decode())

    return opened


@pytest.mark.parametrize(
    ("lose", "has_locks"),
    [(crash, True), (kill, True), (kill, False)],
    ids=["crashed", "killed", "killed, without locks"],
)
def test_a_tab_that_is_lost_ends_its_own_streams_alone(
    serving: Serve, open_tab: OpenTab, lose: Callable[[Page], None], has_locks: bool
) -> None:
    """By its lock within moments; on an insecure origin, which has none, when it has acknowledged nothing for long."""
    tabs = Tabs(ping_interval=0.5, stall_timeout=LONG if has_locks else STALL_TIMEOUT, reconnect_grace=LONG)
    server = serving(tabs.app)
    url = server.url if has_locks else server.url.replace("127.0.0.1", INSECURE_HOST)
    # The hub runs in the process of the page that has started it.
    first = open_tab(f"{url}/?first")
    assert first.evaluate("'locks' in navigator") == has_locks
    second, third = open_tab(f"{url}/?second"), open_tab(f"{url}/?third")
    tabs.expect_links(3)
    lose(second)
    assert tabs.ended.next() == "?second"
    second.close()
    expect_going_on(third)
    tabs.expect_links(2)
    third.close()
    assert tabs.ended.next() == "?third"
    expect_going_on(first)
    tabs.expect_links(1)
    assert tabs.ended.rest() == []
    server.expect_streaming("run")


def test_a_tab_that_is_lost_is_missed_by_its_lock_although_that_came_after_the_link(
    serving: Serve, context: BrowserContext, open_tab: OpenTab
) -> None:
    """On a machine that is busy when the page is loaded, for example."""
    tabs = Tabs(ping_interval=0.5, stall_timeout=LONG, reconnect_grace=LONG)
    url = serving(tabs.app).url
    first = open_tab(f"{url}/?first")
    context.add_init_script(LATE_LOCK)
    second = open_tab(f"{url}/?second")
    assert not second.evaluate(HOLDS_LOCK)
    tabs.expect_links(2)
    second.evaluate("giveLock()")
    second.wait_for_function(HOLDS_LOCK)
    kill(second)
    assert tabs.ended.next() == "?second"
    second.close()
    expect_going_on(first)
    assert tabs.ended.rest() == []


def test_a_tab_that_stands_still_beyond_the_stall_timeout_starts_its_stream_again(
    serving: Serve, open_tab: OpenTab
) -> None:
    """One that is to be restarted; without `restart` the page is ready for the next start: see `tests/engines`."""
    tabs = Tabs(restart=True, ping_interval=0.5, stall_timeout=STALL_TIMEOUT)
    server = serving(tabs.app)
    first, second = open_tab(f"{server.url}/?first"), open_tab(f"{server.url}/?second")
    tabs.expect_links(2)
    with process_of(second).standing_still():
        assert tabs.ended.next() == "?second"
        expect_going_on(first)
    server.expect_streaming("run", "run")
    expect(second.locator("#out")).to_have_text(COUNT)
    expect_going_on(second)
    tabs.expect_links(2)
    assert tabs.ended.rest() == []


def test_a_hub_that_has_stood_still_and_goes_on_takes_no_page_back(
    serving: Serve, context: BrowserContext, open_tab: OpenTab
) -> None:
    """The pages that could not wait for it have links of their own by then."""
    # A link may be silent for three intervals: longer than a busy machine is held up.
    tabs = Tabs(ping_interval=10, stall_timeout=LONG, reconnect_grace=LONG)
    opened = links_of(tabs)
    server = serving(tabs.app)
    given_up: list[str] = []
    context.on("console", lambda message: given_up.append(message.text) if "do not share" in message.text else None)
    # The hub runs in the process of the page that has started it.
    pages = [open_tab(server.url) for _ in range(3)]
    tabs.expect_links(3)
    lives = {channel.life for channel in tabs.app.stream_settings.channels.pages()}
    with process_of(pages[0]).standing_still():
        tabs.expect_links(1, 1, 1)
        opened.rest()
    # Whatever waited in the hub, it opens a link for its own page at the most.
    for _ in range(2):
        for page in pages:
            expect_going_on(page)
    tabs.expect_links(1, 1, 1)
    assert tabs.ended.rest() == []
    assert {channel.life for channel in tabs.app.stream_settings.channels.pages()} == lives
    assert len(given_up) == 2
    assert len(opened.rest()) <= 1


COUNT_HUBS = """
window.hubs = 0;
const Original = window.SharedWorker;
window.SharedWorker = class extends Original { constructor(...given) { super(...given); window.hubs += 1; } };
"""


def test_pages_that_have_left_a_hub_which_stood_still_come_back_to_it_and_stay(
    serving: Serve, context: BrowserContext, open_tab: OpenTab
) -> None:
    """What they have said when they left it, and when they came back, reaches the hub at once, in whichever order."""
    context.add_init_script(COUNT_HUBS)
    tabs = Tabs(ping_interval=0.5, stall_timeout=LONG, reconnect_grace=LONG)
    opened = links_of(tabs)
    server = serving(tabs.app)
    # The hub runs in the process of the page that has started it.
    pages = [open_tab(server.url) for _ in range(3)]
    tabs.expect_links(3)
    with process_of(pages[0]).standing_still():
        for page in pages[1:]:
            page.wait_for_function("hubs == 2")
        opened.rest()
    for _ in range(2):
        for page in pages:
            expect_going_on(page)
    tabs.expect_links(3)
    assert tabs.ended.rest() == []
    assert len(opened.rest()) <= len(pages)


def test_a_page_whose_channel_has_been_taken_by_another_begins_anew_when_it_acknowledges(
    serving: Serve, open_tab: OpenTab
) -> None:
    """As when its browser has come to be held by another worker, while the link to the first one stands."""
    tabs = Tabs(ping_interval=0.5, stall_timeout=LONG, reconnect_grace=LONG)
    taken, refused = threading.Event(), Journal[str]()

    @tabs.app.server.before_request
    async def refuse() -> tuple[str, int] | None:
        if quart.request.path.endswith("_flash/ack") and taken.is_set():
            taken.clear()
            refused.note(quart.request.path)
            return "This event has not been sent to the page.", 409
        return None

    page = open_tab(serving(tabs.app).url)
    taken.set()
    refused.next()
    expect(page.locator("#out")).to_have_text("stopped")
    page.locator("#go").click()
    expect(page.locator("#out")).to_have_text(COUNT)
    expect_going_on(page)
    tabs.expect_links(1)
