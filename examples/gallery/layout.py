"""The look that the tabs share: the shell, a tab's panel, a stream's badge, the plot template."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dash_mantine_components as dmc
import plotly.graph_objects as go
from dash.development.base_component import Component

from flash import Input, Output, clientside_callback, dcc, html

SANS = '"Avenir Next", "Segoe UI Variable Text", "Segoe UI", "Helvetica Neue", "Liberation Sans", sans-serif'
MONO = '"SF Mono", "Cascadia Mono", Consolas, "DejaVu Sans Mono", monospace'
PETROL = ["#e9f4f2", "#d3e6e3", "#a5cdc8", "#74b3ac", "#4b9c94", "#2f8a81", "#0f766e", "#0b655e", "#08544e", "#05423d"]
# The components say that shades are a dict, and take a list.
THEME: Any = {
    "primaryColor": "petrol",
    "colors": {"petrol": PETROL},
    "fontFamily": SANS,
    "fontFamilyMonospace": MONO,
    "defaultRadius": "sm",
}

COLOURWAY = ["#0f766e", "#d9531e", "#2f62a8", "#b58a0a", "#8a3b64"]

PLOT = go.layout.Template(
    layout={
        "font": {"family": SANS, "size": 12, "color": "#51625e"},
        "colorway": COLOURWAY,
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "margin": {"l": 8, "r": 56, "t": 12, "b": 32},
        "hovermode": "x unified",
        "showlegend": False,
        "xaxis": {"gridcolor": "#e3e8e5", "zeroline": False, "ticklabelstandoff": 6},
        "yaxis": {"gridcolor": "#e3e8e5", "zerolinecolor": "#9fada8", "side": "right", "ticklabelstandoff": 10},
    }
)


@dataclass
class Tab:
    """What the shell needs to know of a tab."""

    value: str
    label: str
    title: str
    lead: str
    body: Sequence[Component]
    streams: Sequence[Component]
    source: str


def shell(*tabs: Tab) -> dmc.MantineProvider:
    """The whole page: the rail with the tabs on the left, the open tab's panel on the right."""
    brand = html.Header([html.Strong("Flash"), html.Span("Dash on Trio")], className="brand")
    rail = dmc.TabsList(
        [dmc.TabsTab(tab.label, value=tab.value, rightSection=_lamp(tab), className="rail-tab") for tab in tabs],
        className="rail-tabs",
    )
    clientside_callback(
        "hash => hash ? hash.slice(1) : dash_clientside.no_update",
        Output("tabs", "value"),
        Input("address", "hash"),
    )
    # The open tab is in the address: there it is found when the page is loaded again.
    clientside_callback(
        "tab => { history.replaceState(history.state, '', '#' + tab); }",
        Input("tabs", "value"),
        prevent_initial_call=True,
    )
    count = html.Footer([html.Output("0", id="held"), html.Span("streams held", id="held-name")], className="held")
    return dmc.MantineProvider(
        [
            dmc.Tabs(
                [html.Nav([brand, rail, count], className="rail"), *map(_panel, tabs)],
                id="tabs",
                value=tabs[0].value,
                orientation="vertical",
                className="shell",
            ),
            dmc.NotificationContainer(id="notices", position="bottom-right"),
            dcc.Interval(id="clock", interval=1000),
            dcc.Location(id="address"),
        ],
        theme=THEME,
        forceColorScheme="light",
    )


def badge(id: str, stream: Component) -> html.Span:
    """A coloured word that follows a stream's status."""
    clientside_callback(
        "status => [status.replace('_', ' '), 'badge ' + status]",
        Output(id, "children"),
        Output(id, "className"),
        Input(stream, "status"),
    )
    return html.Span("idle", id=id, className="badge idle")


def percent(change: float) -> str:
    """A change with its sign, a minus being as wide as a plus."""
    return f"{change:+.2f} %".replace("-", "\N{MINUS SIGN}")


def readout(id: str, label: str, value: str = "0") -> html.Div:
    """A figure with its name."""
    return html.Div([html.Span(label), html.Output(value, id=id)], className="readout")


def _lamp(tab: Tab) -> html.Span:
    """The lamp beside a tab's name: lit while a stream of that tab is running, whichever tab is open."""
    clientside_callback(
        "(...statuses) => statuses.includes('running') ? 'lamp lit' : 'lamp'",
        Output(f"{tab.value}-lamp", "className"),
        [Input(stream, "status") for stream in tab.streams],
    )
    return html.Span(id=f"{tab.value}-lamp", className="lamp")


def _panel(tab: Tab) -> dmc.TabsPanel:
    button, drawer = f"{tab.value}-source", f"{tab.value}-drawer"
    clientside_callback("() => true", Output(drawer, "opened"), Input(button, "n_clicks"), prevent_initial_call=True)
    path = Path(tab.source)
    return dmc.TabsPanel(
        [
            html.Header(
                [
                    html.Div([html.H1(tab.title), html.P(tab.lead)]),
                    dmc.Button(f"Source: {path.name}", id=button, variant="default", size="xs", className="source"),
                ],
                className="panel-head",
            ),
            *tab.body,
            dmc.Drawer(
                dmc.CodeHighlight(code=path.read_text(encoding="utf-8"), language="python"),
                id=drawer,
                title=path.name,
                position="right",
                size="min(66rem, 85vw)",
            ),
        ],
        value=tab.value,
        className="panel",
    )
