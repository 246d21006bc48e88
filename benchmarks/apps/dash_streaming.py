"""The reference: a streaming callback of the Dash 4.5 pre-release, on FastAPI."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

import dash
from dash import Input, Output, callback, html

app = dash.Dash(__name__, backend="fastapi")
app.layout = html.Div(
    [html.Button(id="burst"), html.Button(id="wait"), html.Div(id="out"), html.Div(id="end")],
)
server = app.server
ended: list[int] = []


@callback(Output("out", "children"), Input("burst", "n_clicks"), prevent_initial_call=True)
async def burst(updates: int) -> AsyncGenerator[Any, None]:
    yield time.monotonic_ns()
    for number in range(updates):
        yield number


@callback(Output("end", "children"), Input("wait", "n_clicks"), prevent_initial_call=True)
async def wait(clicks: int) -> AsyncGenerator[Any, None]:
    """Says that it runs, and then nothing, until it is cancelled."""
    try:
        yield time.monotonic_ns()
        await asyncio.sleep(60)
    finally:
        ended.append(time.monotonic_ns())


@server.get("/ended")
async def last_ended() -> Any:
    """When the last `finally` was reached."""
    return ended[-1:]
