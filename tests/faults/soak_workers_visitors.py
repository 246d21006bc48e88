"""The pages of a soak over several workers, which are killed and replaced meanwhile.

A page knows which workers it depends on. When one of these is killed, it comes back to those that are left, and sees
its streams end there; the killing of another one it is not to notice.

When all workers are replaced, no start or link is to be refused, and all streams of a page are to end before the old
workers end its link. Its other requests may come to the new workers before, which do not know the page.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio

from tests.faults.soak_app import WORKER
from tests.faults.soak_footprint import SETTLE
from tests.faults.soak_page import Page
from tests.faults.soak_visitors import PAGES, Key, Load, Visitor
from tests.faults.sockets import Site
from tests.support.eventually import eventually
from tests.support.http1 import Answer, Http1
from tests.support.link import Link
from tests.support.page import AnyPage
from tests.support.wire_client import Post

RECOVERY = 20.0
"""Seconds in which a page whose worker was killed has to find another one, on a machine that is busy."""

RELOAD_TIMEOUT = 120.0
"""Seconds in which all workers are replaced, on a machine that is busy."""

SUPERSEDE_INTERVAL = 0.5
"""Seconds in which a stream that is superseded has come to its end, on a machine that is not busy."""

SENT_AGAIN = 307
"""The status of an answer that has a client send its request again."""

NOBODY, ANYBODY = 0, -1
"""In place of the id of a worker's process: the page depends on none here; or it cannot know yet on which."""


class WorkersPage(Page):
    """A page that knows which workers it depends on.

    Attributes:
        holder: holds its browser.
        link_by: has its link.
        requests_by: has the connection of its requests.
        is_recovering: one of these was killed.
    """

    def __init__(
        self, port: int, dependencies: list[dict[str, Any]], replaced: Collection[int] = frozenset[int]()
    ) -> None:
        """
        Args:
            port: of the server.
            dependencies: Dash's list of the app's callbacks.
            replaced: the workers that leave, or have left: see `WorkersLoad`.
        """
        super().__init__(port, dependencies)
        self._replaced = replaced
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
                if http.is_reusable:
                    return http
                # The worker is leaving.
                await trio.aclose_forcefully(http.stream)

    async def connect(self, *others: AnyPage[Any], **options: Any) -> Link:
        self.holder = self.link_by = ANYBODY
        began = trio.current_time()
        while True:
            # A link that was given up may still be on its way to the holder: it is not to take the page from this one.
            self._turns += 1
            http = await self.open()
            try:
                link = await super().connect(*others, **options, turn=self._turns, over=http)
            except trio.BrokenResourceError:
                # Like a browser: a worker that leaves closes connections that were idle, as this one was.
                if self._workers[http] not in self._replaced:
                    raise
                continue
            is_late = trio.current_time() - began > RECOVERY
            # The supervisor may not have noticed yet that the holder is dead.
            if is_late or (link.status != SENT_AGAIN and not (link.status == 503 and self.is_recovering)):
                break
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
        while answer.status == SENT_AGAIN:
            # The worker is leaving, and does not take the request: it goes to the same address over a new connection.
            await self._hang_up()
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
        self._workers_load = load
        self._begins_anew = False
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
            await self._wait_for_the_ends(nursery)
            await self._disconnect()
        await self._page.close()

    async def _connect(self, nursery: trio.Nursery) -> None:
        self._begins_anew = False
        await super()._connect(nursery)

    def _is_replaced(self) -> bool:
        return self._workers_page.holder in self._workers_load.replaced

    def _is_lost(self, answer: Answer) -> bool:
        is_lost = super()._is_lost(answer)
        # A page does so when it is not known any more. If it is by an older life, it waits until its link ends.
        self._begins_anew = self._begins_anew or (is_lost and answer.status == 404)
        return is_lost

    def _link_has_ended(self) -> None:
        if not self._is_replaced():
            super()._link_has_ended()
        elif self._running and not self._begins_anew:
            self._complain(f"the old workers have ended a link, and not these streams: {self._running}")
        self._begins_anew = True

    async def _see_to_link(self, nursery: trio.Nursery) -> None:
        if self._begins_anew:
            self._load.done["came to new workers"] += 1
            await self._disconnect()
            await self._connect(nursery)

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

    def would_miss(self, worker: int) -> bool:
        """Whether the page would have to come back if a worker were killed now."""
        return self._workers_page.depends_on(worker) and not self._left

    def killed(self, worker: int) -> None:
        """A worker was killed, at this moment."""
        if self._workers_page.depends_on(worker):
            self._note(f"loses worker {worker}")
            self._visiting.cancel()


