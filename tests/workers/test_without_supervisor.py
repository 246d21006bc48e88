"""Processes without a supervisor that share a Redis: plain `hypercorn -k trio -w 2`, and a second server beside it."""

from __future__ import annotations

import copy
import os
import re
import signal
import socket
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from quart_trio import QuartTrio

from flash.errors import InvalidOption
from flash.event_callbacks import _names
from flash.server.without_supervisor import find_others
from tests.faults.sockets import Page, Site
from tests.http.conftest import serve as serve
from tests.http.servers import Serve
from tests.support.eventually import eventually
from tests.support.http1 import Http1
from tests.support.processes import Process, python
from tests.support.redis_server import RedisServer
from tests.workers.apps import CountingApp
from tests.workers.test_processes import holder_of, is_all_quiet, log, source

SECRET = {"FLASH_SECRET": "a secret of tests that is long enough"}


def hypercorn(folder: Path, environment: Mapping[str, str], workers: int = 2) -> AbstractContextManager[Process]:
    """Hypercorn with so many processes while the block runs."""
    (folder / "served.py").write_text(source(grace=3))
    command = ("-m", "hypercorn", "-k", "trio", "-w", str(workers), "-b", "127.0.0.1:0", "--graceful-timeout", "1")
    return python(folder, *command, "served:app", environment=environment)


@dataclass
class OneProcess(Site):
    """A server with several processes, of which one takes all connections of this client.

    Attributes:
        pid: of that process.
        others: the process ids of the others.
    """

    pid: int = 0
    others: tuple[int, ...] = ()

    async def open(self, receive_buffer: int | None = None) -> trio.SocketStream:
        for other in self.others:
            os.kill(other, signal.SIGSTOP)
        try:
            stream = await super().open(receive_buffer)
            # When it has answered, the connection is its own.
            http = Http1(stream)
            await http.send("GET", "/pid")
            assert int((await http.answer()).text) == self.pid
        finally:
            for other in self.others:
                os.kill(other, signal.SIGCONT)
        return stream


def sites(process: Process) -> list[Site]:
    """The server as clients of each of its processes see it."""
    pids = [int(pid) for pid in re.findall(r"\[(\d+)\] \[INFO\] Running on", process.output)]
    return [OneProcess(process.port, pid=pid, others=tuple(set(pids) - {pid})) for pid in pids]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer.started(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, redis: RedisServer) -> Iterator[Process]:
    """Hypercorn with two processes, whose secret is in a file."""
    folder = tmp_path_factory.mktemp("hypercorn")
    secret = folder / "secret"
    secret.touch(0o600)
    secret.write_text(SECRET["FLASH_SECRET"])
    environment = {"FLASH_REDIS_URL": redis.url, "FLASH_ADVERTISE": "127.0.0.1", "FLASH_SECRET_FILE": str(secret)}
    with hypercorn(folder, environment) as process:
        process.wait_for(lambda: process.output.count("Running on") == 2, "both processes serve")
        yield process


@pytest.fixture
async def processes(server: Process) -> AsyncGenerator[list[Site]]:
    """The server by each of its processes, with nothing noted, and without connections when the test is over."""
    (server.folder / "log").write_text("")
    processes = sites(server)
    yield processes
    for site in processes:
        await site.close()
    await eventually(lambda: is_all_quiet(processes[0]))


def pid_of(site: Site) -> int:
    assert isinstance(site, OneProcess)
    return site.pid


def by(page: Page, site: Site) -> Page:
    """The same page, whose requests land elsewhere."""
    there = copy.copy(page)
    there.site = site
    return there


