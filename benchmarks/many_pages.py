"""Many pages with a little to show each: CPU per update, memory per page, and how late the updates are.

    python -m benchmarks.many_pages [--pages 500] [--crowd 1000] [--seconds 15] [--runs 1]

Starts, each in a process of its own and in turn, Flash, the same frames from a raw ASGI app, and from a generator that
is the body of a Quart-Trio response, both on Hypercorn's trio worker. Two loads, with the pages at random phases:

- `--pages` pages with one stream of 2 updates/s each;
- `--crowd` pages with 10 streams of 1 update/s each. Flash comes to it in three steps, which make the curve of CPU per
  update; the raw app, which writes the streams of a page in one task, is given the whole load, of which it may not
  manage all. So is Flash once more, with generators that wait by `trio.sleep_until`, as the raw app does, instead of
  by `every`.

The pages connect before the measuring begins, and acknowledge as Flash's script does. Each update carries the time at
which it was yielded. Counted is what arrives. Of Flash the first load and the largest are measured for as long as it
waits between two pings, so that what a page costs without any update, its ping and the acknowledgement, is counted
once; the others have no pings, and are measured for a shorter time.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import dataclass

from benchmarks import harness
from benchmarks.apps.settings import STREAMS
from benchmarks.client import STAMP, Client, Dependencies, EventStream, FlashPage, get_stream
from benchmarks.harness import Runs, Server, percentile, say, serve
from benchmarks.results import Curve, Result

NAME = "many pages"
FLASH, SLEEPING, RAW, BODY = "Flash", "Flash, trio.sleep_until", "raw ASGI", "Quart-Trio body"
CPU, MEMORY, LATE = "server CPU per update", "memory per page", "p99 from yield to client"
BUSY, REQUESTS = "server's share of a CPU", "acknowledgements per update"
EACH = "memory of each further stream of a page"

RATE = 2.0
"""Updates per second of each page of the first load."""

CROWD_INTERVAL = 1.0
"""Seconds between the updates of each stream of the second."""

HANDFUL = 10
"""Pages that are loaded at a time."""

START = 0.0015
"""Seconds that a start may take: no stream begins before all have been started, for both at once are too much.

