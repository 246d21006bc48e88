"""Compresses responses for `compress=True`, with the package starlette-compress (`flash-trio[compress]`).

The compressor is an ASGI app around the server. It leaves two kinds of response alone: those marked `no-transform`, and
event streams, since a compressor would hold events back. Websockets pass through unchanged.
"""

from __future__ import annotations

from typing import Any

from ..errors import InvalidOption


class Compression:
    """An ASGI app that compresses the responses of another one."""

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
                if message["type"] == "http.response.start" and _is_left_alone(message["headers"]):
                    chosen = send
                await chosen(message)

            await self._app(scope, receive, choose)

        await self._compressing(answer)(scope, receive, send)


def _is_left_alone(headers: Any) -> bool:
    for name, value in headers:
        if name.lower() == b"cache-control" and b"no-transform" in value.lower():
            return True
        if name.lower() == b"content-type" and value.lower().startswith(b"text/event-stream"):
            return True
    return False
