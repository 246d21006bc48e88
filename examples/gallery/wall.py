"""One board for every wall: the stream is shared, so one generator runs, however many windows show it."""

from collections.abc import Sequence
from datetime import datetime

import dash_mantine_components as dmc

from flash import Input, StreamInfo, Update, clientside_callback, event_callback, html, stream_props

from .layout import Tab, badge, percent
from .stock_exchange import SHARES, Tick, exchange


@event_callback(Input("tabs", "value"), cancel=[(Input("tabs", "value"), "wall")], shared="all")
async def board(tab: str):
    started = f"{datetime.now():%H:%M:%S}"
    with exchange.listening() as ticks:
        async for tick in ticks:
            yield show(tick, started)


def show(tick: Tick, started: str) -> Update:
    rows = [(f"wall-{quote['symbol']}", {"children": figures(quote)}) for quote in tick["quotes"]]
    clock = [("wall-clock", {"children": tick["time"][11:19]}), ("wall-started", {"children": started})]
    return stream_props([*rows, *clock])


def figures(quote: dict[str, float]) -> list[html.Output | html.Span]:
    direction = "rise" if quote["change"] >= 0 else "fall"
    length = min(50.0, 12 * abs(quote["change"]))
    start = 50 if quote["change"] >= 0 else 50 - length
    return [
        html.Output(f"{quote['last']:.2f}"),
        html.Output(percent(quote["change"]), className=direction),
        html.Span(className=f"swing {direction}", style={"--from": f"{start:.1f}%", "--length": f"{length:.1f}%"}),
    ]


def audience(streams: Sequence[StreamInfo]) -> str:
    """How many windows follow, and how many generators run for them."""
    following = [stream.source for stream in streams if stream.callback == board.__name__]
    if not following:
        return "nobody follows, and no generator runs"
    windows, generators = len(following), len(set(following))
    return (
        f"{windows} window{'s follow' if windows > 1 else ' follows'}, "
        f"{generators} generator{'s run' if generators > 1 else ' runs'}"
    )


clientside_callback(
    "() => { window.open('#wall', '', 'popup,width=1100,height=760'); }",
    Input("wall-open", "n_clicks"),
    prevent_initial_call=True,
)


def row(symbol: str, name: str) -> html.Li:
    return html.Li([html.H3(symbol), html.P(name), html.Div(id=f"wall-{symbol}", className="wall-figures")])


tab = Tab(
    value="wall",
    label="Wall",
    title="One generator for every wall that shows it",
    lead="Whoever opens the board follows the run that is under way. Each update is made, and encoded, once.",
    streams=[board.stream],
    source=__file__,
    body=[
        html.Div(
            [
                dmc.Button("Open a second window", id="wall-open"),
                badge("wall-status", board.stream),
                html.Output(audience([]), id="wall-audience", className="audience"),
            ],
            className="bar",
        ),
        html.Section(
            [
                html.Header(
                    [
                        html.H2("The exchange at a glance"),
                        html.P(["on since ", html.Time("--:--:--", id="wall-started")]),
                        html.Time("--:--:--", id="wall-clock"),
                    ]
                ),
                html.Ol([row(symbol, name) for symbol, name in SHARES.items()]),
            ],
            className="board grow",
        ),
    ],
)
