"""One generator that does nothing but yield, for all pages that follow it, and the same for each page by itself."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator

from benchmarks.apps.beginning import Beginning
from flash import Flash, Input, Update, event_callback, every, html, stream_props

app = Flash(__name__, pages_per_browser=20_000, pages_per_server=20_000)
app.layout = html.Div([html.Button(id="shared"), html.Button(id="alone"), html.Div(id="out")])
beginning = Beginning(app)


async def tick(interval: float) -> AsyncGenerator[Update, None]:
    """The time, at an interval, from the same moment on for all pages."""
    async for _ in every(interval, first=await beginning.wait()):
        yield stream_props("out", {"children": time.monotonic_ns()})


# A property that does not count: its value tells runs apart.
event_callback(Input("shared", "value"), shared="all")(tick)
event_callback(Input("alone", "value"))(tick)
