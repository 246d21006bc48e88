"""The functions under `app.background`: they run while the app is served, and what becomes of those that raise."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest
import trio
import trio.testing

from flash import InvalidOption, cleanup
from flash.server.background import BackgroundWork
from tests.contract.inner_generators import in_nursery
from tests.contract.misbehaviour import RAISED, RAISED_NAMES
from tests.contract.pretend_page import on_mock_clock, warnings

clock = on_mock_clock

CLEANUP_TIMEOUT = 5.0


class Served:
    """A server that the tasks of an app stop.

    Attributes:
        background: the app's decorator.
        failures: with which it was stopped.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.background = BackgroundWork(CLEANUP_TIMEOUT)
        self.failures: list[BaseException] = []

    async def start(self, chosen: trio.Event | None = None) -> None:
        self.background.start(self._nursery, self.failures.append, chosen)
        await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def server() -> AsyncGenerator[Served]:
    """A server; at the end it is shut down, and no task is left."""
    async with trio.open_nursery() as nursery:
        served = Served(nursery)
        yield served
        await served.background.shut_down()
        assert served.background.names() == []
        assert not nursery.child_tasks


async def test_a_task_runs_from_the_start_to_the_shutdown_in_a_context_of_its_own() -> None:
    variable = ContextVar("variable", default="nobody's")
    variable.set("the server's")
    seen: list[str] = []
    async with server() as served:

        @served.background
        async def watch() -> None:
            seen.append(variable.get())
            try:
                await trio.sleep_forever()
            finally:
                with cleanup():
                    await trio.sleep(1)
                seen.append("cleaned up")

        @served.background(restart="never")
        async def once() -> None:
            seen.append("once")

        assert seen == []
        await served.start()
        assert sorted(seen) == ["nobody's", "once"]
        assert [name.rpartition(".")[2] for name in served.background.names()] == ["watch"]
    assert seen[-1] == "cleaned up"
    assert served.failures == []


async def test_a_task_that_raises_is_started_again_after_pauses_that_double(caplog: pytest.LogCaptureFixture) -> None:
    starts: list[float] = []
    began = trio.current_time()
    async with server() as served:

        @served.background(essential=True)
        async def flaky() -> None:
            starts.append(trio.current_time() - began)
            if len(starts) == 4:
                # This counts as having worked.
                await trio.sleep(60)
            if len(starts) < 6:
                raise OSError("away")
            await trio.sleep_forever()

        await served.start()
        await trio.sleep(200)
        assert starts == pytest.approx([0, 1, 3, 7, 68, 70])
        assert len(warnings(caplog)) == 5
        assert all("is started again in" in warning for warning in warnings(caplog))
    assert served.failures == []


async def test_a_task_is_given_up_after_ten_failures_in_a_row(caplog: pytest.LogCaptureFixture) -> None:
    runs: list[str] = []
    async with server() as served:

        @served.background
        async def away() -> None:
            runs.append("run")
            raise OSError("away")

        await served.start()
        await trio.sleep(10_000)
        assert len(runs) == 11
        assert "is not started again" in warnings(caplog)[-1]
        assert "OSError: away" in caplog.text
        assert served.background.names() == []
    assert served.failures == []


@pytest.mark.parametrize("essential", [False, True])
async def test_a_task_that_is_never_started_again_stops_the_server_if_it_is_essential(essential: bool) -> None:
    error = OSError("away")
    async with server() as served:

        @served.background(restart="never", essential=essential)
        async def away() -> None:
            raise error

        await served.start()
        assert [failure.__cause__ for failure in served.failures] == ([error] if essential else [])
        assert all("is essential" in str(failure) for failure in served.failures)


@pytest.mark.parametrize("make", RAISED, ids=RAISED_NAMES)
async def test_whatever_a_task_raises_ends_no_other(make: Callable[[], BaseException]) -> None:
    async with server() as served:

        @served.background
        async def bystander() -> None:
            await trio.sleep_forever()

        @served.background(restart="never")
        async def at_once() -> None:
            raise make()

        @served.background
        async def in_cleanup() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise make()

        await served.start()
        assert [name.rpartition(".")[2] for name in served.background.names()] == ["bystander", "in_cleanup"]


