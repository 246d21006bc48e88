"""Updates that come alone, and how long each takes until it is in the socket: for `benchmarks.alone`.

A stream sleeps, yields an update, sleeps, and writes as many bytes to a socket of its own: in turn, so many times. What
is timed is from the moment before the `yield` until the write has returned: see `noted_writes`. The same file runs with
an earlier version of Flash.
"""

from __future__ import annotations

import os
import socket
import statistics
from collections.abc import AsyncGenerator
from time import perf_counter_ns
from typing import Any

import trio

from benchmarks.apps.noted_writes import Writes
from flash import Flash, Input, Update, event_callback, html, stream_props

SIZE = 112
"""Bytes of an update on the wire."""

app = Flash(__name__)
app.layout = html.Div([html.Button(id="tick0"), html.Div(id="out")])


@event_callback(Input("tick0", "n_clicks"))
async def tick(setting: dict[str, Any]) -> AsyncGenerator[Update, None]:
    """So many updates; then the nanoseconds that one takes, and those that a bare write takes: the medians."""
    pause: float = setting["pause"]
    updated, written = list[int](), list[int]()
    with socket.create_connection(("127.0.0.1", setting["port"])) as connection:
        # As Trio does for its own.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(setting["updates"]):
            update = stream_props("out", {"children": number})
            await trio.sleep(pause)
            before, began = Writes.count, perf_counter_ns()
            yield update
            # Over TLS the version before writes it later, in another task.
            await trio.sleep(pause)
            if Writes.count == before + 1:
                updated.append(Writes.returned - began)
            began = perf_counter_ns()
            os.write(connection.fileno(), bytes(SIZE))
            written.append(Writes.returned - began)
    took = [statistics.median(times) for times in (updated, written)]
    await trio.sleep(pause)
    yield stream_props("out", {"children": f"nanoseconds: {took[0]:.0f}, {took[1]:.0f}"})
