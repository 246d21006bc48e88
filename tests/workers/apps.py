"""The app that the tests of workers serve."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import trio
from dash import Input, Output, html
from quart import request

from flash import Flash, StreamCancelled, Update, stream_props


class CountingApp(Flash):
    """Counts until it is cancelled.

    Attributes:
        seen: the path and the scope of each request that has come to its hooks, and its body.
        ended: why streams have ended.
        hold: what each request waits for in the hooks, when it has been noted; None for nothing.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(__name__, **cast("dict[str, Any]", {"reconnect_grace": 0.3, **options}))
        self.seen: list[tuple[str, dict[str, Any], bytes]] = []
        self.ended: list[Any] = []
        self.hold: Callable[[], Awaitable[None]] | None = None
        self.layout = [html.Button(id="go"), html.Div(id="out"), html.Button(id="stop"), html.Button(id="plain")]
        self.server.before_request(self._note)
        self.event_callback(
            Input("go", "n_clicks"), cancel=[(Input("stop", "n_clicks"), None)], on_error=self._note_end
        )(self.count)
        self.callback(Output("plain", "children"), Input("plain", "n_clicks"))(self.plain)

    async def _note(self) -> None:
        self.seen.append((request.path, dict(request.scope), cast("bytes", await request.get_data())))
        if self.hold is not None:
            await self.hold()

    def _note_end(self, error: BaseException) -> None:
        self.ended.append(error.reason if isinstance(error, StreamCancelled) else error)

    async def count(self, clicks: int) -> AsyncIterator[Update]:
        number = 0
        while True:
            yield stream_props("out", {"children": number})
            number += 1
            await trio.sleep(0.01)

    async def plain(self, clicks: int) -> int:
        return clicks
