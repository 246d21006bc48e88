"""`on_asyncio` over coroutine functions: they run under asyncio, and are Trio's to wait for and to cancel."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import threading
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
import trio

from flash import AsyncioCancelled, Flash, FlashError, Input, on_asyncio
from flash.asyncio_bridge.thread import AsyncioThread, asyncio_thread
from tests.asyncio_bridge.loops import tasks_left
from tests.support.eventually import TIMEOUT

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def test_asyncio_can_be_awaited_in_it() -> None:
    @on_asyncio
    async def add(first: int, *, second: int) -> int:
        async def later(number: int) -> int:
            await asyncio.sleep(0)
            return number

        return sum(await asyncio.gather(later(first), later(second)))

    assert await add(1, second=2) == 3
    assert inspect.iscoroutinefunction(add)
    assert add.__name__ == "add"


async def test_everything_shares_one_loop_in_a_thread_beside() -> None:
    @on_asyncio
    async def where() -> tuple[object, threading.Thread]:
        return asyncio.get_running_loop(), threading.current_thread()

    assert await where() == await where()
    assert (await where())[1] is not threading.current_thread()


async def test_contextvars_are_those_of_the_caller() -> None:
    @on_asyncio
    async def look() -> str:
        seen = variable.get()
        variable.set("changed")
        return seen

    variable.set("set")
    assert await look() == "set"
    assert variable.get() == "set"


@pytest.mark.parametrize(
    "error", [ValueError("mine"), TimeoutError("late"), SystemExit(3), ExceptionGroup("several", [ValueError("one")])]
)
async def test_errors_arrive_as_themselves_and_the_loop_goes_on(error: BaseException) -> None:
    @on_asyncio
    async def fail() -> None:
        await asyncio.sleep(0)
        raise error

    with pytest.raises(type(error)) as caught:
        await fail()
    assert caught.value is error
    assert await tasks_left() == []


async def test_a_timeout_of_asyncios_is_a_timeout_error() -> None:
    @on_asyncio
    async def wait() -> None:
        async with asyncio.timeout(0.001):
            await asyncio.get_running_loop().create_future()

    with pytest.raises(TimeoutError):
        await wait()


async def test_a_task_that_cancels_itself_has_an_error_of_its_own() -> None:
    @on_asyncio
    async def give_up() -> None:
        raise asyncio.CancelledError

    with pytest.raises(AsyncioCancelled, match=r"in 'test_a_task.*give_up' was cancelled, and not because") as caught:
        await give_up()
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)


async def test_cancelling_waits_for_the_clean_up() -> None:
    started, log = trio.Event(), list[str]()

    @on_asyncio
    async def wait() -> None:
        try:
            trio.from_thread.run_sync(started.set, trio_token=token)
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            log.append("cancelled")
            raise
        finally:
            await asyncio.sleep(0.01)
            log.append("cleaned up")

    token = trio.lowlevel.current_trio_token()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await started.wait()
        nursery.cancel_scope.cancel()
    assert log == ["cancelled", "cleaned up"]
    assert await tasks_left() == []


async def test_what_is_cancelled_before_it_begins_does_not_begin() -> None:
    log: list[str] = []

    @on_asyncio
    async def run() -> None:
        log.append("began")

    with trio.CancelScope() as scope:
        scope.cancel()
        await run()
    assert scope.cancelled_caught
    assert log == []


async def test_an_error_while_cleaning_up_arrives() -> None:
    @on_asyncio
    async def wait() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            raise ValueError("in finally")

    with trio.move_on_after(0.01), pytest.raises(ValueError, match="in finally"):
        await wait()


async def test_a_clean_up_that_hangs_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flash.asyncio_bridge.bridge.CLEANUP_TIMEOUT", 0.05)

    @on_asyncio
    async def hang() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.get_running_loop().create_future()

    with trio.fail_after(TIMEOUT), trio.move_on_after(0.01) as scope:
        await hang()
    assert scope.cancelled_caught


async def test_blocking_functions_run_in_asyncios_threads() -> None:
    @on_asyncio
    async def ask() -> tuple[str, str]:
        return await asyncio.to_thread(lambda: (threading.current_thread().name, variable.get()))

    variable.set("seen")
    name, seen = await ask()
    assert name.startswith("asyncio")
    assert seen == "seen"


async def test_libraries_that_ask_are_told_asyncio() -> None:
    @on_asyncio
    async def ask() -> str:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 0)
        return anyio.get_current_task().name or ""

    assert "ask" in await ask()


async def test_a_stray_task_that_fails_is_nobody_elses_failure(caplog: pytest.LogCaptureFixture) -> None:
    @on_asyncio
    async def stray() -> None:
        async def fail() -> None:
            raise ValueError("stray")

        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: 1 / 0)
        await asyncio.wait([loop.create_task(fail())])

    await stray()
    assert await tasks_left() == []
    assert "ZeroDivisionError" in caplog.text


async def test_a_callback_that_stops_the_loop_does_not(caplog: pytest.LogCaptureFixture) -> None:
    @on_asyncio
    async def leave() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.stop)

        def leave() -> None:
            raise SystemExit

        loop.call_later(0.001, leave)
        await asyncio.sleep(0.01)

    await leave()
    assert await tasks_left() == []
    assert "A callback of the asyncio event loop raised." in caplog.text


def test_the_loop_and_what_runs_in_it_end_with_the_trio_run() -> None:
    log: list[str] = []

    @on_asyncio
    async def leave_behind() -> None:
        async def background() -> None:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                await asyncio.sleep(0)
                log.append("background ended")

        tasks.append(asyncio.create_task(background()))
        await asyncio.sleep(0)

    async def main() -> AsyncioThread:
        await leave_behind()
        return asyncio_thread()

    tasks: list[Any] = []
    thread = trio.run(main)
    assert log == ["background ended"]
    assert thread.loop.is_closed()
    assert not any(running.name == "flash asyncio" for running in threading.enumerate())


def test_what_does_not_end_is_left_behind_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("flash.asyncio_bridge.thread.CLOSE_TIMEOUT", 0.05)
    release = threading.Event()

    @on_asyncio
    async def block() -> None:
        asyncio.get_running_loop().run_in_executor(None, release.wait)

    with caplog.at_level(logging.ERROR):
        trio.run(block)
    release.set()
    assert "still run 0.05 s after the server has stopped" in caplog.text
    for running in threading.enumerate():
        if running.name == "flash asyncio":
            running.join(10)


def test_called_from_asyncio_it_is_the_function_that_was_decorated() -> None:
    @on_asyncio
    async def inner() -> object:
        return asyncio.get_running_loop()

    @on_asyncio
    async def numbers() -> AsyncIterator[int]:
        yield 1
        yield 2

    async def outer() -> tuple[bool, list[int]]:
        return await inner() is asyncio.get_running_loop(), [number async for number in numbers()]

    assert asyncio.run(outer()) == (True, [1, 2])


def plain() -> None: ...


def test_what_is_not_async_is_refused() -> None:
    with pytest.raises(FlashError, match="'plain' is neither a coroutine function nor an async generator function"):
        on_asyncio(plain)  # pyright: ignore[reportArgumentType, reportCallIssue]


def test_the_wrong_order_of_decorators_is_refused() -> None:
    app = Flash(__name__)

    async def count(clicks: int) -> AsyncIterator[Any]:
        yield None

    with pytest.raises(FlashError, match="count' is an event callback already: write @on_asyncio below"):
        on_asyncio(app.event_callback(Input("go", "n_clicks"))(count))
