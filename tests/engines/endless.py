"""An app with a stream that does not end by itself, and tells the test how it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import quart
import trio

from flash import EndReason, Flash, Input, StreamCancelled, Update, html, stream_props
from tests.engines.tabs import Tab
from tests.support.serving import Gate, Journal


class Endless:
    """The app.

    Attributes:
        asked: the requests for Flash's routes.
        going_on: lets the streams yield a second update.
    """

    def __init__(self, **options: Any) -> None:
        self.app = app = Flash(__name__, **options)
        self.asked = Journal[str]()
        self.going_on = Gate()
        self._ended = Journal[EndReason | str]()
        app.layout = html.Div(
            [
                html.Button("Start", id="start"),
                html.Button("Stop", id="stop"),
                html.Div("idle", id="shown"),
                html.A("Away", href="/away", id="away"),
            ]
        )

        @app.event_callback(
            Input("start", "n_clicks"),
            cancel=[Input("stop", "n_clicks")],
            on_error=self._note,
            reset_props=[("shown", {"children": "idle"})],
        )
        async def endless(n_clicks: int) -> AsyncIterator[Update]:
            try:
                yield stream_props("shown", {"children": f"run {n_clicks}"})
                await self.going_on.wait()
                yield stream_props("shown", {"children": f"run {n_clicks} goes on"})
                await trio.sleep_forever()
            finally:
                self._ended.note("finally")

        @app.server.before_request
        async def listen() -> None:
            _, flash_route, name = quart.request.path.partition("/_flash/")
            if flash_route and not name.startswith("hub-"):
                self.asked.note(name)

        @app.server.route("/away")
        async def away() -> str:
            return "<p id=elsewhere>Elsewhere</p>"

    def _note(self, error: StreamCancelled) -> None:
        self._ended.note(error.reason)

    def expect_end(self, reason: EndReason) -> None:
        """Wait until one stream has ended, for this reason; none other has."""
        assert [self._ended.next(), self._ended.next(), *self._ended.rest()] == ["finally", reason]

    def expect_no_end(self) -> None:
        assert self._ended.rest() == []


def start(tab: Tab, run: int = 1) -> None:
    """Start a stream; its first update is to be seen."""
    tab.click("#start")
    tab.expect("#shown", f"run {run}")
