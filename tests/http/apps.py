"""Apps that several modules of tests use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import trio

from flash import Flash, Input, Output, StreamCancelled, Update, html, stream_props


class Waiting:
    """An app whose one event callback, started by `go`, sends an update and waits.

    Attributes:
        app: its layout has `go`, `stop` (which cancels) and `out`.
        go_on: lets the streams go on, send `"after"` and complete.
        log: what happened on the server, in order: `started`, `finally`, and what `on_error` was told.
        ended: how many streams have run their `finally`.
    """

    def __init__(self, **options: Any) -> None:
        options.setdefault("reconnect_grace", 0)
        self.app = Flash(__name__, **options)
        self.app.layout = [html.Button(id="go"), html.Button(id="stop"), html.Div(id="out")]
        self.go_on = trio.Event()
        self.log: list[str] = []
        self.on_error_called = trio.Event()

        def on_error(error: StreamCancelled) -> None:
            self.log.append(f"on_error {error.reason}")
            trio.from_thread.run_sync(self.on_error_called.set)

        @self.app.event_callback(Input("go", "n_clicks"), cancel=[Input("stop", "n_clicks")], on_error=on_error)
        async def wait(clicks: int) -> AsyncIterator[Update]:
            self.log.append("started")
            try:
                yield stream_props("out", {"children": "before"})
                await self.go_on.wait()
                yield stream_props("out", {"children": "after"})
            finally:
                self.log.append("finally")


def answering_app() -> Flash:
    """An app whose one callback, called by `go`, shows in `out` how often `go` was clicked."""
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Div(id="out")]

    @app.callback(Output("out", "children"), Input("go", "n_clicks"))
    def count(clicks: int) -> int:
        return clicks

    return app
