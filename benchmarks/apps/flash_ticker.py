"""A ticker with 1,000 updates a second, which conflates, and one which does not.

The window is small, so that a page that is behind makes itself felt soon.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from typing import Any

import trio

from flash import Flash, Input, Update, event_callback, html, stream_props

INTERVAL = 0.001

app = Flash(__name__, window=65_536)
app.layout = html.Div([html.Button(id="conflated"), html.Button(id="waiting"), html.Div(id="out")])


class Yielded:
    """How many updates have been got rid of."""

    updates = 0


@app.server.get("/yielded")
async def yielded() -> str:
    return f"{Yielded.updates}"


async def ticker(clicks: Any) -> AsyncGenerator[Update, None]:
    """What time it is."""
    at = trio.current_time()
    while True:
        at += INTERVAL
        await trio.sleep_until(at)
        yield stream_props("out", {"children": time.monotonic_ns()})
        Yielded.updates += 1


event_callback(Input("conflated", "n_clicks"), conflate=True)(ticker)
event_callback(Input("waiting", "n_clicks"))(ticker)
