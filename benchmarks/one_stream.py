"""One stream of small updates, yielded without pause.

    python -m benchmarks.one_stream [--updates 200000] [--runs 3] [--no-dash]

Starts, each in a process of its own and in turn:

- a raw ASGI app on Hypercorn's trio worker that writes the same frames, one per message (a tenth of them) and 64;
- Flash;
- Dash 4.5.0rc2 on FastAPI with uvicorn: its streaming callback, with a response for each callback and multiplexed
  (a tenth of the updates);
- Dash 4.4.1 on FastAPI with uvicorn: `set_props` over its websocket (a tenth of them).

Each is read by the same client, which acknowledges as a page does. Measured are the rate, the server's CPU per update,
and the time from the first `yield` to the client; while Flash's stream runs, also how long other callbacks take to
answer, and how late the updates of another page's stream are. Flash joins updates that wait: counted are updates.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable
from typing import Any

from benchmarks import harness
from benchmarks.client import STAMP, UPDATE, Client, Dependencies, EventStream, FlashPage, get_stream
from benchmarks.harness import Runs, percentile, say, serve
from benchmarks.results import Result
from benchmarks.websockets import WebSocket

NAME = "one stream"
RAW_1, RAW_64 = "raw ASGI, 1 frame per message", "raw ASGI, 64 frames per message"
FLASH = "Flash"
DASH_SINGLE, DASH_MULTIPLEXED = "Dash 4.5.0rc2, a response per callback", "Dash 4.5.0rc2, multiplexed"
DASH_WEBSOCKET = "Dash 4.4.1, websocket set_props"

SMALL = ["--updates", "2000", "--runs", "1"]
"""Options by which the benchmark only shows that it works."""


class Counter:
    """Counts the updates that come, and how late the first one was."""

    def __init__(self) -> None:
        self.updates = 0
        self.first_late: float | None = None
        self.last_at = 0
        self.over = False

    def take(self, block: bytes, now: int) -> None:
        self.updates += block.count(UPDATE)
        self.last_at = now
        if self.first_late is None and (stamp := re.search(rb'"children": ?(\d{12,})', block)):
            self.first_late = (now - int(stamp[1])) / 1e6
        if b"event: end" in block or b'"done":true' in block or b'"done": true' in block:
            self.over = True


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--updates", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--no-dash", action="store_true", help="without the references that are installed by themselves"
    )


def measure(options: argparse.Namespace) -> list[Result]:
    many, few = options.updates, options.updates // 10
    runs = Runs()
    cases: list[Callable[[], None]] = [
        lambda: _raw(runs, few, 1),
        lambda: _raw(runs, many, 64),
        lambda: _flash(runs, many),
    ]
    if not options.no_dash:
        cases += [
            lambda: _dash_streaming(runs, few, multiplexed=False),
            lambda: _dash_streaming(runs, few, multiplexed=True),
            lambda: _dash_websocket(runs, few),
        ]
    for number in range(options.runs):
        say(f"{NAME}: run {number + 1} of {options.runs}")
        for case in cases:
            case()
    result = runs.result
    found = [
        result(NAME, FLASH, "rate", "updates/s", reference=RAW_64, at_least=0.35, of_ratio=True, goal="flat out"),
        result(NAME, FLASH, "server CPU per update", "us", reference=RAW_64, at_most=5),
        result(NAME, FLASH, "first update at the client", "ms", reference=RAW_64, at_most=5),
        result(NAME, FLASH, "p99 of other callbacks meanwhile", "ms", at_most=20),
        result(NAME, FLASH, "p99 of another page's updates meanwhile", "ms", at_most=20),
    ]
    for reference in (RAW_1, DASH_SINGLE, DASH_MULTIPLEXED, DASH_WEBSOCKET):
        if reference in runs:
            found.append(result(NAME, FLASH, "rate", "updates/s", reference=reference))
            found.append(result(NAME, FLASH, "server CPU per update", "us", reference=reference))
            found.append(result(NAME, FLASH, "first update at the client", "ms", reference=reference))
    return found


def _raw(runs: Runs, updates: int, batch: int) -> None:
    with serve("hypercorn-trio", "benchmarks.apps.raw:app") as server, Client(server.port) as client:
        for warm_up in (True, False):
            counter = Counter()
            before, began = server.cpu(), time.monotonic_ns()
            count = updates // 10 if warm_up else updates
            get_stream(client, f"/burst?updates={count}&batch={batch}", counter.take)
            client.run(lambda counter=counter: counter.over)
        name = RAW_1 if batch == 1 else RAW_64
        _note(runs, name, counter, server.cpu() - before, began)


def _flash(runs: Runs, updates: int) -> None:
    with (
        serve("flash", "benchmarks.apps.flash_streams:app") as server,
        Client(server.port) as client,
    ):
        dependencies = Dependencies(client)
        counter, late, answers = Counter(), list[float](), list[float]()

        def ticked(block: bytes, now: int) -> None:
            late.extend((now - int(stamp)) / 1e6 for stamp in STAMP.findall(block))

        page = FlashPage(client, dependencies, lambda block, now: counter.take(block, now))
        other = FlashPage(client, dependencies, ticked)
        client.run(lambda: page.greeted and other.greeted)

        for warm_up in (True, False):
            # First alone, for its rate and its cost; the CPU is this stream's.
            counter = Counter()
            before, began = server.cpu(), time.monotonic_ns()
            page.start("burst", value=updates // 10 if warm_up else updates)
            client.run(lambda counter=counter: counter.over)
        _note(runs, FLASH, counter, server.cpu() - before, began)
        # Once more, with others beside it.
        other.start("tick0", value={"interval": 0.005})
        client.run(lambda: bool(late))
        counter = Counter()
        ask = dependencies.click("ask", 1)
        asked = 0.0

        def answered(status: int, body: bytes) -> None:
            answers.append((time.monotonic() - asked) * 1e3)
            if not counter.over:
                ask_again()

        def ask_again() -> None:
            nonlocal asked
            asked = time.monotonic()
            client.post("/_dash-update-component", ask, answered, lane=0)

        page.start("burst", value=updates)
        client.run(lambda: counter.updates > 0)
        late.clear()
        ask_again()
        # A short stream is over before the other page's next update is due: that one counts then.
        client.run(lambda: counter.over and bool(late))
        client.run(client.idle)
        assert not client.refused, client.refused[:3]
        runs.add(
            FLASH,
            **{
                "p99 of other callbacks meanwhile": percentile(answers, 0.99),
                "p99 of another page's updates meanwhile": percentile(late, 0.99),
            },
        )


def _dash_streaming(runs: Runs, updates: int, *, multiplexed: bool) -> None:
    with (
        serve("uvicorn", "benchmarks.apps.dash_streaming:server", "dash-4.5.0rc2") as server,
        Client(server.port) as client,
    ):
        stream = StreamingPage(client) if multiplexed else None
        dependencies = Dependencies(client)
        for warm_up in (True, False):
            counter = Counter()
            before, began = server.cpu(), time.monotonic_ns()
            body = dependencies.click("burst", updates // 10 if warm_up else updates)
            if stream is None:
                post_stream(client, "/_dash-update-component", body, counter.take)
            else:
                stream.on_lines = counter.take
                stream.start(body)
            client.run(lambda counter=counter: counter.over)
        _note(runs, DASH_SINGLE if stream is None else DASH_MULTIPLEXED, counter, server.cpu() - before, began)


def _dash_websocket(runs: Runs, updates: int) -> None:
    with (
        serve("uvicorn", "benchmarks.apps.dash_websocket:server", "dash-4.4.1") as server,
        Client(server.port) as client,
    ):
        dependencies = Dependencies(client)
        counter = Counter()

        def take(message: bytes, now: int) -> None:
            counter.take(message, now)
            counter.over = b'"callback_response"' in message

        socket = WebSocket(client, take)
        for warm_up in (True, False):
            counter = Counter()
            before, began = server.cpu(), time.monotonic_ns()
            socket.request(dependencies.click("burst", updates // 10 if warm_up else updates))
            client.run(lambda counter=counter: counter.over)
        _note(runs, DASH_WEBSOCKET, counter, server.cpu() - before, began)


class StreamingPage:
    """A page of Dash 4.5 with its one connection, the downlink.

    Attributes:
        on_lines: is given what comes.
    """

    def __init__(self, client: Client) -> None:
        self.on_lines: Callable[[bytes, int], None] = lambda lines, now: None
        self._client = client
        self._count = 0
        found = re.search(rb'"end_id": ?"([^"]+)"', client.get("/"))
        assert found is not None
        self._path = f"/_dash-update-component?endId={found[1].decode()}&downlinkId=one"
        post_stream(client, self._path, {"streamDownlink": {}}, lambda lines, now: self.on_lines(lines, now))

    def start(self, body: Any) -> str:
        """Send the request of a streaming callback; returns its id."""
        self._count += 1
        request = f"{self._count}"
        self._client.post(self._path, {**body, "streamConnection": {"requestId": request}})
        return request

    def cancel(self, request: str) -> None:
        self._client.post(self._path, {"streamCancel": {"requestId": request}})


def post_stream(client: Client, path: str, body: Any, on_lines: Callable[[bytes, int], None]) -> EventStream:
    """The answer to a POST, as a stream of lines."""
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return EventStream(client, head.encode() + content, on_lines, b"\n")


def _note(runs: Runs, subject: str, counter: Counter, cpu: float, began: int) -> None:
    assert counter.first_late is not None
    runs.add(
        subject,
        **{
            "rate": counter.updates / (counter.last_at - began) * 1e9,
            "server CPU per update": cpu / counter.updates * 1e6,
            "first update at the client": counter.first_late,
        },
    )


if __name__ == "__main__":
    harness.main(__doc__, add_options, measure)
