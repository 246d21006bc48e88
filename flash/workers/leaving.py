"""Has clients send requests again that a worker which leaves does not take any more.

A worker leaves while others go on: after SIGHUP the new ones, or those beside it when it is stopped alone. It gets no
new connections then. But a client may have one, and send a request on it to open a link or to start a stream, which a
server that stops refuses. Where others go on, no request is to be refused: the answer is 307, which has the client send
the same request to the same address again. It does so over another connection, as this one is closed, and reaches
another worker.

Over HTTP/2, where the connection stays, requests are refused in the way that has clients repeat them: see
`_hypercorn_http2`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from .routing import begins_something

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]


class Leaving:
    """An ASGI app whose worker may leave.

    Attributes:
        begun: the worker leaves, and others go on.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self.begun = False

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if self.begun and begins_something(scope) and scope["http_version"].startswith("1"):
            await _have_sent_again(scope, receive, send)
        else:
            await self._app(scope, receive, send)


async def _have_sent_again(scope: Any, receive: Receive, send: Send) -> None:
    """Answer a request so that the client sends it again, over another connection."""
    while (await receive()).get("more_body", False):
        pass
    # Relative to the address of the request, as the client knows it: a proxy may have changed what comes before.
    target = scope["raw_path"].partition(b"?")[0].rpartition(b"/")[2]
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    headers = [(b"location", target), (b"content-length", b"0"), (b"cache-control", b"no-store")]
    # When connections end, the server says so in each response by itself.
    await send({"type": "http.response.start", "status": 307, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
