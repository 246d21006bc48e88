"""Moves a virtual clock from one deadline to the next, and never while something works that it knows nothing of.

    advance(seconds): settle ── jump to the next deadline ── settle ── ... ── jump to the end ── settle

To settle is to wait until no task can go on without time passing: all of them wait, no thread works, and asyncio has
answered. That takes as long as it takes, in real seconds, and none on the clock. Sockets and processes are not known
here: what waits for one counts as waiting.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import TypeVar, cast

import trio
import trio.testing
from outcome import Error, Outcome, acapture

from .work_outside import all_tasks, place_in_thread, place_of, waits_outside

T = TypeVar("T")

PATIENCE = 30.0
"""Real seconds that threads and asyncio may take before the clock can go on."""

LAST_PATIENCE = 1.0
"""The same once they have taken longer, and the test has failed."""

RUN_TIMEOUT = 60.0
"""Virtual seconds that what a test has to wait for may take: the start of an app, the layout of a page."""

POLL = 0.002
"""Real seconds between two looks at whether threads and asyncio are done."""

ROUNDING = 1e-7
"""Seconds by which a deadline may miss the end of an interval and still belongs to it."""


class VirtualTime:
    """The clock of a run of Trio, which stands still unless it is moved."""

    def __init__(self, clock: trio.testing.MockClock) -> None:
        self._clock = clock
        self._patience = PATIENCE

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
            AssertionError: a thread or asyncio has worked for half a minute, in real time.
        """
        began = time.monotonic()
        await trio.testing.wait_all_tasks_blocked()
        while outside := [task for task in all_tasks() if waits_outside(task)]:
            if time.monotonic() - began > self._patience:
                self._patience = LAST_PATIENCE
                places = ", ".join(
                    f"{task.name} at {place_of(task) or place_in_thread(task) or '?'}" for task in outside
                )
                raise AssertionError(
                    f"The clock stands still while threads and asyncio work, and these do not come to an end: {places}."
                    " In a thread wait with `every` or `trio.from_thread.run(trio.sleep, ...)`, not with `time.sleep`."
                )
            await trio.testing.wait_all_tasks_blocked(POLL)

    async def advance(self, seconds: float) -> None:
        """Let so many seconds pass on the clock. What is due at the end of them has happened on return."""
        end = trio.current_time() + seconds
        while await self.step(end):
            pass

    async def run(self, function: Callable[[], Awaitable[T]], what: str) -> T:
        """Call a function, and let time pass as long as it waits.

        Args:
            function: what to call.
            what: names it in messages.

        Raises:
            AssertionError: it takes longer than a minute, in virtual time.
        """
        outcomes: list[Outcome[T]] = []

        async def call() -> None:
            outcomes.append(await acapture(function))

        deadline = trio.current_time() + RUN_TIMEOUT
        failure: AssertionError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            try:
                await self.settle()
                while not outcomes and await self.step(deadline):
                    pass
            except AssertionError as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        if not outcomes or (isinstance(outcomes[0], Error) and isinstance(outcomes[0].error, trio.Cancelled)):
            raise AssertionError(f"{what} has taken more than {RUN_TIMEOUT:g} s.")
        return outcomes[0].unwrap()

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
