"""The second reference for many pages: a generator as the body of a Quart-Trio response, and nothing else."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncGenerator

import trio
from quart import Response, request
from quart_trio import QuartTrio

from benchmarks.apps.raw import frame

app = QuartTrio(__name__)


@app.get("/ticks")
async def ticks() -> Response:
    interval = float(request.args["interval"])

    async def body() -> AsyncGenerator[bytes, None]:
        at = trio.current_time() + interval * random.random()
        number = 0
        while True:
            await trio.sleep_until(at)
            at += interval
            number += 1
            yield frame(number, time.monotonic_ns())

    response = Response(body(), content_type="text/event-stream")
    response.timeout = None
    return response
