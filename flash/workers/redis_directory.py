"""Asks a table of claims that workers of several machines share, and goes on without it while it is away.

    Holdings ── claim("a") ──► RedisDirectory ── Redis answers ────────── its table of claims decides
                                            └─── Redis is away ────────── this worker holds "a"

A worker takes part by a heartbeat. One that has none for some seconds is taken for dead, and others may take its
browsers.

Redis may be away: it restarts, the network fails, or it is silent on a connection that looks healthy. That is no answer
to the question who holds a browser. While it is away,

- what this worker holds goes on, and other holders that are known stay known (`Holdings` knows them),
- a browser that nobody is known to hold is held here,
- health and the log say so, once,
- and Redis is tried again, until it answers.

When it answers again, this worker joins anew and writes back all that it holds, before it takes browsers by the table
again. If Redis had forgotten this worker, it may have forgotten others, who are about to write back as well: for a
moment nobody takes a browser that seems to be held by nobody. Two workers may have come to hold one browser meanwhile.
It stays with the one that writes it back first. The other one *loses* it: requests of that browser go to the holder
from then on, where its pages begin anew.

Nothing here knows of Redis but by the methods of `SharedClaims`.
"""

from __future__ import annotations

import enum
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import trio

from .directory import Holder

_log = logging.getLogger("flash.workers")

HEARTBEAT_INTERVAL = 1.0
"""Seconds between two heartbeats."""

FIRST_DELAY, LONGEST_DELAY = 0.05, 0.5
"""Seconds until Redis is tried again: the first time, and at most."""

LEAVE_TIMEOUT = 1.0
"""Seconds in which a worker that stops says so to Redis."""

SETTLING_INTERVAL = 0.1
"""Seconds between two claims of a browser while workers write back what they hold."""

REFRESH_INTERVAL = 900.0
"""Seconds after which a worker writes down again what it holds, so that Redis does not forget it."""

BATCH = 500
"""Browsers that are written at a time."""

GONE_KNOWN = 100
"""How many workers are remembered that are gone, as their machines have said, until Redis knows it, too."""

HELD = "held"


class Answer(enum.Enum):
    """What a table of claims answers when it does not name a holder."""

    REFUSED = "refused"
    """Nobody holds the browser, and the worker that asks may not, because it is stopping."""
    LAPSED = "lapsed"
    """The table does not know the worker that asks: it has to join again."""
    SETTLING = "settling"
    """Nobody seems to hold the browser, but workers are writing back what they hold: ask again."""


class Unreachable(Exception):
    """A table of claims has not answered. The message is the reason, without a full stop."""


class SharedClaims(Protocol):
    """A table of claims that is elsewhere, and may be away. A worker is known by its address.

    Each method but `connected` raises `Unreachable`.
    """

    def connected(self) -> AbstractAsyncContextManager[None]:
        """While the block runs, the other methods can be called. The block raises nothing."""
        ...

    async def join(self, worker: Holder, *, is_stopping: bool, again: bool) -> None:
        """Let a worker take part. `again`: it has before. If it was forgotten, the table settles for a moment."""
        ...

    async def beat(self, worker: Holder) -> bool:
        """Keep a worker from being taken for dead. False if it was, or is unknown."""
        ...

    async def stop(self, worker: Holder) -> None:
        """Give a worker nobody new, and what it holds to whoever claims it."""
        ...

    async def leave(self, worker: Holder) -> None:
        """Forget a worker: nobody holds its browsers any more."""
        ...

    async def claim(self, worker: Holder, browser: str, dead: str) -> Holder | Answer:
        """The holder of a browser, which is `worker` if there was none, or it does not live.

        Args:
            worker: it claims the browser.
            browser: its `browser_key`.
            dead: the address of a worker that is known not to live, or "".
        """
        ...

    async def forget_late(self, worker: Holder) -> bool:
        """Forget a worker whose heartbeat is late, which learns it by its next one. Returns whether it stops."""
        ...

    async def give_up(self, worker: Holder, browser: str) -> None:
        """See `Directory.give_up`."""
        ...

    async def hold(self, worker: Holder, browsers: Sequence[str]) -> Sequence[str]:
        """Write down that a worker holds these browsers. Returns those that others hold."""
        ...

    async def workers(self) -> Sequence[tuple[str, str]]:
        """The name and the address of every worker that lives."""
        ...


