"""A count and a clock that stream for ever: `python -m tests.engines.apps.counting 8050`."""

from __future__ import annotations

import itertools
import sys

import trio

from flash import Flash, Input, Output, event_callback, html, stream_props
from tests.engines.errors import noting_errors

app = noting_errors(Flash(__name__))
app.layout = html.Div(
    [
        html.Button("Start", id="start"),
        html.Button("Ask", id="ask"),
        html.Div("idle", id="count"),
        html.Div("no server", id="clock"),
        html.Div("", id="status"),
        html.Div("", id="answer"),
    ]
)


@event_callback(
    Input("start", "n_clicks"),
    reset_props=[("count", {"children": "idle"})],
    running=[(Output("start", "title"), "running", "ready")],
)
async def count(n_clicks: int):
    for step in itertools.count(1):
        yield stream_props("count", {"children": "counting" if step < 3 else f"run {n_clicks} is well under way"})
        await trio.sleep(0.02)


@event_callback(Input("start", "n_clicks"), reset_props=[("clock", {"children": "no server"})])
async def clock(n_clicks: int):
    yield stream_props("clock", {"children": f"ticking since click {n_clicks}"})
    await trio.sleep_forever()


@app.callback(Output("status", "children"), Input(count.stream, "status"))
def show(status: str) -> str:
    return status


@app.callback(Output("answer", "children"), Input("ask", "n_clicks"), prevent_initial_call=True)
def answer(n_clicks: int) -> str:
    return f"answer {n_clicks}"


if __name__ == "__main__":
    app.run(port=int(sys.argv[1]), graceful_timeout=1)
