"""`flash run --workers`: real processes, which answer, stop, die, and are replaced."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import pytest
import trio

from tests.faults.conftest import Certificate, certificate as certificate
from tests.faults.sockets import Site, flash_run, serving
from tests.support.connections import free_port
from tests.support.eventually import eventually
from tests.support.http1 import Http1
from tests.support.processes import Process, python

APP = """
import os

import trio

from flash import Flash, Input, html, stream_props

app = Flash(__name__)
app.layout = [html.Button(id="go"), html.Div(id="out")]
print("a line of", os.getpid(), flush=True)


def note(what):
    with open("log", "a") as log:
        log.write(f"{what}\\n")


@app.event_callback(Input("go", "n_clicks"))
async def count(clicks):
    try:
        number = 0
        while True:
            yield stream_props("out", {"children": number})
            number += 1
            await trio.sleep(0.05)
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.05)
            note("finally")


@app.server.route("/version")
async def version():
    return "VERSION"


@app.server.route("/slow")
async def slow():
    note("slow")
    await trio.sleep(1)
    return "VERSION"


@app.server.route("/held-up")
async def held_up():
    note("held up")
    while not os.path.exists("go on"):
        await trio.sleep(0.01)
    return "VERSION"


@app.server.route("/pid")
async def pid():
    return str(os.getpid())


@app.server.after_serving
async def stopped():
    note(f"stopped {os.getpid()}")
