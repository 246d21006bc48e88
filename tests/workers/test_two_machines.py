"""Two machines that share a Redis: `flash run --workers 2` on each of two loopback addresses."""

from __future__ import annotations

import contextlib
import copy
import os
import signal
import time
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from flash.asgi.tokens import new_token
from flash.workers.peer_connection import OPEN_TIMEOUT
from flash.workers.sending_on import SEARCH_TIMEOUT
from tests.faults.sockets import Page, Site
from tests.support.connections import free_port
from tests.support.eventually import eventually
from tests.support.http1 import Http1
from tests.support.nginx import Nginx, nginx as nginx
from tests.support.processes import Process, python
from tests.support.redis_server import RedisServer
from tests.workers.test_processes import (
    anybody,
    check_all_streams,
    check_contract,
    connection_to,
    holder_of,
    is_all_quiet,
    link_by,
    log,
    source,
)


@dataclass
class Machines:
    """The two machines.

    Attributes:
        folder: in which both run the same app.
        here: a site whose requests land on the first.
        there: one whose requests land on the second.
        processes: the supervisors.
    """

    folder: Path
    here: Site
    there: Site
    processes: list[Process]

    def begin(self) -> None:
        """Forget what the app has noted."""
        (self.folder / "log").write_text("")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    folder = tmp_path_factory.mktemp("machines")
    (folder / "served.py").write_text(source(grace=3))
    secret = folder / "secret"
    secret.write_text(new_token() * 2)
    secret.chmod(0o600)
    with contextlib.ExitStack() as running:
        redis = running.enter_context(RedisServer.started(folder))
        processes: list[Process] = []
        # One has the secret in its environment, and the other one in a file.
        in_environment = {"FLASH_SECRET": secret.read_text()}
        machines = [("127.0.0.1", in_environment, ()), ("127.0.0.2", {}, ("--secret-file", str(secret)))]
        for host, environment, more in machines:
            where = ("--host", host, "--port", "0", "--advertise", f"{host}:{free_port()}", "--redis", redis.url)
            options = ("--workers", "2", "--graceful-timeout", "5", *more)
            command = ("-m", "flash", "run", "served:app", *where, *options)
            processes.append(running.enter_context(python(folder, *command, environment=environment)))
        here, there = (
            Site(process.wait_for_port(), host=host) for process, (host, _, _) in zip(processes, machines, strict=True)
        )
        # It was read by the supervisor, and no worker needs it, not even one that is started again.
        secret.unlink()
        yield Machines(folder, here, there, processes)


@pytest.fixture
async def machines(started: Machines) -> AsyncGenerator[Machines]:
    """The machines, with nothing noted, and without the connections of the test when it is over."""
    started.begin()
    yield started
    await started.here.close()
    await started.there.close()
    await eventually(lambda: is_all_quiet(started.here))


def by(page: Page, site: Site) -> Page:
    """The same page, whose requests land on another machine."""
    there = copy.copy(page)
    there.site = site
    return there


async def test_the_contract_holds_through_a_proxy_that_asks_the_machines_in_turn(
    machines: Machines, nginx: Nginx
) -> None:
    port = nginx(*(f"{site.host}:{site.port}" for site in (machines.here, machines.there)))
    site = Site(port)
    try:
        await check_contract(site, machines.folder)
        await check_all_streams(site, workers=4)
    finally:
        await site.close()
    pids = {line[1] for line in log(machines.folder) if line[0] == "on_error"}
    assert len(pids) > 2, "streams have run on both machines"


async def test_two_first_links_of_one_browser_on_two_machines_have_one_holder(machines: Machines) -> None:
    for _ in range(50):
        page = await machines.here.page()
        tabs = [page, by(await machines.here.page(page.browser), machines.there)]
        connections = [Http1(await tab.site.open()) for tab in tabs]
        for tab, http in zip(tabs, connections, strict=True):
            await http.send("GET", tab.identity.events, tab.headers)
        assert [(await http.head())[0] for http in connections] == [200, 200]
    await machines.here.close()
    await machines.there.close()
    answered: dict[str, list[str]] = {}
    for kind, pid, path, *browser in log(machines.folder):
        if (kind, path) == ("hook", "/_flash/events"):
            answered.setdefault(browser[0], []).append(pid)
    assert [len(pids) for pids in answered.values()] == [2] * 50
    assert [len(set(pids)) for pids in answered.values()] == [1] * 50


