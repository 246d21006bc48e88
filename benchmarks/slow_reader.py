"""A page that takes 20 events a second, and a stream that has 1,000 updates for it.

    python -m benchmarks.slow_reader [--seconds 8] [--runs 2]

Starts Flash, with a small window. The page takes 50 ms for each event that it gets, and acknowledges it then, as
Flash's script does. The stream is declared with `conflate=True`, and, for the reference, without it. Measured is how
old an update is when the page has applied it, what the server's memory has grown by, and how many updates the
generator got rid of: without `conflate` it waits, and the page is behind by what the buffers hold.
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from functools import partial

from benchmarks import harness
from benchmarks.client import STAMP, UPDATE, Client, Dependencies, FlashPage
from benchmarks.harness import Runs, Server, percentile, say, serve
from benchmarks.results import Result
from tests.support.wire_client import events_in, has_ping, last_id_in

NAME = "slow reader"
CONFLATED, WAITING = "conflate=True", "without conflate"
BEHIND, GROWN, YIELDED, APPLIED = "p99 behind", "server's memory grown by", "updates yielded", "updates applied"

APPLY = 0.05
"""Seconds that the page takes for an event."""

RATE = 1_000
"""Updates per second that the generator has."""

BOUND = 1_000
"""KiB by which the server may grow meanwhile: less than if it kept what it cannot send for ten seconds."""

SMALL = ["--seconds", "1", "--runs", "1"]
"""Options by which the benchmark only shows that it works."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--runs", type=int, default=1)


def measure(options: argparse.Namespace) -> list[Result]:
    runs = Runs()
    for number in range(options.runs):
        say(f"{NAME}: run {number + 1} of {options.runs}")
        with serve("flash", "benchmarks.apps.flash_ticker:app") as server:
            for subject, component in ((CONFLATED, "conflated"), (WAITING, "waiting")):
                runs.add(subject, **_read_slowly(server, component, options.seconds))
    result = runs.result
    return [
        result(NAME, CONFLATED, BEHIND, "ms", reference=WAITING, at_most=100),
        result(NAME, CONFLATED, GROWN, "KiB", at_most=BOUND),
        result(NAME, WAITING, GROWN, "KiB", at_most=BOUND),
        result(NAME, CONFLATED, YIELDED, "/s", reference=WAITING, at_least=0.9 * RATE),
        result(NAME, CONFLATED, APPLIED, "/s", reference=WAITING),
    ]


class SlowPage:
    """Takes events one by one, each for as long as it takes, and acknowledges what it has applied.

    Attributes:
        behind: how old the newest update of each event was when that had been applied, in milliseconds.
        applied: how many updates there were.
    """

    def __init__(self, client: Client, dependencies: Dependencies) -> None:
        self.behind: list[float] = []
        self.applied = 0
        self._client = client
        self._events: deque[bytes] = deque()
        self._busy = False
        self.page = FlashPage(client, dependencies, lambda block, now: None, acknowledges=False)
        self.page.on_events = self._take

    def _take(self, block: bytes, now: int) -> None:
        self._events.extend(events_in(block))
        if not self._busy:
            self._next()

    def _next(self) -> None:
        self._busy = False
        while self._events and not self._busy:
            event = self._events.popleft()
            if has_ping(event):
                self.page.keep_up()
            elif b"event: props" in event:
                self._busy = True
                self._client.after(APPLY, partial(self._apply, event))
            else:
                self.page.applied = last_id_in(event)

    def _apply(self, event: bytes) -> None:
        self.applied += event.count(UPDATE)
        self.behind.append((time.monotonic_ns() - int(STAMP.findall(event)[-1])) / 1e6)
        self.page.applied = last_id_in(event)
        self._next()


def _read_slowly(server: Server, component: str, seconds: float) -> dict[str, float]:
    with Client(server.port) as client:
        slow = SlowPage(client, Dependencies(client))
        client.run(lambda: slow.page.greeted)
        slow.page.start(component)
        client.run(lambda: slow.applied > 0)
        client.run_for(min(4.0, seconds / 2))
        # From here on nothing is new to it.
        slow.behind.clear()
        slow.applied, first = 0, int(client.get("/yielded"))
        before, began = server.memory(), time.monotonic()
        client.run_for(seconds)
        took = time.monotonic() - began
        assert not client.refused, client.refused[:3]
        return {
            BEHIND: percentile(slow.behind, 0.99),
            GROWN: (server.memory() - before) / 1024,
            YIELDED: (int(client.get("/yielded")) - first) / took,
            APPLIED: slow.applied / took,
        }


if __name__ == "__main__":
    harness.main(__doc__, add_options, measure)
