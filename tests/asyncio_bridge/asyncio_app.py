"""The app of `test_processes.py`: a stream written for asyncio, and a task that nobody waits for."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

from flash import Flash, Input, Update, html, on_asyncio, stream_props
from tests.support.log_file import note

app = Flash("asyncio_app")
app.layout = [html.Button(id="go"), html.Div(id="out")]
background: list[asyncio.Task[None]] = []


async def wait_in_background() -> None:
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await asyncio.to_thread(note, "background ended")


@app.event_callback(Input("go", "n_clicks"))
@on_asyncio
async def wait(clicks: int) -> AsyncIterator[Update]:
    background.append(asyncio.create_task(wait_in_background()))
    try:
        yield stream_props("out", {"children": "before"})
        await asyncio.get_running_loop().create_future()
    finally:
        await asyncio.to_thread(note, "finally")


if __name__ == "__main__":
    app.run(port=int(sys.argv[1]))
    note("returned")
