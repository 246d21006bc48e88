"""Many tabs of one browser share one connection, which their hub holds: a SharedWorker. HTTP/1.1 throughout."""

from __future__ import annotations

import time

import quart
import quart_trio
from playwright.sync_api import BrowserContext, Page, expect

from flash.asgi import hub_script
from tests.browser.conftest import Console, Serve
from tests.browser.tabs import COUNT, OpenTab, Tabs, expect_going_on, process_of, without_hub_in_each_way
from tests.support.eventually import eventually_sync
from tests.support.serving import Gate, Journal, protect_from_csrf

TABS = 30
STREAMING = 24
"""So many of the tabs have a stream that goes on."""

SOON = 5.0
"""Seconds from the load of a tab to its first update. On an idle machine it takes a third of one."""


def test_thirty_tabs_have_their_updates_soon_over_one_connection(serving: Serve, context: BrowserContext) -> None:
    tabs = Tabs()
    server = serving(tabs.app)
    url = server.url
    pages: list[Page] = []
    for number in range(TABS):
        page = context.new_page()
        page.goto(url if number < STREAMING else f"{url}/?quiet")
        loaded = time.monotonic()
        expect(page.locator("#out")).not_to_have_text("-")
        took = time.monotonic() - loaded
        assert took < SOON, (number, took)
        pages.append(page)
    tabs.expect_links(TABS)
    for page in (pages[0], pages[STREAMING - 1]):
        expect_going_on(page)
    pages[0].locator("#stop").click()
    expect(pages[0].locator("#out")).to_have_text("stopped")
    server.expect_streaming(*["run"] * (STREAMING - 1))
    pages[1].close()
    server.expect_streaming(*["run"] * (STREAMING - 2))


def test_acknowledgements_of_several_tabs_go_in_one_request_past_a_csrf_protection(
    serving: Serve, context: BrowserContext, open_tab: OpenTab
) -> None:
    tabs = Tabs(ping_interval=0.5, stall_timeout=3)
    refused = protect_from_csrf(tabs.app)
    url = serving(tabs.app).url
    # The cookie comes with the first document.
    context.new_page().goto(f"{url}/?quiet")
    pages = [open_tab(url) for _ in range(3)]
    tabs.expect_links(4)
    eventually_sync(lambda: any(pages > 1 for pages in tabs.acknowledged.rest()), "one request for several pages")
    for page in pages:
        expect_going_on(page)
    assert refused.rest() == []
    assert tabs.ended.rest() == []


def test_a_hub_that_is_gone_is_replaced_and_costs_no_stream(
    serving: Serve, context: BrowserContext, open_tab: OpenTab
) -> None:
    tabs = Tabs(reconnect_grace=5)
    url = serving(tabs.app).url
    pages = [open_tab(url) for _ in range(3)]
    tabs.expect_links(3)
    lives = {channel.life for channel in tabs.app.stream_settings.channels.pages()}
    # The hub runs in the process of the page that has started it.
    process_of(pages[0]).kill()
    pages.pop(0).close()
    # Nobody could say that it is gone.
    assert tabs.ended.next() == ""
    for page in pages:
        expect_going_on(page)
    tabs.expect_links(2)
    assert tabs.ended.rest() == []
    assert {channel.life for channel in tabs.app.stream_settings.channels.pages()} < lives


SAY_LATE = """
() => {
    const {requests, renderer} = flash;
    const script = dash_component_api.getLayout('_flash').props.hub;
    const {port} = new SharedWorker(requests.address(script), {name: `Flash ${renderer.config().prefix}`});
    const page = requests.page();
    const late = new Promise(resolve => (port.onmessage = ({data}) => data.kind !== 'event' && resolve(data.kind)));
    port.postMessage({kind: 'carry', page, turn: 0, last: '', ticket: null, lock: null, headers: requests.proofs()});
    port.postMessage({kind: 'drop', page});
    port.postMessage({kind: 'alive'});
    return late;
}
"""


