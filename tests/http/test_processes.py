"""Servers in processes of their own: how they are started, and how they stop when they are told to."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import trio

from tests.http.event_streams import EventStream
from tests.http.pages import Page, new_client
from tests.support.eventually import TIMEOUT, eventually

HERE = Path(__file__).parent
SCRIPT = HERE / "served_app.py"


class Process:
    """A server in a process of its own.

    Attributes:
        process: the process.
        output: what it has written.
        port: where it listens, on 127.0.0.1, once it has said so.
        settled: it listens, or has ended.
    """

    def __init__(self, process: trio.Process, log: Path) -> None:
        self.process = process
        self.output = ""
        self.port = 0
        self.settled = trio.Event()
        self._log = log

    def log(self) -> list[str]:
        """What the app has noted."""
        return self._log.read_text().splitlines() if self._log.exists() else []

    async def read_output(self) -> None:
        assert self.process.stdout is not None
        async for data in self.process.stdout:
            self.output += data.decode()
            if found := re.search(r"Running on http://127\.0\.0\.1:(\d+) ", self.output):
                self.port = int(found[1])
                self.settled.set()
        self.settled.set()

    async def status(self) -> int:
        """The exit status, when the process has ended."""
        with trio.fail_after(TIMEOUT):
            return await self.process.wait()


@contextlib.asynccontextmanager
async def running(tmp_path: Path, *arguments: str, modules: Path = HERE) -> AsyncGenerator[Process]:
    """A Python process with these arguments, in which `PORT` stands for a free port; killed in the end."""
    log = tmp_path / "log"
    environment = os.environ | {"FLASH_TEST_LOG": str(log), "PYTHONPATH": str(modules)}
    async with trio.open_nursery() as nursery:
        while True:
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = str(free.getsockname()[1])
            process: trio.Process = await trio.lowlevel.open_process(
                [sys.executable, "-u", *(argument.replace("PORT", port) for argument in arguments)],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            server = Process(process, log)
            nursery.start_soon(server.read_output)
            try:
                with trio.fail_after(TIMEOUT):
                    await server.settled.wait()
                if server.port:
                    yield server
                    break
                # Somebody else has taken the port in the meantime.
                assert "ddress already in use" in server.output, server.output
            finally:
                # Hypercorn's workers are processes too: they are all of the session that was started above.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                with trio.CancelScope(shield=True):
                    await process.wait()
        nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def page_with_stream(port: int) -> AsyncGenerator[tuple[Page, EventStream]]:
    """A page on which a stream runs and has sent its first update."""
    async with new_client(port) as client:
        page = Page(client, port)
        await page.load()
        events = await page.connect()
        try:
            await page.start("go")
            await events.expect("open")
            await events.expect("props")
            yield page, events
        finally:
            await page.close()


RUN = (str(SCRIPT), "run", "PORT")
AFTER_DASH = (str(HERE / "dash_first_app.py"), "PORT")
HYPERCORN = ("-m", "hypercorn", "-k", "trio", "-b", "127.0.0.1:0", "--graceful-timeout", "1")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_app_run_stops_when_it_is_told_to_and_tells_its_pages(tmp_path: Path, number: signal.Signals) -> None:
    async with running(tmp_path, *RUN) as server, page_with_stream(server.port) as (_, events):
        server.process.send_signal(number)
        ended = await events.expect("end")
        assert ended["reason"] == "shutdown"
        assert ended["props"] == [["out", {"children": "stopped"}], ["out", {"title": ""}]]
        assert await events.until_closed() == []
        assert await server.status() == 0
        assert server.log() == ["finally", "on_error shutdown", "returned"]
        assert "Traceback" not in server.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_app_run_stops_where_dash_has_signal_handlers_of_its_own(tmp_path: Path, number: signal.Signals) -> None:
    async with running(tmp_path, *AFTER_DASH) as server, page_with_stream(server.port) as (_, events):
        server.process.send_signal(number)
        assert (await events.expect("end"))["reason"] == "shutdown"
        assert await server.status() == 0
        assert "Traceback" not in server.output


async def test_hypercorn_stops_at_ctrl_c(tmp_path: Path) -> None:
    async with running(tmp_path, *HYPERCORN, "served_app:app") as server, page_with_stream(server.port):
        server.process.send_signal(signal.SIGINT)
        assert await server.status() == 0
        assert server.log() == ["finally", "on_error shutdown"]


async def test_app_run_serves_with_dev_tools(tmp_path: Path) -> None:
    async with running(tmp_path, str(SCRIPT), "run with debug", "PORT") as server:
        async with page_with_stream(server.port) as (page, events):
            await page.leave()
            assert await events.until_closed() == []
        server.process.send_signal(signal.SIGINT)
        assert await server.status() == 0


async def test_app_run_works_in_another_thread(tmp_path: Path) -> None:
    async with running(tmp_path, str(SCRIPT), "thread", "PORT") as server:
        async with page_with_stream(server.port) as (page, events):
            await page.leave()
            assert await events.until_closed() == []
        await eventually(lambda: server.log() == ["finally", "on_error disconnected"])


async def test_app_run_says_that_its_port_is_taken_and_the_server_that_has_it_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path, *RUN) as server:
        second = await trio.run_process(
            [sys.executable, str(SCRIPT), "run", str(server.port)],
            env=os.environ | {"FLASH_TEST_LOG": str(tmp_path / "other")},
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        assert second.returncode != 0
        assert b"ddress already in use" in second.stderr
        async with page_with_stream(server.port) as (page, events):
            await page.leave()
            await events.until_closed()
        server.process.send_signal(signal.SIGTERM)
        assert await server.status() == 0


async def test_hypercorn_serves_the_app_and_its_streams_clean_up_when_it_is_told_to_stop(tmp_path: Path) -> None:
    async with running(tmp_path, *HYPERCORN, "served_app:app") as server, page_with_stream(server.port):
        server.process.send_signal(signal.SIGTERM)
        assert await server.status() == 0
        assert server.log() == ["finally", "on_error shutdown"]


async def test_hypercorn_serves_the_apps_server(tmp_path: Path) -> None:
    async with (
        running(tmp_path, *HYPERCORN, "served_app:app.server") as server,
        page_with_stream(server.port) as (page, events),
    ):
        assert (await page.leave()).status_code == 204
        assert await events.until_closed() == []
