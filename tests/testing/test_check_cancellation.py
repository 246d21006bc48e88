"""`flash.testing.check_cancellation`: a stream ended at each checkpoint, in each way, leaves nothing behind."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest
import trio

import flash.testing.trio
from flash import EndReason, Input, Output, callback, cleanup, event_callback, every, on_asyncio, stream_props
from flash.testing import check_cancellation

Updates = AsyncGenerator[Any, None]

open_devices: list[str] = []


@pytest.fixture(autouse=True)
def _no_devices() -> None:
    open_devices.clear()


async def close_device() -> None:
    await trio.sleep(0.1)
    open_devices.clear()


def left() -> list[str]:
    return open_devices


def test_a_stream_that_cleans_up_passes_and_is_ended_in_every_way_at_every_checkpoint() -> None:
    ended: list[tuple[int, str]] = []
    number = 0

    def note(error: Any) -> None:
        ended.append((number, str(getattr(error, "reason", "failed"))))

    @event_callback(Input("start", "n_clicks"), on_error=note)
    async def live(n_clicks: int) -> Updates:
        nonlocal number
        open_devices.append("device")
        try:
            number = 1
            yield stream_props("out", {"children": 1})
            number = 2
            await trio.sleep(1)
            number = 3
            yield stream_props("out", {"children": 2})
        finally:
            with cleanup():
                await close_device()

    check_cancellation(live, 1, seconds=5, left=left)
    ways = {str(reason) for reason in EndReason} - {"completed"}
    assert {(n, way) for n, way in ended if n in (1, 3)} == {(n, way) for n in (1, 3) for way in ways}
    assert {way for n, way in ended if n == 2} == ways - {"failed"}


def test_a_stream_that_waits_in_nurseries_threads_and_asyncio_passes() -> None:
    @on_asyncio
    async def ask() -> int:
        return 1

    @event_callback(Input("start", "n_clicks"))
    async def busy(n_clicks: int) -> Updates:
        async def watch() -> None:
            async for _ in every(0.4):
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            for _ in range(2):
                yield stream_props("out", {"children": await ask()})
                await trio.to_thread.run_sync(time.sleep, 0.001)
            nursery.cancel_scope.cancel()

    check_cancellation(busy, 1, seconds=1)


def test_a_plain_generator_passes() -> None:
    @event_callback(Input("start", "n_clicks"))
    def rows(n_clicks: int) -> Generator[Any, None, None]:
        open_devices.append("connection")
        try:
            for number in every(0.5):
                yield stream_props("out", {"children": number})
        finally:
            open_devices.clear()

    check_cancellation(rows, 1, seconds=1, left=left)


def test_a_generator_with_outputs_passes() -> None:
    @callback(Output("out", "children"), Input("start", "n_clicks"))
    async def answer(n_clicks: int) -> Updates:
        yield "thinking"
        await trio.sleep(1)
        yield "done"

    check_cancellation(answer, 1, seconds=5)


async def test_the_async_form_does_the_same(mock_clock: object) -> None:
    @event_callback(Input("start", "n_clicks"))
    async def live(n_clicks: int) -> Updates:
        try:
            yield stream_props("out", {"children": 1})
        finally:
            await trio.sleep(1)

    with pytest.raises(AssertionError, match="clean-up of the event callback"):
        await flash.testing.trio.check_cancellation(live, 1, seconds=5)


# What is found


def test_clean_up_that_is_cut_is_found_with_both_lines() -> None:
    @event_callback(Input("start", "n_clicks"))
    async def faulty(n_clicks: int) -> Updates:
        open_devices.append("device")
        try:
            async for number in every(1):
                yield stream_props("out", {"children": number})
        finally:
            await close_device()

    with pytest.raises(
        AssertionError,
        match=r"faulty' was ended \(cancelled\) at its checkpoint number 1, .*test_check_cancellation\.py:\d+ "
        r"\(in .*faulty\): `async for number in every\(1\):`: The clean-up of the event callback '.*faulty' was cut at "
        r"its first `await`, at .*test_check_cancellation\.py:\d+ \(in close_device\)",
    ):
        check_cancellation(faulty, 1, seconds=2)


def test_what_is_left_in_the_terms_of_the_app_is_found() -> None:
    @event_callback(Input("start", "n_clicks"))
    async def forgets(n_clicks: int) -> Updates:
        open_devices.append("device")
        await trio.sleep(1)
        open_devices.clear()
        yield stream_props("out", {"children": 1})

    with pytest.raises(
        AssertionError, match=r"forgets' was ended \(cancelled\) .*: left\(\) is not empty: \['device'\]\."
    ):
        check_cancellation(forgets, 1, seconds=2, left=left)


def test_only_the_second_wait_may_be_the_faulty_one() -> None:
    @event_callback(Input("start", "n_clicks"))
    async def later(n_clicks: int) -> Updates:
        yield stream_props("out", {"children": 1})
        try:
            await trio.sleep(1)
        finally:
            await trio.sleep(0.5)

    with pytest.raises(AssertionError, match=r"at its checkpoint number 2, .*`await trio.sleep\(1\)`: The clean-up of"):
        check_cancellation(later, 1, seconds=5)


def test_a_cancellation_that_is_swallowed_is_found() -> None:
    @event_callback(Input("start", "n_clicks"))
    async def stubborn(n_clicks: int) -> Updates:
        while True:
            try:
                yield stream_props("out", {"children": 1})
                await trio.sleep(1)
            except trio.Cancelled:
                pass

    with pytest.raises(
        AssertionError, match=r"stubborn' was ended \(cancelled\) .*went on yielding after it was cancelled"
    ):
        check_cancellation(stubborn, 1, seconds=2)


def test_a_failing_clean_up_and_a_failing_on_error_are_found() -> None:
    @event_callback(Input("start", "n_clicks"))
    async def breaks(n_clicks: int) -> Updates:
        try:
            yield stream_props("out", {"children": 1})
        except trio.Cancelled:
            raise ValueError("broken") from None

    with pytest.raises(AssertionError, match=r"The clean-up of the event callback '.*breaks' \(cancelled\) raised"):
        check_cancellation(breaks, 1, seconds=2)

    def handler(error: Any) -> None:
        raise ValueError("broken handler")

    @event_callback(Input("start", "n_clicks"), on_error=handler)
    async def handled(n_clicks: int) -> Updates:
        yield stream_props("out", {"children": 1})

    with pytest.raises(AssertionError, match=r"handled' was ended .*on_error.*broken handler"):
        check_cancellation(handled, 1, seconds=2)


def test_clean_up_that_never_ends_is_found() -> None:
    @event_callback(Input("start", "n_clicks"))
    async def endless(n_clicks: int) -> Updates:
        try:
            yield stream_props("out", {"children": 1})
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(10_000)

    with pytest.raises(AssertionError, match=r"endless' was ended \(cancelled\) .*still runs 30 s after it was ended"):
        check_cancellation(endless, 1, seconds=2)


def test_a_thread_that_is_left_is_found() -> None:
    over = threading.Event()

    @event_callback(Input("start", "n_clicks"))
    async def threads(n_clicks: int) -> Updates:
        threading.Thread(target=over.wait, name="reader", daemon=True).start()
        yield stream_props("out", {"children": 1})

    try:
        with pytest.raises(AssertionError, match=r"threads' was ended .*: The thread 'reader' is left\."):
            check_cancellation(threads, 1, seconds=2)
    finally:
        over.set()


def test_a_task_that_is_left_is_found() -> None:
    @event_callback(Input("start", "n_clicks"))
    async def leaves(n_clicks: int) -> Updates:
        trio.lowlevel.spawn_system_task(trio.sleep_forever, name="left over")
        yield stream_props("out", {"children": 1})

    with pytest.raises(AssertionError, match=r"leaves' was ended .*: The task 'left over' is left"):
        check_cancellation(leaves, 1, seconds=2)


def test_a_stream_that_fails_by_itself_is_no_case() -> None:
    @event_callback(Input("start", "n_clicks"))
    async def fails(n_clicks: int) -> Updates:
        yield stream_props("out", {"children": 1})
        raise ValueError("by itself")

    with pytest.raises(AssertionError, match=r"fails' failed at .*ValueError\('by itself'\)"):
        check_cancellation(fails, 1, seconds=2)


def test_an_inner_generator_that_is_left_open_is_found() -> None:
    async def numbers() -> AsyncGenerator[int, None]:
        try:
            with trio.move_on_after(60):
                for number in range(100):
                    yield number
        finally:
            open_devices.clear()

    @event_callback(Input("start", "n_clicks"))
    async def inner(n_clicks: int) -> Updates:
        async for number in numbers():
            yield stream_props("out", {"children": number})
            if number == 2:
                break

    with pytest.raises(AssertionError, match=r"inner' was ended .*numbers"):
        check_cancellation(inner, 1, seconds=2)