def test_what_a_page_has_said_before_it_came_back_to_its_hub_and_is_heard_late_changes_nothing(
    serving: Serve, open_tab: OpenTab
) -> None:
    tabs = Tabs()
    url = serving(tabs.app).url
    page = open_tab(url)
    assert page.evaluate(SAY_LATE) == "alive"
    expect_going_on(page)
    # The hub opens another link, with all of its pages.
    open_tab(url)
    tabs.expect_links(2)
    expect_going_on(page)
    assert tabs.ended.rest() == []


@without_hub_in_each_way
def test_without_a_hub_each_tab_has_its_own_connection_and_says_so_once(
    serving: Serve, context: BrowserContext, open_tab: OpenTab, console: Console, lack: str, reason: str
) -> None:
    tabs = Tabs()
    said: list[str] = []
    context.on("console", lambda message: said.append(message.text) if "do not share" in message.text else None)
    context.add_init_script(tabs.lose_hub(lack))
    url = serving(tabs.app).url
    pages = [open_tab(url) for _ in range(2)]
    tabs.expect_links(1, 1)
    for page in pages:
        expect_going_on(page)
    assert [reason in text for text in said] == [True] * len(pages), said
    errors = console.take()
    assert len(errors) == (len(pages) if lack == "forbidden" else 0), errors


def test_each_version_and_each_prefix_has_a_hub_of_its_own(
    serving: Serve, context: BrowserContext, open_tab: OpenTab
) -> None:
    server = quart_trio.QuartTrio(__name__)
    one = Tabs(server=server, url_base_pathname="/one/")
    two = Tabs(server=server, url_base_pathname="/two/")

    @server.get("/one/_flash/hub-new.js")
    async def serve() -> quart.Response:
        return quart.Response(hub_script.content() + b"// newer", content_type="text/javascript")

    async def rename(response: quart.Response) -> quart.Response:
        if quart.request.path.endswith("_dash-layout") and quart.request.headers["Referer"].endswith("?new"):
            text = (await response.get_data(as_text=True)).replace(hub_script.name(), "hub-new.js")
            response.set_data(text)
        return response

    server.after_request(rename)
    url = serving(one.app).url
    pages = [open_tab(f"{url}/{path}") for path in ("one/", "one/", "two/", "two/", "one/?new", "one/?new")]
    one.expect_links(2, 2)
    two.expect_links(2)
    for page in pages:
        expect_going_on(page)


def test_a_slow_document_that_changes_the_cookie_under_a_link_costs_no_start_and_no_stream(
    serving: Serve, context: BrowserContext, open_tab: OpenTab, console: Console
) -> None:
    """It was asked for before the browser had a cookie, and so brings one; the browser keeps only the later one."""
    tabs = Tabs()
    is_asked, may_come = Journal[str](), Gate()

    @tabs.app.server.before_request
    async def hold_back() -> None:
        if quart.request.path == "/" and quart.request.query_string == b"slow":
            is_asked.note("document")
            await may_come.wait()

    server = serving(tabs.app)
    slow = context.new_page()
    slow.evaluate("url => { location.href = url; }", f"{server.url}/?slow")
    is_asked.next()
    fast = open_tab(f"{server.url}/?fast")
    tabs.expect_links(1)
    cookies = context.cookies()
    may_come.open()
    expect(slow.locator("#out")).to_have_text(COUNT)
    assert context.cookies() != cookies
    expect_going_on(fast)
    assert tabs.ended.rest() == []
    for page in (fast, slow):
        page.locator("#stop").click()
        expect(page.locator("#out")).to_have_text("stopped")
        page.locator("#go").click()
        expect(page.locator("#out")).to_have_text(COUNT)
    server.expect_streaming("run", "run")
    # The browser notes that the first page was refused until it had a ticket.
    assert all("403" in error for error in console.take())
