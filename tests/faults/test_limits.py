"""Limits on pages and streams, and what many pages, slow ones and doubled ones leave behind: nothing."""

from __future__ import annotations

import os
import resource
from collections.abc import AsyncIterator
from typing import Any

import trio

from flash import Flash, Input, Update, html, stream_props
from tests.faults.conftest import Serve
from tests.faults.sockets import Page, Site
from tests.support.connections import reset
from tests.support.eventually import TIMEOUT, eventually
from tests.support.link import Link

PAGES = 1_000


def waiting(**options: Any) -> Flash:
    """An app with three event callbacks that send an update and wait."""
    app = Flash(__name__, **options)
    app.layout = [html.Button(id=f"go{n}") for n in range(3)]

    def declare(n: int) -> None:
        @app.event_callback(Input(f"go{n}", "n_clicks"))
        async def wait(clicks: int) -> AsyncIterator[Update]:
            yield stream_props(f"go{n}", {"children": clicks})
            await trio.sleep_forever()

    for n in range(3):
        declare(n)
    return app


async def refused(page: Page, status: int, sentence: str) -> None:
    """The page's connection is refused so, and its status says why."""
    assert (await page.connect(ok=False)).status == status
    answer = await page.status()
    assert answer.status == status
    assert sentence in answer.text
    assert "Traceback" not in answer.text
    assert answer.text.endswith(".")


async def test_a_browser_has_so_many_pages_and_another_browser_its_own(serve: Serve) -> None:
    app = waiting(pages_per_browser=2, reconnect_grace=0)
    site = await serve(app)
    first = await site.page()
    connected = await first.connect()
    await (await site.page(first.browser)).connect()
    third = await site.page(first.browser)
    await refused(third, 429, "This browser has 2 pages open already")
    await (await site.page()).connect()
    # A page that comes back is not one more.
    await connected.expect("hello")
    again = await first.connect(after=connected.applied)
    await again.expect("hello")
    assert (await first.leave()).status == 204
    await eventually(lambda: len(app.channels) == 2)
    assert (await third.status()).json() == {"message": None}
    await third.connect()


async def test_a_server_has_so_many_pages(serve: Serve) -> None:
    app = waiting(pages_per_server=2, reconnect_grace=0)
    site = await serve(app)
    pages = [await site.page() for _ in range(3)]
    events = [await page.connect() for page in pages[:2]]
    await refused(pages[2], 503, "as many pages as it may")
    await events[0].close()
    await eventually(lambda: len(app.channels) == 1)
    assert (await pages[2].status()).status == 200
    await pages[2].connect()


async def test_limits_on_pages_hold_for_connections_that_come_at_once(serve: Serve) -> None:
    app = waiting(pages_per_server=5, pages_per_browser=3)
    site = await serve(app)
    mine = await site.page()
    pages = [await site.page(mine.browser) for _ in range(20)] + [await site.page() for _ in range(20)]
    hellos: list[Page] = []

    async def connect(page: Page) -> None:
        events = await page.connect(ok=False)
        if events.status == 200:
            try:
                await events.expect("hello")
            except EOFError:
                return
            hellos.append(page)

    async with trio.open_nursery() as nursery:
        for page in pages:
            nursery.start_soon(connect, page)
    assert len(hellos) == len(app.channels) == 5
    assert sum(page.browser == mine.browser for page in hellos) <= 3


async def test_a_page_has_so_many_streams(serve: Serve) -> None:
    app = waiting(streams_per_page=2)
    site = await serve(app)
    page = await site.page()
    events = await page.connect()
    await page.begin("go0")
    await page.begin("go1")
    answer = await page.start("go2")
    assert answer.status == 429
    assert "the page runs 2 streams already" in answer.text
    refusal = await events.until("refused")
    assert refusal["message"] == answer.text
    assert "go2" in str(page.request("go2")["inputs"])
    assert refusal["match"] is None
    # To start one of them again takes no more room; and another page has its own.
    await page.begin("go0")
    await events.until("end")
    other = await site.page()
    await other.connect()
    await other.begin("go2")
    assert len(app.streams()) == 3


async def test_a_server_has_so_many_streams(serve: Serve) -> None:
    app = waiting(streams_per_server=2, reconnect_grace=0)
    site = await serve(app)
    page, other = await site.page(), await site.page()
    await page.connect()
    events = await other.connect()
    await page.begin("go0")
    await page.begin("go1")
    answer = await other.start("go2")
    assert answer.status == 503
    assert "as many streams as it may" in answer.text
    assert (await events.until("refused"))["message"] == answer.text
    await page.leave()
    await eventually(lambda: app.streams() == [])
    await other.begin("go2")
    assert (await events.until("open"))["stream"]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


def allow_open_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


