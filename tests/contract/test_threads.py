"""What runs in worker threads: plain generators and plain `on_error`s. On the real clock, which threads obey."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import AsyncGenerator, Generator

import pytest
import trio
import trio.testing

from flash import EndReason

from .desk import Desk, OpenDesk


@pytest.mark.parametrize("is_async", [True, False])
async def test_on_error_is_given_the_users_exception_once(desk: Desk, is_async: bool) -> None:
    given: list[BaseException] = []
    boom = ValueError("boom")

    async def fails() -> AsyncGenerator[int, None]:
        yield 1
        raise boom

    async def on_error(error: BaseException) -> str:
        given.append(error)
        return "sorry"

    def plain_on_error(error: BaseException) -> str:
        assert threading.current_thread() is not threading.main_thread()
        given.append(error)
        return "sorry"

    stream = desk.start(fails, on_error=on_error if is_async else plain_on_error)
    await desk.read_to_end()
    assert given == [boom]
    assert desk.log(stream) == ["open", 1, ("failed", ["sorry", "reset", "off"])]


async def test_a_thread_step_that_overruns_is_stuck_until_it_returns(open_desk: OpenDesk) -> None:
    desk = await open_desk(cleanup_timeout=0.05)
    going, release = threading.Event(), threading.Event()

    def blocks() -> Generator[int, None, None]:
        going.set()
        release.wait()
        yield 1

    stream = desk.start(blocks)
    await trio.to_thread.run_sync(going.wait)
    stream.scope.cancel(EndReason.CANCELLED)
    try:
        await desk.read_to_end()
        assert stream.stuck
        assert desk.log(stream) == ["open", ("cancelled", ["reset", "off"])]
    finally:
        release.set()


async def test_a_plain_generator_is_stepped_in_a_worker_thread(desk: Desk) -> None:
    threads: list[bool] = []

    def plain() -> Generator[int, None, None]:
        for number in range(5):
            threads.append(threading.current_thread() is threading.main_thread())
            yield number

    stream = desk.start(plain)
    await desk.read_to_end()
    assert threads == [False] * 5
    assert desk.log(stream) == ["open", 0, 1, 2, 3, 4, ("completed", ["off"])]


async def test_a_plain_generator_is_closed_when_its_stream_is_cancelled(desk: Desk) -> None:
    seen: list[str] = []
    stepped = threading.Event()

    def plain() -> Generator[int, None, None]:
        try:
            while True:
                yield 1
                stepped.set()
        except GeneratorExit:
            seen.append("exit")
            raise
        finally:
            seen.append("finally")

    stream = desk.start(plain)
    await trio.to_thread.run_sync(stepped.wait)
    stream.scope.cancel(EndReason.CANCELLED)
    await desk.read_to_end()
    assert seen == ["exit", "finally"]
    assert desk.log(stream) == ["open", ("cancelled", ["reset", "off"])]


async def test_plain_generators_have_a_limiter_of_their_own(open_desk: OpenDesk) -> None:
    desk = await open_desk()
    release = threading.Event()

    def blocks() -> Generator[int, None, None]:
        release.wait()
        yield 1

    try:
        for key in "abc":
            desk.start(blocks, key=key)
        await trio.testing.wait_all_tasks_blocked()
        assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
    finally:
        release.set()


async def test_on_error_runs_though_every_thread_for_generators_is_taken(open_desk: OpenDesk) -> None:
    desk = await open_desk(cleanup_timeout=0.05)
    release = threading.Event()
    told: list[BaseException] = []

    def blocks() -> Generator[int, None, None]:
        release.wait()
        yield 1

    for key in "ab":
        desk.start(blocks, key=key)
    stream = desk.start(blocks, key="c", on_error=told.append)
    await trio.testing.wait_all_tasks_blocked()
    stream.scope.cancel(EndReason.CANCELLED)
    try:
        await desk.read_to_end()
        assert len(told) == 1
    finally:
        release.set()


async def test_a_plain_generator_that_never_started_needs_no_thread_to_be_closed(open_desk: OpenDesk) -> None:
    desk = await open_desk(cleanup_timeout=0.05)
    release = threading.Event()

    def blocks() -> Generator[int, None, None]:
        release.wait()
        yield 1

    for key in "ab":
        desk.start(blocks, key=key)
    await trio.testing.wait_all_tasks_blocked()
    stream = desk.start(blocks, key="c")
    await trio.testing.wait_all_tasks_blocked()
    stream.scope.cancel(EndReason.CANCELLED)
    try:
        await desk.read_to_end()
        assert not stream.stuck
    finally:
        release.set()


async def test_context_variables_of_a_plain_generator_last_from_step_to_step(desk: Desk) -> None:
    variable = contextvars.ContextVar("variable", default=0)

    def plain() -> Generator[int, None, None]:
        token = variable.set(1)
        yield variable.get()
        yield variable.get()
        variable.reset(token)
        yield variable.get()

    stream = desk.start(plain)
    await desk.read_to_end()
    assert desk.log(stream) == ["open", 1, 1, 0, ("completed", ["off"])]
