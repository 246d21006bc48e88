"""Supervises workers: starts and watches them, gives them connections, and stops or replaces them on signals.

    supervisor ── listening sockets ── accepts, and sends each connection to a worker that has few
        ├─ generation 1 (drains)     worker 1, worker 2, ...
        └─ generation 2              worker 1, worker 2, ...

Where there are several machines it has the port for workers of other ones, too: see `peer_port`.

- SIGTERM and SIGINT stop every worker, and then the supervisor; a second one kills them.
- SIGHUP starts a new generation, which has the code as it is then. When all of it is ready, every new connection goes
  to it, and the old one drains. If the new one cannot start, the old one stays.

The supervisor does not need the app, so that it cannot fail with it and has no old code. It waits for none of its
workers, so that each of them has its answers at once.
"""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import trio

from .chosen_worker import ChosenWorker
from .connections import ConnectionSender
from .directory import Claims
from .generation import Generation
from .machine import Machine, new_name
from .peer_port import PeerPort
from .worker_process import Log, WorkerProcess

_log = logging.getLogger("flash.workers")

KILL_MARGIN = 5.0
"""Seconds that a worker has beyond `timeout`: it ends itself when that is over, unless it cannot run."""

SAME_SIGNAL_INTERVAL = 1.0
"""Seconds in which a second signal is taken for the first, where a Ctrl-C reaches the supervisor twice."""

FULL_INTERVAL = 0.01
"""Seconds until a connection is tried again that no worker has taken."""

REFUSED_INTERVAL = 0.1
"""Seconds until the next connection is accepted when the system has no descriptors for one, or no memory."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be supervised.

    Attributes:
        command: starts a worker.
        size: the number of workers.
        listeners: sockets that listen, and whether their connections are TLS.
        folder: for the sockets of the workers.
        timeout: seconds in which a worker stops.
        signals_come_twice: whether somebody passes on a Ctrl-C that has reached this process as well.
        announce: is called when the first generation is ready.
        machine: this machine among several, and a socket that listens at its address; None if it is the only one.
    """

    command: Sequence[str]
    size: int
    listeners: Sequence[tuple[socket.socket, bool]]
    folder: Path
    timeout: float
    signals_come_twice: bool
    announce: Callable[[], Awaitable[object]]
    machine: tuple[Machine, socket.socket] | None = None


