"""The reference: the frames that Flash would write, by a bare ASGI app.

/burst?updates=200000&batch=64      frames that were encoded beforehand, 64 to a body message
/ticks?interval=1&streams=10        ten updates in each second, at phases of their own, one to a message
/same?interval=0.1                  ten updates in each second, the same bytes to all who ask, at the same moments
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import trio

Write = Callable[[bytes], Awaitable[None]]


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for phase in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{phase}.complete"})
        return

    async def write(data: bytes) -> None:
        await send({"type": "http.response.body", "body": data, "more_body": True})

    async with trio.open_nursery() as nursery:

        async def leave() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            nursery.cancel_scope.cancel()

        nursery.start_soon(leave)
        query = {name: float(values[0]) for name, values in parse_qs(scope["query_string"].decode()).items()}
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["path"] == "/burst":
            await burst(write, int(query["updates"]), int(query["batch"]))
        elif scope["path"] == "/same":
            await same(write, query["interval"])
        else:
            await ticks(write, query["interval"], int(query.get("streams", 1)))
        await send({"type": "http.response.body", "body": b"event: end\ndata: {}\n\n", "more_body": False})
        nursery.cancel_scope.cancel()


async def burst(write: Write, updates: int, batch: int) -> None:
    await write(frame(0, time.monotonic_ns()))
    chunk = b"".join(frame(number, number) for number in range(batch))
    for _ in range(updates // batch):
        await write(chunk)


async def ticks(write: Write, interval: float, streams: int) -> None:
    """All of a page's streams in one task: what costs least."""
    now = trio.current_time()
    due = sorted(now + interval * random.random() for _ in range(streams))
    number = 0
    while True:
        for stream, at in enumerate(due):
            await trio.sleep_until(at)
            due[stream] += interval
            number += 1
            await write(frame(number, time.monotonic_ns()))


newest: tuple[int, bytes] = 0, b""
"""The number of the newest tick of `same`, and its frame."""


async def same(write: Write, interval: float) -> None:
    """What one task has made, the others write, too."""
    global newest  # noqa: PLW0603 - one for all who ask
    number = int(trio.current_time() / interval)
    while True:
        number += 1
        await trio.sleep_until(number * interval)
        if newest[0] < number:
            newest = number, frame(number, time.monotonic_ns())
        await write(newest[1])


def frame(number: int, value: int) -> bytes:
    """As long as Flash's."""
    data = json.dumps({"stream": "01234567-1", "props": [["out", {"children": value}]]}, separators=(",", ":"))
    return f"id: 01234567.{number}\nevent: props\ndata: {data}\n\n".encode()
