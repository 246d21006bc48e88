"""Updates that come one by one are written straight to the socket over TLS, too, between what Trio writes."""

from __future__ import annotations

import pytest
import trio

from flash import EndReason
from tests.faults.conftest import Certificate, Serve
from tests.http.test_direct_writes import LARGE, LONG_APART, SMALL_WINDOW, counting, note_writes
from tests.support.eventually import TIMEOUT, eventually


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
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
