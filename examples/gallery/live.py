"""An endless chart: it follows an exchange's websocket while its tab is open, and a filter while it runs."""

import json
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import dash_mantine_components as dmc
import plotly.graph_objects as go
from quart import request
from trio_websocket import open_websocket_url

from flash import Input, Watched, dcc, event_callback, html, stream_props

from .layout import COLOURWAY, PLOT, Tab, badge, percent, readout
from .stock_exchange import HISTORY, SHARES, Tick

FEED = "/ws/exchange"
COLOURS = dict(zip(SHARES, COLOURWAY, strict=True))


@event_callback(
    Input("tabs", "value"),
    cancel=[(Input("tabs", "value"), "live")],
    watch={"filter": Input("live-filter", "value")},
)
async def follow(tab: str, filter: Watched[list[str]]):
    # The address this very server listens on: ASGI allows that there is none, a server on a port has one.
    host, port = request.scope["server"]  # pyright: ignore[reportGeneralTypeIssues]
    async with open_websocket_url(f"ws://{host}:{port}{FEED}") as feed:
        history: deque[Tick] = deque(json.loads(await feed.get_message()), maxlen=HISTORY)
        shown = None
        while True:
            if filter.value == shown:
                update = {"extendData": extension(history[-1], shown)} if shown else {}
            else:
                # Somebody has clicked on a chip: the stream goes on, with another chart.
                shown = filter.value
                update = {"figure": chart(history, shown)}
            yield stream_props([("live-chart", update), *ticker(history[-1])])
            history.append(json.loads(await feed.get_message()))


def chart(history: Iterable[Tick], shown: Sequence[str]) -> go.Figure:
    times = [tick["time"] for tick in history]
    axes = {"xaxis": {"type": "date", "tickformat": "%H:%M:%S"}, "yaxis": {"ticksuffix": " %"}}
    figure = go.Figure(layout={"template": PLOT, "uirevision": "live", **axes})
    for symbol in drawn(shown):
        changes = [change(tick, symbol) for tick in history]
        figure.add_scatter(x=times, y=changes, name=symbol, line={"color": COLOURS[symbol], "width": 2})
    return figure


def extension(tick: Tick, shown: Sequence[str]) -> list[Any]:
    """What adds a tick to the lines of the chart."""
    changes = [[change(tick, symbol)] for symbol in drawn(shown)]
    return [{"x": [[tick["time"]]] * len(changes), "y": changes}, list(range(len(changes))), HISTORY]


def drawn(shown: Sequence[str]) -> list[str]:
    """The shares of the chart, whatever the order in which they were chosen."""
    return [symbol for symbol in SHARES if symbol in shown]


def change(tick: Tick, symbol: str) -> float:
    return next(quote["change"] for quote in tick["quotes"] if quote["symbol"] == symbol)


def ticker(tick: Tick) -> list[tuple[str, dict[str, Any]]]:
    """The updates of the five quotes, and of the exchange's clock."""
    clock = ("live-clock", {"children": tick["time"][11:19]})
    return [clock, *((f"live-{quote['symbol']}", {"children": figures(quote)}) for quote in tick["quotes"])]


def figures(quote: dict[str, Any]) -> list[html.Strong | html.Em | html.Small]:
    direction = "rise" if quote["change"] >= 0 else "fall"
    return [
        html.Strong(f"{quote['last']:.2f}"),
        html.Em(percent(quote["change"]), className=direction),
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
    lead="Five shares of a made-up exchange, read from a websocket. The stream watches the chips, and goes on; "
    "another tab ends it.",
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
                        dmc.ChipGroup(
                            [dmc.Chip(symbol, value=symbol, size="xs", color=COLOURS[symbol]) for symbol in SHARES],
                            id="live-filter",
                            value=list(SHARES),
                            multiple=True,
                        ),
                        readout("live-clock", "exchange time", "--:--:--"),
                    ],
                    className="bar",
                ),
                dcc.Graph(id="live-chart", figure=chart([], []), config={"displayModeBar": False}, className="grow"),
            ],
            className="card chart grow",
        ),
    ],
)
