"""Which worker runs what one worker of the machine is to run: `@app.background(once="machine")`."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from flash.workers.chosen_worker import ChosenWorker
from tests.faults.sockets import Site, serving
from tests.support.eventually import eventually
from tests.support.processes import Process

APP = """
import os

import trio

from flash import Flash, cleanup

app = Flash(__name__, cleanup_timeout=3)
app.layout = []


def note(what):
    with open("log", "a") as log:
        log.write(f"{what} {os.getpid()}\\n")


@app.background(once="machine")
async def poll():
    note("begin")
    try:
        await trio.sleep_forever()
    finally:
        with cleanup():
            await trio.sleep(0.3)
        note("end")


@app.background
async def each():
    note("each")
    await trio.sleep_forever()


@app.server.route("/pid")
async def pid():
    return str(os.getpid())


@app.server.route("/slow")
async def slow():
    note("slow")
    await trio.sleep(60)
    return ""
"""


class Candidate:
    """A worker that may be chosen."""

    def __init__(self) -> None:
        self.resigned = False
        self.chosen = 0

    def choose(self) -> None:
        self.chosen += 1


def test_one_of_the_workers_is_chosen_until_it_has_resigned() -> None:
    first, second = Candidate(), Candidate()
    there = list[Candidate]()
    chosen = ChosenWorker(lambda: there)
    chosen.choose_if_none()
    there.append(first)
    chosen.choose_if_none()
    there.insert(0, second)
    chosen.choose_if_none()
    assert (first.chosen, second.chosen) == (1, 0)
    # It stops, and has tasks that have not ended.
    there.remove(first)
    chosen.choose_if_none()
    assert second.chosen == 0
    first.resigned = True
    chosen.choose_if_none()
    chosen.choose_if_none()
    assert (first.chosen, second.chosen) == (1, 1)


def test_a_worker_that_comes_when_there_was_none_is_chosen() -> None:
    first, second = Candidate(), Candidate()
    there = [first]
    chosen = ChosenWorker(lambda: there)
    chosen.choose_if_none()
    first.resigned = True
    there.clear()
    chosen.choose_if_none()
    there.append(second)
    chosen.choose_if_none()
    assert second.chosen == 1


class Log:
    """What the background tasks have noted."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "log"

    def lines(self, *what: str) -> list[tuple[str, int]]:
        text = self._path.read_text() if self._path.exists() else ""
        lines = [(name, int(pid)) for name, pid in (line.split() for line in text.splitlines())]
        return [line for line in lines if line[0] in what]

    async def until(self, what: str, count: int) -> list[int]:
        """The processes of the lines of a kind, when there are so many."""
        await eventually(lambda: len(self.lines(what)) >= count)
        return [pid for _, pid in self.lines(what)]


@asynccontextmanager
async def polling(folder: Path) -> AsyncGenerator[tuple[Process, Site, Log]]:
    """Two workers, of which one is chosen."""
    async with serving(folder, "--workers", "2", "--graceful-timeout", "5", source=APP) as (process, site):
        log = Log(folder)
        await log.until("each", 2)
        yield process, site, log


async def test_another_worker_runs_it_when_the_one_that_does_dies_or_stops(tmp_path: Path) -> None:
    async with polling(tmp_path) as (process, _, log):
        [first] = await log.until("begin", 1)
        os.kill(first, signal.SIGKILL)
        _, second = await log.until("begin", 2)
        assert second != first
        await log.until("each", 3)
        os.kill(second, signal.SIGTERM)
        *_, third = await log.until("begin", 3)
        process.send(signal.SIGTERM)
        assert await process.status() == 0
        assert log.lines("begin", "end") == [
            ("begin", first),
            ("begin", second),
            ("end", second),
            ("begin", third),
            ("end", third),
        ]


async def test_new_code_has_it_when_the_old_one_has_ended_though_old_workers_finish_requests(tmp_path: Path) -> None:
    async with polling(tmp_path) as (process, site, log):
        [first] = await log.until("begin", 1)
        old = {pid for _, pid in log.lines("each")}
        # As many as are needed for the chosen one to have some.
        slow = [await site.open() for _ in range(8)]
        for connection in slow:
            await connection.send_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await eventually(lambda: ("slow", first) in log.lines("slow"))
        process.send(signal.SIGHUP)
        _, second = await log.until("begin", 2)
        assert second not in old
        assert log.lines("begin", "end") == [("begin", first), ("end", first), ("begin", second)]
        # It did not wait for the requests of the old worker.
        os.kill(first, 0)
