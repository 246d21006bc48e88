"""Streams under load, of which some are to be started again with the next server: `flash run stations:app`."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator

import trio

from flash import MATCH, Flash, Input, Output, State, Update, ctx, dcc, html, stream_props

SERVER = os.environ["STATIONS_SERVER"]
INDICES = (1, 2)

app = Flash(__name__, ping_interval=1, stall_timeout=20, reconnect_grace=1)
app.layout = html.Div(
    [
        dcc.Input(id="city", value="Oslo"),
        html.Button("Start", id="start"),
        html.Div("idle", id="endless"),
        html.Div(0, id="beats"),
        html.Div("idle", id="once"),
        html.Div("ready", id="running"),
        *[html.Button("Go", id={"type": "go", "index": index}, className=f"go-{index}") for index in INDICES],
        *[dcc.Input(id={"type": "unit", "index": i}, value=f"unit {i}", className=f"unit-{i}") for i in INDICES],
        *[html.Div("idle", id={"type": "gauge", "index": index}, className=f"gauge-{index}") for index in INDICES],
    ]
)


@app.event_callback(
    Input("start", "n_clicks"),
    State("city", "value"),
    restart=True,
    reset_props=[("endless", {"children": "idle"}), ("beats", {"children": 0})],
    running=[(Output("running", "children"), "running", "ready")],
)
async def endless(n_clicks: int, city: str) -> AsyncIterator[Update]:
    yield stream_props("endless", {"children": f"{city}, click {n_clicks}, server {SERVER}"})
    for beat in itertools.count(1):
        yield stream_props("beats", {"children": beat})
        await trio.sleep(0.02)


@app.event_callback(Input("start", "n_clicks"), reset_props=[("once", {"children": "idle"})])
async def once(n_clicks: int) -> AsyncIterator[Update]:
    while True:
        yield stream_props("once", {"children": f"server {SERVER}"})
        await trio.sleep(0.02)


@app.event_callback(
    Input({"type": "go", "index": MATCH}, "n_clicks"),
    State({"type": "unit", "index": MATCH}, "value"),
    restart=True,
    reset_props=[({"type": "gauge", "index": MATCH}, {"children": "idle"})],
)
async def gauge(n_clicks: int, unit: str) -> AsyncIterator[Update]:
    shown = {"type": "gauge", "index": ctx.inputs_list[0]["id"]["index"]}
    while True:
        yield stream_props(shown, {"children": f"{unit}, server {SERVER}"})
        await trio.sleep(0.02)
