"""A stream that waits until it is cancelled, and says when the request came and when its generator was unwound.

Both are times of this process: `asgi_app` sees the request before Quart does. They leave with the `end`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from typing import Any

import trio

from benchmarks.apps.flash_streams import app
from flash import Input, StreamCancelled, Update, event_callback, html, stream_props


class Times:
    """Of the stream that is cancelled: one at a time."""

    arrived = unwound = 0


def last_words(error: BaseException) -> Update | None:
    if not isinstance(error, StreamCancelled):
        return None
    return stream_props("times", {"children": f"{Times.arrived} {Times.unwound}"})


@event_callback(
    Input("wait", "n_clicks"),
    cancel=[Input("stop", "n_clicks")],
    on_error=last_words,
    reset_props=[("waiting", {"children": "reset"})],
)
async def wait(clicks: Any) -> AsyncGenerator[Update, None]:
    try:
        yield stream_props("waiting", {"children": "running"})
        await trio.sleep_forever()
    finally:
        Times.unwound = time.monotonic_ns()


class Stamped:
    """The server's app, and the time at which it is given a request to cancel."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/_flash/cancel":
            Times.arrived = time.monotonic_ns()
        await self._inner(scope, receive, send)


app.layout.children += [html.Button("Start", id="wait"), html.Button("Stop", id="stop")]
app.layout.children += [html.Div(id="waiting"), html.Div(id="times")]
app.server.asgi_app = Stamped(app.server.asgi_app)
