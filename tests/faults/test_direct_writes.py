"""Updates that come one by one are written straight to the socket over TLS and HTTP/2, too, between other writes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from flash import EndReason, Flash, Input, Update, html, stream_props
from flash.asgi.direct_writes import Http2Writer
from tests.faults.conftest import Certificate, Serve
from tests.http.test_direct_writes import LARGE, LONG_APART, SMALL_WINDOW, counting, note_writes
from tests.support.eventually import TIMEOUT, eventually


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[bool | None]:
    return note_writes(monkeypatch)


async def test_updates_over_tls_that_come_one_by_one_are_written_at_once(
    serve: Serve, certificate: Certificate, writes: list[bool]
) -> None:
    page = await (await serve(counting(20), tls=certificate)).page()
    events = await page.connect()
    await page.begin()
    await events.expect("open")
    received, end = await events.to_end()
    assert [props["children"] for _, props in received] == list(range(20))
    assert end["reason"] == EndReason.COMPLETED
    assert writes.count(True) >= 10


async def test_what_the_socket_does_not_take_of_what_is_encrypted_comes_before_all_else(
    serve: Serve, certificate: Certificate, writes: list[bool]
) -> None:
    app = counting(20, LARGE, LONG_APART, window=20_000_000, ping_interval=0.2, stall_timeout=600)
    page = await (await serve(app, tls=certificate)).page()
    events = await page.connect(receive_buffer=SMALL_WINDOW)
    await page.begin()
    await events.expect("open")
    # Meanwhile the buffers on the way fill up.
    await eventually(lambda: False in writes)
    received, end = await events.to_end()
    assert [props["children"] for _, props in received] == list(range(20))
    assert end["reason"] == EndReason.COMPLETED


async def test_a_browser_that_is_gone_in_the_middle_of_such_a_write_ends_its_streams(
    serve: Serve, certificate: Certificate, writes: list[bool]
) -> None:
    app = counting(100, LARGE, LONG_APART, window=50_000_000, reconnect_grace=0)
    site = await serve(app, tls=certificate)
    page = await site.page()
    events = await page.connect(receive_buffer=SMALL_WINDOW)
    await page.begin()
    await events.expect("open")
    await eventually(lambda: False in writes)
    await site.close()
    with trio.fail_after(TIMEOUT):
        await eventually(lambda: app.streams() == [])


async def test_what_the_socket_does_not_take_follows_even_if_nothing_else_is_sent(
    serve: Serve, certificate: Certificate, writes: list[bool]
) -> None:
    app = Flash(__name__, window=50_000_000, ping_interval=300, stall_timeout=600)
    app.layout = [html.Button(id="go"), html.Div(id="out")]
    yielded: list[int] = []

    @app.event_callback(Input("go", "n_clicks"))
    async def show(clicks: int) -> AsyncIterator[Update]:
        for number in range(1_000):
            await trio.sleep(LONG_APART)
            yielded.append(number)
            yield stream_props("out", {"children": number, "title": "x" * LARGE})
            if False in writes:
                await trio.sleep_forever()

    page = await (await serve(app, tls=certificate)).page()
    events = await page.connect(receive_buffer=SMALL_WINDOW)
    await page.begin()
    await events.expect("open")
    await eventually(lambda: False in writes)
    for _ in yielded:
        await events.expect("props")


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[bool | None]:
    """Whether each direct write of a part of an HTTP/2 response was written as a whole."""
    return note_writes(monkeypatch, Http2Writer)


async def test_updates_over_http2_that_come_one_by_one_are_written_at_once(
    serve: Serve, certificate: Certificate, parts: list[bool | None]
) -> None:
    site = await serve(counting(20), tls=certificate)
    page = await site.page()
    async with trio.open_nursery() as nursery:
        events, _ = await page.connect_http2(await site.http2(nursery))
        await page.begin()
        await events.expect("open")
        received, end = await events.to_end()
        nursery.cancel_scope.cancel()
    assert [props["children"] for _, props in received] == list(range(20))
    assert end["reason"] == EndReason.COMPLETED
    assert parts.count(True) >= 10


@pytest.mark.parametrize("window", [4_096, 40_000])
async def test_what_the_windows_of_a_client_do_not_take_comes_before_all_else(
    serve: Serve, certificate: Certificate, parts: list[bool | None], window: int
) -> None:
    site = await serve(counting(20, LARGE // 5, ping_interval=0.2), tls=certificate)
    page = await site.page()
    async with trio.open_nursery() as nursery:
        events, _ = await page.connect_http2(await site.http2(nursery), window=window)
        await page.begin()
        await events.expect("open")
        await eventually(lambda: False in parts)
        received, end = await events.to_end()
        nursery.cancel_scope.cancel()
    assert [props["children"] for _, props in received] == list(range(20))
    assert end["reason"] == EndReason.COMPLETED


async def test_what_the_socket_does_not_take_of_http2_comes_before_all_else(
    serve: Serve, certificate: Certificate, parts: list[bool | None]
) -> None:
    app = counting(20, LARGE, LONG_APART, window=20_000_000, ping_interval=0.2, stall_timeout=600)
    site = await serve(app, tls=certificate)
    page = await site.page()
    async with trio.open_nursery() as nursery:
        connection = await site.http2(nursery, receive_buffer=SMALL_WINDOW)
        events, _ = await page.connect_http2(connection, window=2**30)
        await page.begin()
        await events.expect("open")
        connection.pause()
        # Meanwhile the buffers on the way fill up.
        await eventually(lambda: False in parts)
        # Another response of the connection waits behind what is left.
        nursery.start_soon(connection.request, "GET", "/")
        connection.go_on()
        received, end = await events.to_end()
        nursery.cancel_scope.cancel()
    assert [props["children"] for _, props in received] == list(range(20))
    assert end["reason"] == EndReason.COMPLETED


async def test_a_client_that_gives_up_its_link_over_http2_keeps_the_connection(
    serve: Serve, certificate: Certificate, parts: list[bool | None]
) -> None:
    site = await serve(counting(300), tls=certificate)
    page = await site.page()
    async with trio.open_nursery() as nursery:
        connection = await site.http2(nursery)
        events, reply = await page.connect_http2(connection)
        await page.begin()
        await events.expect("open")
        await events.expect("props")
        await reply.give_up()
        written = len(parts)
        answer = await (await connection.request("GET", "/")).answer()
        assert answer.status == 200
        events, _ = await page.connect_http2(connection, after=events.applied)
        await events.expect("props")
        nursery.cancel_scope.cancel()
    assert written >= 1
