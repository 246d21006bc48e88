"""`on_asyncio` over async generators: stepped in one asyncio task, cancelled and closed at the `yield`."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.lowlevel

from flash import AsyncioCancelled, on_asyncio
from tests.asyncio_bridge.loops import tasks_left
from tests.support.eventually import TIMEOUT, eventually

variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)


async def take(generator: Any) -> list[Any]:
    return [value async for value in generator]


async def test_it_is_an_async_generator_function_like_any_other() -> None:
    @on_asyncio
    async def numbers(count: int) -> AsyncIterator[int]:
        for number in range(count):
            await asyncio.sleep(0)
            yield number

    assert inspect.isasyncgenfunction(numbers)
    assert await take(numbers(3)) == [0, 1, 2]
    assert await tasks_left() == []


async def test_nothing_runs_ahead_of_who_asks() -> None:
    log: list[int] = []

    @on_asyncio
    async def numbers() -> AsyncIterator[int]:
        for number in range(3):
            log.append(number)
            yield number

    async with contextlib.aclosing(numbers()) as generator:
        assert log == []
        assert await anext(generator) == 0
        await tasks_left()
        assert log == [0]


async def test_its_steps_share_one_task_and_one_context() -> None:
    tasks: set[object] = set()

    @on_asyncio
    async def count() -> AsyncIterator[int]:
        for _ in range(3):
            tasks.add(asyncio.current_task())
            variable.set(variable.get() + 1)
            yield variable.get()

    assert await take(count()) == [1, 2, 3]
    assert len(tasks) == 1
    assert variable.get() == 0


async def test_errors_arrive_as_themselves() -> None:
    error = ExceptionGroup("several", [ValueError("one"), TimeoutError("two")])

    @on_asyncio
    async def fail() -> AsyncIterator[int]:
        yield 1
        raise error

    with pytest.raises(ExceptionGroup) as caught:
        await take(fail())
    assert caught.value is error
    assert await tasks_left() == []


async def test_arguments_that_do_not_fit_are_a_type_error() -> None:
    @on_asyncio
    async def numbers(count: int) -> AsyncIterator[int]:
        yield count

    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        await take(numbers())  # pyright: ignore[reportCallIssue]


async def test_a_task_that_cancels_itself_has_an_error_of_its_own() -> None:
    @on_asyncio
    async def give_up() -> AsyncIterator[int]:
        yield 1
        raise asyncio.CancelledError

    with pytest.raises(AsyncioCancelled, match="give_up"):
        await take(give_up())


async def test_a_timeout_around_yields_is_raised_at_the_yield() -> None:
    @on_asyncio
    async def impatient() -> AsyncIterator[Any]:
        try:
            async with asyncio.timeout(0.01):
                yield "first"
                yield "never"
        except TimeoutError:
            yield "timed out"

    generator = impatient()
    assert await anext(generator) == "first"
    await trio.sleep(0.1)
    assert await take(generator) == ["timed out"]


async def test_a_timeout_around_yields_that_ends_the_generator_arrives_at_the_next_step() -> None:
    @on_asyncio
    async def impatient() -> AsyncIterator[int]:
        async with asyncio.timeout(0.01):
            yield 1
            yield 2

    generator = impatient()
    assert await anext(generator) == 1
    await trio.sleep(0.1)
    with pytest.raises(TimeoutError):
        await anext(generator)
    with pytest.raises(StopAsyncIteration):
        await anext(generator)
    assert await tasks_left() == []


class Journal:
    """A generator that writes down what happens to it; it waits for ever after its first `yield`, if it gets there."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.waits = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        self.generator = on_asyncio(self._generate)

    async def _generate(self) -> AsyncIterator[str]:
        try:
            async with asyncio.timeout(60):
                yield "first"
                self.log.append("went on")
                self._token.run_sync_soon(self.waits.set)
                await asyncio.get_running_loop().create_future()
        except BaseException as error:
            self.log.append(type(error).__name__)
            raise
        finally:
            await asyncio.sleep(0.001)
            task = asyncio.current_task()
            assert task is not None
            self.log.append(f"cleaned up in {task.get_name().rpartition('.')[2]}")


async def test_a_step_that_waits_is_cancelled() -> None:
    journal = Journal()

    async def run() -> None:
        await take(journal.generator())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await journal.waits.wait()
        nursery.cancel_scope.cancel()
    assert journal.log == ["went on", "CancelledError", "cleaned up in _generate"]
    assert await tasks_left() == []


