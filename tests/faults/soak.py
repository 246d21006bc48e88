"""The soak: streams by the thousand, ended in every way there is, over real sockets; at the end nothing is left.

    python -m tests.faults.soak --streams 20000 --seed 1

Pages come and go at random (the seed says how): they start streams, cancel and supersede them, let them fail and
time out, cut their connection, come back within the grace or too late, and leave with or without a goodbye. A tenth
of the streams misbehave, so as to end others; none is to end by that. The streams keep a ledger of what happened to
each run; the pages check what they are sent, event by event; and before and after, the server is measured: tasks, open
files, generators, objects, memory. The report lists all of it, and each violation; the exit status is 1 if there is
one.
"""

from __future__ import annotations

import argparse
import gc
import inspect
import logging
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from types import AsyncGeneratorType, FrameType, GeneratorType
from typing import Any

import trio
import trio.lowlevel
from prometheus_client.parser import text_string_to_metric_families

from flash import MATCH, EndReason, Flash, Input, State, StreamCancelled, Update, ctx, html, no_update, stream_props
from flash.nursery import Channel
from flash.streams.stream import Stream
from tests.faults.soak_page import Connection, ConnectionLost, Page
from tests.support.live_objects import live_objects
from tests.support.serving import Server, serve
from tests.support.wire_client import Event

GRACE = 1.0
"""Seconds for which the streams of a page go on without a connection."""

PAGES = 100
"""How many pages there are at a time."""

WARM_UP = 200
"""Streams that run before the server is measured for the first time: caches fill, threads start."""

SETTLE = 40.0
"""Seconds that the server has to come to rest when all pages have gone."""

KINDS = ("walk", "step", "limited", "rogue")


class Mishap(Exception):
    """What a stream raises that is to fail."""


class MishapExit(Mishap, SystemExit):
    """The same, as code that means to end the process."""


class MishapInterrupt(Mishap, KeyboardInterrupt):
    """The same, as code that pretends a Ctrl-C."""


MISHAPS = (Mishap, MishapExit, MishapInterrupt)


async def in_nursery(steps: int) -> AsyncIterator[int]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        for step in range(steps + 1):
            yield step


async def in_scope(steps: int) -> AsyncIterator[int]:
    with trio.CancelScope():
        async for step in in_nursery(steps):
            yield step


INNER = (in_nursery, in_scope)


async def misbehave(run: int) -> None:
    """One of the things that the code of a stream must not do, and that no other stream is to notice."""

    async def fail() -> None:
        raise MISHAPS[run % len(MISHAPS)](f"run {run}")

    parent = trio.lowlevel.current_task().parent_nursery
    assert parent is not None
    match run % 5:
        case 0:
            parent.start_soon(fail)
        case 1:
            parent.start_soon(trio.sleep_forever)
        case 2:
            parent.cancel_scope.cancel()
        case 3:
            (await trio.open_nursery().__aenter__()).start_soon(trio.sleep_forever)
        case _:
            trio.CancelScope().__enter__()


