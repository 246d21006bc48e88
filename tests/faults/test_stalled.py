"""Clients that do not read, do not acknowledge, or hide that they go: only their own streams feel it."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from flash import Flash, Input, StreamCancelled, StreamInfo, Update, html, stream_props
from tests.faults.conftest import Certificate, Serve
from tests.faults.http2 import Reply
from tests.faults.sockets import Page, Site, serving
from tests.support.eventually import TIMEOUT, eventually
from tests.support.link import Link

WINDOW = 100_000
BUFFERED = 10
UPDATE = 5_000
"""Bytes of an update of the flood."""

LITTLE = 4_096
"""Bytes that the socket of a client takes in that does not read."""

KINDS = ["HTTP/1.1, reads nothing", "HTTP/1.1, acknowledges nothing", "HTTP/2, shut window", "HTTP/2, reads nothing"]


class Flood:
    """An app with an event callback that yields without end, and one that ticks.

    Attributes:
        yielded: how often the flood has yielded.
        log: the end of the floods: `finally`, and what `on_error` was told.
    """

    def __init__(self, **options: Any) -> None:
        self.app = Flash(
            __name__, window=WINDOW, stream_buffer_updates=BUFFERED, stream_buffer_bytes=BUFFERED * UPDATE, **options
        )
        self.app.layout = [html.Button(id="flood"), html.Button(id="tick"), html.Div(id="out")]
        self.yielded = 0
        self.log: list[str] = []

        async def on_error(error: StreamCancelled) -> None:
            await trio.lowlevel.checkpoint()
            self.log.append(f"on_error {error.reason}")

        @self.app.event_callback(Input("flood", "n_clicks"), on_error=on_error)
        async def flood(clicks: int) -> AsyncIterator[Update]:
            try:
                while True:
                    self.yielded += 1
                    yield stream_props("out", {"children": "x" * UPDATE})
            finally:
                self.log.append("finally")

        @self.app.event_callback(Input("tick", "n_clicks"))
        async def tick(clicks: int) -> AsyncIterator[Update]:
            for _ in range(100):
                yield stream_props("out", {"children": trio.current_time()})
                await trio.sleep(0.01)

    def streams(self, page: Page) -> list[StreamInfo]:
        return [info for info in self.app.streams() if info.page == page.token[:8]]


@dataclass
class Client:
    """A page that stalls, in one of several ways."""

    page: Page
    site: Site

    async def connect(self, kind: str, nursery: trio.Nursery) -> None:
        if kind == "HTTP/1.1, reads nothing":
            await self.page.connect(receive_buffer=LITTLE)
        elif kind == "HTTP/1.1, acknowledges nothing":
            self.page.acknowledges = False
            nursery.start_soon(read, await self.page.connect())
        elif kind == "HTTP/2, shut window":
            connection = await self.site.http2(nursery)
            self.page.acknowledges = False
            _, reply = await self.page.connect_http2(connection, window=0)
            nursery.start_soon(check_nothing_comes, reply)
        else:
            connection = await self.site.http2(nursery, receive_buffer=LITTLE)
            connection.pause()
            await self.page.request_http2(connection, window=2**30)


async def read(events: Link) -> None:
    await events.rest()


async def check_nothing_comes(reply: Reply) -> None:
    assert await reply.read() == b""


@pytest.mark.parametrize("kind", KINDS)
async def test_a_client_that_stalls_holds_no_more_than_the_bounds_and_slows_nobody(
    kind: str, serve: Serve, certificate: Certificate, nursery: trio.Nursery
) -> None:
    flood = Flood(ping_interval=0.5, stall_timeout=600)
    site = await serve(flood.app, tls=certificate if "HTTP/2" in kind else None)
    stalled = await site.page()
    await Client(stalled, site).connect(kind, nursery)
    await eventually(lambda: len(flood.app.channels) == 1)
    await stalled.begin("flood")
    await eventually(lambda: any(info.waiting is not None for info in flood.streams(stalled)))
    other = await site.page()
    if site.tls is None:
        events = await other.connect()
    else:
        events, _ = await other.connect_http2(await site.http2(nursery))
    await other.begin("tick")
    late: list[float] = []
    while len(late) < 100:
        late += [trio.current_time() - sent for sent in await events.numbers(1)]
    assert statistics.median(late) < 0.1
    # A second has gone by, in which the flood has not got on.
    (info,) = flood.streams(stalled)
    assert info.state == "running"
    assert info.buffered == BUFFERED
    assert info.waiting is not None
    assert info.waiting > 0.5
    assert flood.yielded == info.updates + BUFFERED + 1
    assert info.updates <= WINDOW / UPDATE
    channel = flood.app.channels.find(stalled.token, stalled.browser)
    assert channel is not None
    assert channel.outbox.unacknowledged <= WINDOW
    assert flood.log == []
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("kind", KINDS)
async def test_the_streams_of_a_client_that_stalls_are_torn_down_after_the_stall_timeout(
    kind: str, serve: Serve, certificate: Certificate, nursery: trio.Nursery
) -> None:
    flood = Flood(ping_interval=0.2, stall_timeout=1.5, reconnect_grace=600)
    site = await serve(flood.app, tls=certificate if "HTTP/2" in kind else None)
    stalled = await site.page()
    await Client(stalled, site).connect(kind, nursery)
    await eventually(lambda: len(flood.app.channels) == 1)
    began = trio.current_time()
    await stalled.begin("flood")
    await eventually(lambda: flood.app.streams() == [])
    assert trio.current_time() - began > 1.4
    await eventually(lambda: len(flood.app.channels) == 0)
    assert flood.log == ["finally", "on_error disconnected"]
    assert flood.app.channels.load.streams == 0
    assert not flood.app.channels.load.pages
    nursery.cancel_scope.cancel()


async def test_a_client_that_acknowledges_slowly_is_not_torn_down(serve: Serve) -> None:
    flood = Flood(ping_interval=0.2, stall_timeout=0.8)
    site = await serve(flood.app)
    page = await site.page()
    page.acknowledges = False
    events = await page.connect()
    await page.begin("flood")
    began = trio.current_time()
    while trio.current_time() - began < 2:
        for _ in range(5):
            await events.until("props")
        await trio.sleep(0.3)
        assert (await page.acknowledge(events.applied)).status == 204
    assert [info.state for info in flood.streams(page)] == ["running"]
    assert flood.log == []


SERVED = f"""
from flash import Flash, Input, html, stream_props

