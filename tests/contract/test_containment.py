"""What the user's code does in a stream ends nothing but that stream."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import trio
import trio.testing

from flash.cancel_scopes import Condition, EndReason
from flash.errors import ForeignCancellation
from flash.server.lifespan import BackgroundTasks
from tests.contract.desk import BROWSER, Desk, on_mock_clock
from tests.support.eventually import TIMEOUT

clock = on_mock_clock

Inner = Callable[[], AsyncGenerator[int, None]]
Callback = Callable[[], object]


async def endless() -> AsyncGenerator[int, None]:
    while True:
        yield 1
        await trio.sleep(1)


# Inner generators that hold something of Trio's open around their `yield`


async def in_nursery() -> AsyncGenerator[int, None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        while True:
            yield 1
            await trio.sleep(0.1)


async def in_scope() -> AsyncGenerator[int, None]:
    with trio.move_on_after(1_000):
        while True:
            yield 1
            await trio.sleep(0.1)


async def in_both() -> AsyncGenerator[int, None]:
    async for number in in_nursery():
        with trio.CancelScope():
            yield number


@contextlib.asynccontextmanager
async def connection() -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        try:
            yield
        finally:
            nursery.cancel_scope.cancel()


async def in_context_manager() -> AsyncGenerator[int, None]:
    async with connection():
        while True:
            yield 1
            await trio.sleep(0.1)


async def in_exit_stack() -> AsyncGenerator[int, None]:
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(trio.open_nursery())
        stack.enter_context(trio.CancelScope())
        while True:
            yield 1
            await trio.sleep(0.1)


async def slow_to_close() -> AsyncGenerator[int, None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        try:
            while True:
                yield 1
                await trio.sleep(0.1)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.5)


HOLDING = [
    in_nursery,
    in_scope,
    in_both,
    in_context_manager,
    in_exit_stack,
    slow_to_close,
]


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


class Neighbours:
    """A page beside one that has a stream, and a stream beside it on its page: neither is to notice anything."""

    def __init__(self, desk: Desk, other: Desk) -> None:
        self._desks = (desk, other)
        self._streams = [each.start(endless, key="bystander") for each in self._desks]

    def check(self) -> None:
        for desk, stream in zip(self._desks, self._streams, strict=True):
            desk.read()
            assert stream.state == "running"
            assert not [entry for entry in desk.log(stream) if isinstance(entry, tuple)]


@pytest.fixture
async def neighbours(desk: Desk, nursery: trio.Nursery) -> Neighbours:
    other = Desk(desk.channels, await desk.channels.connect(nursery, "other", BROWSER))
    return Neighbours(desk, other)


async def end_of(desk: Desk, callback: Callback, **options: Any) -> tuple[str, list[object]]:
    """Start a stream, cancel it after two seconds if it runs on, and return its one end; the next run works."""
    stream = desk.start(callback, **options)
    await trio.sleep(2)
    stream.scope.cancel(EndReason.CANCELLED)
    await trio.sleep(2)
    desk.read()
    ends = [entry for entry in desk.log(stream) if isinstance(entry, tuple)]
    assert len(ends) == 1
    assert stream.id not in [info.id for info in desk.channels.streams()]
    again = desk.start(endless)
    await trio.sleep(2)
    desk.read()
    assert len(desk.log(again)) > 1
    again.scope.cancel(EndReason.CANCELLED)
    return ends[0]


@pytest.mark.parametrize("inner", HOLDING, ids=lambda inner: inner.__name__)
@pytest.mark.parametrize(("leave", "reason"), LEAVING, ids=[leave.__name__ for leave, _ in LEAVING])
async def test_an_inner_generator_that_is_left_open_ends_no_other_stream(
    desk: Desk,
    neighbours: Neighbours,
    inner: Inner,
    leave: Callable[[Inner], Callback],
    reason: EndReason,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended, _ = await end_of(desk, leave(inner))
    assert ended == reason
    neighbours.check()
    [warning, *_] = {record.getMessage() for record in caplog.records if record.levelno == logging.WARNING}
    assert "the event callback 'test' iterates the async generator" in warning.lower()
    assert __file__ in warning
    assert "aclosing" in warning


async def test_an_inner_generator_is_closed_in_its_own_task_at_the_next_yield(desk: Desk) -> None:
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
            desk.read()
        tasks.append(trio.lowlevel.current_task())

    tasks: list[trio.lowlevel.Task] = []
    began = trio.current_time()
    stream = desk.start(callback)
    await trio.sleep(60)
    desk.read()
    assert desk.log(stream) == ["open", 1, 2, 1, 2, ("completed", ["off"])]
    assert closed == [(tasks[0], began), (tasks[0], began + 10)]


async def test_an_inner_generator_with_its_own_inner_one_is_left_from_the_inside(
    desk: Desk, neighbours: Neighbours
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
        assert (await end_of(desk, leave(inner)))[0] == "completed"
        assert sorted(order) == ["inner", "innermost"]
    neighbours.check()


async def test_two_inner_generators_that_were_opened_crosswise_are_closed(desk: Desk, neighbours: Neighbours) -> None:
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

    assert (await end_of(desk, callback))[0] == "completed"
    neighbours.check()


async def test_a_task_that_an_inner_generator_has_started_fails_the_stream(desk: Desk, neighbours: Neighbours) -> None:
    told: list[BaseException] = []

    async def inner() -> AsyncGenerator[int, None]:
        async def fail() -> None:
            await trio.sleep(0.5)
            raise ConnectionError("the feed is gone")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            yield 1

    async def on_error(error: BaseException) -> None:
        told.append(error)

    assert (await end_of(desk, waits(inner), on_error=on_error))[0] == "failed"
    [error] = told
    assert isinstance(error, ConnectionError)
    neighbours.check()


async def test_the_deadline_of_an_inner_generator_fails_the_stream_with_what_to_do(
    desk: Desk, neighbours: Neighbours
) -> None:
    told: list[BaseException] = []

    async def inner() -> AsyncGenerator[int, None]:
        with trio.move_on_after(0.5):
            yield 1

    async def on_error(error: BaseException) -> None:
        told.append(error)

    assert (await end_of(desk, waits(inner), on_error=on_error))[0] == "failed"
    [error] = told
    assert isinstance(error, ForeignCancellation)
    assert "aclosing" in str(error)
    neighbours.check()


async def test_a_generator_that_holds_nothing_is_no_matter_of_warning(
    desk: Desk, caplog: pytest.LogCaptureFixture
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

    assert (await end_of(desk, own_nursery))[0] == "cancelled"
    assert (await end_of(desk, closes))[0] == "cancelled"
    assert (await end_of(desk, returns(inner)))[0] == "completed"
    assert closed == [1, 1]
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


async def enters_a_nursery_by_hand() -> AsyncGenerator[int, None]:
    nursery = await trio.open_nursery().__aenter__()
    nursery.start_soon(trio.sleep_forever)
    yield 1


async def enters_a_scope_by_hand() -> AsyncGenerator[int, None]:
    trio.CancelScope().__enter__()
    yield 1


async def leaves_an_exit_stack_open() -> AsyncGenerator[int, None]:
    stack = contextlib.AsyncExitStack()
    nursery = await stack.enter_async_context(trio.open_nursery())
    stack.enter_context(trio.CancelScope())
    await stack.enter_async_context(connection())
    nursery.start_soon(trio.sleep_forever)
    yield 1


async def leaves_the_wrong_scope_first() -> AsyncGenerator[int, None]:
    outer, inner = trio.CancelScope(), trio.CancelScope()
    outer.__enter__()
    inner.__enter__()
    yield 1
    outer.__exit__(None, None, None)


async def leaves_the_scope_of_its_stream() -> AsyncGenerator[int, None]:
    yield 1
    scope = trio.lowlevel.current_task()._cancel_status._scope  # type: ignore[attr-defined]
    scope.__exit__(None, None, None)
    await trio.sleep(0.1)


async def cancels_the_nursery_of_the_page() -> AsyncGenerator[int, None]:
    nursery = trio.lowlevel.current_task().parent_nursery
    assert nursery is not None
    nursery.cancel_scope.cancel()
    yield 1


async def fails_in_the_nursery_of_the_page() -> AsyncGenerator[int, None]:
    async def fail() -> None:
        raise ValueError("not mine to have")

    nursery = trio.lowlevel.current_task().parent_nursery
    assert nursery is not None
    nursery.start_soon(fail)
    yield 1
    await trio.sleep(0.1)


async def leaves_tasks_in_the_nursery_of_the_page() -> AsyncGenerator[int, None]:
    async def shielded() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(100)

    nursery = trio.lowlevel.current_task().parent_nursery
    assert nursery is not None
    nursery.start_soon(trio.sleep_forever)
    nursery.start_soon(shielded)
    yield 1


CORRUPTING = [
    enters_a_nursery_by_hand,
    enters_a_scope_by_hand,
    leaves_an_exit_stack_open,
    leaves_the_wrong_scope_first,
    leaves_the_scope_of_its_stream,
    cancels_the_nursery_of_the_page,
    fails_in_the_nursery_of_the_page,
    leaves_tasks_in_the_nursery_of_the_page,
]


@pytest.mark.parametrize("callback", CORRUPTING, ids=lambda callback: callback.__name__)
async def test_scopes_and_nurseries_that_are_misused_end_no_other_stream(
    desk: Desk, neighbours: Neighbours, callback: Callback
) -> None:
    await end_of(desk, callback)
    neighbours.check()
    # The page can be left, and the other one is none the wiser.
    channel = desk.link.channel
    channel.close(EndReason.DISCONNECTED)
    with trio.fail_after(TIMEOUT):
        await channel.finished.wait()
    assert len(desk.channels) == 1


class Unspeakable(Exception):
    """An exception of which nothing can be told."""

    def __str__(self) -> str:
        raise SystemExit("__str__")

    def __repr__(self) -> str:
        raise KeyboardInterrupt("__repr__")

    @property
    def __cause__(self) -> BaseException | None:  # type: ignore[override]
        raise SystemExit("__cause__")


class Indivisible(BaseExceptionGroup[BaseException]):
    """A group that cannot be taken apart, as one whose subclass has arguments of its own may be."""

    def derive(self, excs: Any) -> Any:
        raise SystemExit("derive")


def misnoted() -> BaseException:
    error = RuntimeError("no running event loop")
    error.__notes__ = 5  # type: ignore[assignment]
    return error


RAISED: list[Callable[[], BaseException]] = [
    lambda: ValueError("as usual"),
    lambda: SystemExit(3),
    KeyboardInterrupt,
    GeneratorExit,
    StopIteration,
    StopAsyncIteration,
    Unspeakable,
    lambda: trio.TrioInternalError("said the user"),
    lambda: BaseExceptionGroup("several", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()]),
    lambda: ExceptionGroup("several", [ValueError(), ExceptionGroup("more", [Unspeakable()])]),
    lambda: RuntimeError(Unspeakable()),
    misnoted,
    lambda: Indivisible("indivisible", [ValueError(), SystemExit(3)]),
]
RAISED_NAMES = [f"{type(make()).__name__} {number}" for number, make in enumerate(RAISED)]


@pytest.mark.parametrize("make", RAISED, ids=RAISED_NAMES)
async def test_whatever_a_generator_raises_fails_its_stream_alone(
    desk: Desk, neighbours: Neighbours, make: Callable[[], BaseException]
) -> None:
    async def in_a_task() -> AsyncGenerator[int, None]:
        yield 1
        raise make()

    async def in_cleanup() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            raise make()

    assert (await end_of(desk, in_a_task))[0] == "failed"
    assert (await end_of(desk, in_cleanup))[0] == "cancelled"
    neighbours.check()


@pytest.mark.parametrize("make", RAISED, ids=RAISED_NAMES)
async def test_whatever_an_on_error_raises_ends_nothing_else(
    desk: Desk, neighbours: Neighbours, make: Callable[[], BaseException]
) -> None:
    async def in_a_task(error: BaseException) -> None:
        raise make()

    async def with_something_left_open(error: BaseException) -> None:
        async for _ in in_nursery():
            raise make()

    for on_error in (in_a_task, with_something_left_open):
        assert (await end_of(desk, endless, on_error=on_error)) == ("cancelled", ["reset", "off"])
    neighbours.check()


@pytest.mark.parametrize("make", RAISED, ids=RAISED_NAMES)
async def test_whatever_a_predicate_raises_counts_as_not_met(
    desk: Desk, neighbours: Neighbours, make: Callable[[], BaseException]
) -> None:
    def predicate(value: object) -> bool:
        raise make()

    stream = desk.start(endless, conditions=[Condition("stop.n_clicks", predicate, counts=False)])
    await desk.settle()
    stream.scope.change(0, 1)
    await desk.settle()
    assert desk.log(stream)[-1][0] == "cancelled"
    neighbours.check()


async def test_a_generator_that_is_left_by_a_task_of_the_users_waits_for_the_end_of_that(
    desk: Desk, neighbours: Neighbours
) -> None:
    async def take_one() -> None:
        async for _ in in_nursery():
            break
        await trio.sleep(1)

    async def callback() -> AsyncGenerator[int, None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_one)
            while True:
                yield 1
                await trio.sleep(0.1)

    assert (await end_of(desk, callback))[0] == "failed"
    neighbours.check()


async def test_a_background_task_that_is_started_and_waited_for_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """`nursery.start` moves it from one nursery to another while it runs: nothing of that is its own doing."""
    done: list[str] = []

    async def plainly(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await trio.lowlevel.checkpoint()
        done.append("plainly")

    async def in_its_nursery(*, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.checkpoint)
            task_status.started()
        done.append("in its nursery")

    async def iterating(*, task_status: trio.TaskStatus[None]) -> None:
        async for _ in in_nursery():
            task_status.started()
            break
        await trio.lowlevel.checkpoint()
        done.append("iterating")

    async with trio.open_nursery() as nursery:
        tasks = BackgroundTasks(nursery)
        await tasks.start(plainly)
        await tasks.start(in_its_nursery)
        await trio.testing.wait_all_tasks_blocked()
        assert caplog.messages == []
        await tasks.start(iterating)
    assert done == ["plainly", "in its nursery", "iterating"]
    [warning] = caplog.messages
    assert "'in_nursery'" in warning


@pytest.mark.parametrize("in_a_group", [False, True])
async def test_a_cancellation_of_something_that_is_over_is_a_failure_and_ends_nothing_else(
    caplog: pytest.LogCaptureFixture, in_a_group: bool
) -> None:
    kept: list[trio.Cancelled] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancelled:
            kept.append(cancelled)
            raise

    async def raise_it() -> None:
        raise BaseExceptionGroup("kept", kept) if in_a_group else kept[0]

    async with trio.open_nursery() as nursery:
        BackgroundTasks(nursery).start_soon(raise_it)
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.cancel_scope.cancel_called
    assert "raise_it" in caplog.text