class RedisDirectory:
    """The `Directory` of one worker of several machines.

    Attributes:
        on_lost: is called with a browser that this worker has held and does not any more, because another one does.
    """

    def __init__(
        self, claims: SharedClaims, name: str, address: str, neighbours: Callable[[], Awaitable[Collection[str]]]
    ) -> None:
        """
        Args:
            claims: the table that all workers share.
            name: of this worker, in logs and metrics. Up to the last slash, those of its machine have the same.
            address: of this worker, unique among all. Up to the last slash, workers of one supervisor have the same.
            neighbours: returns the addresses of the workers that this worker's supervisor has, for its generation.
        """
        self._claims = claims
        self._me = Holder(name, address, here=True)
        self._neighbours = neighbours
        self.on_lost: Callable[[str], object] = lambda browser: None
        self._held: set[str] = set()
        self._unwritten: set[str] = set()
        self._gone: dict[str, None] = {}
        self._known: Sequence[Holder] = [self._me]
        self._stopping = self._has_joined = self._has_lapsed = False
        self._away_since: float | None = None
        # Set when there is something to do before the next heartbeat; and when this worker has joined, or cannot.
        self._wake, self._decided = trio.Event(), trio.Event()

    @property
    def name(self) -> str:
        """`Directory.name`."""
        return self._me.name

    @property
    def status(self) -> str:
        """`Directory.status`."""
        return "ok" if self._away_since is None else "away"

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take part, until cancelled. Has started when this worker has joined, or Redis has not answered."""
        failures = 0
        while True:
            async with self._claims.connected():
                try:
                    await self._join()
                    if not failures:
                        task_status.started()
                    failures = 1
                    await self._keep()
                except Unreachable as error:
                    self._note_away(error)
            if not failures:
                task_status.started()
            failures += 1
            # Not all at the same time: S311 is about secrets.
            await trio.sleep(delay_of(failures) * random.uniform(0.5, 1))  # noqa: S311

    async def stop(self) -> bool:
        """Hold nobody new, because this worker stops. What it holds goes to whoever claims it.

        Returns:
            Whether there are workers on other machines.
        """
        self._stopping = True
        await self._tell(self._claims.stop)
        return not all(map(self.is_near, await self.workers()))

    def is_near(self, worker: Holder) -> bool:
        """Whether a worker is on the machine of this one."""
        return worker.address.rpartition("/")[0] == self._me.address.rpartition("/")[0]

    async def leave(self) -> None:
        """Take part no longer, so that others need not wait until this worker is taken for dead."""
        with trio.move_on_after(LEAVE_TIMEOUT):
            await self._tell(self._claims.leave)

    async def claim(self, browser: str) -> Holder | None:
        """`Directory.claim`."""
        dead = ""
        while self._away_since is None:
            try:
                answer = await self._claims.claim(self._me, browser, dead)
            except Unreachable as error:
                self._note_away(error)
                break
            if answer is Answer.REFUSED:
                return None
            if answer is Answer.SETTLING:
                await trio.sleep(SETTLING_INTERVAL)
            elif answer is Answer.LAPSED:
                await self._join_at_once()
            elif answer.here:
                self._held.add(browser)
                return answer
            elif await self._is_dead(answer):
                dead = answer.address
            else:
                return answer
        await trio.lowlevel.checkpoint()
        if self._stopping:
            return None
        # It may be too late for what is being written back at this moment.
        self._held.add(browser)
        self._unwritten.add(browser)
        return self._me

    def note_gone(self, worker: Holder) -> None:
        """`Directory.note_gone`. Redis learns it when somebody claims what the worker has held."""
        self._gone[worker.address] = None
        if len(self._gone) > GONE_KNOWN:
            del self._gone[next(iter(self._gone))]

    async def note_unreachable(self, worker: Holder) -> None:
        """`Directory.note_unreachable`: the worker is taken for dead if its heartbeat is late as well, or it stops.

        Either alone is no proof: a firewall may refuse connections or drop them, and an event loop may be held up.
        Both together are none either, but good reason: the table forgets the worker, so that no other request waits for
        it, by whichever worker. Should it live, it joins again.
        """
        await trio.lowlevel.checkpoint()
        if self._away_since is None:
            try:
                if await self._claims.forget_late(worker):
                    self.note_gone(worker)
            except Unreachable as error:
                self._note_away(error)

    async def give_up(self, browser: str) -> None:
        """`Directory.give_up`. If Redis is away, it learns so when the next request is sent here in vain."""
        self._held.discard(browser)
        self._unwritten.discard(browser)
        await self._tell(self._claims.give_up, browser)

    async def workers(self) -> Sequence[Holder]:
        """`Directory.workers`. While Redis is away, those that it has named last."""
        if self._away_since is None:
            try:
                found = [Holder(*worker, here=worker[1] == self._me.address) for worker in await self._claims.workers()]
            except Unreachable as error:
                self._note_away(error)
            else:
                others = [each for each in found if not each.here and not await self._is_dead(each)]
                self._known = sorted([self._me, *others], key=lambda each: (each.name, each.address))
        return self._known

    async def _join(self) -> None:
        """Take part from now on, with all that this worker holds."""
        again = self._has_joined or self._away_since is not None
        await self._claims.join(self._me, is_stopping=self._stopping, again=again)
        self._unwritten |= self._held
        await self._write_back()
        self._has_joined = True
        self._has_lapsed = False
        if self._away_since is not None:
            _log.warning("Redis answers again, after %.1f s.", trio.current_time() - self._away_since)
            self._away_since = None
        self._decided.set()

    async def _join_at_once(self) -> None:
        """Have this worker join again, as Redis does not know it any more, and wait until it has, or cannot."""
        if not self._has_lapsed:
            self._has_lapsed = True
            self._decided = trio.Event()
            self._wake.set()
        await self._decided.wait()

    async def _keep(self) -> None:
        """Keep taking part, until Redis is away."""
        refresh_at = trio.current_time() + REFRESH_INTERVAL
        while self._away_since is None:
            self._wake = trio.Event()
            if self._has_lapsed or not await self._claims.beat(self._me):
                await self._join()
            elif trio.current_time() > refresh_at:
                refresh_at += REFRESH_INTERVAL
                self._unwritten |= self._held
                await self._write_back()
            with trio.move_on_after(HEARTBEAT_INTERVAL):
                await self._wake.wait()

    async def _write_back(self) -> None:
        """Write down in Redis what this worker holds. It loses what others have come to hold."""
        lost: list[str] = []
        while self._unwritten:
            batch = [self._unwritten.pop() for _ in range(min(BATCH, len(self._unwritten)))]
            lost += await self._claims.hold(self._me, batch)
        for browser in lost:
            self._held.discard(browser)
            self.on_lost(browser)
        if lost:
            _log.warning(
                "Other workers have come to hold %d browsers of this one: their pages begin anew there.", len(lost)
            )

    async def _tell(self, tell: Callable[..., Awaitable[None]], *arguments: str) -> None:
        """Tell Redis something of this worker, unless it is away."""
        await trio.lowlevel.checkpoint()
        if self._away_since is not None:
            return
        try:
            await tell(self._me, *arguments)
        except Unreachable as error:
            self._note_away(error)

    async def _is_dead(self, worker: Holder) -> bool:
        """Whether a worker's supervisor has no such worker, for all that Redis says.

        The supervisor is that of this worker, or has said so to it. So nobody waits for what was held by a worker that
        was killed, or belongs to an older generation.
        """
        if worker.address in self._gone:
            return True
        return self.is_near(worker) and worker.address not in await self._neighbours()

    def _note_away(self, error: Unreachable) -> None:
        if self._away_since is None:
            self._away_since = trio.current_time()
            _log.warning(
                "Redis is away: %s. What this worker holds goes on, and browsers that nobody is known to hold are held "
                "here, until Redis answers again.",
                error,
            )
        self._has_lapsed = False
        self._decided.set()
        self._wake.set()


def delay_of(failures: int) -> float:
    """Seconds until Redis is tried again, at the most, when it has failed so many times in a row."""
    return min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(failures - 1, 10))