class Supervisor:
    """One supervisor, which runs once."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._log = Log()
        self._secure = tuple(secure for _, secure in plan.listeners)
        self._generations: list[Generation] = []
        self._stop = trio.Event()
        self._replace = trio.Event()
        self._until_ready = trio.lowlevel.ParkingLot()
        self._status = 0
        self._choices = count(1)
        self._chosen = ChosenWorker(lambda: self._serving.staying())

    async def run(self) -> int:
        """Supervise until a signal says to stop. Returns the exit status of the process."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._obey_signals)
            self._serving = self._begin(nursery)
            for number, (listening, _) in enumerate(self._plan.listeners):
                nursery.start_soon(self._accept, listening, number)
            if self._plan.machine is not None:
                machine, listening = self._plan.machine
                nursery.start_soon(PeerPort(listening, machine, self._give).run)
            if await self._unless_stopped(self._serving.settled):
                failure = self._serving.failure
                if failure is None:
                    await self._plan.announce()
                    await self._replace_until_stopped(nursery)
                else:
                    _log.error("The server stops, because its code does not start.")
                    self._status = failure if failure > 0 else 1
            await self._end_all()
            nursery.cancel_scope.cancel()
        return self._status

    async def _obey_signals(self, task_status: trio.TaskStatus[None]) -> None:
        stopped_at = 0.0
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            task_status.started()
            async for number in signals:
                if number == signal.SIGHUP:
                    self._replace.set()
                elif not self._stop.is_set():
                    stopped_at = trio.current_time()
                    self._stop.set()
                elif not self._plan.signals_come_twice or trio.current_time() - stopped_at > SAME_SIGNAL_INTERVAL:
                    self._status = 128 + number
                    for generation in self._generations:
                        generation.kill()

    async def _unless_stopped(self, wait: Callable[[], Awaitable[object]]) -> bool:
        """Wait. Returns False, and waits no longer, if the supervisor is to stop."""
        async with trio.open_nursery() as nursery:

            async def give_up() -> None:
                await self._stop.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(give_up)
            await wait()
            nursery.cancel_scope.cancel()
        return not self._stop.is_set()

    def _begin(self, nursery: trio.Nursery) -> Generation:
        """Start a generation."""
        generation = Generation(self._plan.size, self._make_worker, self._note_ready)
        self._generations.append(generation)
        nursery.start_soon(self._run, generation)
        return generation

    def _note_ready(self) -> None:
        self._until_ready.unpark_all()
        self._chosen.choose_if_none()

    async def _run(self, generation: Generation) -> None:
        await generation.run()
        self._generations.remove(generation)
        if not generation.stopped_well:
            self._status = self._status or 1

    def _make_worker(self, number: int, claims: Claims, seed: str) -> WorkerProcess:
        path = self._plan.folder / f"{new_name()}.sock"
        machine = None if self._plan.machine is None else self._plan.machine[0]
        resigned = self._chosen.choose_if_none
        return WorkerProcess(number, self._plan.command, claims, path, self._secure, seed, self._log, machine, resigned)

    async def _replace_until_stopped(self, nursery: trio.Nursery) -> None:
        """Replace the generation that serves whenever a signal says so."""
        while await self._unless_stopped(self._replace.wait):
            self._replace = trio.Event()
            _log.info("Starting new workers.")
            new = self._begin(nursery)
            if not await self._unless_stopped(new.settled):
                return
            if new.failure is not None:
                _log.error("The new code does not start: the workers with the old code go on.")
                continue
            old, self._serving = self._serving, new
            self._chosen.choose_if_none()
            _log.info("New workers serve from now on. The old ones have %g s to finish.", self._plan.timeout)
            old.drain()
            nursery.start_soon(self._end, old)

    async def _end_all(self) -> None:
        """Stop every generation, and wait until all have ended."""
        async with trio.open_nursery() as nursery:
            for generation in list(self._generations):
                generation.stop()
                nursery.start_soon(self._end, generation)

    async def _end(self, generation: Generation) -> None:
        """Wait until a generation that stops has ended, and see to it that it does."""
        with trio.move_on_after(self._plan.timeout + KILL_MARGIN):
            await generation.ended.wait()
            return
        _log.error("Workers have not stopped within %g s, and are killed.", self._plan.timeout + KILL_MARGIN)
        generation.kill()
        await generation.ended.wait()

    async def _accept(self, listening: socket.socket, number: int) -> None:
        """Give the connections of one listening socket to the workers."""
        listener = trio.socket.from_stdlib_socket(listening)
        while True:
            # Until there is a worker, connections wait in the backlog.
            await self._takers()
            try:
                connection, _ = await listener.accept()
            except ConnectionAbortedError:
                # The client is gone already.
                continue
            except OSError as error:
                _log.error("A connection cannot be accepted: %s.", error.strerror)
                await trio.sleep(REFUSED_INTERVAL)
                continue
            with connection:
                await self._hand_over(connection.fileno(), number)

    async def _hand_over(self, connection: int, listener: int) -> None:
        """Send a connection to the worker that is to have it."""
        while True:
            for taker in await self._takers():
                if taker.send(connection, listener, next(self._choices)):
                    return
            await trio.sleep(FULL_INTERVAL)

    def _give(self, name: str, connection: socket.socket, numbers: bytes) -> bool:
        """Pass a connection of another machine to the worker that it is for, be it one that stops."""
        workers = (generation.find(name) for generation in self._generations)
        worker = next((worker for worker in workers if worker is not None), None)
        if worker is not None:
            worker.peers.send(connection, numbers)
        return worker is not None

    async def _takers(self) -> list[ConnectionSender]:
        """The ways to the workers that may be sent a connection, the best one first; waits until there is one."""
        while not (takers := self._serving.takers()):
            await self._until_ready.park()
        return takers
