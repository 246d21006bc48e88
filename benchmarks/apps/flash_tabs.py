"""A page with a stream of two updates a second, from when it is loaded."""

from __future__ import annotations

from collections.abc import AsyncIterator

from flash import Flash, Input, Update, dcc, every, html, stream_props

app = Flash(__name__)
app.layout = [dcc.Location(id="url"), html.P("-", id="out")]


@app.event_callback(Input("url", "search"), prevent_initial_call=False)
async def count(search: str) -> AsyncIterator[Update]:
    async for number in every(0.5):
        yield stream_props("out", {"children": f"{number}"})
