"""A server whose app misbehaves outside of its streams: it goes on with them, or it ends; it never lives on without."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import trio

from tests.faults.sockets import Page, Site, flash_run, serving
from tests.support.eventually import eventually
from tests.support.processes import Process, python

APP = """
import sys
from contextlib import asynccontextmanager

import trio

from flash import Flash, Input, Output, html, stream_props
from tests.support.log_file import note

app = Flash(__name__)
server = app.server
app.layout = [html.Div(id="out"), html.Button(id="go"), html.Button(id="ask"), html.Div(id="answer")]


@app.event_callback(
    Input("go", "n_clicks"),
    on_error=lambda error: note(f"on_error {error.reason}"),
    reset_props=[("out", {"children": "idle"})],
)
async def go(clicks):
    while True:
        yield stream_props("out", {"children": "x"})
        await trio.sleep(0.05)


async def fail():
    await trio.sleep(0.5)
    note("failing")
    raise FAILURE

if __name__ == "__main__":
    app.run(port=0)
"""

FAILURES = [
    'ConnectionError("the feed is gone")',
    "SystemExit(3)",
    "KeyboardInterrupt",
    'BaseExceptionGroup("", [SystemExit()])',
]

IN_NURSERY = """
@server.before_serving
async def begin():
    server.nursery.start_soon(fail)
"""

STARTED_IN_NURSERY = """
async def announce(task_status):
    task_status.started()
    await fail()

@server.before_serving
async def begin():
    await server.nursery.start(announce)
"""

WHILE_SERVING = """
@server.while_serving
async def live():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail)
        yield
        nursery.cancel_scope.cancel()
"""

BACKGROUND_TASK = """
@server.before_serving
async def begin():
    server.add_background_task(fail)
"""

LEFT_OPEN = """
async def feed():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        yield 1

async def take_one():
    async for _ in feed():
        break
    await fail()

@server.before_serving
async def begin():
    server.nursery.start_soon(take_one)
"""

BACKGROUND = [IN_NURSERY, STARTED_IN_NURSERY, WHILE_SERVING, BACKGROUND_TASK, LEFT_OPEN]


def made(source: str, failure: str = "ValueError") -> str:
    return APP.replace("FAILURE", failure).replace("if __name__", f"{source}\nif __name__")


async def check_streams(site: Site) -> None:
    """A page gets what its stream says; the server calls itself healthy."""
    page = await site.page()
    events = await page.connect()
    await page.begin("go")
    await events.until("props")
    assert (await site.get("/_flash/health")).status == 200


@pytest.mark.parametrize(
    "source", BACKGROUND, ids=["nursery", "start", "while_serving", "background_task", "left_open"]
)
async def test_a_background_task_that_fails_ends_nothing_but_itself(tmp_path: Path, source: str) -> None:
    async with serving(tmp_path, source=made(source, FAILURES[0])) as (process, site):
        page = await site.page()
        events = await page.connect()
        await page.begin("go")
        while "failing" not in process.log:
            await events.until("props")
        for _ in range(5):
            await events.until("props")
        await check_streams(site)
        assert "on_error shutdown" not in process.log
        assert "ConnectionError: the feed is gone" in process.output
        process.send(signal.SIGTERM)
        assert await process.status() == 0


@pytest.mark.parametrize("failure", FAILURES[1:])
async def test_a_background_task_that_exits_ends_nothing_but_itself(tmp_path: Path, failure: str) -> None:
    async with serving(tmp_path, source=made(IN_NURSERY, failure)) as (process, site):
        page = await site.page()
        events = await page.connect()
        await page.begin("go")
        while "failing" not in process.log:
            await events.until("props")
        await check_streams(site)
        assert "The background task 'fail' of app.server.nursery failed" in process.output


CANCELLED = """
async def cancel():
    while not app.streams() or app.streams()[0].updates < 3:
        await trio.sleep(0.01)
    server.nursery.cancel_scope.cancel()

@server.before_serving
async def begin():
    server.nursery.start_soon(cancel)
"""

HYPERCORN = ("-m", "hypercorn", "-k", "trio", "-b", "127.0.0.1:0", "served:app")


@pytest.mark.parametrize("how", [(), ("served.py",), HYPERCORN], ids=["flash run", "app.run", "hypercorn"])
async def test_a_server_whose_nursery_is_over_ends_its_streams_and_itself_with_a_failure(
    tmp_path: Path, how: tuple[str, ...]
) -> None:
    async with serving(tmp_path, *how, source=made(CANCELLED)) as (process, site):
        page = await site.page()
        events = await page.connect()
        await page.begin("go")
        ended = await events.until("end")
        assert ended["reason"] == "shutdown"
        assert ended["props"] == [["out", {"children": "idle"}]]
        # Hypercorn 0.18 exits with 0 whatever its worker has.
        assert await process.status() == (0 if how is HYPERCORN else 1)
        assert process.log == ["on_error shutdown"]
        assert "nobody has asked the server to stop" in process.output


EXITS = """
@server.before_serving
async def begin():
    sys.exit(CODE)
