"""A real nginx in front, with its own default settings and exactly the snippet that `docs/deployment.md` gives."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from flash import EndReason, Flash, Input, StreamCancelled, Update, html, stream_props
from tests.faults.sockets import Page, Site
from tests.support.link import Link
from tests.support.nginx import Nginx, nginx as nginx
from tests.support.serving import Journal, serve


class Waiting:
    """An app with a stream that shows the time of its first update, and then what it is told to."""

    def __init__(self, **options: Any) -> None:
        self.app = Flash(__name__, **options)
        self.app.layout = html.Div(id="out")
        self.ended = Journal[EndReason]()

        @self.app.event_callback(
            Input("go", "n_clicks"), cancel=[Input("stop", "n_clicks")], on_error=self._note, timeout=60
        )
        async def tell(n_clicks: int) -> AsyncIterator[Update]:
            for _ in range(3):
                yield stream_props("out", {"children": time.monotonic()})
                await trio.sleep(0.1)
            await trio.sleep(n_clicks)
            yield stream_props("out", {"children": time.monotonic()})
            await trio.sleep_forever()

    def _note(self, error: StreamCancelled) -> None:
        self.ended.note(error.reason)


async def start(page: Page, pause: float = 60) -> tuple[Link, str]:
    """Connect, and start the stream; its name is the second."""
    link = await page.connect()
    await link.expect("hello")
    await page.begin(value=pause)
    return link, (await link.expect("open"))["stream"]


async def delay_of_next(link: Link) -> float:
    """Seconds that the next update was on its way."""
    ((_, props),) = (await link.expect("props"))["props"]
    return time.monotonic() - props["children"]


def test_an_update_passes_at_once(nginx: Nginx) -> None:
    waiting = Waiting()

    async def visit(port: int) -> None:
        page = await Site(port).page()
        link, _ = await start(page)
        for _ in range(3):
            assert await delay_of_next(link) < 1
        await page.close()

    with serve(waiting.app) as server:
        trio.run(visit, nginx(int(server.url.rpartition(":")[2])))


def test_idle_streams_survive_the_read_timeout(nginx: Nginx) -> None:
    """With two seconds for nginx's sixty, and a ping after each second of silence for one after fifteen."""
    waiting = Waiting(ping_interval=1, stall_timeout=60)

    async def visit(port: int) -> None:
        page = await Site(port).page()
        link, _ = await start(page, pause=5)
        for _ in range(4):
            assert await delay_of_next(link) < 1
        await page.close()

    with serve(waiting.app) as server:
        trio.run(visit, nginx(int(server.url.rpartition(":")[2]), more="proxy_read_timeout 2s;"))


def test_a_stream_without_pings_would_not_survive_it(nginx: Nginx) -> None:
    """What makes the test before this one one."""
    waiting = Waiting(ping_interval=20)

    async def visit(port: int) -> None:
        page = await Site(port).page()
        link, _ = await start(page)
        for _ in range(3):
            await link.expect("props")
        assert await link.rest() == []
        assert link.is_cut
        await page.close()

    with serve(waiting.app) as server:
        trio.run(visit, nginx(int(server.url.rpartition(":")[2]), more="proxy_read_timeout 2s;"))


def test_cancel_works(nginx: Nginx) -> None:
    waiting = Waiting()

    async def visit(port: int) -> None:
        page = await Site(port).page()
        link, stream = await start(page)
        for _ in range(3):
            await link.expect("props")
        assert (await page.cancel(stream)).status == 204
        assert (await link.expect("end"))["reason"] == "cancelled"
        await page.close()

    with serve(waiting.app) as server:
        trio.run(visit, nginx(int(server.url.rpartition(":")[2])))
        assert waiting.ended.next() == EndReason.CANCELLED


@pytest.mark.parametrize("says_goodbye", [True, False])
def test_a_page_that_goes_is_noticed(nginx: Nginx, says_goodbye: bool) -> None:
    waiting = Waiting(reconnect_grace=0.5)

    async def visit(port: int) -> None:
        page = await Site(port).page()
        link, _ = await start(page)
        await link.expect("props")
        if says_goodbye:
            assert (await page.leave()).status == 204
        else:
            await link.close()
        assert await trio.to_thread.run_sync(waiting.ended.next) == EndReason.DISCONNECTED
        await page.close()

    with serve(waiting.app) as server:
        trio.run(visit, nginx(int(server.url.rpartition(":")[2])))
        server.expect_streaming()
    assert waiting.ended.rest() == []
