"""Clean-up that awaits: `flash.cleanup()` and its deadline."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import trio
import trio.testing

import flash
from tests.contract.pretend_page import CLEANUP_TIMEOUT, PretendPage, cancelled, line_of, on_mock_clock, warnings

clock = on_mock_clock


async def test_what_awaits_under_cleanup_comes_to_its_end(page: PretendPage, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    async def saves() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            with flash.cleanup():
                await trio.sleep(CLEANUP_TIMEOUT - 1)
                seen.append("saved")

    stream = await cancelled(page, saves)
    assert seen == ["saved"]
    assert page.log(stream) == ["open", 1, ("cancelled", ["reset", "off"])]
    assert warnings(caplog) == []


async def test_cleanup_is_cut_at_the_deadline_which_is_logged(
    page: PretendPage, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    async def hangs() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            with flash.cleanup():
                await trio.sleep_forever()  # hangs
            seen.append("went on")

    began = trio.current_time()
    stream = await cancelled(page, hangs)
    assert trio.current_time() - began == pytest.approx(CLEANUP_TIMEOUT, abs=0.2)
    assert seen == ["went on"]
    assert not stream.overran
    [logged] = warnings(caplog)
    assert "the event callback 'test'" in logged
    assert "cleanup_timeout (5 s)" in logged
    assert line_of(hangs, "# hangs") in logged


async def test_all_the_cleanups_of_a_stream_have_one_deadline(page: PretendPage) -> None:
    async def hangs_twice() -> AsyncGenerator[int, None]:
        try:
            try:
                yield 1
                await trio.sleep_forever()
            finally:
                with flash.cleanup():
                    await trio.sleep(CLEANUP_TIMEOUT - 1)
        finally:
            with flash.cleanup():
                await trio.sleep_forever()

    began = trio.current_time()
    await cancelled(page, hangs_twice)
    assert trio.current_time() - began == pytest.approx(CLEANUP_TIMEOUT, abs=0.2)


async def test_on_error_has_what_cleanup_has_left(page: PretendPage) -> None:
    times: list[float] = []

    async def saves() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            with flash.cleanup():
                await trio.sleep(3)

    async def on_error(error: BaseException) -> None:
        began = trio.current_time()
        with trio.CancelScope() as scope:
            scope.cancel()
            with flash.cleanup():
                await trio.sleep_forever()
        times.append(trio.current_time() - began)

    await cancelled(page, saves, on_error=on_error)
    await trio.testing.wait_all_tasks_blocked()
    assert times == [pytest.approx(2)]


async def test_cleanup_holds_in_tasks_that_the_generator_started(page: PretendPage) -> None:
    seen: list[str] = []

    async def child() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with flash.cleanup():
                await trio.sleep(1)
                seen.append("child")

    async def has_children() -> AsyncGenerator[int, None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            yield 1
            await trio.sleep_forever()

    await cancelled(page, has_children)
    assert seen == ["child"]


async def test_cleanup_in_a_scope_of_the_users_has_its_time_before_the_stream_is_cancelled(page: PretendPage) -> None:
    seen: list[float] = []

    async def often() -> AsyncGenerator[int, None]:
        for _ in range(3):
            began = trio.current_time()
            with trio.move_on_after(0):
                try:
                    await trio.sleep_forever()
                finally:
                    with flash.cleanup():
                        await trio.sleep(CLEANUP_TIMEOUT - 1)
            seen.append(trio.current_time() - began)
            yield 1

    page.start(often)
    await page.read_to_end()
    assert seen == [pytest.approx(CLEANUP_TIMEOUT - 1)] * 3


async def test_cleanup_outside_of_any_callback_has_the_default_timeout() -> None:
    began = trio.current_time()
    with trio.move_on_after(1), flash.cleanup():
        await trio.sleep_forever()
    assert trio.current_time() - began == 5


async def test_cleanup_in_plain_code_does_nothing() -> None:
    def plain() -> str:
        with flash.cleanup():
            return "done"

    assert await trio.to_thread.run_sync(plain) == "done"
