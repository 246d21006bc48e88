"""Compressing responses: `compress=True`, with `starlette-compress` (`pip install flash-trio[compress]`).

The compressor is pure ASGI around the server. What says `no-transform`, and event streams whoever sends them, go
round it: a browser has to have each event when it is sent. Websockets are none of its business.
"""

from __future__ import annotations

from typing import Any

from ..errors import InvalidOption


class Compression:
    """An ASGI app that compresses what another one answers."""

    def __init__(self, app: Any) -> None:
        try:
            from starlette_compress import CompressMiddleware
        except ImportError as error:
            raise InvalidOption(
                "compress=True of Flash(...) needs starlette-compress: pip install 'flash-trio[compress]'."
            ) from error
        self._app = app
        self._compressing: Any = CompressMiddleware

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def answer(scope: Any, receive: Any, compress: Any) -> None:
            chosen = compress

            async def choose(message: Any) -> None:
                nonlocal chosen
                if message["type"] == "http.response.start" and _goes_as_it_is(message["headers"]):
                    chosen = send
                await chosen(message)

            await self._app(scope, receive, choose)

        await self._compressing(answer)(scope, receive, send)


def _goes_as_it_is(headers: Any) -> bool:
    for name, value in headers:
        if name.lower() == b"cache-control" and b"no-transform" in value.lower():
            return True
        if name.lower() == b"content-type" and value.lower().startswith(b"text/event-stream"):
            return True
    return False
