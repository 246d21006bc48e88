"""Streams that tick, for several workers: each is told when they begin, and when they tick much faster."""

from __future__ import annotations

import os
import random
import time
from collections.abc import AsyncGenerator

import trio

from benchmarks.apps.settings import RUSH, STREAMS
from flash import Flash, Input, Update, event_callback, every, html, stream_props

begun, rush = trio.Event(), trio.Event()

app = Flash(__name__, pages_per_browser=20_000, pages_per_server=20_000, streams_per_server=100_000)
app.layout = html.Div(
    [html.Button(id=name) for name in ("burst", *(f"tick{number}" for number in range(STREAMS)))] + [html.Div(id="out")]
)


@app.server.route("/pid")
async def pid() -> str:
    """Which worker answers."""
    return str(os.getpid())


@app.server.route("/begin")
async def begin() -> str:
    """Let the streams of this worker tick."""
    begun.set()
    return await pid()


@app.server.route("/rush")
async def hurry() -> str:
    """Let the streams of this worker tick `RUSH` times as fast."""
    rush.set()
    return await pid()


@event_callback(Input("burst", "n_clicks"))
async def burst(updates: int) -> AsyncGenerator[Update, None]:
    """As many as there can be; the first says when it was yielded."""
    yield stream_props("out", {"children": time.monotonic_ns()})
    for number in range(updates):
        yield stream_props("out", {"children": number})


async def tick(interval: float) -> AsyncGenerator[Update, None]:
    """The time, at an interval."""
    await begun.wait()
    async for _ in every(interval, first=trio.current_time() + interval * random.random()):
        yield stream_props("out", {"children": time.monotonic_ns()})
        if rush.is_set():
            break
    async for _ in every(interval / RUSH):
        yield stream_props("out", {"children": time.monotonic_ns()})


for number in range(STREAMS):
    event_callback(Input(f"tick{number}", "n_clicks"))(tick)