async def test_a_killed_holder_on_another_machine_ends_its_own_pages_which_begin_anew_here(machines: Machines) -> None:
    tab = await machines.there.page()
    own, holder = await link_by(tab, anybody)
    page = by(await machines.there.page(tab.browser), machines.here)
    sent_on, _ = await link_by(page, anybody)
    await page.begin()
    assert await holder_of(page, sent_on) == holder
    other = await machines.here.page()
    others, _ = await link_by(other, anybody)
    await other.begin()
    await others.numbers(1)
    os.kill(holder, signal.SIGKILL)
    killed = time.monotonic()
    await sent_on.rest()
    await own.rest()
    again, landed = await link_by(page, anybody)
    await page.begin()
    assert await holder_of(page, again) == landed
    assert time.monotonic() - killed < SEARCH_TIMEOUT, "nobody has waited for the dead one"
    before = int((await others.numbers(1))[0].split()[2])
    assert [int(value.split()[2]) for value in await others.numbers(20)] == list(range(before + 1, before + 21))
    await page.leave()
    await other.leave()


def processes_of(machine: Process) -> list[int]:
    """The supervisor of a machine, and its workers."""
    return [machine.pid, *(child.pid for child in psutil.Process(machine.pid).children())]


async def test_of_the_requests_to_a_machine_that_is_silent_one_waits_and_the_next_ones_do_not(
    machines: Machines,
) -> None:
    tabs = [await machines.there.page() for _ in range(3)]
    _, holder = await link_by(tabs[0], anybody)
    for tab in tabs[1:]:
        await link_by(tab, lambda pid: pid == holder)
    pages = [by(tab, machines.here) for tab in tabs]
    silent = processes_of(machines.processes[1])
    took: list[float] = []
    try:
        for pid in silent:
            os.kill(pid, signal.SIGSTOP)
        for page in pages:
            began = time.monotonic()
            assert (await page.status()).status == 200
            took.append(time.monotonic() - began)
    finally:
        for pid in silent:
            os.kill(pid, signal.SIGCONT)
    # A machine without power would not even take connections, which is noticed sooner.
    assert max(took[1:]) < OPEN_TIMEOUT <= took[0], took

    async def takes_part() -> bool:
        health = (await machines.here.get("/_flash/health")).json()
        return [worker["status"] for worker in health["workers"].values()] == ["ok"] * 4

    await eventually(takes_part)


async def test_a_killed_worker_that_only_sends_on_to_another_machine_costs_no_stream(machines: Machines) -> None:
    tab = await machines.there.page()
    await link_by(tab, anybody)
    page = by(await machines.there.page(tab.browser), machines.here)
    events, passed = await link_by(page, anybody)
    await page.begin()
    numbers = [int(value.split()[2]) for value in await events.numbers(5)]
    os.kill(passed, signal.SIGKILL)
    for event in await events.rest():
        numbers += [int(value["children"].split()[2]) for _, value in event.data["props"]]
    again, _ = await link_by(page, lambda pid: pid != passed, events.applied)
    numbers += [int(value.split()[2]) for value in await again.numbers(5)]
    assert numbers == list(range(len(numbers))), "numbered updates: none lost, none twice"
    assert [line for line in log(machines.folder) if line[0] == "on_error"] == []
    await page.leave()
    await tab.leave()


async def test_the_app_of_a_worker_does_not_inherit_the_secret(machines: Machines) -> None:
    for site in (machines.here, machines.there):
        _, _, pid = await connection_to(site, anybody)
        assert b"\0FLASH_SECRET=" not in b"\0" + Path(f"/proc/{pid}/environ").read_bytes()


async def test_a_machine_whose_code_is_replaced_is_reached_at_the_same_port(machines: Machines) -> None:
    tab = await machines.there.page()
    old, _ = await link_by(tab, anybody)
    page = by(await machines.there.page(tab.browser), machines.here)
    events, _ = await link_by(page, anybody)
    await page.begin()
    await events.numbers(1)
    machines.processes[1].send(signal.SIGHUP)
    assert (await events.until("end"))["reason"] == "shutdown"
    await old.rest()
    tab = await machines.there.page()
    _, holder = await link_by(tab, anybody)
    page = by(await machines.there.page(tab.browser), machines.here)
    again, _ = await link_by(page, anybody)
    await page.begin()
    assert await holder_of(page, again) == holder
    await page.leave()
    await tab.leave()