""".replace("VERSION", "first")

WORKERS = ("--workers", "2", "--graceful-timeout", "600")
"""Workers that used their grace up would not stop within the time that a test waits for them."""


async def pid_of(site: Site) -> int:
    return int((await site.get("/pid")).text)


async def pid_over(http: Http1) -> int:
    """The process id of the worker that has a connection, which stays open."""
    await http.send("GET", "/pid")
    return int((await http.answer()).text)


async def pids_of(site: Site) -> set[int]:
    """The process ids of the two workers; waits until both answer."""
    pids: set[int] = set()

    async def are_two() -> bool:
        pids.add(await pid_of(site))
        return len(pids) == 2

    await eventually(are_two)
    return pids


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def lines_with(process: Process, text: str) -> list[str]:
    return [line for line in process.output.splitlines() if text in line]


async def test_workers_share_connections_evenly_and_have_one_log(tmp_path: Path) -> None:
    async with serving(tmp_path, *WORKERS, source=APP) as (process, site):
        # One after the other, on a machine that has nothing else to do, is where one worker would have them all.
        pids = Counter([await pid_of(site) for _ in range(20)])
        assert min(pids.values()) >= 4
        # And those that stay open; on a busy machine a worker may be passed over for a moment.
        kept = [Http1(await site.open()) for _ in range(12)]
        open_in = Counter([await pid_over(http) for http in kept])
        assert min(open_in.values()) >= 3
        assert set(open_in) == set(pids)
        for pid in pids:
            (line,) = lines_with(process, f"a line of {pid}")
            assert re.match(r"\[[12]\] a line", line)
        assert len(lines_with(process, "Running on")) == 1


@pytest.mark.parametrize("how", ["SIGTERM", "Ctrl-C"])
async def test_a_signal_stops_all_workers_and_every_clean_up_runs(tmp_path: Path, how: str) -> None:
    async with serving(tmp_path, *WORKERS, source=APP) as (process, site):
        pids = await pids_of(site)
        pages = [await site.page() for _ in range(4)]
        links = [await page.connect() for page in pages]
        for page in pages:
            await page.begin()
        for link in links:
            await link.until("props")
        if how == "SIGTERM":
            process.send(signal.SIGTERM)
        else:
            # As a terminal does: to every process of the group.
            os.killpg(process.pid, signal.SIGINT)
        for link in links:
            assert (await link.until("end"))["reason"] == "shutdown"
        assert await process.status() == 0
        assert process.log.count("finally") == 4
        assert {f"stopped {pid}" for pid in pids} <= set(process.log)
        assert "Traceback" not in process.output
        assert not any(is_alive(pid) for pid in pids)


async def test_a_worker_that_dies_is_replaced_and_the_other_one_goes_on(tmp_path: Path) -> None:
    async with serving(tmp_path, *WORKERS, source=APP) as (process, site):
        first, second = await pids_of(site)
        os.kill(first, signal.SIGKILL)
        # Every request is answered meanwhile.
        await eventually(lambda: lines_with(process, "has ended by SIGKILL. It is started again now."))
        assert await pid_of(site) != first
        # The next time it dies it has longer to wait.
        (again,) = await pids_of(site) - {second}
        os.kill(again, signal.SIGKILL)
        await eventually(lambda: lines_with(process, "has ended by SIGKILL. It is started again in 0.5 s."))
        process.send(signal.SIGTERM)
        assert await process.status() == 0


async def test_a_worker_that_is_stopped_alone_finishes_and_is_replaced(tmp_path: Path) -> None:
    async with serving(tmp_path, *WORKERS, source=APP) as (process, site), trio.open_nursery() as nursery:
        pids = await pids_of(site)
        answers: list[str] = []

        async def ask() -> None:
            answers.append((await site.get("/slow")).text)

        for _ in range(2):
            nursery.start_soon(ask)
        await eventually(lambda: process.log == ["slow", "slow"])
        os.kill(min(pids), signal.SIGTERM)
        await eventually(lambda: lines_with(process, "has ended with status 0. It is started again now."))
        assert answers == ["first", "first"]


async def test_workers_stop_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    async with serving(tmp_path, *WORKERS, source=APP) as (process, site):
        pids = await pids_of(site)
        page = await site.page()
        link = await page.connect()
        await page.begin()
        await link.until("props")
        process.send(signal.SIGKILL)
        assert (await link.until("end"))["reason"] == "shutdown"
        await eventually(lambda: not any(is_alive(pid) for pid in pids))
        assert "finally" in process.log


async def test_a_second_signal_ends_everything_at_once(tmp_path: Path) -> None:
    source = APP.replace("trio.sleep(0.05)\n            note", "trio.sleep_forever()\n            note")
    async with serving(tmp_path, "--workers", "2", "--graceful-timeout", "600", source=source) as (process, site):
        pids = await pids_of(site)
        page = await site.page()
        link = await page.connect()
        await page.begin()
        await link.until("props")
        process.send(signal.SIGTERM)
        await eventually(lambda: lines_with(process, "Stopping: 1 streams"))
        process.send(signal.SIGINT)
        assert await process.status() == 128 + signal.SIGINT
        assert not any(is_alive(pid) for pid in pids)


async def test_a_worker_that_does_not_stop_is_killed_in_time(tmp_path: Path) -> None:
    source = APP + "\n\n@app.server.route('/block')\nasync def block():\n    note('block')\n    time.sleep(600)\n"
    source = source.replace("import os\n", "import os\nimport time\n", 1)
    async with serving(tmp_path, "--workers", "2", "--graceful-timeout", "1", source=source) as (process, site):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(site.get, "/block")
            await eventually(lambda: "block" in process.log)

            async def other_answers_all() -> bool:
                with trio.move_on_after(0.5):
                    return len({await pid_of(site) for _ in range(6)}) == 1
                return False

            # A worker whose event loop is held up is passed over from the first connection on that it has not taken.
            await eventually(other_answers_all)
            nursery.cancel_scope.cancel()
        process.send(signal.SIGTERM)
        # The worker's own watch ends it, however it is held up. No function of the app is named: none has a stream.
        assert await process.status() in (0, 1)


@pytest.mark.parametrize(
    ("source", "status", "sentence"),
    [
        ("import not_installed_at_all\n", 1, "ModuleNotFoundError: No module named 'not_installed_at_all'"),
        ("app = 1\n", 2, "flash: 'served:app' is not a Flash app, but 1."),
        (
            APP + "\n\n@app.server.before_serving\nasync def connect():\n    raise SystemExit('no database')\n",
            1,
            "no database",
        ),
    ],
    ids=["import", "no app", "before_serving"],
)
def test_code_that_does_not_start_ends_all_of_it_with_its_error(
    tmp_path: Path, source: str, status: int, sentence: str
) -> None:
    (tmp_path / "served.py").write_text(source)
    with python(tmp_path, *flash_run(*WORKERS)) as process:
        assert process.wait(30) == status
        assert sentence in process.output
        assert len(lines_with(process, "has not started")) == 1
        assert "Running on" not in process.output


async def until_version(site: Site, version: str) -> None:
    async def is_served() -> bool:
        return (await site.get("/version")).text == version

    await eventually(is_served)


class HasStatus(Protocol):
    """What an answer is known by."""

    @property
    def status(self) -> int: ...


A = TypeVar("A", bound=HasStatus)


async def taken(ask: Callable[[], Awaitable[A]]) -> A:
    """The answer to a request, which is sent again as long as the answer says so, as a browser does."""
    while (answer := await ask()).status == 307:
        pass
    assert answer.status in (200, 204)
    return answer


class Load:
    """Clients that ask without a pause, each request of which is to be answered.

    Attributes:
        versions: the version of the code in each answer, in order.
        ends: why the streams ended that visitors did not leave.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.versions: list[str] = []
        self.ends: list[str] = []

    async def ask(self) -> None:
        """Ask over a new connection each time."""
        while True:
            answer = await self.site.get("/version")
            assert answer.status == 200
            self.versions.append(answer.text)

    async def ask_again(self) -> None:
        """Ask over one connection, until the server says that it closes it."""
        while True:
            stream = await self.site.open()
            http = Http1(stream)
            answered = False
            while not answered or http.is_reusable:
                await http.send("GET", "/version")
                answer = await http.answer()
                assert answer.status == 200
                self.versions.append(answer.text)
                answered = True
            await stream.aclose()
            self.site.sockets.discard(stream)

    async def visit(self) -> None:
        """Load pages, start a stream on each, and leave."""
        while True:
            page = await self.site.page()
            connect = partial(page.connect, ok=False)
            link = await taken(connect)
            await taken(page.start)
            name = ""
            while name not in ("props", "end"):
                try:
                    event = await link.next()
                except EOFError:
                    # The link was with the old workers, and the start is with the new ones.
                    link = await taken(connect)
                    continue
                name = event.name
                if name == "end":
                    self.ends.append(event.data["reason"])
            await link.close()


