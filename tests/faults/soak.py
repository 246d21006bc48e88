"""The soak: streams by the thousand, ended in every way there is, over real sockets; at the end nothing is left.

    python -m tests.faults.soak --streams 20000 --seed 1

Pages come and go at random (the seed says how): they start streams, cancel and supersede them, let them fail and
time out, cut their connection, come back within the grace or too late, and leave with or without a goodbye. A tenth
of the streams misbehave, so as to end others; none is to end by that. The streams keep a ledger of what happened to
each run; the pages check what they are sent, event by event; and before and after, the server is measured: tasks, open
files, generators, objects, memory. The report lists all of it, and each violation; the exit status is 1 if there is
one. With `--workers 3` there are several processes, of which one is killed now and then, and all are replaced: see
`soak_workers.py`.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import trio
from prometheus_client.parser import text_string_to_metric_families

from flash import EndReason
from tests.faults.soak_app import KINDS, Ledger, Mishap, make_app
from tests.faults.soak_footprint import Footprint, growth, settled
from tests.faults.soak_timeline import Timeline, paragraphs
from tests.faults.soak_visitors import Load
from tests.faults.sockets import Site
from tests.support.serving import serve

WARM_UP = 200
"""Streams that run before the server is measured for the first time: caches fill, threads start."""


@dataclass
class Report:
    """What came of a soak."""

    seed: int
    started: int
    seconds: float
    before: Footprint
    after: Footprint
    done: Counter[str]
    ended: Counter[str]
    violations: list[str]
    timelines: list[str]

    def __str__(self) -> str:
        rate = self.started / self.seconds
        lines = [
            f"{self.started} streams in {self.seconds:.1f} s ({rate:.0f}/s), seed {self.seed}",
            "",
            "done by pages:",
        ]
        lines += [f"  {count:>8} {what}" for what, count in sorted(self.done.items())]
        lines += ["", "streams ended, says the server:"]
        lines += [f"  {count:>8} {reason}" for reason, count in sorted(self.ended.items())]
        lines += ["", f"  {'before':>12} {'after':>12}"]
        lines += [
            f"  {getattr(self.before, each.name):>12} {getattr(self.after, each.name):>12} {each.name}"
            for each in fields(Footprint)
        ]
        lines += ["", f"{len(self.violations)} violations"]
        lines += [f"  {violation}" for violation in self.violations[:50]]
        lines += self.timelines
        return "\n".join(lines)


class Lines(logging.Handler):
    """Counts the lines that the log has for ends, by reason, and keeps what else it is not to have.

    A stream may fail while it is cancelled: that is its `clean-up` that `raised`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reasons = Counter[str]()
        self.others: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple) and len(record.args) == 5 and record.args[1] in list(EndReason):
            self.reasons[str(record.args[1])] += 1
        elif record.levelno > logging.INFO and not _is_expected(record):
            self.others.append(record.getMessage())


def _is_expected(record: logging.LogRecord) -> bool:
    """Whether a line tells of what streams were told to do wrong."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, BaseExceptionGroup):
        error = None if error.split(Mishap)[1] is None else error
        return error is None
    return isinstance(error, Mishap) or record.module == "inner_generators" or "parent_nursery" in record.getMessage()


@contextmanager
def _listening() -> Generator[Lines]:
    log = logging.getLogger("flash.streams")
    before = log.level, log.propagate
    lines = Lines()
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield lines
    finally:
        log.removeHandler(lines)
        log.level, log.propagate = before


def soak(streams: int, seed: int) -> Report:
    """Run so many streams, and report."""
    ledger = Ledger()
    app = make_app(ledger)
    choice = random.Random(seed)
    done = Counter[str]()
    violations: list[str] = []
    suspects: list[Timeline] = []
    with _listening() as lines, serve(app) as server:
        port = int(server.url.rpartition(":")[2])
        empty = server.run(lambda: Footprint.measure(app))
        dependencies = trio.run(dependencies_of, port)

        def run(count: int, first_run: int) -> int:
            load = Load(port, dependencies, count, choice, first_run)
            trio.run(load.run)
            done.update(load.done)
            violations.extend(load.violations)
            suspects.extend(load.suspects)
            return len(load.planned)

        warmed = run(WARM_UP, 0)
        before = settled(server, empty)
        done.clear()
        began = time.monotonic()
        started = run(streams, warmed)
        seconds = time.monotonic() - began
        after = settled(server, empty, before)
        assert app.metrics is not None
        metrics = server.run(app.metrics.expose).decode()
    opened, ended = counts(metrics)
    violations += ledger.violations(ended, lines.reasons)
    violations += [f"the log says: {line}" for line in lines.others]
    if opened != ended.total():
        violations.append(f"{opened} streams opened, and {ended.total()} ended")
    if ended["shutdown"]:
        violations.append(f"{ended['shutdown']} streams ended with `shutdown`, and nobody has stopped the server")
    violations += growth(before, after, started)
    return Report(seed, started, seconds, before, after, done, ended, violations, paragraphs(suspects))


async def dependencies_of(port: int) -> dict[str, dict[str, Any]]:
    found = {
        kind: entry
        for entry in (await Site(port).page()).dependencies
        for kind in KINDS
        if any(needed["id"].endswith(f"-{kind}-never") for needed in entry["inputs"])
    }
    assert len(found) == len(KINDS), found
    return found


def counts(metrics: str) -> tuple[int, Counter[str]]:
    opened, ended = 0, Counter[str]()
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            if sample.name == "flash_streams_started_total":
                opened += int(sample.value)
            elif sample.name == "flash_streams_ended_total":
                ended[sample.labels["reason"]] += int(sample.value)
    return opened, ended


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description="Streams by the thousand.")
    parser.add_argument("--streams", type=int, default=20_000, help="how many to start (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="what decides; a random one unless given")
    parser.add_argument("--workers", type=int, default=1, help="how many processes serve (default: %(default)s)")
    parser.add_argument(
        "--kills", type=int, default=None, help="of workers; one for each thousand streams unless given"
    )
    parser.add_argument(
        "--reloads", type=int, default=None, help="of all workers; one for each five thousand streams unless given"
    )
    options = parser.parse_args()
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    if options.workers == 1:
        report = soak(options.streams, seed)
    else:
        # It is made of what stands here.
        from tests.faults.soak_workers import soak_workers

        kills = max(1, options.streams // 1_000) if options.kills is None else options.kills
        reloads = options.streams // 5_000 if options.reloads is None else options.reloads
        report = soak_workers(options.workers, options.streams, seed, kills, reloads)
    print(report)
    sys.exit(1 if report.violations else 0)


if __name__ == "__main__":
    main()
