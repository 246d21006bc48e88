"""The streams of `flash_streams`, in a process that notes how long its event loop pauses.

GET /pauses answers with what was noted since the last time: how late a task was that is due every 2 ms, each time that
it was due, and how long each collection of garbage took, both in seconds.
"""

from __future__ import annotations

import gc
import time
from typing import Any

import trio

from benchmarks.apps.flash_streams import app

__all__ = ["app"]

TICK = 0.002
"""Seconds between the times at which the task is due. A pause that covers several of them counts for each."""

late: list[float] = []
collections: list[float] = []


@app.background
async def watch() -> None:
    gc.callbacks.append(_Collections())
    due = trio.current_time()
    while True:
        due += TICK
        await trio.sleep_until(due)
        late.append(max(0.0, trio.current_time() - due))


@app.server.get("/pauses")
async def pauses() -> dict[str, Any]:
    noted = {"late": late.copy(), "collections": collections.copy()}
    late.clear()
    collections.clear()
    return noted


class _Collections:
    """Notes how long each collection of garbage takes: Python calls it at the begin and at the end of one."""

    def __init__(self) -> None:
        self._began = 0.0

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        else:
            collections.append(time.perf_counter() - self._began)
