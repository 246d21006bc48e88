"""Tabs whose processes are ended, or stand still, while others go on."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from flash import EndReason
from tests.engines.conftest import Serve
from tests.engines.endless import Endless, start
from tests.engines.launching import webkit
from tests.engines.tabs import Browser

LONG = 600.0
"""Seconds: a stream that ends within a test does not end by this."""


@pytest.fixture
def expendable(browser: Browser) -> Generator[Browser]:
    """The browser. Of WebKit it is one of the test's own: its driver ends the session with the process of any page."""
    if browser.engine == "webkit":
        with webkit() as own:
            yield own
    else:
        yield browser


def test_a_tab_whose_process_is_killed_ends_its_own_streams_alone(expendable: Browser, serving: Serve) -> None:
    """The browser frees its lock, however it has ended: the page that shares the link with it goes on."""
    endless = Endless(ping_interval=0.5, stall_timeout=LONG, reconnect_grace=LONG)
    server = serving(endless.app)
    first, second = expendable.open(server.url), expendable.open(server.url)
    for tab in (first, second):
        start(tab)
    process = second.process()
    assert process.pid != first.process().pid
    process.kill()
    endless.expect_end(EndReason.DISCONNECTED)
    # The other page still answers pings, in the browser that no driver of WebKit's reaches any more, too.
    endless.asked.rest()
    acknowledgements = 0
    while acknowledgements < 3:
        acknowledgements += endless.asked.next() == "ack"
    server.expect_streaming("endless")
    if expendable.engine != "webkit":
        second.close()
        start(first, 2)
        endless.expect_end(EndReason.SUPERSEDED)


def test_a_tab_that_stands_still_beyond_the_stall_timeout_recovers_by_itself(browser: Browser, serving: Serve) -> None:
    endless = Endless(ping_interval=0.5, stall_timeout=3)
    server = serving(endless.app)
    first, second = browser.open(server.url), browser.open(server.url)
    for tab in (first, second):
        start(tab)
    with second.standing_still():
        endless.expect_end(EndReason.DISCONNECTED)
        server.expect_streaming("endless")
    second.expect("#shown", "idle")
    start(second, 2)
    endless.going_on.open()
    for tab, run in ((first, 1), (second, 2)):
        tab.expect("#shown", f"run {run} goes on")
    server.expect_streaming("endless", "endless")
    endless.expect_no_end()