async def test_the_contract_holds_whichever_process_a_request_comes_to(server: Process, processes: list[Site]) -> None:
    for holding, passing in (processes, processes[::-1]):
        page = await holding.page()
        events = await page.connect()
        other = by(page, passing)
        await other.begin(value=1)
        await events.until("open")
        await other.begin(value=2)
        assert (await events.until("end"))["reason"] == "superseded"
        stream = (await events.until("open"))["stream"]
        assert await holder_of(page, events) == pid_of(holding)
        assert (await other.acknowledge(events.applied)).status == 204
        assert (await other.cancel(stream)).status == 204
        ended = await events.until("end")
        assert (ended["reason"], ended["props"][0]) == ("cancelled", ["out", {"title": "reset"}])
        # A link by the way of the other process takes the place of the first.
        again = await other.connect(after=events.applied)
        await events.rest()
        await page.begin(value=3)
        await again.until("open")
        assert await holder_of(page, again) == pid_of(holding)
        assert (await other.leave()).status == 204
        await again.rest()

    def reasons() -> list[str]:
        return [line[2] for line in log(server.folder) if line[0] == "on_error"]

    await eventually(lambda: reasons() == ["superseded", "cancelled", "disconnected"] * 2)
    hooks = [(line[2], int(line[1])) for line in log(server.folder) if line[0] == "hook"]
    # Each ran once, in the holder.
    expected = ["events", "callback", "callback", "ack", "cancel", "events", "callback", "close"]
    one, two = (pid_of(site) for site in processes)
    assert [pid for path, pid in hooks if path != "/_flash/ack"] == [one] * 7 + [two] * 7
    assert {path.rpartition("/")[2] for path, _ in hooks} == set(expected) - {"callback"} | {"_dash-update-component"}


async def test_two_first_requests_of_a_browser_have_one_holder(server: Process, processes: list[Site]) -> None:
    for _ in range(20):
        page = await processes[0].page()
        tabs = [page, by(await processes[0].page(page.browser), processes[1])]
        connections = [Http1(await tab.site.open()) for tab in tabs]
        for tab, http in zip(tabs, connections, strict=True):
            await http.send("GET", tab.identity.events, tab.headers)
        assert [(await http.head())[0] for http in connections] == [200, 200]
    answered: dict[str, list[str]] = {}
    for kind, pid, path, *browser in log(server.folder):
        if (kind, path) == ("hook", "/_flash/events"):
            answered.setdefault(browser[0], []).append(pid)
    assert [(len(pids), len(set(pids))) for pids in answered.values()] == [(2, 1)] * 20


async def test_each_process_tells_of_all(processes: list[Site]) -> None:
    pages = [await site.page() for site in processes]
    for page in pages:
        events = await page.connect()
        await page.begin()
        await events.until("open")
    for site in processes:
        assert (await site.get("/all-streams")).json() == {"all": 2, "here": 1}
        health = (await site.get("/_flash/health")).json()
        assert (health["status"], health["streams"], health["pages"]) == ("ok", 2, 2)
        assert {worker["directory"] for worker in health["workers"].values()} == {"ok"}
        assert {int(name.rpartition("/")[2]) for name in health["workers"]} == {pid_of(site) for site in processes}
        metrics = (await site.get("/_flash/metrics")).text
        assert sum(float(line.split()[-1]) for line in metrics.splitlines() if line.startswith("flash_streams{")) == 2
    for page in pages:
        await page.leave()


async def test_pages_of_a_killed_process_begin_anew_elsewhere_and_no_other_stream_ends(
    processes: list[Site], redis: RedisServer, tmp_path: Path
) -> None:
    here = processes[0]
    other = await here.page()
    others = await other.connect()
    await other.begin()
    await others.numbers(1)
    environment = {"FLASH_REDIS_URL": redis.url, "FLASH_ADVERTISE": "127.0.0.1"} | SECRET
    with hypercorn(tmp_path, environment, workers=1) as process:
        process.wait_for_port()
        [there] = sites(process)
        tab = await there.page()
        own = await tab.connect()
        page = await here.page(tab.browser)
        events = await page.connect()
        await page.begin()
        assert await holder_of(page, events) == pid_of(there)
        os.kill(pid_of(there), signal.SIGKILL)
        await events.rest()
        await own.rest()
        # Hypercorn ends when a process of it was killed.
        await process.status()
        await there.close()
        # Its port refuses connections: nobody waits until it is taken for dead by its heartbeat alone.
        assert (await page.status()).status == 200
        again = await page.connect()
        await page.begin()
        assert await holder_of(page, again) == pid_of(here)
    before = int((await others.numbers(1))[0].split()[2])
    assert [int(value.split()[2]) for value in await others.numbers(20)] == list(range(before + 1, before + 21))
    await page.leave()
    await other.leave()