"""


@pytest.mark.parametrize(("code", "status"), [('"cannot reach the database"', 1), ("3", 3), ("", 1)])
@pytest.mark.parametrize("how", [flash_run(), ("served.py",), HYPERCORN], ids=["flash run", "app.run", "hypercorn"])
async def test_an_app_that_exits_before_serving_ends_the_process_with_its_message(
    tmp_path: Path, how: tuple[str, ...], code: str, status: int
) -> None:
    (tmp_path / "served.py").write_text(made(EXITS.replace("CODE", code)))
    with python(tmp_path, *how) as process:
        assert await process.status() == (0 if how is HYPERCORN else status)
        assert not code.startswith('"') or "cannot reach the database" in process.output


SLOW = """
@server.before_serving
async def begin():
    note("begins")
    try:
        await trio.sleep(60)
    finally:
        note("cleaned up")
"""

BLOCKED = """
@server.before_serving
def begin():
    import time
    note("begins")
    time.sleep(60)
"""


async def begun(process: Process, word: str) -> None:
    await eventually(lambda: word in process.log)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_server_that_is_about_to_start_stops_when_it_is_told(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "served.py").write_text(made(SLOW))
    with python(tmp_path, *flash_run()) as process:
        await begun(process, "begins")
        process.send(number)
        assert await process.status(10) == 0
        assert process.log == ["begins", "cleaned up"]
        assert "Traceback" not in process.output


async def test_a_start_that_cannot_be_cut_has_the_grace(tmp_path: Path) -> None:
    (tmp_path / "served.py").write_text(made(BLOCKED))
    with python(tmp_path, *flash_run("--graceful-timeout", "1")) as process:
        await begun(process, "begins")
        process.send(signal.SIGTERM)
        assert await process.status(10) == 1
        assert "before_serving" in process.output


BUSY = """
@app.event_callback(Input("ask", "n_clicks"))
async def busy(clicks):
    yield stream_props("answer", {"children": "x"})
    note("busy")
    while True:
        pass
"""


async def running(site: Site, component: str) -> Page:
    page = await site.page()
    await page.connect()
    await page.begin(component)
    return page


@pytest.mark.parametrize("again", [False, True])
async def test_a_generator_that_holds_the_event_loop_does_not_hold_the_stop(tmp_path: Path, again: bool) -> None:
    grace = "60" if again else "1"
    async with serving(tmp_path, "--graceful-timeout", grace, source=made(BUSY)) as (process, site):
        await running(site, "ask")
        await begun(process, "busy")
        process.send(signal.SIGTERM)
        if again:
            # Two signals that wait for a process are one.
            await trio.sleep(0.5)
            process.send(signal.SIGTERM)
        began = time.monotonic()
        assert await process.status() == (128 + signal.SIGTERM if again else 1)
        assert time.monotonic() - began < 30


async def test_a_ctrl_c_that_reaches_the_reloader_too_ends_streams_in_order(tmp_path: Path) -> None:
    async with serving(tmp_path, "--reload", source=made("")) as (process, site):
        page = await site.page()
        events = await page.connect()
        await page.begin("go")
        await events.until("props")
        os.killpg(process.pid, signal.SIGINT)
        assert (await events.until("end"))["reason"] == "shutdown"
        await process.status()
        assert process.log == ["on_error shutdown"]


TWO_APPS = """
other = Flash("other", server=False, url_base_pathname="/other/")
other.layout = [html.Div(id="out"), html.Button(id="go")]

@other.event_callback(
    Input("go", "n_clicks"),
    on_error=lambda error: note(f"other {error.reason}"),
    reset_props=[("out", {"children": "idle"})],
)
async def go_too(clicks):
    while True:
        yield stream_props("out", {"children": "x"})
        await trio.sleep(0.05)

other.init_app(server)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_stop_ends_the_streams_of_every_app_of_the_server(tmp_path: Path, number: signal.Signals) -> None:
    async with serving(tmp_path, source=made(TWO_APPS)) as (process, site):
        page = await site.page()
        events = await page.connect()
        await page.begin("go")
        await events.until("props")
        second = await Site(site.port, prefix="/other/", sockets=site.sockets).page()
        more = await second.connect()
        await second.begin("go")
        await more.until("props")
        process.send(number)
        for each in (events, more):
            ended = await each.until("end")
            assert (ended["reason"], ended["props"]) == ("shutdown", [["out", {"children": "idle"}]])
        assert await process.status() == 0
        assert sorted(process.log) == ["on_error shutdown", "other shutdown"]
