"""What happens at a `yield`: it waits for room, raises a cancellation, and takes updates only."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

import pytest
import trio
import trio.testing

from flash import BufferOverrun, EndReason
from tests.contract.pretend_page import OpenPage, PretendPage, on_mock_clock

clock = on_mock_clock


# The checkpoint at the yield


async def test_a_generator_waits_at_its_yield_when_the_buffer_is_full(page: PretendPage) -> None:
    reached: list[int] = []

    async def fast() -> AsyncGenerator[int, None]:
        for number in range(10):
            reached.append(number)
            yield number

    stream = page.start(fast)
    await trio.testing.wait_all_tasks_blocked()
    assert reached == [0, 1, 2, 3]
    assert stream.buffer.updates == 3
    while len(reached) < 10 or stream.state == "running":
        await page.settle()
    assert page.log(stream) == ["open", *range(10), ("completed", ["off"])]


async def test_the_buffer_is_bounded_in_bytes_too(open_page: OpenPage) -> None:
    page = await open_page(updates=1_000, size=500)

    async def large() -> AsyncGenerator[str, None]:
        while True:
            yield "x" * 100

    stream = page.start(large)
    await trio.testing.wait_all_tasks_blocked()
    assert 500 <= stream.buffer.bytes < 500 + 200


async def test_a_cancellation_that_arrives_while_the_buffer_is_full_is_raised_at_the_yield(page: PretendPage) -> None:
    seen: list[str] = []

    async def fast() -> AsyncGenerator[int, None]:
        try:
            for number in range(10):
                yield number
        except trio.Cancelled:
            seen.append("at the yield")
            raise
        finally:
            seen.append("finally")

    stream = page.start(fast)
    await trio.testing.wait_all_tasks_blocked()
    stream.scope.cancel(EndReason.CANCELLED)
    await page.settle()
    assert seen == ["at the yield", "finally"]
    assert page.log(stream) == ["open", ("cancelled", ["reset", "off"])]


async def test_a_cancellation_that_is_due_is_raised_at_the_next_yield(page: PretendPage) -> None:
    seen: list[int] = []

    async def cancels_itself() -> AsyncGenerator[int, None]:
        try:
            stream.scope.cancel(EndReason.CANCELLED)
            yield 1
            seen.append(1)
        except trio.Cancelled:
            seen.append(-1)
            raise

    stream = page.start(cancels_itself)
    await page.settle()
    assert seen == [-1]
    assert page.log(stream) == ["open", ("cancelled", ["reset", "off"])]


async def test_move_on_after_around_a_yield_with_a_full_buffer_moves_on(page: PretendPage) -> None:
    outcomes: list[bool] = []

    async def impatient() -> AsyncGenerator[int, None]:
        for number in range(5):
            with trio.move_on_after(1) as scope:
                yield number
            outcomes.append(scope.cancelled_caught)

    stream = page.start(impatient)
    await trio.sleep(10)
    await page.settle()
    assert outcomes == [False, False, False, True, True]
    # What found no room in time was given up by the generator; what went in arrives.
    assert page.log(stream) == ["open", 0, 1, 2, ("completed", ["off"])]


async def test_a_nursery_around_a_yield_is_cancelled_at_the_yield_when_its_child_fails(page: PretendPage) -> None:
    caught: list[BaseException] = []

    async def fails_soon() -> None:
        await trio.sleep(1)
        raise ValueError("child")

    async def nursery_around() -> AsyncGenerator[int, None]:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fails_soon)
                for number in range(10):
                    yield number
        except* ValueError as group:
            caught.extend(group.exceptions)
        yield 99

    stream = page.start(nursery_around)
    await trio.sleep(2)
    await page.settle()
    await page.settle()
    assert [str(error) for error in caught] == ["child"]
    assert page.log(stream) == ["open", 0, 1, 2, 99, ("completed", ["off"])]


async def test_a_nursery_around_a_yield_is_unwound_when_the_stream_is_cancelled(page: PretendPage) -> None:
    seen: list[str] = []

    async def child() -> None:
        try:
            await trio.sleep_forever()
        finally:
            seen.append("child")

    async def nursery_around() -> AsyncGenerator[int, None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            while True:
                yield 1

    stream = page.start(nursery_around)
    await trio.testing.wait_all_tasks_blocked()
    stream.scope.cancel(EndReason.CANCELLED)
    await page.settle()
    assert seen == ["child"]
    assert page.log(stream)[-1] == ("cancelled", ["reset", "off"])


async def test_updates_yielded_while_unwinding_are_dropped_and_the_generator_is_closed_and_reported(
    page: PretendPage, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    async def last_words() -> AsyncGenerator[int | str, None]:
        try:
            while True:
                yield 1
                await trio.sleep(1)
        except trio.Cancelled:
            try:
                yield "too late"
            except trio.Cancelled:
                try:
                    yield "much too late"
                except GeneratorExit:
                    seen.append("closed")
                    raise

    stream = page.start(last_words)
    await page.settle()
    stream.scope.cancel(EndReason.CANCELLED)
    await page.settle()
    assert page.log(stream) == ["open", 1, ("cancelled", ["reset", "off"])]
    assert seen == ["closed"]
    assert "'test' went on yielding after it was cancelled" in caplog.text


async def test_a_generator_that_swallows_everything_is_given_up_and_the_stream_ends(
    page: PretendPage, caplog: pytest.LogCaptureFixture
) -> None:
    enough = False

    async def swallow() -> AsyncGenerator[int, None]:
        while not enough:
            with contextlib.suppress(BaseException):
                yield 1

    stubborn = swallow()
    stream = page.start(lambda: stubborn)
    await page.settle()
    stream.scope.cancel(EndReason.CANCELLED)
    await page.settle()
    assert page.log(stream)[-1] == ("cancelled", ["reset", "off"])
    assert "cannot be closed" in caplog.text
    enough = True
    await stubborn.aclose()


async def test_other_tasks_run_beside_a_generator_that_never_awaits(open_page: OpenPage, nursery: trio.Nursery) -> None:
    page = await open_page(updates=10**9, size=10**9)
    turns = 0
    over = False

    async def hot() -> AsyncGenerator[int, None]:
        while not over:
            yield 1

    page.start(hot)
    while turns < 10:
        turns += 1
        await trio.lowlevel.checkpoint()
    over = True
    await trio.testing.wait_all_tasks_blocked()


# What a generator may yield, and set_props


async def test_yielding_none_warns_once_and_goes_on(page: PretendPage, caplog: pytest.LogCaptureFixture) -> None:
    async def sloppy() -> AsyncGenerator[int | None, None]:
        yield None
        yield 1
        yield None

    stream = page.start(sloppy)
    await page.settle()
    assert page.log(stream) == ["open", 1, ("completed", ["off"])]
    assert caplog.text.count("'test' yielded None") == 1


async def test_yielding_something_else_is_raised_at_the_yield_and_fails_the_stream(page: PretendPage) -> None:
    seen: list[str] = []

    async def wrong() -> AsyncGenerator[object, None]:
        try:
            yield object()
        except Exception as error:
            seen.append(str(error))

    given: list[BaseException] = []

    async def on_error(error: BaseException) -> None:
        given.append(error)

    stream = page.start(wrong, on_error=on_error)
    await page.settle()
    assert "'test' yielded" in seen[0]
    assert [str(error) for error in given] == seen
    assert page.log(stream) == ["open", ("failed", ["reset", "off"])]


async def test_set_props_is_sent_at_once_and_the_next_yield_waits(page: PretendPage) -> None:
    reached: list[int] = []

    async def pushes() -> AsyncGenerator[int, None]:
        for number in range(5):
            stream.push(number)
        reached.append(1)
        yield 5
        reached.append(2)

    stream = page.start(pushes)
    await trio.testing.wait_all_tasks_blocked()
    assert reached == [1]
    assert stream.buffer.updates == 5
    await page.settle()
    await page.settle()
    assert page.log(stream) == ["open", 0, 1, 2, 3, 4, 5, ("completed", ["off"])]


async def test_set_props_without_a_yield_fails_the_stream_at_twice_the_bound(page: PretendPage) -> None:
    given: list[BaseException] = []

    async def floods() -> AsyncGenerator[int, None]:
        while True:
            stream.push(1)
        yield 1

    async def on_error(error: BaseException) -> None:
        given.append(error)

    stream = page.start(floods, on_error=on_error)
    await page.settle()
    assert page.log(stream) == ["open", *[1] * 6, ("failed", ["reset", "off"])]
    assert isinstance(given[0], BufferOverrun)
    assert "'test' called set_props" in str(given[0])


async def test_nothing_is_sent_when_room_and_a_cancellation_come_at_once(page: PretendPage) -> None:
    async def fast() -> AsyncGenerator[int, None]:
        for number in range(10):
            yield number

    stream = page.start(fast)
    await trio.testing.wait_all_tasks_blocked()
    page.read()
    stream.scope.cancel(EndReason.CANCELLED)
    await page.settle()
    assert page.log(stream) == ["open", 0, 1, 2, ("cancelled", ["reset", "off"])]
