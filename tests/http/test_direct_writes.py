"""Updates that come one by one are written straight to the socket, between what Hypercorn writes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest
import trio

from flash import Flash, Input, Update, html, stream_props
from flash.asgi.direct_writes import DirectWriter, Http2Writer
from flash.workers.leaving import Leaving
from tests.http.pages import Page
from tests.http.servers import Serve
from tests.support.eventually import TIMEOUT, eventually
from tests.support.wire_client import cookie

APART = 0.006
"""Seconds between two updates that are not joined."""

LONG_APART = 0.03
"""The same on a busy machine, for a test in which one update that is joined to another is one too many."""

LARGE = 300_000
SMALL_WINDOW = 4_096


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[bool | None]:
    return note_writes(monkeypatch)


def note_writes(
    monkeypatch: pytest.MonkeyPatch, kind: type[DirectWriter] | type[Http2Writer] = DirectWriter
) -> list[bool | None]:
    """Whether each direct write of such a writer was written as a whole; None if it came too soon for one."""
    noted: list[bool | None] = []
    write = cast("Callable[[object, bytes], bool | None]", kind.write)

    def noting(self: object, data: bytes) -> bool | None:
        noted.append(write(self, data))
        return noted[-1]

    monkeypatch.setattr(kind, "write", noting)
    return noted


def counting(count: int, size: int = 0, apart: float = APART, **options: Any) -> Flash:
    app = Flash(__name__, **options)
    app.layout = [html.Button(id="go"), html.Div(id="out")]

    @app.event_callback(Input("go", "n_clicks"))
    async def show(clicks: int) -> AsyncIterator[Update]:
        for number in range(count):
            await trio.sleep(apart)
            yield stream_props("out", {"children": number, "title": "x" * size})

    return app


async def test_updates_that_come_one_by_one_are_written_at_once(serve: Serve, writes: list[bool | None]) -> None:
    page = await (await serve(counting(20))).page()
    events = await page.connect()
    await page.start("go")
    await events.expect("open")
    received, end = await events.to_end()
    assert [props["children"] for _, props in received] == list(range(20))
    assert end["reason"] == "completed"
    assert writes.count(True) >= 10


async def test_a_worker_among_several_writes_at_once_too(serve: Serve, writes: list[bool | None]) -> None:
    app = counting(20)
    page = await (await serve(app, at=Leaving().around(app))).page()
    events = await page.connect()
    await page.start("go")
    await events.expect("open")
    await events.to_end()
    assert writes.count(True) >= 10


async def test_what_the_socket_does_not_take_comes_before_all_else(serve: Serve, writes: list[bool | None]) -> None:
    app = counting(20, LARGE, LONG_APART, window=20_000_000, ping_interval=0.2, stall_timeout=600)
    page = await (await serve(app)).page()
    events = await page.connect(receive_buffer=SMALL_WINDOW)
    await page.start("go")
    await events.expect("open")
    # Meanwhile the buffers on the way fill up.
    await eventually(lambda: False in writes)
    received, end = await events.to_end()
    assert [props["children"] for _, props in received] == list(range(20))
    assert end["reason"] == "completed"


async def test_a_connection_that_was_replaced_is_written_to_no_more(serve: Serve, writes: list[bool | None]) -> None:
    page = await (await serve(counting(50))).page()
    older = await page.connect()
    await page.start("go")
    await older.expect("open")
    await older.expect("props")
    newer = await page.connect()
    received, _ = await from_the_start(newer)
    assert received == list(range(50))
    assert (await older.until_closed())[-1].name == "over"


async def from_the_start(events: Any) -> tuple[list[int], Any]:
    """The numbers on a connection that begins anew, with the `open`."""
    await events.expect("open")
    received, end = await events.to_end()
    return [props["children"] for _, props in received], end


async def test_a_client_that_does_not_know_chunks_gets_none(serve: Serve, writes: list[bool | None]) -> None:
    page: Page = await (await serve(counting(5))).page()
    request = f"GET /_flash/events?page={page.token}:0 HTTP/1.0\r\nHost: x\r\nCookie: {cookie(page.cookie)}\r\n\r\n"
    async with await trio.open_tcp_stream("127.0.0.1", page.port) as stream:
        await stream.send_all(request.encode())
        await page.start("go")
        received = b""
        with trio.fail_after(TIMEOUT):
            while b"event: end" not in received:
                received += await stream.receive_some()
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"chunked" not in head.lower()
    assert b"\r\n" not in body
    assert body.count(b"event: props") == 5
    assert writes == []
