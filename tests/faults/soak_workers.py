"""The soak over several workers, which are killed and replaced now and then: `python -m tests.faults.soak --workers 3`.

Each connection of a page comes to whichever worker. A page knows which workers it depends on: the one that holds it,
which also has its link, and the one that its requests come to. When one of these is killed, the page has to find all
well again: its link opens once more, streams start and come to their ends. A page that depends on none that was killed
must not notice, and is as strict as in the soak of one process. When all workers are replaced, as at SIGHUP, no request
of a page is refused: see `soak_workers_visitors.py`.

At the end nothing is left in any worker, also in those that were started in place of the dead: no stream or channel, no
more tasks and files than after the first streams, no browser that is held. Nor does the supervisor have a claim.
"""

from __future__ import annotations

import random
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path

import trio

from tests.faults.soak import dependencies_of
from tests.faults.soak_footprint import SETTLE, Footprint, growth
from tests.faults.soak_timeline import paragraphs, read_workers_lines
from tests.faults.soak_workers_visitors import WorkersLoad, answers
from tests.support.eventually import eventually
from tests.support.processes import Process, python

WARM_UP = 200
"""Streams that run before the workers are measured for the first time."""


@dataclass
class Looked:
    """What a look at all workers has found.

    Attributes:
        footprints: what each process has.
        tasks: which these are, and where they wait.
        browsers: how many browsers it holds.
        claims: how many browsers have a holder, says the supervisor.
    """

    footprints: dict[int, Footprint]
    tasks: dict[int, list[str]]
    browsers: dict[int, int]
    claims: int

    @property
    def is_idle(self) -> bool:
        left = [footprint.channels + footprint.streams + footprint.generators for footprint in self.footprints.values()]
        return not any([*left, *self.browsers.values(), self.claims])


@dataclass
class Report:
    """What came of a soak over several workers."""

    seed: int
    started: int
    seconds: float
    kills: int
    reloads: int
    before: Looked
    after: Looked
    done: Counter[str]
    ended: Counter[str]
    violations: list[str]
    timelines: list[str]

    def __str__(self) -> str:
        rate = self.started / self.seconds
        lines = [
            f"{self.started} streams in {self.seconds:.1f} s ({rate:.0f}/s), seed {self.seed}, {self.kills} kills, "
            f"{self.reloads} reloads",
            "",
            "done by pages:",
        ]
        lines += [f"  {count:>8} {what}" for what, count in sorted(self.done.items())]
        lines += ["", "streams ended, say the workers that are left:"]
        lines += [f"  {count:>8} {reason}" for reason, count in sorted(self.ended.items())]
        for when, looked in (("before", self.before), ("after", self.after)):
            footprints = looked.footprints.values()
            lines += ["", f"  {when:<10}" + "".join(f"{f'worker {pid}':>16}" for pid in looked.footprints)]
            lines += [
                f"  {each.name:<10}" + "".join(f"{getattr(found, each.name):>16}" for found in footprints)
                for each in fields(Footprint)
            ]
            lines += [f"  {'browsers':<10}" + "".join(f"{held:>16}" for held in looked.browsers.values())]
            lines += [f"  {looked.claims} browsers are claimed"]
        lines += ["", f"{len(self.violations)} violations"]
        lines += [f"  {violation}" for violation in self.violations[:50]]
        lines += self.timelines
        return "\n".join(lines)


class Soak:
    """The server of the soak, and what is asked of it."""

    def __init__(self, process: Process, workers: int) -> None:
        self.port = process.wait_for_port()
        self.folder = process.folder
        self._process = process
        self._workers = workers

    def reload(self) -> None:
        """Have the supervisor replace all workers."""
        self._process.send(signal.SIGHUP)

    async def look(self) -> Looked:
        claims = self._process.folder / "claims"
        claims.unlink(missing_ok=True)
        self._process.send(signal.SIGUSR1)
        answered = await answers(self.port, "/footprint", self._workers)
        found = {pid: answer.json() for pid, answer in answered.items()}
        await eventually(claims.exists)
        return Looked(
            {pid: Footprint(**each["footprint"]) for pid, each in found.items()},
            {pid: each["tasks"] for pid, each in found.items()},
            {pid: each["browsers"] for pid, each in found.items()},
            int(claims.read_text()),
        )

    async def settled(self, most: Footprint | None = None) -> Looked:
        """What there is when the workers have come to rest, or when that has taken too long.

        Args:
            most: what one of them may have at rest; None if that is not known yet.
        """
        deadline = trio.current_time() + SETTLE
        last: Looked | None = None
        while True:
            looked = await self.look()
            at_rest = [(each.tasks, each.open_files) for each in looked.footprints.values()]
            if most is not None:
                calm = all(tasks <= most.tasks and files <= most.open_files for tasks, files in at_rest)
            else:
                # The connections that have just been closed are gone, too.
                calm = last is not None and at_rest == [(e.tasks, e.open_files) for e in last.footprints.values()]
            if (looked.is_idle and calm) or trio.current_time() > deadline:
                return looked
            last = looked
            await trio.sleep(0.3)


def soak_workers(workers: int, streams: int, seed: int, kills: int, reloads: int = 0) -> Report:
    """Run so many streams over so many workers, and report.

    Args:
        workers: how many.
        streams: how many to start.
        seed: what decides.
        kills: how often one of the workers is killed meanwhile.
        reloads: how often all of them are replaced, as with new code.
    """
    supervise = ("-m", "tests.faults.soak_supervisor", str(workers))
    with tempfile.TemporaryDirectory() as folder, python(Path(folder), *supervise) as process:
        return trio.run(_soak, Soak(process, workers), workers, streams, seed, kills, reloads)


async def _soak(soak: Soak, workers: int, streams: int, seed: int, kills: int, reloads: int) -> Report:
    choice = random.Random(seed)
    # All of them serve.
    await answers(soak.port, "/pid", workers)
    dependencies = await dependencies_of(soak.port)
    warming = WorkersLoad(soak.port, dependencies, WARM_UP, choice)
    await warming.run()
    before = await soak.settled()
    most = Footprint(
        **{
            each.name: max(getattr(footprint, each.name) for footprint in before.footprints.values())
            for each in fields(Footprint)
        }
    )
    load = WorkersLoad(soak.port, dependencies, streams, choice, len(warming.planned))
    began = time.monotonic()
    await load.run_and_kill(workers, kills, reloads, soak.reload)
    seconds = time.monotonic() - began
    after = await soak.settled(most)
    verdicts = {pid: answer.json() for pid, answer in (await answers(soak.port, "/verdict", workers)).items()}
    violations = [*warming.violations, *load.violations]
    for pid, verdict in verdicts.items():
        violations += [f"worker {pid}: {violation}" for violation in verdict["violations"]]
    for pid, footprint in after.footprints.items():
        violations += [f"worker {pid}: {violation}" for violation in growth(most, footprint, len(load.planned))]
        if footprint.tasks > most.tasks:
            violations.append(f"worker {pid} has these tasks: {'; '.join(sorted(after.tasks[pid]))}")
        if after.browsers[pid]:
            violations.append(f"worker {pid} holds {after.browsers[pid]} browsers")
    if after.claims:
        violations.append(f"{after.claims} browsers are claimed")
    ended = sum((Counter[str](verdict["ended"]) for verdict in verdicts.values()), Counter[str]())
    timelines = paragraphs([*warming.suspects, *load.suspects], read_workers_lines(soak.folder))
    return Report(
        seed,
        len(load.planned),
        seconds,
        load.kills,
        load.reloads,
        before,
        after,
        load.done,
        ended,
        violations,
        timelines,
    )
