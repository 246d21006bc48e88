"""An endless chart: it follows an exchange's websocket while its tab is open, and not a moment longer."""

import json
from typing import Any

import plotly.graph_objects as go
from quart import request
from trio_websocket import open_websocket_url

from flash import Input, dcc, event_callback, html, stream_props

from .layout import COLOURWAY, PLOT, Tab, badge, readout
from .stock_exchange import HISTORY, SHARES, Tick

FEED = "/ws/exchange"
COLOURS = dict(zip(SHARES, COLOURWAY, strict=True))


@event_callback(Input("tabs", "value"), cancel=[(Input("tabs", "value"), "live")])
async def follow(tab: str):
    # The address this very server listens on: ASGI allows that there is none, a server on a port has one.
    host, port = request.scope["server"]  # pyright: ignore[reportGeneralTypeIssues]
    async with open_websocket_url(f"ws://{host}:{port}{FEED}") as feed:
        history = json.loads(await feed.get_message())
        yield stream_props([("live-chart", {"figure": chart(history)}), *ticker(history[-1])])
        while True:
            tick = json.loads(await feed.get_message())
            points = {"x": [[tick["time"]]] * len(SHARES), "y": [[quote["change"]] for quote in tick["quotes"]]}
            extension = [points, list(range(len(SHARES))), HISTORY]
            yield stream_props([("live-chart", {"extendData": extension}), *ticker(tick)])


def chart(history: list[Tick]) -> go.Figure:
    times = [tick["time"] for tick in history]
    axes = {"xaxis": {"type": "date", "tickformat": "%H:%M:%S"}, "yaxis": {"ticksuffix": " %"}}
    figure = go.Figure(layout={"template": PLOT, "uirevision": "live", **axes})
    for n, (symbol, colour) in enumerate(COLOURS.items()):
        changes = [tick["quotes"][n]["change"] for tick in history]
        figure.add_scatter(x=times, y=changes, name=symbol, line={"color": colour, "width": 2})
    return figure


def ticker(tick: Tick) -> list[tuple[str, dict[str, Any]]]:
    """The updates of the five quotes, and of the exchange's clock."""
    clock = ("live-clock", {"children": tick["time"][11:19]})
    return [clock, *((f"live-{quote['symbol']}", {"children": figures(quote)}) for quote in tick["quotes"])]


def figures(quote: dict[str, Any]) -> list[html.Strong | html.Em | html.Small]:
    direction = "rise" if quote["change"] >= 0 else "fall"
    return [
        html.Strong(f"{quote['last']:.2f}"),
        html.Em(f"{quote['change']:+.2f} %", className=direction),
        html.Small(f"bid {quote['bid']:.2f}   ask {quote['ask']:.2f}"),
    ]


def share(symbol: str, name: str) -> html.Section:
    return html.Section(
        [html.H3(symbol), html.P(name), html.Div(html.Strong("-"), id=f"live-{symbol}", className="figures")],
        className="card share",
        style={"--share": COLOURS[symbol]},
    )


tab = Tab(
    value="live",
    label="Live",
    title="A chart that lives as long as its tab is open",
    lead="Five shares of a made-up exchange, read from a websocket. Open another tab, and the stream is cancelled.",
    streams=[follow.stream],
    source=__file__,
    body=[
        html.Div([share(symbol, name) for symbol, name in SHARES.items()], className="shares"),
        html.Section(
            [
                html.Header(
                    [
                        html.H2("Change since the opening"),
                        badge("live-status", follow.stream),
                        readout("live-clock", "exchange time", "--:--:--"),
                    ],
                    className="bar",
                ),
                dcc.Graph(id="live-chart", figure=chart([]), config={"displayModeBar": False}, className="grow"),
            ],
            className="card chart grow",
        ),
    ],
)
