"""Links of several pages, opened anew all the time, over connections that a network cuts, delays and truncates."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import trio

from flash import EndReason, Flash, Input, StreamCancelled, Update, html, stream_props
from flash.asgi.tokens import new_token
from flash.wire_messages import Ack
from tests.faults.cutting_proxy import CuttingProxy, cutting_proxy
from tests.faults.sockets import Page, Site
from tests.support.connections import open_connection
from tests.support.eventually import TIMEOUT, eventually
from tests.support.http1 import Http1
from tests.support.link import Link
from tests.support.serving import Journal, serve
from tests.support.wire_client import Event, cookie, events_target

LAST = 300
"""How many numbers each stream counts."""

PAGES = 3

CALM_AFTER = 4.0
"""Seconds for which the network misbehaves."""

LINK_LIFE = 0.3
"""Seconds after which the browser opens another link, at the most."""


@dataclass
class CountingPage:
    """A page as its hub knows it.

    Attributes:
        identity: what it is called.
        turn: how often it has changed what carries its events.
        applied: the id of the last event that it has applied.
        numbers: what its stream has shown.
        ended: why its stream has ended.
    """

    page: Page
    turn: int = 0
    applied: str = ""
    numbers: list[int] = field(default_factory=list[int])
    ended: str | None = None

    def take(self, event: Event) -> None:
        """Apply an event, unless it was applied: two links may bring the same."""
        life, _, number = (event.id or "").partition(".")
        applied_life, _, applied = self.applied.partition(".")
        assert applied_life in ("", life), "the page has lost its life, and with it its stream"
        if int(number) <= int(applied or 0):
            return
        self.applied = event.id or ""
        if event.name == "props":
            self.numbers += [props["children"] for _, props in event.data["props"]]
        elif event.name == "end":
            assert self.ended is None
            self.ended = event.data["reason"]


def broken(proxy: CuttingProxy) -> int:
    """How many connections it has done something worse to than to delay them."""
    return proxy.done.total() - proxy.done["delay"]


class Hub:
    """Opens links for all pages of a browser, each while the one before still brings events, and acknowledges."""

    def __init__(self, proxy: int, server: int, seed: int) -> None:
        """
        Args:
            proxy: the port that links and acknowledgements go to.
            server: the port of the server itself.
            seed: decides when links are opened.
        """
        self.pages: dict[str, CountingPage] = {}
        self.links = self.acknowledged = 0
        self._browser = new_token()
        self._headers = [("Cookie", cookie(self._browser))]
        self._proxy, self._site = proxy, Site(server)
        self._random = random.Random(seed)

    async def run(self, proxy: CuttingProxy) -> None:
        pages = [await self._site.page(self._browser) for _ in range(PAGES)]
        self.pages = {page.token: CountingPage(page) for page in pages}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._acknowledge)
            nursery.start_soon(self._open_links, nursery)
            for page in pages:
                await page.begin()
            await trio.sleep(CALM_AFTER)
            # On a busy machine less has happened by then.
            await eventually(lambda: min(self.links, self.acknowledged) > 10 and broken(proxy) >= 3)
            await trio.to_thread.run_sync(proxy.behave)
            with trio.fail_after(TIMEOUT):
                while any(page.ended is None for page in self.pages.values()):  # noqa: ASYNC110 - it may end in many ways
                    await trio.sleep(0.02)
            nursery.cancel_scope.cancel()

    async def _open_links(self, nursery: trio.Nursery) -> None:
        before = trio.CancelScope()
        for number in itertools.count(1):
            scope, brings = trio.CancelScope(), trio.Event()
            nursery.start_soon(self._read, number, scope, brings)
            # The one before goes on until this one brings something, and now and then it is left to itself.
            with trio.move_on_after(1):
                await brings.wait()
            if self._random.random() < 0.7:
                before.cancel()
            before = scope
            await trio.sleep(self._random.uniform(0, LINK_LIFE))
            for page in self.pages.values():
                page.turn += self._random.random() < 0.1

    async def _read(self, number: int, scope: trio.CancelScope, brings: trio.Event) -> None:
        lives: dict[str, CountingPage] = {}
        with scope:
            try:
                http = Http1(await open_connection(self._proxy))
                standings = [
                    page.page.identity.standing(page.applied, page.turn, number) for page in self.pages.values()
                ]
                link = await Link.open(http, events_target(standings), self._headers)
                try:
                    if link.status == 409:
                        # A newer one has overtaken it.
                        return
                    assert link.status == 200, link.status
                    self.links += 1
                    while True:
                        event = await link.next_of_all()
                        if event.name == "hello":
                            lives[event.data["life"]] = self.pages[event.data["page"]]
                        elif event.id is not None:
                            lives[event.id.partition(".")[0]].take(event)
                        brings.set()
                finally:
                    await trio.aclose_forcefully(link.stream)
            except (OSError, EOFError, trio.BrokenResourceError):
                # The network; the next link is on its way.
                pass

    async def _acknowledge(self) -> None:
        while True:
            await trio.sleep(0.02)
            applied = {token: page.applied for token, page in self.pages.items() if page.applied}
            message = Ack(applied)
            with trio.move_on_after(1):
                try:
                    http = Http1(await open_connection(self._proxy))
                    try:
                        body = message.encode()
                        length = [("Content-Length", str(len(body))), ("Content-Type", "application/json")]
                        await http.send("POST", "/_flash/ack", [*self._headers, *length], body)
                        self.acknowledged += (await http.answer()).status in (200, 204)
                    finally:
                        await trio.aclose_forcefully(http.stream)
                except (OSError, trio.BrokenResourceError):
                    pass


def test_new_links_on_a_bad_network_lose_double_and_end_nothing() -> None:
    ended = Journal[EndReason]()
    app = Flash(__name__, reconnect_grace=TIMEOUT, stall_timeout=2 * TIMEOUT, window=2_000)
    app.layout = [html.Button(id="go"), html.Div(id="out")]

    def note(error: StreamCancelled) -> None:
        ended.note(error.reason)

    @app.event_callback(Input("go", "n_clicks"), on_error=note)
    async def counting(clicks: int) -> AsyncIterator[Update]:
        for number in range(LAST):
            yield stream_props("out", {"children": number})
            await trio.sleep(0.01)

    with serve(app) as server:
        port = int(server.url.rpartition(":")[2])
        with cutting_proxy(port) as proxy:
            hub = Hub(int(proxy.url.rpartition(":")[2]), port, seed=11)
            proxy.misbehave(seed=11)
            trio.run(hub.run, proxy)
    assert [page.numbers for page in hub.pages.values()] == [list(range(LAST))] * PAGES
    assert [page.ended for page in hub.pages.values()] == ["completed"] * PAGES
    assert ended.rest() == []
