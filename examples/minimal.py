"""A counter that streams. Run `python examples/minimal.py` and open http://127.0.0.1:8050."""

import trio

from flash import Flash, Input, event_callback, html, stream_props

app = Flash(__name__)
app.layout = html.Div([html.Button("Start", id="start"), html.Button("Stop", id="stop"), html.H1(0, id="count")])


@event_callback(Input("start", "n_clicks"), cancel=[Input("stop", "n_clicks")])
async def count(n_clicks: int):
    for n in range(1, 101):
        yield stream_props("count", {"children": n})
        await trio.sleep(0.1)


if __name__ == "__main__":
    app.run()
