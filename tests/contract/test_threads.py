"""What runs in worker threads: plain generators and plain `on_error`s. On the real clock, which threads obey."""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import sqlite3
import threading
import time
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest
import trio
import trio.testing

from flash import EndReason, RequestRefused, StreamCancelled
from tests.contract.pretend_page import OpenPage, PretendPage, warnings
from tests.support.eventually import eventually


@pytest.mark.parametrize("is_async", [True, False])
async def test_on_error_is_given_the_users_exception_once(page: PretendPage, is_async: bool) -> None:
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

    stream = page.start(fails, on_error=on_error if is_async else plain_on_error)
    await page.read_to_end()
    assert given == [boom]
    assert page.log(stream) == ["open", 1, ("failed", ["sorry", "reset", "off"])]


async def test_a_thread_step_that_overruns_is_stuck_until_it_returns(open_page: OpenPage) -> None:
    page = await open_page(cleanup_timeout=0.05)
    going, release = threading.Event(), threading.Event()

    def blocks() -> Generator[int, None, None]:
        going.set()
        release.wait()
        yield 1

    stream = page.start(blocks)
    await trio.to_thread.run_sync(going.wait)
    stream.scope.cancel(EndReason.CANCELLED)
    try:
        await page.read_to_end()
        assert stream.overran
        assert page.log(stream) == ["open", ("cancelled", ["reset", "off"])]
    finally:
        release.set()


async def test_a_plain_generator_is_stepped_in_a_worker_thread(page: PretendPage) -> None:
    threads: list[bool] = []

    def plain() -> Generator[int, None, None]:
        for number in range(5):
            threads.append(threading.current_thread() is threading.main_thread())
            yield number

    stream = page.start(plain)
    await page.read_to_end()
    assert threads == [False] * 5
    assert page.log(stream) == ["open", 0, 1, 2, 3, 4, ("completed", ["off"])]


async def test_a_plain_generator_is_closed_when_its_stream_is_cancelled(page: PretendPage) -> None:
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

    stream = page.start(plain)
    await trio.to_thread.run_sync(stepped.wait)
    stream.scope.cancel(EndReason.CANCELLED)
    await page.read_to_end()
    assert seen == ["exit", "finally"]
    assert page.log(stream) == ["open", ("cancelled", ["reset", "off"])]


async def test_plain_generators_have_a_limiter_of_their_own(open_page: OpenPage) -> None:
    page = await open_page()
    release = threading.Event()

    def blocks() -> Generator[int, None, None]:
        release.wait()
        yield 1

    try:
        for key in "abc":
            page.start(blocks, key=key)
        await trio.testing.wait_all_tasks_blocked()
        assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
    finally:
        release.set()


async def test_on_error_runs_though_every_thread_for_generators_is_taken(open_page: OpenPage) -> None:
    page = await open_page(cleanup_timeout=0.05)
    release = threading.Event()
    errors: list[BaseException] = []

    def blocks() -> Generator[int, None, None]:
        release.wait()
        yield 1

    for key in "ab":
        page.start(blocks, key=key)
    stream = page.start(blocks, key="c", on_error=errors.append)
    await trio.testing.wait_all_tasks_blocked()
    stream.scope.cancel(EndReason.CANCELLED)
    try:
        await page.read_to_end()
        assert len(errors) == 1
    finally:
        release.set()


async def test_a_plain_generator_that_never_started_needs_no_thread_to_be_closed(page: PretendPage) -> None:
    stepped: list[int] = []

    def plain() -> Generator[int, None, None]:
        stepped.append(threading.get_ident())
        yield 1

    stream = page.start(plain)
    assert page.channels.limits.threads.held == 1
    stream.scope.cancel(EndReason.CANCELLED)
    await page.read_to_end()
    assert stepped == []
    await trio.testing.wait_all_tasks_blocked()
    assert page.channels.limits.threads.held == 0


