"""The inspector's page: an app of Flash's own that shows what another one runs, and can end a stream.

It is served beside that app, at `_flash/inspect/`, by the same server: the app's hooks guard it like any other route.
Its page follows one stream, which takes a snapshot of all workers each second. Without a page nothing is looked at.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, cast

import trio
from dash import MATCH, Input, Output, callback_context, html, no_update

from ..props import Update, stream_props
from .rates import Rates
from .snapshot import Snapshot
from .view import show

_context: Any = callback_context

INTERVAL = 1.0
"""Seconds between two snapshots."""

ROUTE = "_flash/inspect/"
"""Where the page is, below the prefix of the app."""

DOCUMENT = """<!DOCTYPE html>
<html lang="en">
<head>{%metas%}<title>{%title%}</title>{%favicon%}{%css%}<style>STYLE</style></head>
<body>{%app_entry%}<footer>{%config%}{%scripts%}{%renderer%}</footer></body>
</html>"""
"""The document, for Dash to fill in, as STYLE is to be."""


def make_page(
    app: Any,
    snapshots: Callable[[], Awaitable[Mapping[str, Snapshot | None]]],
    end: Callable[[str], Awaitable[int]],
    may_end: Callable[[], bool],
) -> None:
    """Give an app of Flash's the layout and callbacks of the inspector.

    Args:
        app: a new app.
        snapshots: returns for the name of each worker what it runs; None for one that does not answer.
        end: ends the stream with this id, on whichever worker it is; returns how many it has ended.
        may_end: whether who has sent the current request may end streams.
    """
    app.index_string = DOCUMENT.replace("STYLE", Path(__file__).with_name("page.css").read_text())
    app.layout = html.Main([html.H1("What runs here"), html.Div(id="inspector")])

    @app.event_callback(Input("inspector", "id"), prevent_initial_call=False)
    async def inspector(_: str) -> AsyncIterator[Update]:
        with_buttons = may_end()
        rates = Rates()
        while True:
            found = await snapshots()
            yield stream_props("inspector", {"children": show(found, rates.between(found), with_buttons=with_buttons)})
            await trio.sleep(INTERVAL)

    @app.callback(
        Output({"type": "said", "stream": MATCH}, "children"),
        Input({"type": "end", "stream": MATCH}, "n_clicks"),
        prevent_initial_call=True,
    )
    async def end_stream(clicks: int | None) -> Any:
        if not clicks or not may_end():
            return no_update
        clicked = cast("dict[str, str]", _context.triggered_id)
        return "" if await end(clicked["stream"]) else "It had ended."