app = Flash(__name__, ping_interval=0.5, stall_timeout=2, window={WINDOW})
app.layout = [html.Button(id="flood"), html.Div(id="out")]


@app.event_callback(Input("flood", "n_clicks"))
async def flood(clicks):
    try:
        while True:
            yield stream_props("out", {{"children": "x" * {UPDATE}}})
    finally:
        with open("log", "a") as log:
            log.write("finally\\n")
"""


def connections(pid: int, port: int, peer: int) -> int:
    """How many sockets the process has that are connected to a port of the client."""
    inodes: set[str] = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        # It may be closed at this moment.
        with contextlib.suppress(FileNotFoundError):
            inodes.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ends = [(int(row[1].rpartition(":")[2], 16), int(row[2].rpartition(":")[2], 16), row[9]) for row in rows]
    return sum(local == port and remote == peer and inode in inodes for local, remote, inode in ends)


def resident(pid: int) -> int:
    """Bytes of memory that the process has."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


async def test_under_flash_run_the_socket_of_a_client_that_does_not_read_goes_too(tmp_path: Path) -> None:
    async with serving(tmp_path, source=SERVED) as (process, site):
        deaf = [await site.page() for _ in range(3)]
        peers: list[int] = []
        for page in deaf:
            events = await page.connect(receive_buffer=LITTLE)
            peers.append(events.stream.socket.getsockname()[1])
            await page.begin("flood")
        pid = process.pid
        assert [connections(pid, site.port, peer) for peer in peers] == [1, 1, 1]
        await eventually(lambda: len(process.log) == 3)
        await eventually(lambda: not any(connections(pid, site.port, peer) for peer in peers))
        with trio.fail_after(TIMEOUT):
            while (await site.get("/_flash/health")).json() != {"status": "ok", "pages": 0, "streams": 0}:
                pass


@pytest.mark.parametrize("kind", ["HTTP/1.1", "HTTP/2"])
async def test_the_memory_of_a_server_with_stalled_clients_is_bounded(
    kind: str, tmp_path: Path, certificate: Certificate, nursery: trio.Nursery
) -> None:
    source = SERVED.replace("stall_timeout=2", "stall_timeout=600, stream_buffer_bytes=50_000")
    options = ("--certfile", certificate.certfile, "--keyfile", certificate.keyfile) if kind == "HTTP/2" else ()
    async with serving(tmp_path, *options, source=source, tls=certificate.trust) as (process, site):
        if not options:
            site.tls = None
        pages = [await site.page() for _ in range(20)]
        for page in pages:
            await Client(page, site).connect(
                "HTTP/2, shut window" if options else "HTTP/1.1, acknowledges nothing", nursery
            )
        before = resident(process.pid)
        for page in pages:
            await page.begin("flood")
        deadline = trio.current_time() + 1.5
        most = 0
        while trio.current_time() < deadline:
            most = max(most, resident(process.pid) - before)
            await trio.sleep(0.05)
        # Per page: the window, the buffer, and as much again on its way through the server.
        assert most < 20 * 4 * (WINDOW + 50_000) + 10_000_000
        assert (await site.get("/_flash/health")).json()["streams"] == 20
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("goodbye", ["FIN", "RST"])
async def test_a_client_that_sends_a_byte_after_its_request_is_noticed_when_it_goes(goodbye: str, serve: Serve) -> None:
    flood = Flood(ping_interval=0.2, stall_timeout=600, reconnect_grace=0.2)
    site = await serve(flood.app)
    page = await site.page()
    events = await page.connect(then=b"G")
    await events.expect("hello")
    await page.begin("flood")
    await events.numbers(3)
    if goodbye == "FIN":
        await events.close()
    else:
        events.reset()
    began = trio.current_time()
    await eventually(lambda: len(flood.app.channels) == 0)
    assert trio.current_time() - began < 5
    assert flood.log == ["finally", "on_error disconnected"]


async def test_a_silent_client_that_sent_a_byte_after_its_request_is_noticed_by_the_pings(serve: Serve) -> None:
    app = Flash(__name__, ping_interval=0.2, stall_timeout=600, reconnect_grace=0.2)
    app.layout = [html.Button(id="go")]
    ended: list[str] = []

    @app.event_callback(Input("go", "n_clicks"))
    async def wait(clicks: int) -> AsyncIterator[Update]:
        try:
            yield stream_props("go", {"children": 0})
            await trio.sleep_forever()
        finally:
            ended.append("finally")

    site = await serve(app)
    page = await site.page()
    events = await page.connect(then=b"GET / HTTP/1.1\r\n")
    await page.begin()
    await events.until("props")
    await events.close()
    began = trio.current_time()
    await eventually(lambda: len(app.channels) == 0)
    assert trio.current_time() - began < 5
    assert ended == ["finally"]
