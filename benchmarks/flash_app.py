"""The same frames from an event callback."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from flash import Flash, Input, Update, event_callback, html, stream_props

app = Flash(__name__)
app.layout = html.Div([html.Button(id="go"), html.Div(id="out")])


@event_callback(Input("go", "n_clicks"))
async def count(updates: int) -> AsyncGenerator[Update, None]:
    for number in range(updates):
        yield stream_props("out", {"children": number})
