"""What is only needed when a coroutine has to wait is only done then, and the coroutine does not notice."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from flash.user_code.first_wait import when_suspended


async def test_a_coroutine_that_does_not_wait_is_not_told_of() -> None:
    calls: list[str] = []

    async def answer() -> int:
        return 42

    assert await when_suspended(answer(), lambda: calls.append("waits")) == 42
    assert calls == []


async def test_one_that_waits_is_told_of_once_when_it_first_does(autojump_clock: MockClock) -> None:
    log: list[str] = []

    async def wait() -> str:
        log.append("begins")
        await trio.sleep(1)
        log.append("goes on")
        await trio.sleep(1)
        return "done"

    began = trio.current_time()
    assert await when_suspended(wait(), lambda: log.append("waits")) == "done"
    assert log == ["begins", "waits", "goes on"]
    assert trio.current_time() - began == 2


async def test_what_is_raised_passes_through_in_both_directions(autojump_clock: MockClock) -> None:
    log: list[str] = []

    async def wait() -> None:
        with trio.move_on_after(1):
            await trio.sleep_forever()
        log.append("moved on")
        try:
            await trio.sleep_forever()
        finally:
            log.append("unwound")

    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise KeyError("x")

    with trio.move_on_after(3) as scope:
        await when_suspended(wait(), lambda: None)
    assert scope.cancelled_caught
    assert log == ["moved on", "unwound"]
    with pytest.raises(KeyError):
        await when_suspended(fail(), lambda: None)


async def test_a_step_of_a_generator_is_one_too() -> None:
    async def count() -> AsyncIterator[int]:
        yield 1
        await trio.lowlevel.checkpoint()
        yield 2

    calls: list[int] = []
    numbers = count()
    assert await when_suspended(anext(numbers), lambda: calls.append(1)) == 1
    assert await when_suspended(anext(numbers), lambda: calls.append(2)) == 2
    with pytest.raises(StopAsyncIteration):
        await when_suspended(anext(numbers), lambda: calls.append(3))
    assert calls == [2]
