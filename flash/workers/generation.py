"""Keeps a generation: the workers that were started with the same code, of which those that end are started again.

A generation starts with one worker, which proves that the code can start, and then the others. When one ends that has
never been ready, the generation has failed, and all of it ends: what cannot start is not tried in a loop. A worker that
has been ready and ends is started again, at once the first time, and then after delays that double.

The workers of a generation have a table of claims in common. Those of different generations know nothing of each other,
because their code may differ.
"""

from __future__ import annotations

import logging
import secrets
import signal
from collections.abc import Callable
from typing import Protocol

import trio

from .connections import ConnectionSender, in_order_of_load
from .directory import Claims
from .worker_process import WorkerProcess

_log = logging.getLogger("flash.workers")

FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
"""Seconds from the end of a worker to its next start: when that happens the second time in a row, and at most."""

STABLE = 60.0
"""Seconds after which a worker that ends has run well: it is started again at once."""

CANNOT_START = 1
"""The exit status that stands for that of a process which the system has not started."""


class MakeWorker(Protocol):
    """Makes the process of a worker."""

    def __call__(self, number: int, claims: Claims, seed: str) -> WorkerProcess: ...


class Generation:
    """The workers that were started with the same code.

    Args:
        size: the number of workers.
        make: makes the process of a worker.
        on_ready: is called when a worker has become ready.

    Attributes:
        ended: is set when every worker has ended.
        failure: the exit status of a worker that has ended without having been ready; None if there is none.
        stopped_well: whether every worker has ended as it was told to.
    """

    def __init__(self, size: int, make: MakeWorker, on_ready: Callable[[], object]) -> None:
        self._make = make
        self._on_ready = on_ready
        self._claims = Claims()
        self._seed = secrets.token_hex(16)
        self._workers: dict[int, WorkerProcess] = {}
        self._settled = {number: trio.Event() for number in range(1, size + 1)}
        self._stopping = trio.Event()
        self.ended = trio.Event()
        self.failure: int | None = None
        self.stopped_well = True

    async def run(self) -> None:
        """Start the workers, and keep them until the generation is stopped."""
        async with trio.open_nursery() as nursery:
            for number, settled in self._settled.items():
                if not self._stopping.is_set():
                    nursery.start_soon(self._keep, number)
                if number == 1:
                    await settled.wait()
        self.ended.set()

    async def settled(self) -> None:
        """Wait until every worker has been ready, or will not be: the generation is stopped, or has a `failure`."""
        for settled in self._settled.values():
            await settled.wait()

    def takers(self) -> list[ConnectionSender]:
        """The ways to workers that may be sent a connection, the best one first.

        A worker that stops gets none while there are others. When all of them stop, they are to say so to clients.
        """
        willing = self.staying()
        if self._stopping.is_set():
            willing = willing or [worker for worker in self._workers.values() if worker.is_serving]
        return in_order_of_load([worker.connections for worker in willing])

    def staying(self) -> list[WorkerProcess]:
        """The workers that serve, and do not stop."""
        return [worker for worker in self._workers.values() if worker.is_serving and not worker.stopping]

    def find(self, name: str) -> WorkerProcess | None:
        """The worker that other machines know by a name, if it serves."""
        return next(
            (worker for worker in self._workers.values() if worker.peer_name == name and worker.is_serving), None
        )

    def stop(self) -> None:
        """Have every worker stop. Connections may still be sent to them."""
        self._stopping.set()
        for worker in self._workers.values():
            worker.stop()

    def drain(self) -> None:
        """Have every worker finish with the connections that it has been sent, and stop."""
        self._stopping.set()
        for worker in self._workers.values():
            worker.drain()

    def kill(self) -> None:
        """End every worker, whatever it does."""
        self._stopping.set()
        for worker in self._workers.values():
            worker.kill()

    async def _keep(self, number: int) -> None:
        """Run a worker, and run it again when it ends, until the generation is stopped."""
        failures = 0
        while not self._stopping.is_set():
            began = trio.current_time()
            status, was_ready = await self._run(number)
            if self._stopping.is_set():
                # Until it handles signals itself, SIGTERM ends it.
                self.stopped_well = self.stopped_well and status in ((0,) if was_ready else (0, -signal.SIGTERM))
                break
            if not self._settled[number].is_set():
                _log.error("Worker %d has not started: it has ended %s.", number, describe(status))
                self.failure = status
                self.stop()
                break
            failures = 1 if trio.current_time() - began > STABLE else failures + 1
            delay = delay_of(failures)
            again = f"in {delay:g} s" if delay else "now"
            _log.error("Worker %d has ended %s. It is started again %s.", number, describe(status), again)
            with trio.move_on_after(delay):
                await self._stopping.wait()
        # Nobody is to wait for what will not be ready any more.
        for settled in self._settled.values():
            settled.set()

    async def _run(self, number: int) -> tuple[int, bool]:
        """Run a worker's process. Returns its exit status, and whether it was ready."""
        try:
            worker = self._workers[number] = self._make(number, self._claims, self._seed)
        except OSError as error:
            return _cannot_start(number, error), False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._note_ready, number, worker)
            try:
                status = await worker.run()
            except OSError as error:
                status = _cannot_start(number, error)
            nursery.cancel_scope.cancel()
        return status, worker.ready.is_set()

    async def _note_ready(self, number: int, worker: WorkerProcess) -> None:
        await worker.ready.wait()
        self._settled[number].set()
        self._on_ready()


def _cannot_start(number: int, error: OSError) -> int:
    """Log that the system does not start a process: it has no memory, or no descriptors. Returns an exit status."""
    _log.error("The process of worker %d cannot be started: %s.", number, error.strerror)
    return CANNOT_START


def delay_of(failures: int) -> float:
    """Seconds to wait until a worker is started that has ended for so many times in a row."""
    return 0.0 if failures < 2 else min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(failures - 2, 10))


def describe(status: int) -> str:
    """How a process has ended, of which this is the exit status; of a signal, that as a negative one."""
    if status >= 0:
        return f"with status {status}"
    try:
        return f"by {signal.Signals(-status).name}"
    except ValueError:
        return f"by signal {-status}"