class Ledger:
    """What happened to each run, by its number. Written from the server's threads.

    Attributes:
        began: runs whose generator took its first step.
        unwound: runs whose `finally` ran; with how often.
        handled: runs whose `on_error` ran; with how often.
        returned: runs whose generator came to its end.
        reasons: how many `on_error`s were given each reason; `failed` for an exception of the generator's.
    """

    def __init__(self) -> None:
        self.began = Counter[int]()
        self.unwound = Counter[int]()
        self.handled = Counter[int]()
        self.returned = Counter[int]()
        self.reasons = Counter[str]()
        self._lock = threading.Lock()

    def note(self, page_of_ledger: Counter[int], run: int) -> None:
        with self._lock:
            page_of_ledger[run] += 1

    def handle(self, error: BaseException) -> Update:
        """What every `on_error` does."""
        run = ctx.states["plan.data"]["run"]
        with self._lock:
            self.handled[run] += 1
            if isinstance(error, StreamCancelled):
                self.reasons[str(error.reason)] += 1
            elif isinstance(error, Mishap):
                self.reasons[str(EndReason.FAILED)] += 1
            else:
                self.reasons[repr(error)] += 1
        return stream_props("out", {"children": "last words"})

    def violations(self, ended: Counter[str], lines: Counter[str]) -> list[str]:
        """What the ledger has against the server, which says that so many streams ended for each reason."""
        with self._lock:
            runs = set(self.began) | set(self.handled)
            completed = [run for run in self.returned if not self.handled[run]]
            found = [
                *_unlike("began", self.began, dict.fromkeys(self.began, 1)),
                *_unlike("ran its `finally`", self.unwound, self.began),
                *_unlike("ran its on_error", self.handled, dict.fromkeys(self.handled, 1)),
                *[
                    f"run {run} has neither completed nor run its on_error"
                    for run in runs - {*completed, *self.handled}
                ],
                *_unlike("was logged", lines, ended),
                *_unlike("was handled", Counter(self.reasons) + Counter(completed=len(completed)), ended),
            ]
        if len(runs) != ended.total():
            found.append(f"{len(runs)} streams began or were handled, and {ended.total()} ended")
        return found


def _unlike(what: str, found: Any, expected: Any) -> Iterator[str]:
    for key in sorted(set(found) | set(expected)):
        if found.get(key, 0) != expected.get(key, 0):
            yield f"{key} {what} {found.get(key, 0)} times, and not {expected.get(key, 0)}"


def make_app(ledger: Ledger) -> Flash:
    """An app whose streams do what their plan says; see `Visitor.plan`."""
    app = Flash(
        "soak",
        reconnect_grace=GRACE,
        ping_interval=1,
        stall_timeout=60,
        cleanup_timeout=20,
        stream_buffer_updates=20,
        window=20_000,
        metrics=True,
    )
    app.layout = html.Div(id="out")

    def update(plan: dict[str, Any], step: int) -> Update:
        return stream_props("out", {"children": [plan["run"], step], "title": "x" * plan["size"]})

    def act_out(plan: dict[str, Any]) -> None:
        if plan["then"] == "raise":
            raise Mishap(f"run {plan['run']}")
        ledger.note(ledger.returned, plan["run"])

    async def handle(error: BaseException) -> Update:
        await trio.lowlevel.checkpoint()
        return ledger.handle(error)

    resets = [("out", {"children": "reset"})]

    @app.event_callback(
        Input({"type": "walk", "index": MATCH}, "n_clicks"),
        State("plan", "data"),
        cancel=[Input({"type": "stop", "index": MATCH}, "n_clicks")],
        on_error=handle,
        reset_props=resets,
    )
    async def walk(n_clicks: int, plan: dict[str, Any]) -> AsyncIterator[Update]:
        ledger.note(ledger.began, plan["run"])
        try:
            for step in range(plan["steps"]):
                yield update(plan, step)
                await trio.sleep(plan["pause"])
            if plan["then"] == "wait":
                await trio.sleep_forever()
            act_out(plan)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.001)
            ledger.note(ledger.unwound, plan["run"])

    @app.event_callback(
        Input("step", "n_clicks"),
        State("plan", "data"),
        cancel=[Input("stop", "n_clicks")],
        on_error=ledger.handle,
        reset_props=resets,
    )
    def step(n_clicks: int, plan: dict[str, Any]) -> Iterator[Update]:
        ledger.note(ledger.began, plan["run"])
        try:
            for number in range(plan["steps"]):
                yield update(plan, number)
                time.sleep(plan["pause"])
            while plan["then"] == "wait":
                yield stream_props("out", {"hidden": no_update})
                time.sleep(0.1)
            act_out(plan)
        finally:
            ledger.note(ledger.unwound, plan["run"])

    @app.event_callback(
        Input("limited", "n_clicks"), State("plan", "data"), timeout=0.2, on_error=ledger.handle, reset_props=resets
    )
    async def limited(n_clicks: int, plan: dict[str, Any]) -> AsyncIterator[Update]:
        ledger.note(ledger.began, plan["run"])
        try:
            for number in range(plan["steps"]):
                yield update(plan, number)
            await trio.sleep_forever()
        finally:
            ledger.note(ledger.unwound, plan["run"])

    @app.event_callback(
        Input("rogue", "n_clicks"),
        State("plan", "data"),
        cancel=[Input("stop", "n_clicks")],
        on_error=handle,
        reset_props=resets,
    )
    async def rogue(n_clicks: int, plan: dict[str, Any]) -> AsyncIterator[Update]:
        ledger.note(ledger.began, plan["run"])
        try:
            await misbehave(plan["run"])
            # It has one step more than are taken of it, and is left open.
            async for step in INNER[plan["run"] % len(INNER)](plan["steps"]):
                if step == plan["steps"]:
                    break
                yield update(plan, step)
            if plan["then"] == "wait":
                await trio.sleep_forever()
            if plan["then"] == "raise":
                raise MISHAPS[plan["run"] % len(MISHAPS)](f"run {plan['run']}")
            ledger.note(ledger.returned, plan["run"])
        finally:
            ledger.note(ledger.unwound, plan["run"])

    return app