async def test_closing_is_generator_exit_at_the_yield() -> None:
    journal = Journal()
    generator = journal.generator()
    await anext(generator)
    await generator.aclose()
    assert journal.log == ["GeneratorExit", "cleaned up in _generate"]
    assert await tasks_left() == []


async def test_closing_runs_clean_up_even_where_all_is_cancelled() -> None:
    journal = Journal()
    generator = journal.generator()
    await anext(generator)
    with trio.CancelScope() as scope:
        scope.cancel()
        await generator.aclose()
    assert journal.log == ["GeneratorExit", "cleaned up in _generate"]
    assert await tasks_left() == []


async def test_a_generator_that_never_began_is_closed_without_beginning() -> None:
    journal = Journal()
    generator = journal.generator()
    await generator.aclose()
    assert journal.log == []


async def test_an_error_is_thrown_at_the_yield() -> None:
    @on_asyncio
    async def answer() -> AsyncIterator[str]:
        try:
            yield "first"
        except ValueError as error:
            yield f"caught {error}"

    async with contextlib.aclosing(answer()) as generator:
        await anext(generator)
        assert await generator.athrow(ValueError("it")) == "caught it"


async def cancel_at_yield(generator: Any) -> Any:
    """What a driver does with a cancellation that arrives while it holds a value; returns what is yielded then."""
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancelled:
            return await generator.athrow(cancelled)
    assert scope.cancelled_caught
    return None


async def test_a_cancellation_at_the_yield_is_a_cancelled_error_there() -> None:
    journal = Journal()
    generator = journal.generator()
    assert await anext(generator) == "first"
    assert await cancel_at_yield(generator) is None
    assert journal.log == ["CancelledError", "cleaned up in _generate"]
    with pytest.raises(StopAsyncIteration):
        await anext(generator)
    assert await tasks_left() == []


async def test_a_task_group_around_a_yield_takes_its_tasks_along() -> None:
    log: list[str] = []

    @on_asyncio
    async def together() -> AsyncIterator[int]:
        async def wait() -> None:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                log.append("task ended")

        async with asyncio.TaskGroup() as group:
            group.create_task(wait())
            await asyncio.sleep(0)
            yield 1

    generator = together()
    await anext(generator)
    assert await cancel_at_yield(generator) is None
    assert log == ["task ended"]
    assert await tasks_left() == []


async def test_a_generator_that_goes_on_after_its_cancellation_yields_to_its_driver() -> None:
    @on_asyncio
    async def stubborn() -> AsyncIterator[str]:
        try:
            yield "first"
        except asyncio.CancelledError:
            yield "second"

    async with contextlib.aclosing(stubborn()) as generator:
        await anext(generator)
        assert await cancel_at_yield(generator) == "second"


async def test_a_generator_that_cannot_be_closed_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    thrown: list[str] = []

    @on_asyncio
    async def stubborn() -> AsyncIterator[int]:
        while len(thrown) < 4:
            try:
                yield 1
            except BaseException as error:
                thrown.append(type(error).__name__)

    generator = stubborn()
    await anext(generator)
    await generator.aclose()
    assert "stubborn' yields whatever is raised in it and cannot be closed" in caplog.text
    # asyncio's own last try, when the generator is garbage.
    await eventually(lambda: gc.collect() >= 0 and thrown == ["GeneratorExit"] * 4)
    assert await tasks_left() == []


async def test_a_clean_up_that_hangs_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flash.asyncio_bridge.bridge.CLEANUP_TIMEOUT", 0.05)

    @on_asyncio
    async def hang() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await asyncio.get_running_loop().create_future()

    generator = hang()
    await anext(generator)
    with trio.fail_after(TIMEOUT):
        await generator.aclose()
    assert await tasks_left() == []


async def test_whenever_a_cancellation_comes_it_is_met_once_and_cleaned_up_after() -> None:
    began, ended, met = 0, 0, list[str]()

    @on_asyncio
    async def numbers() -> AsyncIterator[int]:
        nonlocal began, ended
        began += 1
        try:
            number = 0
            while True:
                yield number
                if number % 3 == 0:
                    await asyncio.sleep(0)
                number += 1
        except BaseException as error:
            met.append(type(error).__name__)
            raise
        finally:
            await asyncio.sleep(0)
            ended += 1

    for round_ in range(100):
        expected = 0
        with trio.move_on_after(0.0003 * (round_ % 10)) as scope:
            async with contextlib.aclosing(numbers()) as generator:
                async for number in generator:
                    assert number == expected
                    expected += 1
        assert scope.cancelled_caught
        assert ended == began == len(met)
    assert "CancelledError" in met
    assert await tasks_left() == []
