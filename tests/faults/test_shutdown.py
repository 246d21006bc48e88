"""A server that is told to stop: every stream ends, every page is told, and the process is gone in time."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.faults.sockets import Page, Site, flash_run, serving
from tests.support.eventually import TIMEOUT, eventually
from tests.support.link import Link
from tests.support.processes import Process, python

STOP = [signal.SIGINT, signal.SIGTERM]

APP = """
import time
from pathlib import Path

import trio

from flash import Flash, Input, Output, html, stream_props
from tests.support.log_file import note

OPTIONS = {}
app = Flash(__name__, ping_interval=0.5, stall_timeout=120, **OPTIONS)
NAMES = ["go", "gate", "shield", "thread", "flood", *[f"go{n}" for n in range(10)]]
app.layout = [html.Div(id="out"), *[html.Button(id=name) for name in NAMES], html.Div(id="answer")]


def on_error(error):
    note(f"on_error {error.reason}")
    return stream_props("out", {"children": "stopped"})


def counting(name):
    @app.event_callback(Input(name, "n_clicks"), on_error=on_error, reset_props=[("out", {"title": "idle"})])
    async def count(clicks):
        number = 0
        try:
            while True:
                yield stream_props("out", {"children": number})
                number += 1
                await trio.sleep(1)
        finally:
            # A clean-up that takes a moment, and needs the event loop.
            with trio.CancelScope(shield=True):
                await trio.sleep(0.01)
                note("finally")


for name in ["go", *[f"go{n}" for n in range(10)]]:
    counting(name)


@app.event_callback(Input("gate", "n_clicks"), on_error=on_error)
async def gate(clicks):
    try:
        yield stream_props("out", {"children": 0})
        await trio.sleep_forever()
    finally:
        note("unwinding")
        with trio.CancelScope(shield=True):
            while not Path("go-on").exists():
                await trio.sleep(0.01)


@app.event_callback(Input("shield", "n_clicks"))
async def shielded_for_ever(clicks):
    try:
        yield stream_props("out", {"children": 0})
        await trio.sleep_forever()
    finally:
        note("unwinding")
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()


@app.event_callback(Input("thread", "n_clicks"))
def blocked_for_ever(clicks):
    yield stream_props("out", {"children": 0})
    note("unwinding")
    while True:
        time.sleep(1)


@app.event_callback(Input("flood", "n_clicks"), on_error=on_error)
async def flood(clicks):
    try:
        while True:
            yield stream_props("out", {"children": "x" * 10_000})
    finally:
        note("finally")


@app.callback(Output("answer", "children"), Input("answer", "n_clicks"), prevent_initial_call=True)
async def answer(clicks):
    note("asked")
    await trio.sleep(0.5)
    return "answered"


if __name__ == "__main__":
    app.run(port=0, graceful_timeout=600)
    note("returned")
