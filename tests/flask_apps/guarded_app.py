"""The app of the tests of guards: Flask's hooks let its requests through, until they refuse all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import flask
import trio

from flash import Flash, Input, Output, Update, html, stream_props


class GuardedApp(Flash):
    """An app whose Flask app refuses every request as soon as `refuses` is set.

    Attributes:
        refuses: whether it does.
        seen: method and path of each request that has come to the hook.
        torn_down: how many requests Flask has torn down.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(__name__, server=flask.Flask(__name__), websocket_callbacks=True, **options)
        self.refuses = False
        self.seen: list[tuple[str, str]] = []
        self.torn_down = 0
        self.layout = [html.Div(id="out"), html.Button(id="go"), html.Button(id="plain"), html.Button(id="stop")]
        self.server.before_request(self._guard)
        self.server.after_request(self._sign)
        self.server.teardown_request(self._count)
        self.event_callback(Input("go", "n_clicks"), cancel=[Input("stop", "n_clicks")])(self._wait)
        self.callback(Output("out", "title"), Input("plain", "n_clicks"))(lambda clicks: clicks)

    def _guard(self) -> Any:
        self.seen.append((flask.request.method, flask.request.path))
        return ("refused", 401, {"WWW-Authenticate": "Basic"}) if self.refuses else None

    def _sign(self, response: flask.Response) -> flask.Response:
        response.set_cookie("signed", str(response.status_code))
        return response

    def _count(self, error: BaseException | None) -> None:
        self.torn_down += 1

    async def _wait(self, clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": clicks})
        await trio.sleep_forever()
