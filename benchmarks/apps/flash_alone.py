"""Updates that come alone, and what CPU each takes until it is in the socket: for `benchmarks.alone`.

A stream wakes up at an interval. Every third time it yields an update, every third it writes as many bytes to a socket
of its own, and every third it does nothing. What the process spends from there until it has nothing left to do differs
by what is to be measured. The same file runs with an earlier version of Flash.
"""

from __future__ import annotations

import os
import socket
import statistics
import time
from collections.abc import AsyncGenerator

import trio

from flash import Flash, Input, Update, event_callback, html, stream_props

PAUSE = 0.003
"""Seconds between two wake-ups: an event that comes within a millisecond of the one before may be held back."""

SIZE = 112
"""Bytes of an update on the wire."""

app = Flash(__name__)
app.layout = html.Div([html.Button(id="tick0"), html.Div(id="out")])


class UntilIdle(trio.abc.Instrument):
    """Notes the CPU time from a moment until no task can run."""

    def __init__(self) -> None:
        self._notes: list[int] | None = None
        self._began = 0

    def begin(self, notes: list[int]) -> None:
        self._notes, self._began = notes, time.thread_time_ns()

    def before_io_wait(self, timeout: float) -> None:
        if timeout > 0 and self._notes is not None:
            self._notes.append(time.thread_time_ns() - self._began)
            self._notes = None


@event_callback(Input("tick0", "n_clicks"))
async def tick(setting: dict[str, int]) -> AsyncGenerator[Update, None]:
    """So many updates; then the nanoseconds of CPU that one takes, and those that a bare write takes: the medians."""
    until_idle, updated, written, idle = UntilIdle(), list[int](), list[int](), list[int]()
    trio.lowlevel.add_instrument(until_idle)
    with socket.create_connection(("127.0.0.1", setting["port"])) as reader:
        try:
            for number in range(setting["updates"]):
                update = stream_props("out", {"children": number})
                await trio.sleep(PAUSE)
                until_idle.begin(updated)
                yield update
                await trio.sleep(PAUSE)
                until_idle.begin(written)
                os.write(reader.fileno(), bytes(SIZE))
                await trio.sleep(PAUSE)
                until_idle.begin(idle)
        finally:
            trio.lowlevel.remove_instrument(until_idle)
    nothing = statistics.median(idle[:-1] or idle)
    took = [statistics.median(notes) - nothing for notes in (updated, written)]
    await trio.sleep(PAUSE)
    yield stream_props("out", {"children": f"nanoseconds: {took[0]:.0f}, {took[1]:.0f}"})
