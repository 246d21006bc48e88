"""A generation of workers: in which order they start, when one is started again, and what is the failure of all.

The processes are pretended, and end when a test says so; `test_supervisor` has real ones.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from flash.workers.generation import CANNOT_START, LONGEST_DELAY, STABLE, Generation, delay_of, describe
from flash.workers.worker_process import WorkerProcess


class Pretended:
    """What a generation uses of the process of a worker.

    Attributes:
        told: what the generation has told it.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.ready = trio.Event()
        self.told: list[str] = []
        self._ended = trio.Event()
        self._status = 0

    async def run(self) -> int:
        await self._ended.wait()
        return self._status

    def end(self, status: int) -> None:
        self._status = status
        self._ended.set()

    def stop(self) -> None:
        self.told.append("stop")

    def drain(self) -> None:
        self.told.append("drain")


class Workers:
    """The processes that a generation has started.

    Attributes:
        refused: the system starts no process.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self.started: list[Pretended] = []
        self.refused = False
        self.generation = Generation(3, self._make, lambda: None)
        nursery.start_soon(self.generation.run)

    def _make(self, number: int, claims: object, seed: str) -> WorkerProcess:
        if self.refused:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.started.append(Pretended(number))
        return cast("Any", self.started[-1])

    @property
    def numbers(self) -> list[int]:
        """The numbers of those that were started; the order in which several start at once is Trio's."""
        return sorted(worker.number for worker in self.started)

    async def become_ready(self) -> None:
        """Have all become ready."""
        await wait_all_tasks_blocked()
        self.started[0].ready.set()
        await wait_all_tasks_blocked()
        for worker in self.started:
            worker.ready.set()
        await self.generation.settled()


@pytest.fixture
async def workers() -> AsyncGenerator[Workers]:
    async with trio.open_nursery() as nursery:
        yield Workers(nursery)
        nursery.cancel_scope.cancel()


async def test_the_first_worker_starts_alone_and_the_others_when_it_is_ready(workers: Workers) -> None:
    await wait_all_tasks_blocked()
    assert workers.numbers == [1]
    workers.started[0].ready.set()
    await wait_all_tasks_blocked()
    assert workers.numbers == [1, 2, 3]


async def test_a_first_worker_that_does_not_start_is_the_only_one(workers: Workers) -> None:
    await wait_all_tasks_blocked()
    workers.started[0].end(3)
    await workers.generation.settled()
    await workers.generation.ended.wait()
    assert workers.generation.failure == 3
    assert workers.numbers == [1]


async def test_another_worker_that_does_not_start_ends_all(workers: Workers) -> None:
    await wait_all_tasks_blocked()
    workers.started[0].ready.set()
    await wait_all_tasks_blocked()
    workers.started[2].end(1)
    await workers.generation.settled()
    assert workers.generation.failure == 1
    assert workers.started[0].told == workers.started[1].told == ["stop"]


async def test_a_process_that_the_system_does_not_start_is_a_worker_that_does_not_start(
    workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    workers.refused = True
    await workers.generation.settled()
    assert workers.generation.failure == CANNOT_START
    assert "The process of worker 1 cannot be started: Resource temporarily unavailable." in caplog.text


async def test_a_worker_that_dies_again_and_again_is_started_after_longer_and_longer_delays(
    workers: Workers, autojump_clock: MockClock
) -> None:
    await workers.become_ready()
    for delay in (0.0, 0.5, 1.0, 2.0):
        latest = [worker for worker in workers.started if worker.number == 2][-1]
        count = len(workers.started)
        latest.end(-signal.SIGKILL)
        if delay:
            await trio.sleep(delay - 0.1)
            assert len(workers.started) == count
            await trio.sleep(0.2)
        await wait_all_tasks_blocked()
        assert len(workers.started) == count + 1
    assert workers.generation.failure is None


async def test_a_worker_that_has_run_well_is_started_again_at_once(workers: Workers, autojump_clock: MockClock) -> None:
    await workers.become_ready()
    for _ in range(3):
        await trio.sleep(STABLE + 1)
        count = len(workers.started)
        [worker for worker in workers.started if worker.number == 3][-1].end(1)
        await wait_all_tasks_blocked()
        assert len(workers.started) == count + 1


async def test_a_generation_has_stopped_well_if_each_worker_has(workers: Workers) -> None:
    await workers.become_ready()
    workers.generation.drain()
    for worker in workers.started:
        assert worker.told == ["drain"]
        worker.end(0)
    await workers.generation.ended.wait()
    assert workers.generation.stopped_well
    assert workers.numbers == [1, 2, 3]


async def test_a_generation_has_not_stopped_well_if_a_worker_was_killed(workers: Workers) -> None:
    await workers.become_ready()
    workers.generation.stop()
    for worker, status in zip(workers.started, (0, 0, -signal.SIGKILL), strict=True):
        worker.end(status)
    await workers.generation.ended.wait()
    assert not workers.generation.stopped_well


async def test_sigterm_may_end_a_worker_that_has_not_been_ready(workers: Workers) -> None:
    await wait_all_tasks_blocked()
    workers.generation.stop()
    workers.started[0].end(-signal.SIGTERM)
    await workers.generation.ended.wait()
    assert workers.generation.stopped_well
    assert workers.generation.failure is None


def test_a_delay_has_a_bound() -> None:
    assert delay_of(1) == 0
    assert delay_of(9) == delay_of(10_000) == LONGEST_DELAY


def test_an_end_is_described_by_its_status_or_its_signal() -> None:
    assert describe(1) == "with status 1"
    assert describe(-signal.SIGKILL) == "by SIGKILL"
    assert describe(-99) == "by signal 99"
