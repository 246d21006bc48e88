"""The pages of the soak: what they do at random, and how they check what they are sent."""

from __future__ import annotations

import contextlib
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio

from tests.faults.soak_app import GRACE, KINDS
from tests.faults.soak_page import Page
from tests.faults.soak_timeline import Timeline
from tests.support.http1 import Answer
from tests.support.link import Link
from tests.support.wire_client import Event

PAGES = 100
"""How many pages there are at a time."""


Key = tuple[str, int | None]
"""What a stream is a run of: the kind, and the index of its component if it has one."""


@dataclass
class Seen:
    """A stream as a page has seen it: of which key and run, and how many updates."""

    key: Key
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
        suspects: what happened to the pages that have complained.
    """

    port: int
    dependencies: dict[str, dict[str, Any]]
    streams: int
    random: random.Random
    first_run: int = 0
    done: Counter[str] = field(default_factory=Counter[str])
    violations: list[str] = field(default_factory=list)
    suspects: list[Timeline] = field(default_factory=list[Timeline])
    planned: dict[int, dict[str, Any]] = field(default_factory=dict)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            room = trio.CapacityLimiter(PAGES)
            while self.streams > 0:
                await room.acquire_on_behalf_of(visitor := self.new_visitor())
                nursery.start_soon(self._visit, visitor, room)

    def new_visitor(self) -> Visitor:
        """The next page to come."""
        return Visitor(self, random.Random(self.random.random()), Page(self.port, list(self.dependencies.values())))

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

    def __init__(self, load: Load, choice: random.Random, page: Page) -> None:
        self._load = load
        self._random = choice
        self._page = page
        self._note = page.timeline.note
        for stop in ("stop", *({"type": "stop", "index": index} for index in (1, 2, 3, 4))):
            self._page.set(stop, n_clicks=None)
        self._connection: Link | None = None
        self._reading = trio.CancelScope()
        self._silent = trio.Event()
        self._pinged = trio.Event()
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
                await self._see_to_link(nursery)
                action, weight = zip(*self._actions(nursery).items(), strict=True)
                (act,) = self._random.choices(action, weight)
                await act()
            await self._see_to_link(nursery)
            await self._random.choice((self._leave, self._vanish, partial(self._wait_for_the_ends, nursery)))()
            await self._disconnect()
        await self._page.close()

    async def _see_to_link(self, nursery: trio.Nursery) -> None:
        """Open the link again if it has come to an end as it may."""

    def _is_replaced(self) -> bool:
        """Whether the server that the link came to may be another one by now."""
        return False

    def _actions(self, nursery: trio.Nursery) -> dict[Callable[[], Any], float]:
        async def come_back() -> None:
            self._load.done["cut, and back"] += 1
            cut_at = trio.current_time()
            await self._disconnect()
            # A page without streams has nothing that would wait for it.
            life = self._life if self._running and not self._is_replaced() else None
            await trio.sleep(self._random.uniform(0, GRACE / 4))
            await self._connect(nursery)
            if life is None or self._is_replaced():
                return
            if trio.current_time() - cut_at < GRACE and self._life != life:
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
        self._page.timeline.runs.add(plan["run"])
        self._note(f"starts {kind} {'' if index is None else index}: {plan}")
        self._page.set("plan", data=plan)
        answer = await self._page.start(kind if index is None else {"type": kind, "index": index}, value=1)
        if answer.status not in (200, 204):
            self._complain(f"a start was answered with {answer}")

    async def _cancel(self) -> None:
        known = [*self._running, *self._past]
        if known:
            self._load.done["cancel"] += 1
            answer = await self._page.cancel(self._random.choice(known), value=self._random.random())
            # 400: that stream, a limited one, has no conditions.
            if answer.status not in (204, 400) and not self._is_lost(answer):
                self._complain(f"a cancel was answered with {answer}")

    async def _leave(self) -> None:
        self._load.done["goodbye"] += 1
        self._left = True
        answer = await self._page.leave()
        if answer.status != 204 and not self._is_lost(answer):
            self._complain(f"a goodbye was answered with {answer}")

    async def _vanish(self) -> None:
        self._load.done["no goodbye"] += 1

    def _is_lost(self, answer: Answer) -> bool:
        """Whether a request has come to a server that does not know the page, and may not know it."""
        return answer.status in (404, 409) and self._is_replaced()

    async def _wait_for_the_ends(self, nursery: trio.Nursery) -> None:
        """Let every stream come to its end, and see it."""
        self._load.done["waited for the ends"] += 1
        for key in (*(("walk", index) for index in (1, 2, 3, 4)), ("step", None), ("rogue", None)):
            await self._supersede(key)
        self._silent = trio.Event()
        with trio.move_on_after(30):
            # Superseded or cancelled by now, or timed out soon.
            while self._running or not self._silent.is_set():
                await self._go_on_waiting()
                await self._see_to_link(nursery)
            return
        self._complain(f"these streams did not come to an end: {self._running}")

    async def _supersede(self, key: Key) -> None:
        """Start a stream that ends soon, which ends the one of this key."""
        kind, index = key
        await self._send_start(kind, self._load.plan(self._random, then="return", steps=1, pause=0), index)

    async def _go_on_waiting(self) -> None:
        """Let some time pass while streams come to their ends."""
        await trio.sleep(0.01)

    async def _connect(self, nursery: trio.Nursery) -> None:
        self._note(f"opens a link behind {self._applied or 'nothing'}")
        last, after = (self._applied, "") if self._random.random() >= 0.5 else ("", self._applied)
        connection = await self._page.connect(last=last, after=after, ok=False)
        self._connection = connection
        try:
            hello = await connection.next_of_all()
        except EOFError:
            hello = None
        if connection.status == 200 and hello is None and self._is_replaced():
            await self._disconnect()
            await self._connect(nursery)
            return
        if connection.status != 200 or hello is None or hello.name != "hello":
            self._complain(f"a connection was answered with {connection.status} and {hello}")
            return
        self._note(f"has a link of life {hello.data['life']}")
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
            self._note("leaves its link")
            if self._random.random() < 0.3:
                self._connection.reset()
            else:
                await self._connection.close()
            self._connection = None

    async def _read(self, connection: Link, scope: trio.CancelScope) -> None:
        with scope:
            async with trio.open_nursery() as nursery:
                self._pinged = trio.Event()
                nursery.start_soon(self._acknowledge, scope)
                await self._read_to_end(connection, scope)
                nursery.cancel_scope.cancel()
            if not scope.cancel_called and connection is self._connection and not self._left:
                self._link_has_ended()

    def _link_has_ended(self) -> None:
        """The server has ended the link that the page has."""
        self._complain("the server ended a connection")

    async def _read_to_end(self, connection: Link, scope: trio.CancelScope) -> None:
        with contextlib.suppress(EOFError):
            while True:
                event = await connection.next_of_all()
                if event.name != "props":
                    self._note(f"reads {event.id} {event.name} {event.data}")
                if scope.cancel_called:
                    # The page has left the link while the event was being read, and says that it has not had it.
                    return
                if event.name == "ping":
                    self._silent.set()
                    if self._applied and self._random.random() < 0.9:
                        self._pinged.set()
                elif event.name == "over":
                    self._complain(f"the page was told that it is over: {event.data}")
                else:
                    self._apply(event)
                    self._applied = event.id or ""
        self._note("has come to the end of a link")

    async def _acknowledge(self, scope: trio.CancelScope) -> None:
        """Acknowledge what has been applied after each ping, or once after several.

        The link is read meanwhile, as a page does. Else what comes behind the pings would be read later and later, on a
        machine where an answer takes longer than the ping interval.
        """
        while True:
            await self._pinged.wait()
            self._pinged = trio.Event()
            answer = await self._page.acknowledge(self._applied)
            is_over = scope.cancel_called or self._left or self._is_lost(answer)
            if answer.status != 204 and not is_over:
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
            self._running[stream] = Seen(_key_of(event.data))
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
        timeline = self._page.timeline
        timeline.note(f"complains: {what}")
        self._load.violations.append(f"page {timeline.name}: {what}")
        if timeline not in self._load.suspects:
            self._load.suspects.append(timeline)


def _key_of(opened: dict[str, Any]) -> Key:
    """The key of the stream of an event `open`."""
    kind = next(kind for kind in KINDS if opened["callback_id"].endswith(f"-{kind}"))
    match = opened["match"]
    return kind, None if match is None else json.loads(match)["index"]