class Resident(WorkersVisitor):
    """A page that is there when all workers are replaced, and stays until it has come to new ones."""

    async def stay(self, task_status: trio.TaskStatus[None]) -> None:
        """Stay so long. It has started when a worker that is to be replaced has the page's link."""
        async with trio.open_nursery() as nursery:
            await self._connect(nursery)
            task_status.started()
            await eventually(lambda: self._begins_anew, "the old workers have ended a link", RELOAD_TIMEOUT)
            await self._see_to_link(nursery)
            await self._wait_for_the_ends(nursery)
            await self._disconnect()
        await self._page.close()


@dataclass
class WorkersLoad(Load):
    """The pages of several workers, which are killed meanwhile.

    Attributes:
        visitors: the pages that there are.
        kills: how many workers were killed.
        reloads: how often the server was told to replace its workers.
        replaced: the workers that it was to replace, or has replaced.
    """

    visitors: set[WorkersVisitor] = field(default_factory=set["WorkersVisitor"])
    kills: int = 0
    reloads: int = 0
    replaced: set[int] = field(default_factory=set[int])
    _planned_one: trio.Event = field(default_factory=trio.Event)

    def plan(self, choice: random.Random, **fixed: Any) -> dict[str, Any]:
        self._planned_one.set()
        return super().plan(choice, **fixed)

    def new_visitor(self) -> WorkersVisitor:
        return WorkersVisitor(*self._newcomer())

    def _newcomer(self) -> tuple[WorkersLoad, random.Random, WorkersPage]:
        page = WorkersPage(self.port, list(self.dependencies.values()), self.replaced)
        return self, random.Random(self.random.random()), page

    async def _visit(self, visitor: Visitor, room: trio.CapacityLimiter) -> None:
        assert isinstance(visitor, WorkersVisitor)
        self.visitors.add(visitor)
        try:
            await super()._visit(visitor, room)
        finally:
            self.visitors.discard(visitor)

    async def run_and_kill(self, workers: int, kills: int, reloads: int, reload: Callable[[], object]) -> None:
        """Run the streams, and meanwhile kill a worker, or replace all of them, after as many streams each time.

        Args:
            workers: how many there are.
            kills: how many are killed.
            reloads: how often all are replaced.
            reload: has the server replace them.
        """
        streams = self.streams
        faults = [*([self._kill] * kills), *([partial(self._reload, reload)] * reloads)]
        self.random.shuffle(faults)

        async def do_harm() -> None:
            for number, harm in enumerate(faults):
                while self.streams > streams * (1 - (number + 1) / (len(faults) + 1)):
                    self._planned_one = trio.Event()
                    await self._planned_one.wait()
                # The one that was started in place of the last dead one has to be there, too.
                await harm(sorted(await answers(self.port, "/pid", workers)))
            all_done.set()

        all_done = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(do_harm)
            await self.run()
            while not all_done.is_set():
                # So few were asked for that there would be none when the last harm is done.
                self.streams = max(self.streams, PAGES)
                await self.run()

    async def _kill(self, workers: list[int]) -> None:
        def missed() -> list[int]:
            return [worker for worker in workers if any(visitor.would_miss(worker) for visitor in self.visitors)]

        # Pages come and go: at this moment there may be none.
        await eventually(missed, "a page depends on a worker")
        victim = self.random.choice(missed())
        os.kill(victim, signal.SIGKILL)
        for visitor in self.visitors:
            visitor.killed(victim)
        self.kills += 1

    async def _reload(self, reload: Callable[[], object], workers: list[int]) -> None:
        def have_stopped() -> bool:
            # There are to be streams until then, however few are asked for.
            self.streams = max(self.streams, PAGES)
            return not any(map(is_alive, workers))

        async with trio.open_nursery() as nursery:
            # Pages come and go: those that there are may all have gone by themselves when the old workers stop.
            await nursery.start(Resident(*self._newcomer()).stay)
            self.reloads += 1
            self.replaced.update(workers)
            reload()
            await eventually(have_stopped, "the old workers have stopped", RELOAD_TIMEOUT)


def is_alive(pid: int) -> bool:
    """Whether there is a process, be it one that is about to stop."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


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