That moment is named with the start. Streams that were told of it all at once would take more memory from then on.
"""

SETTLE = 1.5
"""Seconds between the moment at which the streams begin and the measuring: every stream has sent something."""

SMALL = ["--pages=10", "--crowd=10", "--seconds=0.5", "--raw-seconds=0.5", "--settle=0.1", "--runs=1"]
"""Options by which the benchmark only shows that it works."""


@dataclass
class Arrivals:
    """What comes while it is counted: how many updates, and how late."""

    late: list[int]

    def take(self, block: bytes, now: int) -> None:
        self.late.extend([now - int(stamp) for stamp in STAMP.findall(block)])


class Crowd:
    """The pages of one server."""

    def __init__(self, client: Client, arrivals: Arrivals) -> None:
        self.client = client
        self.arrivals = arrivals

    def grow(self, pages: int, streams: int, interval: float) -> None:
        """Let there be so many pages, with so many streams each."""
        raise NotImplementedError


class BareCrowd(Crowd):
    """Pages of the references: a GET begins the streams of one."""

    def __init__(self, client: Client, arrivals: Arrivals) -> None:
        super().__init__(client, arrivals)
        self.pages: list[EventStream] = []

    def grow(self, pages: int, streams: int, interval: float) -> None:
        while len(self.pages) < pages:
            target = f"/ticks?interval={interval}&streams={streams}"
            self.pages.append(get_stream(self.client, target, self.arrivals.take))
            self.client.run_for(0.0)


class FlashCrowd(Crowd):
    """Pages of Flash: connected first, then a request for each stream."""

    sleeps = False

    def __init__(self, client: Client, arrivals: Arrivals) -> None:
        super().__init__(client, arrivals)
        self.pages: list[FlashPage] = []
        self._dependencies = Dependencies(client)

    def grow(self, pages: int, streams: int, interval: float) -> None:
        begin = time.monotonic() + START * streams * (pages - len(self.pages))
        while len(self.pages) < pages:
            # A few at a time: acknowledgements are not to queue behind thousands of starts.
            new = [
                FlashPage(self.client, self._dependencies, self.arrivals.take)
                for _ in range(min(HANDFUL, pages - len(self.pages)))
            ]
            self.client.run(lambda new=new: all(page.greeted for page in new))
            for page in new:
                for number in range(streams):
                    setting = {"interval": interval, "begin": begin + interval * random.random(), "sleeps": self.sleeps}
                    page.start(f"tick{number}", value=setting)
            # Not until it is idle: of thousands of pages there is always one that acknowledges something.
            self.client.run_until_answered()
            self.pages += new
        self.client.run_for(begin - time.monotonic())
        assert not self.client.refused, self.client.refused[:3]


class SleepingCrowd(FlashCrowd):
    """Pages whose generators wait as they would without Flash."""

    sleeps = True


CROWDS: dict[str, tuple[str, str, type[Crowd]]] = {
    FLASH: ("flash", "benchmarks.apps.flash_streams:app", FlashCrowd),
    SLEEPING: ("flash", "benchmarks.apps.flash_streams:app", SleepingCrowd),
    RAW: ("hypercorn-trio", "benchmarks.apps.raw:app", BareCrowd),
    BODY: ("hypercorn-trio", "benchmarks.apps.quart_trio_body:app", BareCrowd),
}


@dataclass(frozen=True)
class Load:
    """What one measuring has found."""

    cpu: float
    late: float
    busy: float
    requests: float

    def figures(self) -> dict[str, float]:
        return {CPU: self.cpu, LATE: self.late, BUSY: self.busy, REQUESTS: self.requests}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pages", type=int, default=500)
    parser.add_argument("--crowd", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=15.0, help="of a measuring: Flash's ping interval")
    parser.add_argument("--raw-seconds", type=float, default=5.0, help="the same for what has no pings")
    parser.add_argument("--settle", type=float, default=SETTLE)
    parser.add_argument("--runs", type=int, default=1, help="of the first load; the second has one less, or one")


def measure(options: argparse.Namespace) -> list[Result]:
    runs = Runs()
    for number in range(options.runs):
        say(f"{NAME}: {options.pages} pages, run {number + 1} of {options.runs}")
        for subject in (FLASH, RAW, BODY):
            _few(runs, subject, options)
    crowd, curve = Runs(), Curve(f"{NAME}: CPU per update", "streams", "us")
    for number in range(max(1, options.runs - 1)):
        say(f"{NAME}: {options.crowd} pages with {STREAMS} streams, run {number + 1}")
        for subject in (FLASH, SLEEPING, RAW):
            _many(crowd, curve, subject, options)
    further = crowd.median(FLASH, MEMORY) - runs.median(FLASH, MEMORY)
    crowd.add(FLASH, **{EACH: further / (STREAMS - 1)})
    small, large = f"{options.pages} x 1 stream x {RATE:g}/s", f"{options.crowd} x {STREAMS} streams x 1/s"
    few, many = f"{NAME}: {small}", f"{NAME}: {large}"
    return [
        runs.result(few, FLASH, CPU, "us", reference=RAW, at_most=1.3, of_ratio=True),
        runs.result(few, FLASH, CPU, "us", reference=BODY),
        runs.result(few, FLASH, MEMORY, "KiB", reference=RAW, at_most=1.6, of_ratio=True, goal="memory"),
        runs.result(few, FLASH, LATE, "ms", reference=RAW, at_most=10),
        runs.result(few, FLASH, BUSY, "", reference=RAW),
        runs.result(few, FLASH, REQUESTS, ""),
        crowd.result(many, FLASH, CPU, "us", reference=RAW, at_most=0.5, of_ratio=True),
        crowd.result(many, FLASH, LATE, "ms", reference=RAW, at_most=250),
        crowd.result(many, FLASH, BUSY, "", reference=RAW),
        crowd.result(many, FLASH, REQUESTS, ""),
        crowd.result(many, FLASH, MEMORY, "KiB", reference=RAW),
        crowd.result(many, FLASH, EACH, "KiB", at_most=8, goal="memory"),
        crowd.result(many, SLEEPING, CPU, "us", reference=RAW, at_most=0.5, of_ratio=True, goal="crowds"),
        crowd.result(many, SLEEPING, BUSY, "", reference=RAW),
        *curve.results(many),
    ]


def _few(runs: Runs, subject: str, options: argparse.Namespace) -> None:
    kind, app, crowd_of = CROWDS[subject]
    with serve(kind, app) as server, Client(server.port) as client:
        crowd = crowd_of(client, Arrivals([]))
        # What is only needed once is not a page's.
        warm = min(20, options.pages)
        crowd.grow(warm, 1, 1 / RATE)
        client.run_for(options.settle)
        before = server.memory()
        crowd.grow(warm + options.pages, 1, 1 / RATE)
        client.run_for(options.settle)
        load = watch(server, crowd, _seconds(subject, options))
        memory = (server.memory() - before) / options.pages / 1024
        runs.add(subject, **load.figures(), **{MEMORY: memory})


def _many(runs: Runs, curve: Curve, subject: str, options: argparse.Namespace) -> None:
    kind, app, crowd_of = CROWDS[subject]
    steps = sorted({max(1, options.crowd // part) for part in (100, 10, 1)})
    with serve(kind, app) as server, Client(server.port) as client:
        crowd = crowd_of(client, Arrivals([]))
        before, load = server.memory(), None
        for pages in steps if subject == FLASH else steps[-1:]:
            crowd.grow(pages, STREAMS, CROWD_INTERVAL)
            client.run_for(options.settle)
            load = watch(server, crowd, _seconds(subject, options) if pages == steps[-1] else options.seconds / 3)
            curve.add(subject, pages * STREAMS, load.cpu)
        assert load is not None
        memory = (server.memory() - before) / options.crowd / 1024
        runs.add(subject, **load.figures(), **{MEMORY: memory})


def _seconds(subject: str, options: argparse.Namespace) -> float:
    """How long the largest load of a subject is measured."""
    return options.raw_seconds if subject in {RAW, BODY} else options.seconds


def watch(server: Server, crowd: Crowd, seconds: float) -> Load:
    """What the pages of a server cost for so many seconds."""
    late = crowd.arrivals.late
    late.clear()
    cpu, began, requests = server.cpu(), time.monotonic(), crowd.client.answered
    crowd.client.run_for(seconds)
    crowd.client.run(lambda: bool(late))
    cpu, took = server.cpu() - cpu, time.monotonic() - began
    return Load(
        cpu / len(late) * 1e6, percentile(late, 0.99) / 1e6, cpu / took, (crowd.client.answered - requests) / len(late)
    )


if __name__ == "__main__":
    harness.main(__doc__, add_options, measure)