async def test_new_code_takes_over_under_load_and_no_request_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, *WORKERS, source=APP) as (process, site), trio.open_nursery() as nursery:
        page = await site.page()
        link = await page.connect()
        await page.begin()
        await link.until("props")
        old = await pids_of(site)
        load = Load(site)
        for client in (load.ask, load.ask_again, load.ask_again, load.visit):
            nursery.start_soon(client)
        async with trio.open_nursery() as slow:

            async def ask_slowly() -> None:
                assert (await site.get("/held-up")).text == "first"

            slow.start_soon(ask_slowly)
            await eventually(lambda: "held up" in process.log)
            (tmp_path / "served.py").write_text(APP.replace("first", "second"))
            process.send(signal.SIGHUP)
            await eventually(lambda: "second" in load.versions)
            # What has begun with the old code ends with it, if it takes no longer than the timeout.
            (tmp_path / "go on").touch()
        assert (await link.until("end"))["reason"] == "shutdown"
        assert "end" not in [event.name for event in await link.rest()]
        await eventually(lambda: not any(is_alive(pid) for pid in old))
        seen = len(load.versions)
        await eventually(lambda: len(load.versions) > seen + 20)
        nursery.cancel_scope.cancel()
        assert set(load.versions[:seen]) == {"first", "second"}
        assert set(load.versions[seen:]) == {"second"}
        assert set(load.ends) <= {"shutdown"}
        assert "Traceback" not in process.output


async def test_code_that_does_not_start_leaves_the_old_workers_and_its_error_in_the_log(tmp_path: Path) -> None:
    async with serving(tmp_path, *WORKERS, source=APP) as (process, site):
        pids = await pids_of(site)
        (tmp_path / "served.py").write_text(APP + "mistake(\n")
        process.send(signal.SIGHUP)
        await eventually(lambda: lines_with(process, "the workers with the old code go on"))
        assert len(lines_with(process, "SyntaxError")) == 1
        assert await pids_of(site) == pids
        (tmp_path / "served.py").write_text(APP.replace("first", "second"))
        process.send(signal.SIGHUP)
        await until_version(site, "second")
        process.send(signal.SIGTERM)
        assert await process.status() == 0


async def test_workers_serve_tls(tmp_path: Path, certificate: Certificate) -> None:
    options = ("--certfile", certificate.certfile, "--keyfile", certificate.keyfile)
    async with serving(tmp_path, *WORKERS, *options, source=APP, tls=certificate.trust) as (_, site):
        await pids_of(site)


async def test_a_program_runs_with_workers_and_goes_on_once_when_they_have_stopped(tmp_path: Path) -> None:
    source = APP + f"\n\nif __name__ == '__main__':\n    app.run(port={free_port()}, workers=2)\n    note('went on')\n"
    async with serving(tmp_path, "served.py", source=source) as (process, site):
        await pids_of(site)
        process.send(signal.SIGINT)
        assert await process.status() == 0
        assert process.log.count("went on") == 1


async def test_reload_starts_workers_again(tmp_path: Path) -> None:
    async with serving(tmp_path, *WORKERS, "--reload", source=APP) as (process, _):
        (tmp_path / "served.py").write_text(APP.replace("first", "second"))
        await eventually(lambda: len(process.ports) == 2)
        site = Site(process.ports[-1])
        await until_version(site, "second")
        # Both the reloader and the supervisor have it, and the reloader passes it on.
        os.killpg(process.pid, signal.SIGINT)
        await process.status()
        assert len(lines_with(process, "Running on")) == 2
        await site.close()


async def test_a_signal_stops_workers_that_have_not_started(tmp_path: Path) -> None:
    (tmp_path / "served.py").write_text(f"{APP}\nimport time\nnote('importing')\ntime.sleep(60)\n")
    with python(tmp_path, *flash_run(*WORKERS)) as process:
        await eventually(lambda: process.log == ["importing"])
        process.send(signal.SIGTERM)
        assert await process.status() == 0