async def test_a_task_that_waits_to_be_started_again_ends_at_the_shutdown() -> None:
    runs: list[str] = []
    async with server() as served:

        @served.background
        async def away() -> None:
            runs.append("run")
            raise OSError("away")

        await served.start()
    await trio.sleep(100)
    assert runs == ["run"]


async def test_clean_up_that_does_not_end_is_named_and_holds_nothing_up(caplog: pytest.LogCaptureFixture) -> None:
    async with trio.open_nursery() as nursery:
        served = Served(nursery)

        @served.background
        async def stuck() -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(100)

        await served.start()
        began = trio.current_time()
        await served.background.shut_down()
        assert trio.current_time() - began == pytest.approx(CLEANUP_TIMEOUT, abs=0.2)
        [error] = warnings(caplog)
        assert "stuck" in error
        assert "cannot be cut" in error
        assert len(served.background.names()) == 1
    assert served.background.names() == []


async def test_clean_up_under_cleanup_is_cut_at_its_deadline(caplog: pytest.LogCaptureFixture) -> None:
    async with server() as served:

        @served.background
        async def slow() -> None:
            try:
                await trio.sleep_forever()
            finally:
                with cleanup():
                    await trio.sleep_forever()

        await served.start()
        await trio.sleep(100)
        began = trio.current_time()
    assert trio.current_time() - began == pytest.approx(CLEANUP_TIMEOUT, abs=0.2)
    assert any("the background task" in warning and "was cut" in warning for warning in warnings(caplog))


async def test_clean_up_that_awaits_without_cleanup_is_reported_and_generators_left_open_are_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with server() as served:

        @served.background
        async def careless() -> None:
            async for _ in in_nursery():
                break
            try:
                await trio.sleep_forever()
            finally:
                await trio.sleep(1)

        await served.start()
    assert any("'in_nursery'" in warning for warning in warnings(caplog))
    assert any("was cut at its first `await`" in warning for warning in warnings(caplog))


def test_what_cannot_run_in_the_background_is_refused() -> None:
    background: Any = BackgroundWork(CLEANUP_TIMEOUT)

    def plain() -> None: ...

    async def takes_one(what: object) -> None: ...

    async def fine() -> None: ...

    for wrong in (plain, takes_one, 5):
        with pytest.raises(InvalidOption, match="an `async def` without arguments"):
            background(wrong)
    with pytest.raises(InvalidOption, match=r"restart= of app\.background"):
        background(restart="always")
    with pytest.raises(InvalidOption, match=r"once= of app\.background is to be .*machine.*, got 'cluster'"):
        background(once="cluster")
    assert background(fine) is fine
    assert background(once="machine")(fine) is fine


async def test_what_one_worker_of_the_machine_runs_waits_until_that_is_chosen() -> None:
    seen: list[str] = []
    chosen = trio.Event()
    async with server() as served:

        @served.background(once="machine")
        async def one() -> None:
            seen.append("one")

        @served.background(once="worker")
        async def each() -> None:
            seen.append("each")

        await served.start(chosen)
        await trio.sleep(100)
        assert seen == ["each"]
        chosen.set()
        await trio.testing.wait_all_tasks_blocked()
        assert seen == ["each", "one"]


async def test_a_worker_that_was_never_chosen_stops_without_having_begun() -> None:
    seen: list[str] = []
    async with server() as served:

        @served.background(once="machine", essential=True)
        async def one() -> None:
            seen.append("one")

        await served.start(trio.Event())
    assert seen == []
    assert served.failures == []


async def test_a_process_without_a_supervisor_runs_what_one_of_the_machine_is_to_run() -> None:
    seen: list[str] = []
    async with server() as served:

        @served.background(once="machine")
        async def one() -> None:
            seen.append("one")

        await served.start()
    assert seen == ["one"]