@dataclass
class Seen:
    """A stream as a page has seen it: how many updates, of which run, and of how many that there are to be."""

    run: int | None = None
    updates: int = 0


@dataclass
class Load:
    """What the pages of a run do, and what they find.

    Attributes:
        port: of the server.
        dependencies: the app's callbacks, by the kind of stream.
        streams: how many to start.
        random: decides.
        done: how often each thing was done.
        violations: what was not as it is to be.
    """

    port: int
    dependencies: dict[str, dict[str, Any]]
    streams: int
    random: random.Random
    first_run: int = 0
    done: Counter[str] = field(default_factory=Counter[str])
    violations: list[str] = field(default_factory=list)
    planned: dict[int, dict[str, Any]] = field(default_factory=dict)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            room = trio.CapacityLimiter(PAGES)
            while self.streams > 0:
                await room.acquire_on_behalf_of(visitor := Visitor(self, random.Random(self.random.random())))
                nursery.start_soon(self._visit, visitor, room)

    async def _visit(self, visitor: Visitor, room: trio.CapacityLimiter) -> None:
        try:
            await visitor.visit()
        finally:
            room.release_on_behalf_of(visitor)

    def plan(self, choice: random.Random, **fixed: Any) -> dict[str, Any]:
        """What the next stream is to do."""
        self.streams -= 1
        run = self.first_run + len(self.planned)
        self.planned[run] = plan = {
            "run": run,
            "steps": choice.choice((0, 1, 1, 2, 3, 30)),
            "size": choice.choice((0, 0, 100, 2_000)),
            "pause": choice.choice((0, 0, 0, 0.005)),
            "then": choice.choice(("return", "return", "raise", "wait")),
            **fixed,
        }
        return plan


