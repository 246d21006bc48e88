"""An inner generator that is left open is closed in the task of its stream, and ends no other stream."""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import AsyncGenerator, Callable, Iterator

import pytest
import trio

from flash.cancel_scopes import EndReason
from flash.errors import ForeignCancellation
from tests.contract.inner_generators import HOLDING, Inner, in_nursery, in_scope
from tests.contract.neighbours import Callback, Neighbours, end_of
from tests.contract.pretend_page import PretendPage, endless, on_mock_clock

clock = on_mock_clock


def waits(inner: Inner) -> Callback:
    async def callback() -> AsyncGenerator[object, None]:
        async for number in inner():
            yield number
            await trio.sleep(1_000)

    return callback


def returns(inner: Inner) -> Callback:
    async def callback() -> AsyncGenerator[object, None]:
        async for number in inner():
            yield number
            return

    return callback


def raises(inner: Inner) -> Callback:
    async def callback() -> AsyncGenerator[object, None]:
        values = inner()
        async for number in values:
            yield number
            # The traceback refers to `values`.
            raise ValueError

    return callback


def yields_nonsense(inner: Inner) -> Callback:
    async def callback() -> AsyncGenerator[object, None]:
        async for _ in inner():
            yield object()

    return callback


def goes_on(inner: Inner) -> Callback:
    async def callback() -> AsyncGenerator[object, None]:
        async for number in inner():
            yield number
            break
        async for number in endless():
            yield number

    return callback


def keeps_it(inner: Inner) -> Callback:
    async def callback() -> AsyncGenerator[object, None]:
        kept.append(inner())
        async for number in kept[-1]:
            yield number
            return

    return callback


def leaves_it_to_the_collector(inner: Inner) -> Callback:
    async def callback() -> AsyncGenerator[object, None]:
        values = inner()
        cycle: list[object] = [values]
        cycle.append(cycle)
        async for number in values:
            yield number
            return

    return callback


kept: list[AsyncGenerator[object, None]] = []


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    yield
    kept.clear()


LEAVING: list[tuple[Callable[[Inner], Callback], EndReason]] = [
    (waits, EndReason.CANCELLED),
    (returns, EndReason.COMPLETED),
    (raises, EndReason.FAILED),
    (yields_nonsense, EndReason.FAILED),
    (goes_on, EndReason.CANCELLED),
    (keeps_it, EndReason.COMPLETED),
    (leaves_it_to_the_collector, EndReason.COMPLETED),
]


@pytest.mark.parametrize("inner", HOLDING, ids=lambda inner: inner.__name__)
@pytest.mark.parametrize(("leave", "reason"), LEAVING, ids=[leave.__name__ for leave, _ in LEAVING])
async def test_an_inner_generator_that_is_left_open_ends_no_other_stream(
    page: PretendPage,
    neighbours: Neighbours,
    inner: Inner,
    leave: Callable[[Inner], Callback],
    reason: EndReason,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended, _ = await end_of(page, leave(inner))
    assert ended == reason
    neighbours.check()
    [warning, *_] = {record.getMessage() for record in caplog.records if record.levelno == logging.WARNING}
    assert "the event callback 'test' iterates the async generator" in warning.lower()
    assert str(inspect.getsourcefile(inner)) in warning
    assert "aclosing" in warning


async def test_an_inner_generator_is_closed_in_its_own_task_at_the_next_yield(page: PretendPage) -> None:
    closed: list[tuple[trio.lowlevel.Task, float]] = []

    async def inner() -> AsyncGenerator[int, None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                yield 1
            finally:
                closed.append((trio.lowlevel.current_task(), trio.current_time()))

    async def callback() -> AsyncGenerator[int, None]:
        for _ in range(2):
            async for number in inner():
                yield number
                break
            yield 2
            await trio.sleep(10)
            page.read()
        tasks.append(trio.lowlevel.current_task())

    tasks: list[trio.lowlevel.Task] = []
    began = trio.current_time()
    stream = page.start(callback)
    await trio.sleep(60)
    page.read()
    assert page.log(stream) == ["open", 1, 2, 1, 2, ("completed", ["off"])]
    assert closed == [(tasks[0], began), (tasks[0], began + 10)]


async def test_an_inner_generator_with_its_own_inner_one_is_left_from_the_inside(
    page: PretendPage, neighbours: Neighbours
) -> None:
    order: list[str] = []

    async def innermost() -> AsyncGenerator[int, None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                while True:
                    yield 1
            finally:
                order.append("innermost")

    async def inner() -> AsyncGenerator[int, None]:
        with trio.CancelScope():
            try:
                async for number in innermost():
                    yield number
            finally:
                order.append("inner")

    for leave in (returns, leaves_it_to_the_collector):
        order.clear()
        assert (await end_of(page, leave(inner)))[0] == "completed"
        assert sorted(order) == ["inner", "innermost"]
    neighbours.check()


async def test_two_inner_generators_that_were_opened_crosswise_are_closed(
    page: PretendPage, neighbours: Neighbours
) -> None:
    async def late() -> AsyncGenerator[int, None]:
        yield 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            yield 2

    async def callback() -> AsyncGenerator[int, None]:
        first, second = late(), late()
        await anext(first)
        await anext(second)
        await anext(second)
        yield await anext(first)

    assert (await end_of(page, callback))[0] == "completed"
    neighbours.check()


async def test_a_task_that_an_inner_generator_has_started_fails_the_stream(
    page: PretendPage, neighbours: Neighbours
) -> None:
    errors: list[BaseException] = []

    async def inner() -> AsyncGenerator[int, None]:
        async def fail() -> None:
            await trio.sleep(0.5)
            raise ConnectionError("the feed is gone")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            yield 1

    async def on_error(error: BaseException) -> None:
        errors.append(error)

    assert (await end_of(page, waits(inner), on_error=on_error))[0] == "failed"
    [error] = errors
    assert isinstance(error, ConnectionError)
    neighbours.check()


async def test_the_deadline_of_an_inner_generator_fails_the_stream_with_what_to_do(
    page: PretendPage, neighbours: Neighbours
) -> None:
    errors: list[BaseException] = []

    async def inner() -> AsyncGenerator[int, None]:
        with trio.move_on_after(0.5):
            yield 1

    async def on_error(error: BaseException) -> None:
        errors.append(error)

    assert (await end_of(page, waits(inner), on_error=on_error))[0] == "failed"
    [error] = errors
    assert isinstance(error, ForeignCancellation)
    assert "aclosing" in str(error)
    neighbours.check()


async def test_a_generator_that_holds_nothing_is_no_matter_of_warning(
    page: PretendPage, caplog: pytest.LogCaptureFixture
) -> None:
    closed: list[int] = []

    async def inner() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            with trio.move_on_after(1):
                await trio.sleep(0.1)
            closed.append(1)

    async def own_nursery() -> AsyncGenerator[int, None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            async with contextlib.aclosing(in_scope()) as values:
                async for number in values:
                    yield number
                    break
            async for number in inner():
                yield number
                break
            while True:
                yield 2
                await trio.sleep(1)

    async def closes() -> AsyncGenerator[int, None]:
        async with contextlib.aclosing(in_nursery()) as values:
            async for number in values:
                yield number

    assert (await end_of(page, own_nursery))[0] == "cancelled"
    assert (await end_of(page, closes))[0] == "cancelled"
    assert (await end_of(page, returns(inner)))[0] == "completed"
    assert closed == [1, 1]
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []
