"""Several machines: two supervisors at two addresses of the loopback range, with a real Redis between them."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.faults.sockets import Site, flash_run
from tests.support.connections import free_port
from tests.support.eventually import eventually
from tests.support.processes import Process, python
from tests.support.redis_server import RedisServer

APP = """
import trio

from flash import Flash, Input, html, stream_props

app = Flash(__name__, reconnect_grace=0.5)
app.layout = [html.Button(id="go"), html.Div(id="out")]


@app.event_callback(Input("go", "n_clicks"))
async def count(clicks):
    number = 0
    while True:
        yield stream_props("out", {"children": number})
        number += 1
        await trio.sleep(0.02)
"""

UNCLOSED_STREAM = "ignore:Unclosed <MemoryObject:ResourceWarning"
"""What a process may warn of that cannot reach Redis: coredis does not close the streams which it made."""


@dataclass
class Machine:
    """One supervisor with its worker.

    Attributes:
        process: the supervisor.
        site: what the machine serves.
    """

    process: Process
    site: Site

    async def health(self) -> dict[str, Any]:
        return json.loads((await self.site.get("/_flash/health")).text)

    @property
    def said_of_redis(self) -> list[str]:
        """Its lines in the log that tell of Redis."""
        return re.findall(r"flash\.workers: Redis (.*)", self.process.output)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer.started(tmp_path_factory.mktemp("redis")) as server:
        yield server


def machine(folder: Path, redis: RedisServer, host: str) -> AbstractContextManager[Process]:
    """A supervisor with one worker while the block runs, at an address of the loopback range."""
    (folder / "served.py").write_text(APP)
    environment = {"FLASH_SECRET": "a secret of tests that is long enough", "FLASH_REDIS_URL": redis.url}
    # One has the option, and the others the variable, which leaves the port to the system.
    options = ("--advertise", f"{host}:{free_port()}") if host == "127.0.0.1" else ()
    environment |= {"FLASH_ADVERTISE": host}
    return python(folder, *flash_run(*options), environment=environment, ignored=UNCLOSED_STREAM)


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory, redis: RedisServer) -> Iterator[list[Process]]:
    """Two supervisors."""
    folder = tmp_path_factory.mktemp("machines")
    with machine(folder, redis, "127.0.0.1") as one, machine(folder, redis, "127.0.0.2") as two:
        for process in (one, two):
            process.wait_for_port()
        yield [one, two]


@pytest.fixture
async def machines(processes: list[Process]) -> AsyncIterator[list[Machine]]:
    machines = [Machine(process, Site(process.port)) for process in processes]
    yield machines
    with trio.CancelScope(shield=True):
        for machine in machines:
            await machine.site.close()


async def test_health_and_links_reach_all_machines_through_any_of_them(machines: list[Machine]) -> None:
    one, two = machines
    page = await one.site.page()
    await page.begin()
    page.site = two.site
    link = await page.connect()
    await link.until("props")
    for each in machines:
        health = await each.health()
        assert (health["status"], health["pages"], health["streams"]) == ("ok", 1, 1)
        assert len(health["workers"]) == 2
        assert {worker["directory"] for worker in health["workers"].values()} == {"ok"}


async def test_a_machine_that_is_stopped_hands_over_and_no_stream_of_another_one_notices(
    machines: list[Machine], redis: RedisServer, tmp_path: Path
) -> None:
    elsewhere = machines[0].site
    with machine(tmp_path, redis, "127.0.0.3") as process:
        stopping = Site(process.wait_for_port())
        passing = await elsewhere.page()
        await passing.begin()
        passing.site = stopping
        passing_link = await passing.connect()
        await passing_link.until("props")
        own = await stopping.page()
        own_link = await own.connect()
        await own.begin()
        await own_link.until("props")
        process.send(signal.SIGTERM)
        assert {event.name for event in await passing_link.until_closed()} <= {"props"}
        # Within the grace, which is short.
        passing.site = elsewhere
        again = await passing.connect(after=passing_link.applied)
        assert (await own_link.until("end"))["reason"] == "shutdown"
        own.site = elsewhere
        await own.begin()
        await again.until("props")
        assert await process.status(10) == 0
        await stopping.close()


@pytest.mark.parametrize("how", ["restarts empty", "falls silent"])
async def test_what_is_held_goes_on_while_redis_is_away_and_health_says_so_until_it_is_back(
    machines: list[Machine], redis: RedisServer, how: str
) -> None:
    one, two = machines
    page = await one.site.page()
    link = await page.connect()
    await page.begin()
    await link.until("props")

    said_before = [machine.said_of_redis for machine in machines]

    async def are(status: str) -> bool:
        """Whether every worker says that of Redis, by the way of every machine."""
        healths = [await machine.health() for machine in machines]
        return {
            worker.get("directory", worker["status"]) for health in healths for worker in health["workers"].values()
        } == {status}

    if how == "falls silent":
        redis.silence()
    else:
        redis.stop()
    await eventually(lambda: are("away"))
    # What is held goes on, and a browser that nobody is known to hold is held where it comes.
    await link.until("props")
    other = await two.site.page()
    other_link = await other.connect()
    await other.begin()
    await other_link.until("props")
    if how == "falls silent":
        redis.go_on()
    else:
        redis.start()
    await eventually(lambda: are("ok"))
    # Nobody has lost anything, and each machine finds what the other one holds.
    for held, held_link, there in ((page, link, two), (other, other_link, one)):
        held.site = there.site
        assert (await held.acknowledge(held_link.applied)).status == 204
        await held_link.until("props")
    for machine, before in zip(machines, said_before, strict=True):
        away, back = machine.said_of_redis[len(before) :]
        assert away.startswith("is away: ")
        assert back.startswith("answers again, after ")