class Visitor:
    """One page, from its first connection to its last."""

    def __init__(self, load: Load, choice: random.Random) -> None:
        self._load = load
        self._random = choice
        self._page = Page(load.port)
        self._connection: Connection | None = None
        self._reading = trio.CancelScope()
        self._silent = trio.Event()
        self._left = False
        self._life = ""
        self._applied = ""
        self._running: dict[str, Seen] = {}
        self._past: set[str] = set()

    async def visit(self) -> None:
        async with trio.open_nursery() as nursery:
            await self._connect(nursery)
            for _ in range(self._random.randint(3, 25)):
                if self._load.streams <= 0:
                    break
                action, weight = zip(*self._actions(nursery).items(), strict=True)
                (act,) = self._random.choices(action, weight)
                await act()
            await self._random.choice((self._leave, self._vanish, self._wait_for_the_ends))()
            await self._disconnect()
        await self._page.close()

    def _actions(self, nursery: trio.Nursery) -> dict[Callable[[], Any], float]:
        async def come_back() -> None:
            self._load.done["cut, and back"] += 1
            cut_at = trio.current_time()
            await self._disconnect()
            # A page without streams has nothing that would wait for it.
            life = self._life if self._running else None
            await trio.sleep(self._random.uniform(0, GRACE / 4))
            await self._connect(nursery)
            if life is not None and trio.current_time() - cut_at < GRACE and self._life != life:
                self._complain("the page was back within the grace, and had lost its streams")

        async def come_back_late() -> None:
            self._load.done["cut, and back too late"] += 1
            await self._disconnect()
            await trio.sleep(GRACE * 1.5)
            await self._connect(nursery)

        async def pause() -> None:
            await trio.sleep(self._random.uniform(0, 0.03))

        return {self._start: 10, self._cancel: 4, pause: 4, come_back: 1.5, come_back_late: 0.15}

    async def _start(self) -> None:
        kind = self._random.choices(KINDS, (7, 1, 1, 1))[0]
        index = self._random.randint(1, 4) if kind == "walk" else None
        await self._send_start(kind, self._load.plan(self._random), index)

    async def _send_start(self, kind: str, plan: dict[str, Any], index: int | None) -> None:
        self._load.done["start"] += 1
        values = {f"{kind}.n_clicks": 1, "plan.data": plan}
        answer = await self._page.start(self._load.dependencies[kind], values, index)
        if answer.status not in (200, 204):
            self._complain(f"a start was answered with {answer}")

    async def _cancel(self) -> None:
        known = [*self._running, *self._past]
        if known:
            self._load.done["cancel"] += 1
            answer = await self._page.cancel(self._random.choice(known), self._random.random())
            # 400: that stream, a limited one, has no conditions.
            if answer.status not in (204, 400):
                self._complain(f"a cancel was answered with {answer}")

    async def _leave(self) -> None:
        self._load.done["goodbye"] += 1
        self._left = True
        answer = await self._page.leave()
        if answer.status != 204:
            self._complain(f"a goodbye was answered with {answer}")

    async def _vanish(self) -> None:
        self._load.done["no goodbye"] += 1

    async def _wait_for_the_ends(self) -> None:
        """Let every stream come to its end, and see it."""
        self._load.done["waited for the ends"] += 1
        for kind, index in (*(("walk", index) for index in (1, 2, 3, 4)), ("step", None), ("rogue", None)):
            plan = self._load.plan(self._random, then="return", steps=1, pause=0)
            await self._send_start(kind, plan, index)
        self._silent = trio.Event()
        with trio.move_on_after(30):
            # Superseded or cancelled by now, or timed out soon.
            while self._running or not self._silent.is_set():  # noqa: ASYNC110 - it may end in several ways
                await trio.sleep(0.01)
            return
        self._complain(f"these streams did not come to an end: {self._running}")

    async def _connect(self, nursery: trio.Nursery) -> None:
        connection = await self._page.connect(self._applied, in_header=self._random.random() < 0.5)
        self._connection = connection
        hello = await connection.next()
        if connection.status != 200 or hello is None or hello.name != "hello":
            self._complain(f"a connection was answered with {connection.status} and {hello}")
            return
        if hello.data["life"] != self._life:
            self._life = hello.data["life"]
            self._applied = ""
            self._running.clear()
            self._past.clear()
        self._reading, self._silent = trio.CancelScope(), trio.Event()
        nursery.start_soon(self._read, connection, self._reading)

    async def _disconnect(self) -> None:
        self._reading.cancel()
        if self._connection is not None:
            if self._random.random() < 0.3:
                self._connection.reset()
            else:
                await self._connection.close()
            self._connection = None

    async def _read(self, connection: Connection, scope: trio.CancelScope) -> None:
        with scope:
            try:
                while (event := await connection.next()) is not None:
                    if event.name == "ping":
                        self._silent.set()
                        if self._applied and self._random.random() < 0.9:
                            await self._acknowledge(scope)
                    else:
                        self._apply(event)
                        self._applied = event.id or ""
            except ConnectionLost:
                pass
            if not scope.cancel_called and connection is self._connection and not self._left:
                self._complain("the server ended a connection")

    async def _acknowledge(self, scope: trio.CancelScope) -> None:
        answer = await self._page.acknowledge(self._applied)
        if answer.status != 204 and not scope.cancel_called and not self._left:
            self._complain(f"an acknowledgement was answered with {answer}")

    def _apply(self, event: Event) -> None:
        """Check one event against all that came before it."""
        life, _, number = (event.id or "").partition(".")
        # There may be gaps in the numbers: the updates that a stream has not sent are dropped when it is cancelled.
        if life != self._life or (self._applied and int(number) <= int(self._applied.partition(".")[2])):
            self._complain(f"after {self._applied} came {event.id}")
        stream: str = event.data["stream"]
        if event.name == "open":
            if stream in self._running or stream in self._past:
                self._complain(f"{stream} opened twice")
            self._running[stream] = Seen()
            return
        seen = self._running.get(stream)
        if seen is None:
            self._complain(f"{event.name} came for {stream}, which does not run")
            return
        if event.name == "props":
            for _, props in event.data["props"]:
                if "children" in props:
                    run, step = props["children"]
                    if step != seen.updates or run != (run if seen.run is None else seen.run):
                        self._complain(f"{stream} had come to {seen}, and went on with run {run}, step {step}")
                    seen.run, seen.updates = run, step + 1
            return
        self._load.done[f"end: {event.data['reason']}"] += 1
        del self._running[stream]
        self._past.add(stream)
        self._check_end(event.data, seen)

    def _check_end(self, end: dict[str, Any], seen: Seen) -> None:
        said = [props["children"] for _, props in end["props"]]
        if said != ([] if end["reason"] == "completed" else ["last words", "reset"]):
            self._complain(f"a stream that {end['reason']} ended with {said}")
        if end["reason"] in ("completed", "failed") and seen.run is not None:
            planned = self._load.planned[seen.run]
            if seen.updates != planned["steps"]:
                self._complain(f"a stream that {end['reason']} sent {seen.updates} updates of {planned}")

    def _complain(self, what: str) -> None:
        self._load.violations.append(what)


