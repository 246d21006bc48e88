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
        self._tasks: dict[float, dict[trio.lowlevel.Task, None]] = {}
        self._moments: list[float] = []

    def __len__(self) -> int:
        return len(self._tasks)

    def enter(self, moment: float) -> Waking:
        """Have the current task, which is about to wait, rescheduled at a moment on Trio's clock.

        Thousands of tasks wait here: a coroutine for each would count, and so would a closure.

        Args:
            moment: infinity if only `Waking.reschedule` is to wake it.
        """
        tasks = self._tasks.get(moment)
        if tasks is None:
            tasks = self._tasks[moment] = {}
            heapq.heappush(self._moments, moment)
            if len(self._moments) > 2 * len(self._tasks) + 64:
                # Most moments have no task any more.
                self._moments = list(self._tasks)
                heapq.heapify(self._moments)
            self.next = self._moments[0]
        task = trio.lowlevel.current_task()
        tasks[task] = None
        return Waking(self, moment, task)

    def leave(self, moment: float, task: trio.lowlevel.Task) -> bool:
        """A task that waits until this moment waits no more. False if it does not wait: it has been rescheduled."""
        tasks = self._tasks.get(moment, {})
        if task not in tasks:
            return False
        del tasks[task]
        if not tasks:
            del self._tasks[moment]
        return True

    def wake(self, now: float) -> None:
        """Reschedule the tasks whose moment has come."""
        moments = self._moments
        while moments and moments[0] <= now:
            for task in self._tasks.pop(heapq.heappop(moments), ()):
                trio.lowlevel.reschedule(task)
        self.next = moments[0] if moments else math.inf


class Waking:
    """One task that waits to be rescheduled. Trio calls it when the wait is cancelled."""

    __slots__ = ("_moment", "_sleeping", "_task")

    def __init__(self, sleeping: SleepingTasks, moment: float, task: trio.lowlevel.Task) -> None:
        self._sleeping = sleeping
        self._moment = moment
        self._task = task

    def __call__(self, _: object) -> trio.lowlevel.Abort:
        self.leave()
        return trio.lowlevel.Abort.SUCCEEDED

    def leave(self) -> bool:
        """Have the task not be rescheduled. False if it has been already."""
        return self._sleeping.leave(self._moment, self._task)

    def reschedule(self) -> None:
        """Have the task wait no longer."""
        if self.leave():
            trio.lowlevel.reschedule(self._task)
