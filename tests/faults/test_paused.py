"""A server process that is stopped for a while, as by a suspended machine: what waits in its sockets counts."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.faults.sockets import serving

SERVED = """
import trio
from flash import Flash, Input, html, stream_props

app = Flash(__name__, ping_interval=0.4, stall_timeout=1, reconnect_grace=1)
app.layout = [html.Button(id="go"), html.Div(id="out")]


def on_error(error):
    with open("log", "a") as log:
        log.write(f"{error.reason}\\n")


@app.event_callback(Input("go", "n_clicks"), on_error=on_error)
async def tick(clicks):
    while True:
        yield stream_props("out", {"children": "tick"})
        await trio.sleep(0.1)
"""

PAUSE = 4.0
"""Seconds: past each deadline by more than `LATE` of `streams.pauses`. What is less it takes for a busy server."""


@pytest.mark.parametrize("is_lost", [False, True], ids=["connected", "coming back"])
async def test_the_pages_of_a_process_that_was_stopped_keep_their_streams(tmp_path: Path, is_lost: bool) -> None:
    async with serving(tmp_path, source=SERVED) as (process, site):
        page = await site.page()
        # Of a page behind a proxy the kernel knows nothing.
        page.more_headers.append(("Via", "1.1 proxy"))
        events = await page.connect()
        await page.begin("go")
        await events.until("props")
        if is_lost:
            await events.close()
        process.send(signal.SIGSTOP)
        try:
            async with trio.open_nursery() as nursery:

                async def come_back() -> None:
                    nonlocal events
                    events = await page.connect(after=events.applied)

                nursery.start_soon(come_back if is_lost else partial(page.acknowledge, events.applied))
                await trio.sleep(PAUSE)
                process.send(signal.SIGCONT)
        finally:
            process.send(signal.SIGCONT)
        for _ in range(20):
            await events.until("props")
        assert process.log == []
