"""Keeps tasks that wait until a moment, and wakes those whose moment has come.

A task that sleeps by Trio's own ways costs a cancel scope, a deadline, and an exception that is raised and caught. Here
it is noted with its moment. Who has such tasks calls `wake`, and knows from `next` when.
"""

from __future__ import annotations

import heapq
import math

import trio


class SleepingTasks:
    """The tasks of one run of Trio that wait until a moment.

    Attributes:
        next: the first moment, on Trio's clock, at which there may be tasks to wake; infinite if there is none.
    """

    def __init__(self) -> None:
        self.next: float = math.inf
        # The tasks by their moment, and a heap of the moments. A moment that has no task any more may be in it.
        self._wakings: dict[float, dict[Waking, None]] = {}
        self._moments: list[float] = []

    def __len__(self) -> int:
        return len(self._wakings)

    def enter(self, waking: Waking) -> None:
        """Note a task that is about to wait."""
        moment = waking.moment
        wakings = self._wakings.get(moment)
        if wakings is None:
            wakings = self._wakings[moment] = {}
            heapq.heappush(self._moments, moment)
            if len(self._moments) > 2 * len(self._wakings) + 64:
                # Most moments have no task any more.
                self._moments = list(self._wakings)
                heapq.heapify(self._moments)
            self.next = self._moments[0]
        wakings[waking] = None

    def leave(self, waking: Waking) -> bool:
        """A task waits no more. False if it does not wait: it has been woken."""
        wakings = self._wakings.get(waking.moment, {})
        if waking not in wakings:
            return False
        del wakings[waking]
        if not wakings:
            del self._wakings[waking.moment]
        return True

    def wake(self, now: float) -> None:
        """Wake the tasks whose moment has come."""
        moments = self._moments
        while moments and moments[0] <= now:
            for waking in self._wakings.pop(heapq.heappop(moments), ()):
                waking.wake()
        self.next = moments[0] if moments else math.inf


class Waking:
    """One task that waits to be woken. Trio calls it when the wait is cancelled.

    Thousands of tasks wait so: a coroutine for each would count, and so would a closure.

    Attributes:
        moment: when the task is woken, on Trio's clock; infinity if only `reschedule` is to wake it.
    """

    __slots__ = ("_sleeping", "_task", "moment")

    def __init__(self, sleeping: SleepingTasks, moment: float) -> None:
        """Have the current task, which is about to wait, woken with others.

        Args:
            sleeping: the others.
            moment: when.
        """
        self._sleeping = sleeping
        self._task = trio.lowlevel.current_task()
        self.moment: float = moment
        sleeping.enter(self)

    def __call__(self, _: object) -> trio.lowlevel.Abort:
        self.leave()
        return trio.lowlevel.Abort.SUCCEEDED

    def leave(self) -> bool:
        """Have the task not be woken. False if it has been already."""
        return self._sleeping.leave(self)

    def reschedule(self) -> None:
        """Have the task wait no longer."""
        if self.leave():
            self.wake()

    def wake(self) -> None:
        """The moment has come."""
        trio.lowlevel.reschedule(self._task)