@dataclass(frozen=True)
class Footprint:
    """What the process holds, server and pages together."""

    tasks: int
    open_files: int
    generators: int
    channels: int
    streams: int
    objects: int
    memory: int

    @classmethod
    def measure(cls, server: Server) -> Footprint:
        """To be called in the server's thread."""
        generators = [*live_objects(AsyncGeneratorType), *live_objects(GeneratorType)]
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[1])
        return cls(
            tasks=_count_tasks(),
            open_files=len(os.listdir("/proc/self/fd")),
            generators=sum(map(_is_ours, generators)),
            channels=len(live_objects(Channel)),
            streams=len(live_objects(Stream)) + len(server.app.streams()),
            objects=len(gc.get_objects()),
            memory=pages * os.sysconf("SC_PAGE_SIZE"),
        )


def _is_ours(generator: Any) -> bool:
    """Whether a generator is one of the soak's streams, and not over."""
    code = generator.ag_code if inspect.isasyncgen(generator) else generator.gi_code
    frame: FrameType | None = generator.ag_frame if inspect.isasyncgen(generator) else generator.gi_frame
    return frame is not None and code.co_name in KINDS and code.co_filename == __file__


def _count_tasks() -> int:
    root = trio.lowlevel.current_root_task()
    waiting, count = [root] if root is not None else [], 0
    while waiting:
        count += 1
        for nursery in waiting.pop().child_nurseries:
            waiting.extend(nursery.child_tasks)
    return count


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
        return "\n".join(lines)


