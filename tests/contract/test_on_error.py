"""`on_error`: what it is told, what it may send, and what becomes of one that fails or hangs."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from flash import EndReason, StreamCancelled
from tests.contract.pretend_page import CLEANUP_TIMEOUT, PretendPage, endless, is_met, on_mock_clock

clock = on_mock_clock


async def test_on_error_is_told_the_reason_the_condition_and_the_value(page: PretendPage) -> None:
    given: list[Any] = []

    async def on_error(error: StreamCancelled) -> None:
        given.append((error.reason, error.condition, error.value))

    stream = page.start(endless, on_error=on_error, conditions=[is_met("tabs.value", "a")])
    await page.settle()
    stream.scope.change(0, "b")
    await page.settle()
    assert given == [(EndReason.CANCELLED, "tabs.value", "b")]


async def test_an_on_error_that_raises_is_logged_and_the_end_leaves(
    page: PretendPage, caplog: pytest.LogCaptureFixture
) -> None:
    async def on_error(error: BaseException) -> None:
        raise KeyError("in on_error")

    stream = page.start(endless, on_error=on_error)
    await page.settle()
    stream.scope.cancel(EndReason.CANCELLED)
    await page.settle()
    assert page.log(stream)[-1] == ("cancelled", ["reset", "off"])
    assert "on_error of the event callback 'test' raised" in caplog.text


async def test_set_props_in_on_error_is_part_of_the_end(page: PretendPage) -> None:
    async def on_error(error: BaseException) -> str:
        stream.push("pushed")
        return "returned"

    stream = page.start(endless, on_error=on_error)
    await page.settle()
    stream.scope.cancel(EndReason.CANCELLED)
    await page.settle()
    assert page.log(stream)[-1] == ("cancelled", ["pushed", "returned", "reset", "off"])


async def test_an_on_error_that_hangs_is_cut_at_the_deadline(
    page: PretendPage, caplog: pytest.LogCaptureFixture
) -> None:
    cut: list[float] = []

    async def on_error(error: BaseException) -> None:
        try:
            await trio.sleep_forever()
        finally:
            cut.append(trio.current_time())

    stream = page.start(endless, on_error=on_error)
    await page.settle()
    began = trio.current_time()
    stream.scope.cancel(EndReason.CANCELLED)
    await trio.sleep(CLEANUP_TIMEOUT + 1)
    await page.settle()
    assert cut == [began + CLEANUP_TIMEOUT]
    assert page.log(stream)[-1] == ("cancelled", ["reset", "off"])
    assert "did not return within cleanup_timeout" in caplog.text


async def test_an_on_error_that_cannot_be_cut_does_not_hold_the_end_back(page: PretendPage) -> None:
    release = trio.Event()

    async def on_error(error: BaseException) -> None:
        with trio.CancelScope(shield=True):
            await release.wait()

    stream = page.start(endless, on_error=on_error)
    await page.settle()
    stream.scope.cancel(EndReason.CANCELLED)
    await trio.sleep(CLEANUP_TIMEOUT + 1)
    await page.settle()
    assert page.log(stream)[-1] == ("cancelled", ["reset", "off"])
    release.set()


async def test_an_on_error_that_exits_ends_nothing_but_itself(
    page: PretendPage, caplog: pytest.LogCaptureFixture
) -> None:
    async def on_error(error: BaseException) -> None:
        raise SystemExit(3)

    bystander = page.start(endless, key="bystander")
    stream = page.start(endless, on_error=on_error)
    await page.settle()
    stream.scope.cancel(EndReason.CANCELLED)
    await page.settle()
    assert page.log(stream)[-1] == ("cancelled", ["reset", "off"])
    assert bystander.state == "running"
    assert "on_error of the event callback 'test' raised" in caplog.text