@pytest.mark.parametrize("steps", range(6))
async def test_a_stream_that_is_cancelled_as_its_thread_starts_ends_without_a_failure(
    page: PretendPage, caplog: pytest.LogCaptureFixture, steps: int
) -> None:
    def waits() -> Generator[int, None, None]:
        trio.from_thread.run(trio.sleep_forever)
        yield 1

    given: list[BaseException] = []
    # Trio runs the tasks that are ready in any order, so one stream would not show it each time.
    streams = [page.start(waits, key=str(number), on_error=given.append) for number in range(10)]
    for _ in range(steps):
        await trio.lowlevel.checkpoint()
    for stream in streams:
        stream.scope.cancel(EndReason.CANCELLED)

    async def all_have_ended() -> bool:
        page.read()
        return all(page.log(stream) == ["open", ("cancelled", ["reset", "off"])] for stream in streams)

    await eventually(all_have_ended)
    assert [type(error) for error in given] == [StreamCancelled] * len(streams)
    assert warnings(caplog) == []


async def test_context_variables_of_a_plain_generator_last_from_step_to_step(page: PretendPage) -> None:
    variable = contextvars.ContextVar("variable", default=0)

    def plain() -> Generator[int, None, None]:
        token = variable.set(1)
        yield variable.get()
        yield variable.get()
        variable.reset(token)
        yield variable.get()

    stream = page.start(plain)
    await page.read_to_end()
    assert page.log(stream) == ["open", 1, 1, 0, ("completed", ["off"])]


async def test_a_plain_generator_has_one_thread_for_its_life_and_for_its_on_error(page: PretendPage) -> None:
    threads: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    going = [threading.Event() for _ in threads]

    def make(name: str, event: threading.Event) -> Any:
        def plain() -> Generator[int, None, None]:
            try:
                while True:
                    threads[name].append(threading.get_ident())
                    yield 1
                    event.set()
                    time.sleep(0.001)
            finally:
                threads[name].append(threading.get_ident())

        return plain

    streams = [
        page.start(
            make(name, event),
            key=name,
            is_plain=True,
            on_error=lambda error, name=name: threads[name].append(threading.get_ident()),
        )
        for name, event in zip(threads, going, strict=True)
    ]
    for event in going:
        await trio.to_thread.run_sync(event.wait)
        page.read()
    assert page.channels.limits.threads.held == 3
    for stream in streams:
        stream.scope.cancel(EndReason.CANCELLED)
    await eventually(lambda: page.channels.limits.threads.held == 0)
    assert all(len(idents) >= 3 and len(set(idents)) == 1 for idents in threads.values()), threads
    assert len({idents[0] for idents in threads.values()}) == 3


async def test_what_belongs_to_a_thread_lasts_from_step_to_step(page: PretendPage) -> None:
    lock, local = threading.RLock(), threading.local()

    def plain() -> Generator[int, None, None]:
        local.number = 1
        with contextlib.closing(sqlite3.connect(":memory:")) as database, lock:
            for (number,) in database.execute("values (1), (2), (3)"):
                yield number * local.number

    for _ in range(2):
        stream = page.start(plain)
        await page.read_to_end()
        assert page.log(stream) == ["open", 1, 2, 3, ("completed", ["off"])]
        page.seen.clear()
    # Given back, and so free for other threads.
    assert lock.acquire(blocking=False)


async def test_a_start_beyond_the_threads_is_refused_with_the_way_out(open_page: OpenPage) -> None:
    page = await open_page(threads=2)
    release = threading.Event()

    def blocks() -> Generator[int, None, None]:
        release.wait()
        yield 1

    async def waits() -> AsyncGenerator[int, None]:
        yield 1
        await trio.sleep_forever()

    try:
        streams = [page.start(blocks, key=key) for key in "ab"]
        with pytest.raises(RequestRefused, match=r"'test' was not started: .* 2 .*stream_threads= of Flash") as refused:
            page.start(blocks, key="c")
        assert refused.value.status == 503
        page.start(waits, key="c")
        # One that takes the place of another needs no more.
        page.start(blocks, key="a")
        streams[0].scope.cancel(EndReason.CANCELLED)
    finally:
        release.set()
    await eventually(lambda: page.channels.limits.threads.held == 0)
    page.start(blocks, key="d")


