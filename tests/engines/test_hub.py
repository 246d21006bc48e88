"""The hub: tabs share its link, and each has a link of its own where there is none, in every engine."""

from __future__ import annotations

from tests.browser.tabs import COUNT, Tabs, without_hub_in_each_way
from tests.engines.conftest import LONG_GRACE, Serve
from tests.engines.tabs import Browser, Tab
from tests.support.eventually import eventually_sync

NOTE_WARNINGS = """
window.said = [];
const warn = console.warn;
console.warn = (...parts) => { said.push(parts.join(' ')); warn(...parts); };
"""


def expect_going_on(tab: Tab) -> None:
    """Wait for another update."""
    shown = tab.texts("#out")

    def has_changed() -> bool:
        texts = tab.texts("#out")
        return texts != shown and bool(COUNT.match(texts[0]))

    eventually_sync(has_changed)


def run_in_head(tabs: Tabs, *scripts: str) -> None:
    """Have each page run these before anything else."""
    elements = "".join(f"<script>{{{script}}}</script>" for script in scripts)
    tabs.app.index_string = tabs.app.index_string.replace("<head>", f"<head>{elements}")


def test_tabs_share_a_link_and_one_that_is_closed_ends_its_own_stream_alone(browser: Browser, serving: Serve) -> None:
    tabs = Tabs(reconnect_grace=LONG_GRACE)
    url = serving(tabs.app).url
    first, *others = [browser.open(f"{url}/?{number}") for number in range(3)]
    tabs.expect_links(3)
    for tab in (first, *others):
        expect_going_on(tab)
    # The one that has started the hub.
    first.close()
    assert tabs.ended.next() == "?0"
    tabs.expect_links(2)
    for tab in others:
        expect_going_on(tab)
    assert tabs.ended.rest() == []


@without_hub_in_each_way
def test_without_a_hub_each_tab_has_its_own_connection_and_says_so_once(
    browser: Browser, serving: Serve, lack: str, reason: str
) -> None:
    tabs = Tabs(reconnect_grace=LONG_GRACE)
    if lack == "forbidden" and browser.engine == "webkit":
        reason = "this browser has or allows none"
    run_in_head(tabs, NOTE_WARNINGS, tabs.lose_hub(lack))
    url = serving(tabs.app).url
    first, second = [browser.open(f"{url}/?{number}") for number in range(2)]
    tabs.expect_links(1, 1)
    for tab in (first, second):
        expect_going_on(tab)
        said = [text for text in tab.evaluate("return said;") if "do not share" in text]
        assert [reason in text for text in said] == [True], said
    first.close()
    assert tabs.ended.next() == "?0"
    expect_going_on(second)
    assert tabs.ended.rest() == []


def test_apps_under_two_prefixes_have_a_hub_each(browser: Browser, serving: Serve) -> None:
    one = Tabs(reconnect_grace=LONG_GRACE, url_base_pathname="/one/")
    two = Tabs(reconnect_grace=LONG_GRACE, url_base_pathname="/two/", server=one.app.server)
    url = serving(one.app).url
    opened = [browser.open(f"{url}/{prefix}/") for prefix in ("one", "two", "one", "two")]
    for tabs in (one, two):
        tabs.expect_links(2)
    for tab in opened:
        expect_going_on(tab)
