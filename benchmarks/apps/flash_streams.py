"""Event callbacks that do nothing but yield, and a callback beside them.

Their Inputs are set to what a benchmark asks for, instead of to a number of clicks.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from typing import Any

import trio

from benchmarks.apps.settings import STREAMS
from flash import Flash, Input, Output, Update, callback, event_callback, every, html, stream_props

app = Flash(__name__, pages_per_browser=20_000, pages_per_server=20_000, streams_per_server=100_000)
app.layout = html.Div(
    [html.Button(id=name) for name in ("burst", "ask", *(f"tick{number}" for number in range(STREAMS)))]
    + [html.Div(id=name) for name in ("out", "answer")]
)


@event_callback(Input("burst", "n_clicks"))
async def burst(updates: int) -> AsyncGenerator[Update, None]:
    """As many as there can be; the first says when it was yielded."""
    yield stream_props("out", {"children": time.monotonic_ns()})
    for number in range(updates):
        yield stream_props("out", {"children": number})


@callback(Output("answer", "children"), Input("ask", "n_clicks"), prevent_initial_call=True)
async def answer(asked: Any) -> Any:
    return asked


async def tick(setting: dict[str, float]) -> AsyncGenerator[Update, None]:
    """The time, at an interval: at once, or from a moment on that the client names: they share a clock."""
    at = trio.current_time()
    if "begin" in setting:
        at += setting["begin"] - time.monotonic()
    if not setting.get("sleeps"):
        async for _ in every(setting["interval"], first=at):
            yield stream_props("out", {"children": time.monotonic_ns()})
    while True:
        await trio.sleep_until(at)
        at += setting["interval"]
        yield stream_props("out", {"children": time.monotonic_ns()})


for number in range(STREAMS):
    event_callback(Input(f"tick{number}", "n_clicks"))(tick)
