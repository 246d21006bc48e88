"""The clock of a server: timers that are due soon fire together, and `trio.sleep` costs what an event costs.

    trio.sleep, trio.sleep_until, every ── sleeping tasks ──┐
    timeouts ─────────────────────── Trio's own deadlines ──┴── one wait of the event loop

*Timer slack.* To wake up costs the loop more than a timer does: a system call, a switch of processes, cold caches. If
thousands of streams wait, each until a moment of its own, a loop that wakes for every timer wakes thousands of times a
second. So a timer may be late, as with the timer slack of an operating system: the loop sleeps at least `REST` times
as long as it has worked since it last woke, at most `MOST_SLACK`, and all that is due by then fires in one pass. Input
wakes it at once. A loop that has little to do has next to no slack, and its timers are exact.

*Sleeping tasks.* `trio.sleep` makes a cancel scope with a deadline, at which an exception is raised in the task and
caught again. While a task only sleeps, nobody needs the scope: the clock notes the task with its deadline, and
reschedules it after the wait of the loop, in which Trio lets an `Instrument` look on. So are tasks that wait for a tick
of `every`.

Both use what Trio documents. Runs of Trio with another clock, such as those of tests, are not affected.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable

import trio

from ..sleeping_tasks import SleepingTasks, Waking

REST = 4.0
"""The loop sleeps so many times as long as it has worked, before timers fire: they wait if it is busier than 1/5."""

MOST_SLACK = 0.002
"""Seconds by which a timer may be late at most."""


class ServerClock(trio.abc.Clock, trio.abc.Instrument):
    """For `trio.run(..., clock=clock, instruments=[clock])`.

    Attributes:
        sleeping: the tasks that it wakes.
    """

    def __init__(self, read: Callable[[], float] = time.perf_counter) -> None:
        """
        Args:
            read: reads the system's clock, in seconds.
        """
        self.sleeping: SleepingTasks = SleepingTasks()
        self._read = read
        # When the loop last woke from a wait.
        self._woke = read()

    def start_clock(self) -> None:
        """Called by Trio at the beginning of the run."""

    def current_time(self) -> float:
        """The time in seconds."""
        return self._read()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """How many seconds the loop waits, if nothing else wakes it; `deadline` is the next one of Trio's own."""
        now = self._read()
        return max(min(deadline, self.sleeping.next) - now, min(REST * (now - self._woke), MOST_SLACK))

    def after_io_wait(self, timeout: float) -> None:
        """Called by Trio after each wait of the loop: wake the tasks whose deadlines have passed."""
        now = self._read()
        if timeout > 0:
            self._woke = now
        if self.sleeping.next <= now:
            self.sleeping.wake(now)


_sleep, _sleep_until = trio.sleep, trio.sleep_until


@functools.wraps(_sleep_until)
async def sleep_until(deadline: float) -> None:
    clock = trio.lowlevel.current_clock()
    if isinstance(clock, ServerClock) and clock.current_time() < deadline < math.inf:
        await trio.lowlevel.wait_task_rescheduled(Waking(clock.sleeping, deadline))
        # The loop may have woken late: a timeout around this that was due before has passed, too.
        await trio.lowlevel.checkpoint_if_cancelled()
    else:
        await _sleep_until(deadline)


@functools.wraps(_sleep)
async def sleep(seconds: float) -> None:
    clock = trio.lowlevel.current_clock()
    if isinstance(clock, ServerClock) and 0 < seconds < math.inf:
        await trio.lowlevel.wait_task_rescheduled(Waking(clock.sleeping, clock.current_time() + seconds))
        await trio.lowlevel.checkpoint_if_cancelled()
    else:
        await _sleep(seconds)


def use_for_sleep() -> None:
    """Have `trio.sleep` and `trio.sleep_until` use the clock of a run, if that is a `ServerClock`."""
    trio.sleep, trio.sleep_until = sleep, sleep_until