async def test_1000_pages_that_open_and_close_at_once_leave_nothing(serve: Serve) -> None:
    allow_open_files(2 * PAGES + 200)
    app = waiting(reconnect_grace=0.1)
    # Longer than a busy server may take to come to a new connection's request.
    site = await serve(app, keep_alive_timeout=5)
    # One of each, so that what is made once has been made.
    await come_and_go(site, "closes")
    await eventually(lambda: len(app.channels) == 0)
    await eventually(lambda: tasks() < 25)
    before, files = tasks(), open_files()
    async with trio.open_nursery() as nursery:
        for n in range(PAGES):
            nursery.start_soon(come_and_go, site, ("closes", "resets", "leaves", "starts and closes")[n % 4])
    await eventually(lambda: len(app.channels) == 0)
    await eventually(lambda: tasks() <= before)
    await eventually(lambda: open_files() <= files)
    assert app.streams() == []
    assert app.channels.load.streams == 0
    assert not app.channels.load.pages


async def come_and_go(site: Site, how: str) -> None:
    page = await site.page()
    # Every page waits for the 999 others.
    events = await page.connect(timeout=4 * TIMEOUT)
    with trio.fail_after(4 * TIMEOUT):
        await events.expect("hello")
        if how == "starts and closes":
            await page.begin("go0")
        if how == "leaves":
            assert (await page.leave()).status == 204
            await events.rest()
    if how == "resets":
        events.reset()
    else:
        await events.close()
    site.sockets.discard(events.stream)


async def half_requests(site: Site) -> list[trio.SocketStream]:
    """Connections over which a part of a request has come."""
    slow = [await site.open() for _ in range(200)]
    for n, stream in enumerate(slow):
        await stream.send_all((b"GET /_flash/events?pa", b"GET /_flash/status HTTP/1.1\r\nHost: x\r\nCoo")[n % 2])
    return slow


async def test_half_requests_disturb_nobody(serve: Serve) -> None:
    site = await serve(waiting(reconnect_grace=0.1), keep_alive_timeout=600)
    await half_requests(site)
    page = await site.page()
    events = await page.connect()
    await page.begin("go0")
    assert (await events.until("props"))["props"] == [["go0", {"children": 1}]]


async def test_half_requests_are_given_up(serve: Serve) -> None:
    site = await serve(waiting(), keep_alive_timeout=1)
    with trio.fail_after(TIMEOUT):
        for stream in await half_requests(site):
            while await stream.receive_some():
                pass


async def test_a_body_that_never_comes_holds_nothing_but_its_own_connection(serve: Serve) -> None:
    app = waiting()
    site = await serve(app)
    page = await site.page()
    events = await page.connect()
    await page.begin("go0")
    await events.until("props")
    await eventually(lambda: tasks() < 25)
    before = tasks()
    slow = [await site.open() for _ in range(50)]
    for stream in slow:
        await stream.send_all(
            b"POST /_flash/ack HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60\r\n\r\n{"
        )
    await page.begin("go1")
    await events.until("props")
    for stream in slow:
        reset(stream)
    # One more stream runs than before.
    await eventually(lambda: tasks() <= before + 1)
    assert len(app.streams()) == 2


async def test_of_two_connections_with_one_token_the_newer_wins_and_nothing_is_lost(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go")]

    @app.event_callback(Input("go", "n_clicks"))
    async def count(clicks: int) -> AsyncIterator[Update]:
        for number in range(200):
            yield stream_props("go", {"children": number})
            await trio.sleep(0.002)

    site = await serve(app)
    page = await site.page()
    older = await page.connect()
    await page.begin()
    numbers = await older.numbers(5)
    newer = await page.connect(after=older.applied)
    numbers += await newer.numbers(195)
    assert numbers == list(range(200))
    assert (await newer.until("end"))["reason"] == "completed"
    last = await older.rest()
    assert last[-1].name == "over"
    assert len(app.channels) == 1


async def test_connections_with_one_new_token_that_come_at_once_share_one_channel(serve: Serve) -> None:
    app = waiting()
    site = await serve(app)
    page = await site.page()
    over: list[str] = []
    connected: list[Link] = []

    async def connect() -> None:
        events = await page.connect()
        connected.append(events)
        over.extend(event.name for event in await events.rest() if event.name == "over")

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(connect)
        await eventually(lambda: len(connected) == 20)
        await eventually(lambda: len(over) == 19)
        assert len(app.channels) == 1
        await page.begin("go0")
        await eventually(lambda: [info.updates for info in app.streams()] == [1])
        nursery.cancel_scope.cancel()


async def test_another_browser_with_the_token_gets_nothing_and_changes_nothing(serve: Serve) -> None:
    app = waiting()
    site = await serve(app)
    page = await site.page()
    events = await page.connect()
    await page.begin("go0")
    stream = (await events.until("open"))["stream"]
    await events.until("props")
    thief = await site.page()
    thief.token = page.token
    await refused(thief, 403, "another browser")
    assert (await thief.leave()).status == 403
    assert (await thief.acknowledge(events.applied)).status == 403
    assert (await thief.cancel(stream)).status == 403
    assert (await thief.start("go1")).status == 403
    assert [info.id for info in app.streams()] == [stream]