"""

SCRIPT = ("served.py",)
FLASH_RUN = ("--graceful-timeout", "600")
"""A server that used its grace up would not stop within the time that a test waits for it."""


async def running(site: Site, component: str = "go") -> tuple[Page, Link]:
    """A page with a stream that has sent its first update."""
    page = await site.page()
    events = await page.connect()
    await page.begin(component)
    await events.until("props")
    return page, events


def lines_of(process: Process, *names: str) -> list[str]:
    return [line for line in process.log if line in names]


@pytest.mark.parametrize("number", STOP, ids=lambda number: number.name)
@pytest.mark.parametrize("how", [FLASH_RUN, SCRIPT], ids=["flash run", "app.run"])
async def test_a_stream_ends_with_shutdown_and_its_page_is_told(
    tmp_path: Path, how: tuple[str, ...], number: signal.Signals
) -> None:
    async with serving(tmp_path, *how, source=APP) as (process, site):
        _, events = await running(site)
        process.send(number)
        ended = await events.until("end")
        assert ended["reason"] == "shutdown"
        assert ended["props"] == [["out", {"children": "stopped"}], ["out", {"title": "idle"}]]
        assert await events.rest() == []
        assert await process.status() == 0
        assert process.log[:2] == ["finally", "on_error shutdown"]
        assert process.log[2:] == (["returned"] if how is SCRIPT else [])
        assert "Traceback" not in process.output


async def test_nothing_new_is_started_while_the_server_stops(tmp_path: Path) -> None:
    # A start that waited for its page would keep the server from stopping, and its user from knowing.
    source = APP.replace("OPTIONS = {}", "OPTIONS = {'start_timeout': 600}")
    async with serving(tmp_path, *FLASH_RUN, source=source) as (process, site):
        page, events = await running(site, "gate")
        process.send(signal.SIGTERM)
        await eventually(lambda: process.log == ["unwinding"])
        started = await page.start("go")
        assert started.status == 503
        assert "stopping" in started.text
        late = await site.page()
        assert (await late.connect(ok=False)).status == 503
        assert (await late.status()).status == 503
        assert "stopping" in (await late.status()).text
        assert (await late.start()).status == 503
        assert (await site.get("/_flash/health")).status == 503
        (tmp_path / "go-on").touch()
        assert (await events.until("end"))["reason"] == "shutdown"
        assert await process.status() == 0
        assert process.log == ["unwinding", "on_error shutdown"]


async def test_streams_whose_page_has_not_connected_yet_end_with_the_server(tmp_path: Path) -> None:
    source = APP.replace("OPTIONS = {}", "OPTIONS = {'start_timeout': 60}")
    async with serving(tmp_path, *FLASH_RUN, source=source) as (process, site):
        page = await site.page()
        assert (await page.start()).status == 204
        await running(site)
        process.send(signal.SIGTERM)
        assert await process.status() == 0
        assert process.log[-1] == "on_error shutdown"


async def test_a_callback_that_is_under_way_is_answered(tmp_path: Path) -> None:
    async with serving(tmp_path, *FLASH_RUN, source=APP) as (process, site):
        page = await site.page()
        answers: list[Any] = []

        async def ask() -> None:
            answers.append((await page.start("answer")).json())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await eventually(lambda: process.log == ["asked"])
            process.send(signal.SIGTERM)
        assert answers[0]["response"] == {"answer": {"children": "answered"}}
        assert await process.status() == 0


async def test_500_streams_end_within_the_grace_though_some_pages_do_not_read(tmp_path: Path) -> None:
    options = ("--graceful-timeout", "6", "--backlog", "1000")
    async with serving(tmp_path, *options, source=APP) as (process, site):
        reading: list[Link] = []
        ends: list[list[Any]] = []

        async def open_page(count: int) -> None:
            page = await site.page()
            events = await page.connect()
            for n in range(count):
                await page.begin(f"go{n}")
            for _ in range(count):
                await events.until("open")
            reading.append(events)

        async def open_deaf_page() -> None:
            page = await site.page()
            await page.connect(receive_buffer=4_096)
            await page.begin("flood")

        async def read(events: Link) -> None:
            ends.append([event.data for event in await events.rest() if event.name == "end"])

        await site.page()
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(open_deaf_page)
            for _ in range(49):
                nursery.start_soon(open_page, 10)
        health = (await site.get("/_flash/health")).json()
        assert (health["pages"], health["streams"]) == (59, 500)
        process.send(signal.SIGTERM)
        async with trio.open_nursery() as nursery:
            for events in reading:
                nursery.start_soon(read, events)
        assert await process.status() == 0
        assert [len(of_page) for of_page in ends] == [10] * 49
        assert {end["reason"] for of_page in ends for end in of_page} == {"shutdown"}
        assert all(["out", {"title": "idle"}] in end["props"] for of_page in ends for end in of_page)
        assert process.log.count("finally") == 500
        assert process.log.count("on_error shutdown") == 500


@pytest.mark.parametrize(
    ("component", "name"), [("shield", "shielded_for_ever"), ("thread", "blocked_for_ever")], ids=["shield", "thread"]
)
async def test_a_stuck_clean_up_is_named_and_the_process_exits_with_status_1_at_the_grace(
    tmp_path: Path, component: str, name: str
) -> None:
    source = APP.replace("OPTIONS = {}", "OPTIONS = {'cleanup_timeout': 0.3}")
    async with serving(tmp_path, "--graceful-timeout", "2", source=source) as (process, site):
        _, events = await running(site, component)
        _, healthy = await running(site)
        began = time.monotonic()
        process.send(signal.SIGTERM)
        assert (await events.until("end"))["reason"] == "shutdown"
        assert (await healthy.until("end"))["reason"] == "shutdown"
        assert await process.status() == 1
        assert time.monotonic() - began > 1.9
        last = process.output.strip().splitlines()[-1]
        assert re.search(rf"ERROR flash\.server: .*{name}", last), last
        assert "count" not in last
        assert lines_of(process, "finally", "on_error shutdown") == ["finally", "on_error shutdown"]


@pytest.mark.parametrize("number", STOP, ids=lambda number: number.name)
async def test_a_second_signal_stops_a_stuck_server_at_once(tmp_path: Path, number: signal.Signals) -> None:
    async with serving(tmp_path, *FLASH_RUN, source=APP) as (process, site):
        await running(site, "shield")
        process.send(number)
        await eventually(lambda: process.log == ["unwinding"])
        assert process.runs
        process.send(number)
        assert await process.status() == 128 + number


async def test_a_second_signal_stops_a_script_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path, *SCRIPT, source=APP) as (process, site):
        await running(site, "shield")
        process.send(signal.SIGINT)
        await eventually(lambda: process.log == ["unwinding"])
        process.send(signal.SIGINT)
        assert await process.status() == 128 + signal.SIGINT


async def test_under_plain_hypercorn_the_clean_up_runs_with_shutdown(tmp_path: Path) -> None:
    command = ("-m", "hypercorn", "-k", "trio", "-b", "127.0.0.1:0", "--graceful-timeout", "1", "served:app")
    async with serving(tmp_path, *command, source=APP) as (process, site):
        await running(site)
        process.send(signal.SIGTERM)
        assert await process.status() == 0
        assert process.log == ["finally", "on_error shutdown"]


async def test_a_stream_whose_page_is_on_its_way_back_ends_with_shutdown_too(tmp_path: Path) -> None:
    source = APP.replace("OPTIONS = {}", "OPTIONS = {'reconnect_grace': 60}")
    async with serving(tmp_path, *FLASH_RUN, source=source) as (process, site):
        _, events = await running(site)
        await events.close()
        process.send(signal.SIGTERM)
        assert await process.status() == 0
        assert process.log == ["finally", "on_error shutdown"]


async def test_idle_connections_do_not_delay_the_stop(tmp_path: Path) -> None:
    async with serving(tmp_path, *FLASH_RUN, "--keep-alive", "600", source=APP) as (process, site):
        kept = await site.open()
        await kept.send_all(b"GET /_flash/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        with trio.fail_after(TIMEOUT):
            while b'"status"' not in await kept.receive_some():
                pass
        await site.open()
        half = await site.open()
        await half.send_all(b"GET /_flash/health HTTP/1.1\r\nHost: ")
        # What was sent earlier has been read when a later request has been answered.
        await running(site)
        process.send(signal.SIGTERM)
        assert await process.status() == 0


async def test_a_server_without_pages_stops_at_once(tmp_path: Path) -> None:
    (tmp_path / "served.py").write_text(APP)
    with python(tmp_path, *flash_run("--graceful-timeout", "60")) as process:
        process.wait_for_port()
        process.send(signal.SIGINT)
        assert await process.status(8) == 0
        assert "Traceback" not in process.output


def test_a_script_goes_on_after_app_run_has_stopped(tmp_path: Path) -> None:
    """What ends the process at the end of the grace must not outlast the server."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal, threading\n"
        "from flash import Flash, html\n"
        "app = Flash(__name__)\n"
        "app.layout = html.Div()\n"
        "@app.server.before_serving\n"
        "async def stop() -> None:\n"
        "    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()\n"
        "app.run(port=0, graceful_timeout=60)\n"
        "print([thread for thread in threading.enumerate() if isinstance(thread, threading.Timer) and thread.daemon])\n"
    )
    with python(tmp_path, str(script)) as process:
        assert process.wait(60) == 0
        assert process.output.splitlines()[-1] == "[]"
