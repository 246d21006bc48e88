"""Several workers in one process: each an app of its own on a server of its own, with real sockets between them.

    async def test_something(fleet: StartFleet) -> None:
        workers = await fleet(make_app, 3)
        page = await workers[0].server.page()
        await workers[1].page(page).start("go")      # the same page, by the way of another worker

They share a table of claims in memory. `tests/workers/test_processes.py` has the same with real processes.

A test marked with `on_two_machines` runs twice: on one machine, and with every worker on another one than the last.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest
import trio

from flash import Flash
from flash.event_callbacks import _names
from flash.server.all_workers import join_workers
from flash.workers.directory import Claims, Holder
from tests.http.conftest import serve as serve
from tests.http.pages import Page
from tests.http.servers import Serve, Server
from tests.workers.machines import LoopbackMachine

on_two_machines = pytest.mark.parametrize("fleet", [1, 2], ids=["one machine", "two machines"], indirect=True)


class ClaimsDirectory:
    """The directory of one worker, which has the table of claims at hand.

    Attributes:
        asked: the browsers that were claimed, in order.
        gone: the names of the workers that were said to be gone.
    """

    def __init__(self, claims: Claims, name: str) -> None:
        self.asked: list[str] = []
        self.gone: list[str] = []
        self._claims = claims
        self.name = name

    @property
    def status(self) -> None:
        """It is always there."""

    async def claim(self, browser: str) -> Holder | None:
        self.asked.append(browser)
        await trio.lowlevel.checkpoint()
        holder = self._claims.claim(browser, self.name)
        await trio.lowlevel.checkpoint()
        return holder

    async def give_up(self, browser: str) -> None:
        await trio.lowlevel.checkpoint()
        self._claims.give_up(browser, self.name)

    def note_gone(self, worker: Holder) -> None:
        self.gone.append(worker.name)

    async def note_unreachable(self, worker: Holder) -> None:
        await trio.lowlevel.checkpoint()

    async def workers(self) -> Sequence[Holder]:
        await trio.lowlevel.checkpoint()
        return self._claims.workers(self.name)


class Worker:
    """One worker.

    Attributes:
        name: in the table of claims.
        app: its app.
        server: of the app.
        peers: joins it to the others.
        directory: what it asks.
        address: for the others.
    """

    def __init__(self, name: str, app: Flash, claims: Claims, path: str, machine: LoopbackMachine | None) -> None:
        self.name = name
        self.app = app
        self.claims = claims
        self.directory = ClaimsDirectory(claims, name)
        self.address = path if machine is None else machine.address_of(path)
        self.peers = join_workers(
            app.asgi_server, self.directory, path, None if machine is None else machine.arrivals_of(path)
        )
        self.server: Server
        self._scope = trio.CancelScope()

    def page(self, page: Page) -> Page:
        """The same page of the same browser, with its requests going to this worker."""
        there = copy.copy(page)
        there.client = self.server.browser()
        there.client.cookies = page.client.cookies
        there.port = self.server.port
        return there

    async def run(self, serve: Serve, options: dict[str, Any], task_status: trio.TaskStatus[None]) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.peers.run)
                self.server = await serve(self.app, at=self.peers.leaving.around(self.app), **options)
                self.claims.join(self.name, self.address)
                task_status.started()
                await trio.sleep_forever()

    def die(self) -> None:
        """End at once what this worker has to do with others, as when it is killed."""
        self._scope.cancel()
        self.claims.leave(self.name)


class StartFleet(Protocol):
    """The type of the `fleet` fixture."""

    async def __call__(self, make_app: Callable[[], Flash], size: int, **options: Any) -> list[Worker]:
        """Start workers, each with an app that `make_app` has made. `options` are Hypercorn's."""
        ...


@pytest.fixture
async def fleet(serve: Serve, request: pytest.FixtureRequest) -> AsyncIterator[StartFleet]:
    """Starts workers; they are shut down when the test is over."""
    claims = Claims()
    number_of_machines: int = getattr(request, "param", 1)
    machines = [LoopbackMachine(number + 1) for number in range(number_of_machines)] if number_of_machines > 1 else []
    with tempfile.TemporaryDirectory(prefix="flash-") as folder:
        async with trio.open_nursery() as nursery:
            for machine in machines:
                nursery.start_soon(machine.run)

            async def start(make_app: Callable[[], Flash], size: int, **options: Any) -> list[Worker]:
                workers: list[Worker] = []
                for number in range(1, size + 1):
                    name = str(number)
                    # In a process of its own each app has the same ids, which count what the process declares.
                    _names.clear()
                    machine = machines[number % len(machines)] if machines else None
                    path = Path(folder) / f"{number:012}.sock"
                    workers.append(Worker(name, make_app(), claims, str(path), machine))
                    await nursery.start(workers[-1].run, serve, options)
                return workers

            yield start
            nursery.cancel_scope.cancel()
