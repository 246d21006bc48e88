"""A trivial async callback: the server's CPU per request.

    python -m benchmarks.plain_callbacks [--requests 2000] [--runs 3] [--no-dash]

Starts, each in a process of its own and in turn, Flash, Dash 4.4.1 on Quart with Hypercorn's asyncio worker, and Dash
4.4.1 on FastAPI with uvicorn (with uvloop and httptools). Each is asked over four keep-alive connections, each with one
request at a time; and over one websocket with four requests on their way. The apps are the same but for the imports.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable

from benchmarks import harness
from benchmarks.client import CONNECTIONS, Client, Dependencies
from benchmarks.harness import Runs, Server, percentile, say, serve
from benchmarks.results import Result
from benchmarks.websockets import WebSocket
from flash.asgi.tokens import new_token

NAME = "plain callbacks"
FLASH, QUART, FASTAPI = "Flash", "Dash 4.4.1 on Quart", "Dash 4.4.1 on FastAPI"
CPU, RATE, LATE = "server CPU per request", "rate", "p99 of an answer"
HTTP, WEBSOCKET = "plain callbacks", "plain callbacks by websocket"

SERVERS = {
    FLASH: ("flash", "benchmarks.apps.flash_plain:app", None),
    QUART: ("hypercorn-asyncio", "benchmarks.apps.dash_plain_quart:server", "dash-4.4.1"),
    FASTAPI: ("uvicorn", "benchmarks.apps.dash_plain_fastapi:server", "dash-4.4.1"),
}

Ask = Callable[[Client, Dependencies, int], list[float]]
ANSWERED = re.compile(rb'"requestId": ?"(\d+)"')

SMALL = ["--requests", "50", "--runs", "1"]
"""Options by which the benchmark only shows that it works."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--no-dash", action="store_true", help="without the references that are installed by themselves"
    )


def measure(options: argparse.Namespace) -> list[Result]:
    over_http, over_websocket = Runs(), Runs()
    for number in range(options.runs):
        say(f"{NAME}: run {number + 1} of {options.runs}")
        for subject, (kind, app, environment) in SERVERS.items():
            if options.no_dash and environment is not None:
                continue
            with serve(kind, app, environment) as server, Client(server.port) as client:
                dependencies = Dependencies(client)
                _ask_over_http(client, dependencies, options.requests // 10)
                over_http.add(subject, **_watch(server, client, dependencies, options.requests, _ask_over_http))
                _ask_over_websocket(client, dependencies, options.requests // 10)
                over_websocket.add(
                    subject, **_watch(server, client, dependencies, options.requests, _ask_over_websocket)
                )
                assert not client.refused, client.refused[:3]
    found: list[Result] = []
    goal = "plain callbacks"
    for name, runs, of_quart, of_fastapi in ((HTTP, over_http, 0.65, 1.5), (WEBSOCKET, over_websocket, 1.0, 1.0)):
        found += [
            runs.result(name, FLASH, CPU, "us", reference=QUART, at_most=of_quart, of_ratio=True, goal=goal),
            runs.result(name, FLASH, CPU, "us", reference=FASTAPI, at_most=of_fastapi, of_ratio=True, goal=goal),
            runs.result(name, FLASH, RATE, "requests/s", reference=QUART),
            runs.result(name, FLASH, RATE, "requests/s", reference=FASTAPI),
            runs.result(name, FLASH, LATE, "ms", reference=QUART),
            runs.result(name, FLASH, LATE, "ms", reference=FASTAPI),
        ]
    return found


def _watch(server: Server, client: Client, dependencies: Dependencies, requests: int, ask: Ask) -> dict[str, float]:
    cpu, began = server.cpu(), time.monotonic()
    late = ask(client, dependencies, requests)
    took = time.monotonic() - began
    return {CPU: (server.cpu() - cpu) / requests * 1e6, RATE: requests / took, LATE: percentile(late, 0.99)}


def _ask_over_http(client: Client, dependencies: Dependencies, requests: int) -> list[float]:
    """How many milliseconds each answer took."""
    late: list[float] = []
    asked = 0

    def ask(lane: int) -> None:
        nonlocal asked
        if asked == requests:
            return
        asked += 1
        body, began = json.dumps(dependencies.click("ask", asked)).encode(), time.monotonic()

        def answered(status: int, answer: bytes) -> None:
            late.append((time.monotonic() - began) * 1e3)
            assert b" clicks" in answer, (status, answer)
            ask(lane)

        client.post("/_dash-update-component", body, answered, lane=lane)

    for lane in range(CONNECTIONS):
        ask(lane)
    client.run(lambda: len(late) == requests)
    return late


def _ask_over_websocket(client: Client, dependencies: Dependencies, requests: int) -> list[float]:
    """How many milliseconds each answer took."""
    late: list[float] = []
    began: dict[str, float] = {}

    def ask() -> None:
        if len(began) < requests:
            body = dependencies.click("ask", len(began) + 1)
            now = time.monotonic()
            began[socket.request(body)] = now

    def take(message: bytes, now: int) -> None:
        # Answers that come together share a message.
        assert b" clicks" in message, message
        for answer in ANSWERED.findall(message):
            late.append((time.monotonic() - began[answer.decode()]) * 1e3)
            ask()

    socket = WebSocket(client, take, new_token())
    for _ in range(CONNECTIONS):
        ask()
    client.run(lambda: len(late) == requests)
    socket.close()
    return late


if __name__ == "__main__":
    harness.main(__doc__, add_options, measure)
