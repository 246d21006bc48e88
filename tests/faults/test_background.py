"""Background work and feeds in a server process: the order in which they end, and what makes the process exit."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.faults.sockets import serving
from tests.support.eventually import eventually

APP = """
import trio

from flash import Flash, Input, cleanup, every, feed, html, stream_props
from tests.support.log_file import note

app = Flash(__name__, cleanup_timeout=0.5)
app.layout = [html.Div(id="out"), html.Button(id="go")]


@feed(linger=60)
async def numbers():
    try:
        async for number in every(0.01):
            yield number
    finally:
        with cleanup():
            await trio.sleep(0.01)
        note("source ends")


@app.background
async def follows():
    note("task begins")
    try:
        async with numbers() as values:
            async for _ in values:
                pass
    finally:
        with cleanup():
            await trio.sleep(0.01)
        note("task ends")


@app.event_callback(Input("go", "n_clicks"))
async def stuck(clicks):
    async with numbers() as values:
        try:
            async for value in values:
                yield stream_props("out", {"children": value})
        finally:
            note("stream unwinds")
            with trio.CancelScope(shield=True):
                await trio.sleep_forever()
"""

ESSENTIAL = """
import trio

from flash import Flash, Input, html, stream_props
from tests.support.log_file import note

app = Flash(__name__)
app.layout = [html.Div(id="out"), html.Button(id="go")]
begun = trio.Event()


@app.background(restart="never", essential=True)
async def watch():
    await begun.wait()
    raise OSError("the exchange is closed")


@app.event_callback(Input("go", "n_clicks"))
async def show(clicks):
    try:
        yield stream_props("out", {"children": "x"})
        begun.set()
        await trio.sleep_forever()
    finally:
        note("stream ends")
"""

HYPERCORN = ("-m", "hypercorn", "-k", "trio", "-b", "127.0.0.1:0", "--graceful-timeout", "1", "served:app")


async def test_a_stream_that_is_stuck_keeps_neither_background_work_nor_sources_from_ending(tmp_path: Path) -> None:
    async with serving(tmp_path, "--graceful-timeout", "4", source=APP) as (process, site):
        page = await site.page()
        events = await page.connect()
        await page.start("go")
        await events.until("props")
        process.send(signal.SIGTERM)
        await events.until("end")
        # Long before the process is ended by force.
        await eventually(lambda: process.log == ["task begins", "stream unwinds", "task ends", "source ends"])
        assert process.runs
        assert await process.status() == 1


@pytest.mark.parametrize("command", [("--graceful-timeout", "10"), HYPERCORN], ids=["flash run", "hypercorn"])
async def test_an_essential_task_that_fails_ends_the_streams_and_the_process_with_a_failure(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    async with serving(tmp_path, *command, source=ESSENTIAL) as (process, site):
        page = await site.page()
        events = await page.connect()
        await page.start("go")
        assert (await events.until("end"))["reason"] == "shutdown"
        # Hypercorn's own command ends, and hides the failure of its worker.
        assert await process.status() == (0 if command is HYPERCORN else 1)
        assert process.log == ["stream ends"]
        assert "OSError: the exchange is closed" in process.output
        assert "It is essential: the server stops." in process.output
