"""The reference: a trivial async callback of Dash's, on its FastAPI backend."""

from __future__ import annotations

import dash
from dash import Input, Output, callback, html

app = dash.Dash(__name__, backend="fastapi", websocket_callbacks=True)
app.layout = html.Div([html.Button(id="ask"), html.Div(id="answer")])
server = app.server


@callback(Output("answer", "children"), Input("ask", "n_clicks"), prevent_initial_call=True)
async def answer(clicks: int) -> str:
    return f"{clicks} clicks"