async def test_a_server_that_is_stopped_hands_its_browsers_over(
    processes: list[Site], redis: RedisServer, tmp_path: Path
) -> None:
    here = processes[0]
    environment = {"FLASH_REDIS_URL": redis.url, "FLASH_ADVERTISE": "127.0.0.1:0"} | SECRET
    with hypercorn(tmp_path, environment, workers=1) as process:
        process.wait_for_port()
        [there] = sites(process)
        tab = await there.page()
        own = await tab.connect()
        page = await here.page(tab.browser)
        events = await page.connect()
        await page.begin()
        await events.numbers(1)
        process.send(signal.SIGTERM)
        assert (await events.until("end"))["reason"] == "shutdown"
        await own.rest()
        again = await page.connect()
        await page.begin()
        assert await holder_of(page, again) == pid_of(here)
        assert await process.status() == 0
        await there.close()
    assert [line[2] for line in log(tmp_path) if line[0] == "on_error"] == ["shutdown"]
    await page.leave()


def set_environment(monkeypatch: pytest.MonkeyPatch, redis: RedisServer, **changes: str) -> None:
    """Set the variables of this process; an empty change leaves one out."""
    variables = {"FLASH_REDIS_URL": redis.url, "FLASH_ADVERTISE": "127.0.0.1"} | SECRET | changes
    for name, value in variables.items():
        if value:
            monkeypatch.setenv(name, value)


async def test_it_is_the_same_where_the_server_of_the_app_is_served_be_it_its_own_or_not(
    serve: Serve, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, redis)
    one = CountingApp()
    # In a process of its own each app has the same ids, which count what the process declares.
    _names.clear()
    two = CountingApp(server=QuartTrio("site"))
    servers = [await serve(app, at=app.server) for app in (one, two)]
    page = await servers[0].page()
    events = await page.connect()
    assert (await page.start("go")).status_code == 204
    await events.expect("open")
    there = copy.copy(page)
    there.client = servers[1].browser()
    there.client.cookies = page.client.cookies
    there.port = servers[1].port
    assert (await there.start("go")).status_code == 204
    assert (await events.until("end"))["reason"] == "superseded"
    await events.expect("open")
    assert (len(one.streams()), len(two.streams())) == (1, 0)
    assert len(await two.all_streams()) == 1
    # A server that has been shut down is as it was before.
    await servers[1].stop()
    assert (two.channels.holding, two.all_workers.peers) == (None, None)
    again = await serve(two, at=two.server)
    assert len(await two.all_streams()) == 1
    await again.stop()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"FLASH_REDIS_URL": ""}, "--advertise takes a Redis that all machines share"),
        ({"FLASH_REDIS_URL": "redis://127.0.0.1:1"}, "Redis cannot be used there"),
        ({"FLASH_SECRET": ""}, "--advertise takes a secret that all machines share"),
        ({"FLASH_SECRET": "hunter2"}, "fewer than 32"),
        ({"FLASH_ADVERTISE": "0.0.0.0"}, "names no machine"),
    ],
)
async def test_a_variable_that_is_missing_or_wrong_is_refused_with_one_sentence(
    changes: dict[str, str], sentence: str, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, redis, **changes)
    with pytest.raises(InvalidOption, match=re.escape(sentence)):
        await find_others(CountingApp().server, None)


async def test_processes_that_would_have_one_port_are_refused_with_one_sentence(
    redis: RedisServer, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        environment = {"FLASH_REDIS_URL": redis.url, "FLASH_ADVERTISE": address} | SECRET
        with hypercorn(tmp_path, environment, workers=1) as process:
            await process.status()
            assert (
                f"The advertised address {address}: this machine cannot listen there: Address already in use. Without "
                "a port, a free one is taken."
            ) in process.output
