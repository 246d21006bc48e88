"""The soak over several workers, which are killed now and then: `python -m tests.faults.soak --workers 3`.

Each connection of a page comes to whichever worker. A page knows which workers it depends on: the one that holds it,
which also has its link, and the one that its requests come to. When one of these is killed, the page has to find all
well again: its link opens once more, streams start and come to their ends. A page that depends on none that was killed
must not notice, and is as strict as in the soak of one process.

At the end nothing is left in any worker, also in those that were started in place of the dead: no stream or channel, no
more tasks and files than after the first streams, no browser that is held. Nor does the supervisor have a claim.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import trio

from tests.faults.soak import dependencies_of
from tests.faults.soak_app import WORKER
from tests.faults.soak_footprint import SETTLE, Footprint, growth
from tests.faults.soak_page import Page
from tests.faults.soak_timeline import paragraphs, read_workers_lines
from tests.faults.soak_visitors import Key, Load, Visitor
from tests.faults.sockets import Site
from tests.support.eventually import eventually
from tests.support.http1 import Answer, Http1
from tests.support.link import Link
from tests.support.page import AnyPage
from tests.support.processes import Process, python
from tests.support.wire_client import Post

WARM_UP = 200
"""Streams that run before the workers are measured for the first time."""

RECOVERY = 20.0
"""Seconds in which a page whose worker was killed has to find another one, on a machine that is busy."""

SUPERSEDE_INTERVAL = 0.5
"""Seconds in which a stream that is superseded has come to its end, on a machine that is not busy."""

NOBODY, ANYBODY = 0, -1
"""In place of the id of a worker's process: the page depends on none here; or it cannot know yet on which."""


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
    before: Looked
    after: Looked
    done: Counter[str]
    ended: Counter[str]
    violations: list[str]
    timelines: list[str]

    def __str__(self) -> str:
        rate = self.started / self.seconds
        lines = [
            f"{self.started} streams in {self.seconds:.1f} s ({rate:.0f}/s), seed {self.seed}, {self.kills} kills",
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


class WorkersPage(Page):
    """A page that knows which workers it depends on.

    Attributes:
        holder: holds its browser.
        link_by: has its link.
        requests_by: has the connection of its requests.
        is_recovering: one of these was killed.
    """

    def __init__(self, port: int, dependencies: list[dict[str, Any]]) -> None:
        super().__init__(port, dependencies)
        self.holder = self.link_by = self.requests_by = NOBODY
        self.is_recovering = False
        self._turns = 0
        self._workers: dict[Http1, int] = {}

    def describe(self, answer: Answer) -> str:
        return f"by worker {answer.headers.get(WORKER.lower())} through {self.requests_by}: {super().describe(answer)}"

    def depends_on(self, worker: int) -> bool:
        return not {worker, ANYBODY}.isdisjoint((self.holder, self.link_by, self.requests_by))

    async def open(self, receive_buffer: int | None = None) -> Http1:
        """A new connection to the server. What waits for a worker that is killed is lost: a browser tries again."""
        while True:
            http = await super().open(receive_buffer)
            try:
                await http.send("GET", "/pid")
                self._workers[http] = int((await http.answer()).text)
            except trio.BrokenResourceError:
                await trio.aclose_forcefully(http.stream)
            except BaseException:
                await trio.aclose_forcefully(http.stream)
                raise
            else:
                return http

    async def connect(self, *others: AnyPage[Any], **options: Any) -> Link:
        self.holder = self.link_by = ANYBODY
        began = trio.current_time()
        while True:
            # A link that was given up may still be on its way to the holder: it is not to take the page from this one.
            self._turns += 1
            options["turn"], options["over"] = self._turns, await self.open()
            link = await super().connect(*others, **options)
            if link.status != 503 or not self.is_recovering or trio.current_time() - began > RECOVERY:
                break
            # The supervisor has not noticed yet that the holder is dead.
            await link.close()
            await trio.sleep(0.1)
        # Without the header it is an answer that is complained of. The holder has the link wherever that has come to.
        self.holder = self.link_by = int(link.headers.get(WORKER.lower(), ANYBODY))
        self.timeline.note(f"has the answer {link.status} to turn {self._turns}, by worker {self.holder}")
        return link

    async def _exchange(self, post: Post, headers: list[tuple[str, str]]) -> Answer:
        if self._http is None:
            self.requests_by = ANYBODY
        answer = await super()._exchange(post, headers)
        assert self._http is not None
        self.requests_by = self._workers[self._http]
        return answer

    async def _hang_up(self) -> None:
        self.requests_by = NOBODY
        await super()._hang_up()


class WorkersVisitor(Visitor):
    """A page that finds all well again when a worker is killed that it depends on, and else does not notice."""

    def __init__(self, load: WorkersLoad, choice: random.Random, page: WorkersPage) -> None:
        super().__init__(load, choice, page)
        self._visiting = trio.CancelScope()
        self._workers_page = page
        self._given_up: set[Key] = set()

    async def visit(self) -> None:
        with self._visiting:
            await super().visit()
        while self._visiting.cancel_called:
            await self._page.close()
            if self._left:
                return
            self._load.done["lost a worker"] += 1
            self._workers_page.is_recovering = True
            with trio.CancelScope() as self._visiting:
                await self._recover()

    async def _recover(self) -> None:
        """Open the link once more, on whichever worker is left, and see streams come to their ends."""
        async with trio.open_nursery() as nursery:
            await self._connect(nursery)
            await self._wait_for_the_ends()
            await self._disconnect()
        await self._page.close()

    async def _send_start(self, kind: str, plan: dict[str, Any], index: int | None) -> None:
        try:
            await super()._send_start(kind, plan, index)
        except trio.Cancelled:
            self._given_up.add((kind, index))
            raise

    async def _go_on_waiting(self) -> None:
        """Let time pass, and end streams whose starts were given up when a worker was killed.

        Who gives up a request does not undo it: another worker may look for the new holder meanwhile, and carry it out
        after those that the page has sent since.
        """
        await super()._go_on_waiting()
        for seen in list(self._running.values()):
            if seen.key in self._given_up:
                await self._supersede(seen.key)
                await trio.sleep(SUPERSEDE_INTERVAL)

    async def _disconnect(self) -> None:
        await super()._disconnect()
        self._workers_page.link_by = NOBODY

    def killed(self, worker: int) -> None:
        """A worker was killed, at this moment."""
        if self._workers_page.depends_on(worker):
            self._note(f"loses worker {worker}")
            self._visiting.cancel()


@dataclass
class WorkersLoad(Load):
    """The pages of several workers, which are killed meanwhile.

    Attributes:
        visitors: the pages that there are.
        kills: how many workers were killed.
    """

    visitors: set[WorkersVisitor] = field(default_factory=set["WorkersVisitor"])
    kills: int = 0
    _planned_one: trio.Event = field(default_factory=trio.Event)

    def plan(self, choice: random.Random, **fixed: Any) -> dict[str, Any]:
        self._planned_one.set()
        return super().plan(choice, **fixed)

    def new_visitor(self) -> WorkersVisitor:
        return WorkersVisitor(
            self, random.Random(self.random.random()), WorkersPage(self.port, list(self.dependencies.values()))
        )

    async def _visit(self, visitor: Visitor, room: trio.CapacityLimiter) -> None:
        assert isinstance(visitor, WorkersVisitor)
        self.visitors.add(visitor)
        try:
            await super()._visit(visitor, room)
        finally:
            self.visitors.discard(visitor)

    async def run_and_kill(self, workers: int, kills: int) -> None:
        """Run the streams, and kill a worker so many times meanwhile, after as many streams each time."""
        streams = self.streams

        async def kill_some() -> None:
            for kill in range(kills):
                while self.streams > streams * (1 - (kill + 1) / (kills + 1)):
                    self._planned_one = trio.Event()
                    await self._planned_one.wait()
                # The one that was started in place of the last dead one has to be there, too.
                victim = self.random.choice(sorted(await answers(self.port, "/pid", workers)))
                os.kill(victim, signal.SIGKILL)
                for visitor in self.visitors:
                    visitor.killed(victim)
                self.kills += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(kill_some)
            await self.run()


async def answers(port: int, path: str, workers: int) -> dict[int, Answer]:
    """What each of so many workers answers, by the id of its process."""
    found: dict[int, Answer] = {}
    site = Site(port)
    with trio.fail_after(SETTLE):
        while len(found) < workers:
            with contextlib.suppress(OSError, trio.BrokenResourceError):
                # Each connection comes to a worker, in turn.
                answer = await site.get(path)
                found[int(answer.headers[WORKER.lower()])] = answer
    return found


class Soak:
    """The server of the soak, and what is asked of it."""

    def __init__(self, process: Process, workers: int) -> None:
        self.port = process.wait_for_port()
        self.folder = process.folder
        self._process = process
        self._workers = workers

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


def soak_workers(workers: int, streams: int, seed: int, kills: int) -> Report:
    """Run so many streams over so many workers, of which one is killed so many times, and report."""
    supervise = ("-m", "tests.faults.soak_supervisor", str(workers))
    with tempfile.TemporaryDirectory() as folder, python(Path(folder), *supervise) as process:
        return trio.run(_soak, Soak(process, workers), workers, streams, seed, kills)


async def _soak(soak: Soak, workers: int, streams: int, seed: int, kills: int) -> Report:
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
    await load.run_and_kill(workers, kills)
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
    return Report(seed, len(load.planned), seconds, load.kills, before, after, load.done, ended, violations, timelines)