async def test_a_plain_generator_that_nobody_knew_to_be_plain_is_counted_too(open_page: OpenPage) -> None:
    page = await open_page(threads=1)
    release = threading.Event()

    def blocks() -> Generator[int, None, None]:
        release.wait()
        yield 1

    try:
        page.start(blocks, key="a")
        stream = page.start(blocks, key="b", is_plain=False)
        await page.read_to_end()
        assert page.log(stream) == ["open", ("failed", ["reset", "off"])]
    finally:
        release.set()


async def test_a_stuck_step_holds_its_thread_until_it_returns(open_page: OpenPage) -> None:
    page = await open_page(cleanup_timeout=0.05, threads=1)
    release = threading.Event()

    def blocks() -> Generator[int, None, None]:
        release.wait()
        yield 1

    stream = page.start(blocks)
    await trio.testing.wait_all_tasks_blocked()
    stream.scope.cancel(EndReason.CANCELLED)
    try:
        await page.read_to_end()
        with pytest.raises(RequestRefused):
            page.start(blocks)
    finally:
        release.set()
    await eventually(lambda: page.channels.limits.threads.held == 0)


async def test_a_step_that_waits_on_the_loop_is_cancelled_and_its_clean_up_is_not(page: PretendPage) -> None:
    log: list[str] = []
    going = threading.Event()

    def plain() -> Generator[int, None, None]:
        trio.from_thread.check_cancelled()
        yield 1
        try:
            going.set()
            trio.from_thread.run(trio.sleep_forever)
        except trio.Cancelled:
            log.append("cancelled")
        try:
            trio.from_thread.check_cancelled()
        except trio.Cancelled:
            log.append("told again")
        try:
            yield 2
        finally:
            trio.from_thread.check_cancelled()
            trio.from_thread.run(trio.sleep, 0.001)
            log.append("cleaned up")

    def on_error(error: BaseException) -> None:
        trio.from_thread.check_cancelled()
        trio.from_thread.run(trio.sleep, 0.001)
        log.append("on_error")

    stream = page.start(plain, on_error=on_error)
    await trio.to_thread.run_sync(going.wait)
    stream.scope.cancel(EndReason.CANCELLED)
    await page.read_to_end()
    assert log == ["cancelled", "told again", "cleaned up", "on_error"]


async def test_a_plain_on_error_that_overruns_is_left_to_itself(open_page: OpenPage) -> None:
    page = await open_page(cleanup_timeout=0.05)
    release = threading.Event()

    def fails() -> Generator[int, None, None]:
        yield 1
        raise ValueError

    def overruns(error: BaseException) -> None:
        release.wait()

    stream = page.start(fails, on_error=overruns)
    try:
        await page.read_to_end()
        assert page.log(stream) == ["open", 1, ("failed", ["reset", "off"])]
        assert page.channels.streams() == []
    finally:
        release.set()


async def test_a_thread_that_was_killed_ends_its_stream_and_no_other(page: PretendPage) -> None:
    # As the fixtures of `dash.testing` do with every thread of a server.
    idents: list[int] = []
    log: list[str] = []

    def plain() -> Generator[int, None, None]:
        try:
            for number in range(100):
                idents.append(threading.get_ident())
                yield number
        finally:
            log.append("finally")

    stream = page.start(plain)
    # It waits for room, and its thread for the next step.
    await trio.testing.wait_all_tasks_blocked()
    await eventually(lambda: stream.waiting_since is not None)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_long(idents[0]), ctypes.py_object(SystemExit))
    page.read()
    await page.read_to_end()
    assert page.log(stream)[-1][0] == "failed"
    assert log == ["finally"]
    assert page.channels.limits.threads.held == 0


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration, StopAsyncIteration])
async def test_whatever_plain_code_raises_fails_its_stream_alone(page: PretendPage, error: type[BaseException]) -> None:
    def fails() -> Generator[int, None, None]:
        yield 1
        raise error

    def on_error(ended: BaseException) -> None:
        raise error

    async def endless() -> AsyncGenerator[int, None]:
        yield 1
        await trio.sleep_forever()

    bystander = page.start(endless, key="bystander")
    stream = page.start(fails, on_error=on_error)
    await page.read_to_end()
    assert page.log(stream) == ["open", 1, ("failed", ["reset", "off"])]
    assert bystander.state == "running"
