"""The reference: frames that were encoded beforehand, written by a bare ASGI app."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from benchmarks.one_stream import frame


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for phase in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{phase}.complete"})
        return
    query = parse_qs(scope["query_string"].decode())
    updates, batch = int(query["updates"][0]), int(query["batch"][0])
    chunk = b"".join(frame(number) for number in range(batch))
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for _ in range(updates // batch):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b"event: end\ndata: {}\n\n", "more_body": False})
