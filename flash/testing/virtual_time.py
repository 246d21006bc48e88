"""Moves a virtual clock from one deadline to the next, and never while something works that it knows nothing of.

    advance(seconds): settle ── jump to the next deadline ── settle ── ... ── jump to the end ── settle

To settle is to wait until no task can go on without time passing: all of them wait, no thread works, and asyncio has
answered. That takes as long as it takes, in real seconds, and none on the clock. Sockets and processes are not known
here: what waits for one counts as waiting.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import cast

import trio
import trio.testing

from .work_outside import all_tasks, place_of, waits_outside

PATIENCE = 60.0
"""Real seconds that threads and asyncio may take before the clock can go on."""

POLL = 0.002
"""Real seconds between two looks at whether threads and asyncio are done."""

ROUNDING = 1e-7
"""Seconds by which a deadline may miss the end of an interval and still belongs to it."""


class VirtualTime:
    """The clock of a run of Trio, which stands still unless it is moved."""

    def __init__(self, clock: trio.testing.MockClock) -> None:
        self._clock = clock

    @classmethod
    def of_run(cls) -> VirtualTime:
        """That of the present run of Trio; its clock has to be a `trio.testing.MockClock`."""
        clock = trio.lowlevel.current_clock()
        if not isinstance(clock, trio.testing.MockClock):
            raise TypeError(
                "flash.testing.trio needs a test on a virtual clock: run it with "
                "trio.run(..., clock=trio.testing.MockClock()), or with the fixture mock_clock or autojump_clock of "
                "pytest-trio. In a test that is not async, use flash.testing."
            )
        return cls(clock)

    @contextmanager
    def held(self) -> Generator[None]:
        """In the block, the clock does not jump by itself."""
        threshold, self._clock.autojump_threshold = self._clock.autojump_threshold, math.inf
        try:
            yield
        finally:
            self._clock.autojump_threshold = threshold

    def release(self) -> None:
        """Have the clock jump by itself from now on."""
        self._clock.autojump_threshold = 0

    async def settle(self) -> None:
        """Return when nothing goes on unless time passes.

        Raises:
            AssertionError: a thread or asyncio has worked for a minute, in real time.
        """
        began = time.monotonic()
        await trio.testing.wait_all_tasks_blocked()
        while outside := [task for task in all_tasks() if waits_outside(task)]:
            if time.monotonic() - began > PATIENCE:
                places = ", ".join(f"{task.name} at {place_of(task) or '?'}" for task in outside)
                raise AssertionError(
                    f"The clock stands still while threads and asyncio work, and they have worked for {PATIENCE:g} s: "
                    f"{places}. In a test they must not wait for anything that takes virtual time."
                )
            await trio.testing.wait_all_tasks_blocked(POLL)

    async def advance(self, seconds: float) -> None:
        """Let so many seconds pass on the clock. What is due at the end of them has happened on return."""
        end = trio.current_time() + seconds
        while await self.step(end):
            pass

    async def step(self, end: float) -> bool:
        """Settle, move the clock to the next deadline, and settle; to `end`, if no deadline is due before.

        Returns:
            Whether `end` is still to come.
        """
        await self.settle()
        left = end - trio.current_time()
        due = trio.lowlevel.current_statistics().seconds_to_next_deadline
        if due > left + ROUNDING:
            self._clock.jump(max(0.0, left))
        else:
            self._clock.jump(max(0.0, due))
        await self.settle()
        return due <= left + ROUNDING and not math.isinf(due)


def single(error: BaseException) -> BaseException:
    """The one exception of a group of one, at any depth; else the exception itself."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    exceptions = cast("BaseExceptionGroup[BaseException]", error).exceptions
    return single(exceptions[0]) if len(exceptions) == 1 else cast("BaseException", error)
