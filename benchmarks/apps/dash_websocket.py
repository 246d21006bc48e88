"""The reference: `set_props` in a callback that came over Dash's websocket, on FastAPI."""

from __future__ import annotations

import time

import dash
from dash import Input, callback, html, set_props

app = dash.Dash(__name__, backend="fastapi")
app.layout = html.Div([html.Button(id="burst"), html.Div(id="out")])
server = app.server


@callback(Input("burst", "n_clicks"), prevent_initial_call=True, websocket=True)
async def burst(updates: int) -> None:
    set_props("out", {"children": time.monotonic_ns()})
    for number in range(updates):
        set_props("out", {"children": number})
