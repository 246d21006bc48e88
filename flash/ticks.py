"""Makes ticks at an interval, for streams that show something every so often: `every(seconds)`.

    generators ── every ── slots of 5 ms ── one task that wakes all who wait in a slot

A task that sleeps costs a cancel scope, a deadline in Trio's heap, and an exception that is raised and caught each
time. A task that waits for a tick costs none of these: it is noted in the slot in which its tick is due, and is woken
together with all other tasks there.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import replace

import trio

from .errors import FlashError, InvalidOption
from .options import FINITE_SECONDS

SLOT = 0.005
"""Seconds by which a tick may be late, so that one waking does for all that are due by then."""

INTERVALS = replace(FINITE_SECONDS, description=f"a number of seconds that is at least {SLOT:g}", lowest=SLOT)
"""The intervals that `every` takes."""


def every(seconds: float, *, first: float | None = None) -> Ticks:
    """Ticks at an interval, for `async for`, and in a plain generator for `for`.

        async for _ in every(0.5):
            yield stream_props("clock", {"children": f"{datetime.now():%X}"})

    The ticks do not drift. If some are missed, because the page or the generator is slow, only the last of them comes,
    at once, and then the next when it is due. On a server that is not busy a tick is at most 5 ms late.

    Each tick is a checkpoint, and its value is its number: the first is 0, and those that are left out count. In a
    plain generator `for` blocks its thread until the next tick, and is left at once when the stream is cancelled: what
    `time.sleep` does not do. Under `on_asyncio` there is `asyncio.sleep`.

    Args:
        seconds: from one tick to the next; 0.005 at least.
        first: when the first is due, on Trio's clock (`trio.current_time()`); None for at once.

    Raises:
        InvalidOption: the interval is not such a number.
        FlashError: when it is iterated: on the event loop with `for`, or where there is no Trio.
    """
    if not INTERVALS.allow(seconds):
        raise InvalidOption(f"every(seconds) takes {INTERVALS.description}, got {seconds!r}.")
    return Ticks(seconds, first)


class Ticks:
    """What `every` returns."""

    __slots__ = ("_first", "_number", "_seconds")

    def __init__(self, seconds: float, first: float | None) -> None:
        self._seconds = seconds
        self._first = first
        self._number = 0

    def __aiter__(self) -> Ticks:
        return self

    def __iter__(self) -> Ticks:
        if trio.lowlevel.in_trio_run():
            raise FlashError(
                "`for ... in every(...)` would block the event loop, and with it every page: in an `async def` write "
                "`async for ... in every(...)`."
            )
        return self

    def __next__(self) -> int:
        try:
            return trio.from_thread.run(self.__anext__)
        except RuntimeError as error:
            raise FlashError(
                "every(...) was asked for a tick in a thread that Trio does not know. It is for event callbacks and "
                "other code on Trio; elsewhere use `time.sleep`, and under `on_asyncio` `asyncio.sleep`."
            ) from error

    async def __anext__(self) -> int:
        now = trio.current_time()
        if self._first is None:
            self._first = now
        due = self._first + self._number * self._seconds
        if due > now:
            await trio.lowlevel.wait_task_rescheduled(wake_at(due))
        else:
            await trio.lowlevel.checkpoint()
            # The last one that is due: those before it were missed.
            self._number = max(self._number, math.floor((now - self._first) / self._seconds))
        number = self._number
        self._number += 1
        return number


def wake_at(due: float) -> Waking:
    """Have the current task, which is about to wait, rescheduled at `due`, on Trio's clock, or up to a slot later.

    Args:
        due: infinity if only `Waking.reschedule` is to wake it.
    """
    return _ticker().enter(due)


class _Ticker:
    """Wakes the tasks that wait for a tick. Each run of Trio has one; its own task runs while there are such tasks."""

    def __init__(self) -> None:
        # The waiting tasks, by the number of the slot in which they are due, and a heap of these numbers.
        self._slots: dict[float, dict[trio.lowlevel.Task, None]] = {}
        self._numbers: list[float] = []
        self._scope: trio.CancelScope | None = None

    def enter(self, due: float) -> Waking:
        """See `wake_at`. Thousands of tasks wait here: a coroutine for each would count, and so would a closure."""
        # A multiple of the slot, but for a rounding error, belongs to that slot and not to the next.
        number = due if due == math.inf else math.ceil(due / SLOT - 1e-6)
        slot = self._slots.get(number)
        if slot is None:
            slot = self._slots[number] = {}
            heapq.heappush(self._numbers, number)
            if len(self._numbers) > 2 * len(self._slots) + 64:
                # Most numbers are of slots that have no task any more.
                self._numbers = list(self._slots)
                heapq.heapify(self._numbers)
            if self._scope is None:
                self._scope = trio.CancelScope()
                trio.lowlevel.spawn_system_task(self._wake, name="flash ticks")
            elif self._numbers[0] == number:
                self._scope.deadline = number * SLOT
        task = trio.lowlevel.current_task()
        slot[task] = None
        return Waking(self, number, task)

    def leave(self, number: float, task: trio.lowlevel.Task) -> bool:
        """A task in this slot waits no more. False if it is not there: it has been rescheduled."""
        slot = self._slots.get(number, {})
        if task not in slot:
            return False
        del slot[task]
        if not slot:
            del self._slots[number]
        if not self._slots and self._scope is not None:
            self._scope.cancel()
        return True

    async def _wake(self) -> None:
        try:
            while self._slots:
                self._scope = trio.CancelScope(deadline=self._numbers[0] * SLOT)
                with self._scope:
                    await trio.sleep_forever()
                now = trio.current_time()
                while self._numbers and self._numbers[0] * SLOT <= now:
                    for task in self._slots.pop(heapq.heappop(self._numbers), ()):
                        trio.lowlevel.reschedule(task)
        finally:
            self._scope = None
            self._numbers.clear()


class Waking:
    """One task that waits to be rescheduled. Trio calls it when the wait is cancelled."""

    __slots__ = ("_number", "_task", "_ticker")

    def __init__(self, ticker: _Ticker, number: float, task: trio.lowlevel.Task) -> None:
        self._ticker = ticker
        self._number = number
        self._task = task

    def __call__(self, _: object) -> trio.lowlevel.Abort:
        self.leave()
        return trio.lowlevel.Abort.SUCCEEDED

    def leave(self) -> bool:
        """Have the task not be rescheduled. False if it has been already."""
        return self._ticker.leave(self._number, self._task)

    def reschedule(self) -> None:
        """Have the task wait no longer."""
        if self.leave():
            trio.lowlevel.reschedule(self._task)


_TICKER: trio.lowlevel.RunVar[_Ticker] = trio.lowlevel.RunVar("flash_ticker")


def _ticker() -> _Ticker:
    try:
        return _TICKER.get()
    except LookupError:
        ticker = _Ticker()
        _TICKER.set(ticker)
        return ticker
