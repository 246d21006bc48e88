"""What a process of very many pages needs that are only open: its memory, and how long its event loop pauses.

    python -m benchmarks.open_pages [--pages 10000] [--seconds 20]

Starts `--pages` pages of Flash with a stream each, which gets an update every ten seconds. Counted is how late a task
of the process is that is due every 2 ms, for `--seconds` once all pages are there, and after that the memory of the
process: by then every page was pinged, and has acknowledged what it was sent first. A pause in which that task was due
a hundred times counts a hundred times: it is the share of time that counts, and not the share of pauses. Collections of
garbage are part of it.
"""

from __future__ import annotations

import argparse
import json

from benchmarks import harness
from benchmarks.client import Client
from benchmarks.harness import Runs, percentile, say, serve
from benchmarks.many_pages import FLASH, Arrivals, FlashCrowd
from benchmarks.results import Result

NAME = "open pages"
MEMORY, PAUSE = "memory of the process", "p99.9 of the event loop's pauses"
LONGEST, COLLECTION = "longest pause", "longest collection of garbage"

INTERVAL = 10.0
"""Seconds between the updates of a page."""

SECONDS = 20.0
"""How long pauses are measured: longer than Flash waits between two pings of a page."""

SETTLE = 2.0
"""Seconds until the last start is over, for which the streams did not begin."""

SMALL = ["--pages", "20", "--seconds", "0.5", "--settle", "0.1"]
"""Options by which the benchmark only shows that it works."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pages", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--settle", type=float, default=SETTLE)


def measure(options: argparse.Namespace) -> list[Result]:
    runs, name = Runs(), f"{NAME}: {options.pages} x 1 stream x {1 / INTERVAL:g}/s"
    say(name)
    with serve("flash", "benchmarks.apps.flash_pauses:app") as server, Client(server.port) as client:
        crowd = FlashCrowd(client, Arrivals([]))
        crowd.grow(options.pages, 1, INTERVAL)
        client.run_for(options.settle)
        _pauses(client)
        client.run_for(options.seconds)
        late, collections = _pauses(client)
        runs.add(
            FLASH,
            **{
                MEMORY: server.memory() / 2**20,
                PAUSE: percentile(late, 0.999) * 1e3,
                LONGEST: max(late) * 1e3,
                COLLECTION: max(collections, default=0.0) * 1e3,
            },
        )
    return [
        runs.result(name, FLASH, MEMORY, "MiB", at_most=450, goal="memory"),
        runs.result(name, FLASH, PAUSE, "ms", at_most=20, goal="memory"),
        runs.result(name, FLASH, LONGEST, "ms"),
        runs.result(name, FLASH, COLLECTION, "ms"),
    ]


def _pauses(client: Client) -> tuple[list[float], list[float]]:
    """What the server has noted since the last time: how late its task was, and how long collections took."""
    noted = json.loads(client.get("/pauses"))
    return noted["late"], noted["collections"]


if __name__ == "__main__":
    harness.main(__doc__, add_options, measure)