class _Lines(logging.Handler):
    """Counts the lines that the log has for ends, by reason, and keeps what else it is not to have.

    A stream may fail while it is cancelled: that is its `clean-up` that `raised`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reasons = Counter[str]()
        self.others: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple) and len(record.args) == 4 and record.args[1] in list(EndReason):
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
def _listening() -> Iterator[_Lines]:
    log = logging.getLogger("flash.streams")
    before = log.level, log.propagate
    lines = _Lines()
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
    with _listening() as lines, serve(app) as server:
        port = int(server.url.rpartition(":")[2])
        dependencies = trio.run(_dependencies, port)

        def run(count: int, first_run: int) -> int:
            load = Load(port, dependencies, count, choice, first_run)
            trio.run(load.run)
            done.update(load.done)
            violations.extend(load.violations)
            return len(load.planned)

        warmed = run(WARM_UP, 0)
        before = _settled(server, None)
        done.clear()
        began = time.monotonic()
        started = run(streams, warmed)
        seconds = time.monotonic() - began
        after = _settled(server, before)
        assert app.metrics is not None
        metrics = server.run(app.metrics.expose).decode()
    opened, ended = _counts(metrics)
    violations += ledger.violations(ended, lines.reasons)
    violations += [f"the log says: {line}" for line in lines.others]
    if opened != ended.total():
        violations.append(f"{opened} streams opened, and {ended.total()} ended")
    if ended["shutdown"]:
        violations.append(f"{ended['shutdown']} streams ended with `shutdown`, and nobody has stopped the server")
    violations += _growth(before, after, started)
    return Report(seed, started, seconds, before, after, done, ended, violations)


async def _dependencies(port: int) -> dict[str, dict[str, Any]]:
    page = Page(port)
    found = {
        kind: entry
        for entry in await page.dependencies()
        for kind in KINDS
        if any(needed["id"].endswith(f"-{kind}-never") for needed in entry["inputs"])
    }
    await page.close()
    assert len(found) == len(KINDS), found
    return found


def _settled(server: Server, baseline: Footprint | None) -> Footprint:
    """The server's footprint when it has come to rest, or when that has taken too long."""
    deadline = time.monotonic() + SETTLE
    while True:
        footprint = server.run(lambda: Footprint.measure(server))
        idle = footprint.channels == footprint.streams == footprint.generators == 0
        if baseline is not None:
            idle = idle and footprint.tasks <= baseline.tasks and footprint.open_files <= baseline.open_files
        if (idle and (baseline is not None or _is_at_rest(server, footprint))) or time.monotonic() > deadline:
            return footprint
        time.sleep(0.1)


def _is_at_rest(server: Server, footprint: Footprint) -> bool:
    """Whether nothing changes any more: the connections that have just been closed are gone, too."""
    time.sleep(0.5)
    later = server.run(lambda: Footprint.measure(server))
    return (later.tasks, later.open_files) == (footprint.tasks, footprint.open_files)


def _counts(metrics: str) -> tuple[int, Counter[str]]:
    opened, ended = 0, Counter[str]()
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            if sample.name == "flash_streams_started_total":
                opened += int(sample.value)
            elif sample.name == "flash_streams_ended_total":
                ended[sample.labels["reason"]] += int(sample.value)
    return opened, ended


def _growth(before: Footprint, after: Footprint, streams: int) -> list[str]:
    """What is more than it was. What runs by the thousand must not leave an object or a kilobyte each."""
    allowed = {
        "tasks": 0,
        "open_files": 0,
        "generators": 0,
        "channels": 0,
        "streams": 0,
        "objects": 3_000 + streams // 10,
        "memory": 32_000_000 + streams * 512,
    }
    return [
        f"{name} grew from {getattr(before, name)} to {getattr(after, name)}"
        for name, room in allowed.items()
        if getattr(after, name) > getattr(before, name) + room
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description="Streams by the thousand.")
    parser.add_argument("--streams", type=int, default=20_000, help="how many to start (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="what decides; a random one unless given")
    options = parser.parse_args()
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    report = soak(options.streams, seed)
    print(report)
    sys.exit(1 if report.violations else 0)


if __name__ == "__main__":
    main()
