"""Many pages that follow one source: CPU per update of a page, memory per page, and how late the slowest page is.

    python -m benchmarks.shared [--pages 1000] [--seconds 15] [--runs 1]

Starts, each in a process of its own and in turn, Flash with one generator for all pages, Flash with a generator for
each, and a raw ASGI app that writes the same bytes to each page, on Hypercorn's trio worker. Each page gets 10 updates
a second, all pages at the same moments. Counted is what arrives. Each update carries the time at which it was yielded.
A measuring of Flash takes as long as it waits between two pings, so that each page's ping and acknowledgement count
once; one of the raw app, which has none, is shorter.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable

from benchmarks import harness
from benchmarks.client import Client, Dependencies, FlashPage, OnEvents, get_stream
from benchmarks.harness import Runs, percentile, say, serve
from benchmarks.many_pages import HANDFUL, Arrivals, BareCrowd, Crowd, watch
from benchmarks.results import Result

NAME = "shared stream"
SHARED, ALONE, RAW = "Flash, one source", "Flash, a generator each", "raw ASGI, the same bytes"
CPU, MEMORY = "server CPU per update of a page", "memory per follower, with its page"
LATE, SLOWEST = "p99 from yield to client", "p99 of the slowest page"

INTERVAL = 0.1
"""Seconds between two updates."""

SMALL = ["--pages", "10", "--seconds", "0.5", "--raw-seconds", "0.5", "--settle", "0.1", "--runs", "1"]
"""Options by which the benchmark only shows that it works."""


class ArrivalsByPage(Arrivals):
    """What comes, of all pages and of each."""

    def __init__(self) -> None:
        super().__init__([])
        self._by_page: list[list[int]] = []

    def of_page(self) -> OnEvents:
        """What one more page is to call with what it is sent."""
        own: list[int] = []
        self._by_page.append(own)

        def take(block: bytes, now: int) -> None:
            before = len(self.late)
            self.take(block, now)
            own.extend(self.late[before:])

        return take

    def forget(self) -> None:
        """Begin anew."""
        for own in self._by_page:
            own.clear()

    def slowest(self, share: float) -> float:
        """Of the pages, the one whose updates are latest: so late at most is this share of them, in nanoseconds."""
        return max(percentile(own, share) for own in self._by_page if own)


class FollowingCrowd(Crowd):
    """Pages of Flash that all follow one source."""

    button = "shared"

    def __init__(self, client: Client, arrivals: ArrivalsByPage) -> None:
        super().__init__(client, arrivals)
        self.by_page = arrivals
        self.pages: list[FlashPage] = []
        self._dependencies = Dependencies(client)

    def grow(self, pages: int, streams: int, interval: float) -> None:
        while len(self.pages) < pages:
            new = [
                FlashPage(self.client, self._dependencies, self.by_page.of_page())
                for _ in range(min(HANDFUL, pages - len(self.pages)))
            ]
            self.client.run(lambda new=new: all(page.greeted for page in new))
            for page in new:
                page.start(self.button, "value", interval)
            self.client.run(self.client.idle)
            self.pages += new
        # No stream yields before all have been started, for both at once are too much. For all, it is one moment.
        self.client.get("/begin")
        assert not self.client.refused, self.client.refused[:3]


class AloneCrowd(FollowingCrowd):
    """The same pages, with a generator each."""

    button = "alone"


class SameBytesCrowd(BareCrowd):
    """Pages of the raw app, which writes to all at the same moments."""

    def __init__(self, client: Client, arrivals: ArrivalsByPage) -> None:
        super().__init__(client, arrivals)
        self.by_page = arrivals

    def grow(self, pages: int, streams: int, interval: float) -> None:
        while len(self.pages) < pages:
            self.pages.append(get_stream(self.client, f"/same?interval={interval}", self.by_page.of_page()))
            self.client.run_for(0.0)


CROWDS: dict[str, tuple[str, str, Callable[[Client, ArrivalsByPage], Crowd]]] = {
    SHARED: ("flash", "benchmarks.apps.flash_shared:app", FollowingCrowd),
    ALONE: ("flash", "benchmarks.apps.flash_shared:app", AloneCrowd),
    RAW: ("hypercorn-trio", "benchmarks.apps.raw:app", SameBytesCrowd),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pages", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=15.0, help="of a measuring: Flash's ping interval")
    parser.add_argument("--raw-seconds", type=float, default=5.0, help="the same for the raw app, which has no pings")
    parser.add_argument("--settle", type=float, default=1.0)
    parser.add_argument("--runs", type=int, default=1)


def measure(options: argparse.Namespace) -> list[Result]:
    runs = Runs()
    for number in range(options.runs):
        say(f"{NAME}: {options.pages} pages, run {number + 1} of {options.runs}")
        subjects = list(CROWDS)
        random.shuffle(subjects)
        for subject in subjects:
            _follow(runs, subject, options)
    name = f"{NAME}: {options.pages} pages x {1 / INTERVAL:g}/s"
    return [
        runs.result(name, SHARED, CPU, "us", reference=ALONE, at_most=0.6, of_ratio=True),
        runs.result(name, SHARED, CPU, "us", reference=RAW, at_most=1.2, of_ratio=True),
        runs.result(name, SHARED, MEMORY, "KiB", reference=ALONE),
        runs.result(name, SHARED, LATE, "ms", reference=RAW),
        runs.result(name, SHARED, SLOWEST, "ms", reference=RAW),
    ]


def _follow(runs: Runs, subject: str, options: argparse.Namespace) -> None:
    kind, app, crowd_of = CROWDS[subject]
    with serve(kind, app) as server, Client(server.port) as client:
        arrivals = ArrivalsByPage()
        crowd = crowd_of(client, arrivals)
        before = server.memory()
        crowd.grow(options.pages, 1, INTERVAL)
        client.run_for(options.settle)
        arrivals.forget()
        load = watch(server, crowd, options.raw_seconds if subject == RAW else options.seconds)
        memory = (server.memory() - before) / options.pages / 1024
        slowest = arrivals.slowest(0.99) / 1e6
        runs.add(subject, **{CPU: load.cpu, MEMORY: memory, LATE: load.late, SLOWEST: slowest})


if __name__ == "__main__":
    harness.main(__doc__, add_options, measure)
