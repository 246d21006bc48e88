"""Shared streams of many pages, and of a slow one, over real sockets: nobody has a gap, or waits for another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import trio

from flash import Flash, Input, Update, html, stream_props
from tests.http.servers import Serve
from tests.support.connections import open_connection
from tests.support.eventually import TIMEOUT, eventually
from tests.support.http1 import Answer, Http1
from tests.support.link import Link
from tests.support.linked_page import LinkedPage
from tests.support.wire_client import PageIdentity, Post

PAGES, BROWSERS = 1_000, 20
DURING, AFTER = 10, 3
"""Updates while pages join, and when all have."""


class Numbers:
    """An app with a shared stream that counts upwards, each time that it is told to.

    Attributes:
        app: the app.
        runs: how many generators have begun.
        said: how many numbers were yielded.
    """

    def __init__(self, size: int = 0, **options: Any) -> None:
        self.runs = self.said = 0
        self._due = trio.Semaphore(0)
        self.app = Flash(__name__, reconnect_grace=0, **options)
        self.app.layout = [html.Button(id="go"), html.Div(id="out")]

        @self.app.event_callback(Input("go", "n_clicks"), shared="all")
        async def count(clicks: int) -> AsyncIterator[Update]:
            self.runs += 1
            while True:
                yield stream_props("out", {"children": f"{self.said} {'x' * size}"})
                await self._due.acquire()
                self.said += 1

    def say(self) -> None:
        """Have it yield the next number."""
        self._due.release()


class BarePage(LinkedPage[Answer]):
    """A page that was not loaded, and has a connection for its requests with the others of its browser."""

    def __init__(self, browser: str, dependencies: list[dict[str, Any]], port: int, requests: Http1) -> None:
        super().__init__(PageIdentity(browser=browser), dependencies)
        self._port = port
        self.requests = requests

    async def open(self, receive_buffer: int | None = None) -> Http1:
        return Http1(await open_connection(self._port, receive_buffer), f"127.0.0.1:{self._port}")

    async def send(self, post: Post) -> Answer:
        length = ("Content-Length", str(len(post.body)))
        headers = [("Content-Type", "application/json"), length, *self.identity.headers, *post.headers]
        await self.requests.send("POST", post.target, headers, post.body)
        return await self.requests.answer()


async def test_a_thousand_pages_that_join_at_once_follow_one_source_and_none_has_a_gap(serve: Serve) -> None:
    # The links are read when all have joined, which takes a while on a busy machine.
    numbers = Numbers(pages_per_browser=PAGES, pages_per_server=PAGES + 1, stall_timeout=20 * TIMEOUT)
    server = await serve(numbers.app)
    dependencies = (await server.page()).dependencies
    browsers: list[list[BarePage]] = []
    links: list[Link] = []
    for _ in range(BROWSERS):
        requests = Http1(await open_connection(server.port), f"127.0.0.1:{server.port}")
        browser = PageIdentity().browser
        pages = [BarePage(browser, dependencies, server.port, requests) for _ in range(PAGES // BROWSERS)]
        browsers.append(pages)
        links.append(await pages[0].connect(*pages[1:]))
    joined = 0

    async def join(pages: list[BarePage]) -> None:
        nonlocal joined
        for page in pages:
            assert (await page.start("go")).status == 204
            joined += 1
            if joined % (PAGES // DURING) == 0:
                numbers.say()

    async with trio.open_nursery() as nursery:
        for pages in browsers:
            nursery.start_soon(join, pages)
    await eventually(lambda: numbers.said == DURING)
    # A start is answered before its stream follows.
    await eventually(lambda: [source.followers for source in numbers.app.shared_streams()] == [PAGES])
    assert numbers.runs == 1
    for _ in range(AFTER):
        numbers.say()
    async with trio.open_nursery() as nursery:
        for link in links:
            nursery.start_soon(read_to, link, DURING + AFTER, PAGES // BROWSERS)
    for pages in browsers:
        await trio.aclose_forcefully(pages[0].requests.stream)
        await pages[0].close()


async def read_to(link: Link, last: int, pages: int) -> None:
    """Read what pages are sent, each from the number with which it joins, up to the last one."""
    newest: dict[str, int] = {}
    while list(newest.values()).count(last) < pages:
        event = await link.next()
        if event.name == "open":
            continue
        assert event.name == "props", event
        stream = event.data["stream"]
        for number in numbers_in(event.data):
            assert number == newest.get(stream, number - 1) + 1
            newest[stream] = number


async def test_a_page_that_does_not_read_slows_no_other_one_and_gets_the_newest_when_it_reads(serve: Serve) -> None:
    bound, size, rounds, others = 100_000, 10_000, 300, 3
    numbers = Numbers(size, stream_buffer_bytes=bound)
    server = await serve(numbers.app)
    pages = [await server.page() for _ in range(1 + others)]
    slow, links = pages[0], list[Link]()
    for page in pages:
        page.acknowledges = True
        links.append(await page.connect(receive_buffer=4_096 if page is slow else None))
        await page.start("go")
        await links[-1].expect("open")
    slow_link, *fast = links
    with trio.fail_after(TIMEOUT):
        for link in fast:
            assert await next_number(link) == 0
        for number in range(1, rounds):
            numbers.say()
            for link in fast:
                # Each of the others has every number, before there is the next one.
                assert await next_number(link) == number
    [info] = [info for info in numbers.app.streams() if info.page == slow.token[:8]]
    assert info.state == "running"
    assert info.buffered <= 2 * bound / size + 2
    had = [-1]
    while had[-1] < rounds - 1:
        had.append(await next_number(slow_link))
        assert had[-1] > had[-2]
    assert len(had) < rounds
    for link in fast:
        await link.close()


async def next_number(link: Link) -> int:
    """The number that the next update of a page says."""
    return numbers_in(await link.expect("props"))[0]


def numbers_in(data: Any) -> list[int]:
    """The numbers that an event says."""
    return [int(props["children"].split()[0]) for _, props in data["props"]]
