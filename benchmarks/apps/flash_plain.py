"""A trivial async callback, over HTTP and over a websocket."""

from __future__ import annotations

from flash import Flash, Input, Output, callback, html

app = Flash(__name__, websocket_callbacks=True)
app.layout = html.Div([html.Button(id="ask"), html.Div(id="answer")])


@callback(Output("answer", "children"), Input("ask", "n_clicks"), prevent_initial_call=True)
async def answer(clicks: int) -> str:
    return f"{clicks} clicks"
