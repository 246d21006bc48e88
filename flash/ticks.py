"""Makes ticks at an interval, for streams that show something every so often: `every(seconds)`.

    generators ── every ── slots of 5 ms and more ── the server's clock, or a task, which wakes all who wait in a slot

A tick is due at a moment of its own, but those who wait for one are woken at the end of a slot, together with all
others there. A slot is as wide as nobody sees: a fiftieth of the interval. In a server its clock wakes them
(`server.clock`). Where something else runs Trio, a task does, which sleeps until the first slot.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Coroutine, Generator
from typing import Any

import trio
from outcome import Value

from .errors import FlashError, InvalidOption
from .options import FINITE_SECONDS, Range
from .sleeping_tasks import SleepingTasks, Waking

SLOT = 0.005
"""Seconds of the shortest slots: by so much a tick may be late, so that all that are due by then are woken together."""

WIDEST_SLOT = 4
"""How many times as long the longest slots are."""

SLOTS_PER_INTERVAL = 50
"""The slots of ticks at an interval last such a part of it, within these bounds."""

INTERVALS = Range(f"a number of seconds that is at least {SLOT:g}", FINITE_SECONDS.types, SLOT, FINITE_SECONDS.highest)
"""The intervals that `every` takes."""


def every(seconds: float, *, first: float | None = None) -> Ticks:
    """Ticks at an interval, for `async for`, and in a plain generator for `for`.

        async for _ in every(0.5):
            yield stream_props("clock", {"children": f"{datetime.now():%X}"})

    The ticks do not drift. If some are missed, because the page or the generator is slow, only the last of them comes,
    at once, and then the next when it is due. On a server that is not busy a tick is late by at most 5 ms, or by a
    fiftieth of the interval, up to 20 ms.

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

    __slots__ = ("_first", "_number", "_seconds", "_width")

    def __init__(self, seconds: float, first: float | None) -> None:
        self._seconds = seconds
        # Of its slots, in shortest ones.
        self._width = min(max(1, int(seconds / SLOTS_PER_INTERVAL / SLOT)), WIDEST_SLOT)
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
            return trio.from_thread.run(self._next)
        except RuntimeError as error:
            raise FlashError(
                "every(...) was asked for a tick in a thread that Trio does not know. It is for event callbacks and "
                "other code on Trio; elsewhere use `time.sleep`, and under `on_asyncio` `asyncio.sleep`."
            ) from error

    def __anext__(self) -> Awaitable[int]:
        return _NextTick(self)

    async def _next(self) -> int:
        return await _NextTick(self)

    def wait(self) -> Coroutine[Any, Any, int]:
        """Wait for the next tick, and return its number."""
        now = trio.current_time()
        if self._first is None:
            self._first = now
        due = self._first + self._number * self._seconds
        if due > now:
            tick = _Tick(self, rounded_up(due, SLOT * self._width))
            return trio.lowlevel.wait_task_rescheduled(tick)  # noqa: ASYNC105 - `_NextTick` awaits it
        return self._overdue(math.floor((now - self._first) / self._seconds))

    async def _overdue(self, last: int) -> int:
        """The last tick that is due has this number: those before it were missed."""
        await trio.lowlevel.checkpoint()
        self._number = max(self._number, last)
        return self.come()

    def come(self) -> int:
        """The next tick comes now: its number."""
        number = self._number
        self._number += 1
        return number


class _NextTick:
    """What is awaited for a tick. It is gone when the wait begins; a coroutine would be kept until the wait is over."""

    __slots__ = ("_ticks",)

    def __init__(self, ticks: Ticks) -> None:
        self._ticks = ticks

    def __await__(self) -> Generator[Any, Any, int]:
        return self._ticks.wait().__await__()


class _Tick(Waking):
    """Wakes a task that waits for a tick, with the number of that."""

    __slots__ = ("_ticks",)

    def __init__(self, ticks: Ticks, moment: float) -> None:
        self._ticks = ticks
        super().__init__(_sleeping(), moment)

    def wake(self) -> None:
        trio.lowlevel.reschedule(self._task, Value(self._ticks.come()))


def wake_at(due: float) -> Waking:
    """Have the current task, which is about to wait, woken at `due`, on Trio's clock, or up to a slot later.

    Args:
        due: infinity if only `Waking.reschedule` is to wake it.
    """
    return Waking(_sleeping(), rounded_up(due, SLOT))


def rounded_up(moment: float, step: float) -> float:
    """The first multiple of `step` that is not before a moment, but for a rounding error; infinity of a huge one."""
    steps = moment / step - 1e-6
    return math.ceil(steps) * step if steps < math.inf else math.inf


class _Ticker(SleepingTasks):
    """Wakes those who wait for a tick, in a run of Trio whose clock does not. Its task runs while there are any."""

    def __init__(self) -> None:
        super().__init__()
        self._scope: trio.CancelScope | None = None

    def enter(self, waking: Waking) -> None:
        super().enter(waking)
        if self._scope is None:
            self._scope = trio.CancelScope()
            trio.lowlevel.spawn_system_task(self._wake, name="flash ticks")
        else:
            self._scope.deadline = self.next

    def leave(self, waking: Waking) -> bool:
        waited = super().leave(waking)
        if not self and self._scope is not None:
            self._scope.cancel()
        return waited

    async def _wake(self) -> None:
        try:
            while self:
                self._scope = trio.CancelScope(deadline=self.next)
                with self._scope:
                    await trio.sleep_forever()
                self.wake(trio.current_time())
        finally:
            self._scope = None


_SLEEPING: trio.lowlevel.RunVar[SleepingTasks] = trio.lowlevel.RunVar("flash_ticks")


def wake_by(sleeping: SleepingTasks) -> None:
    """Have those who wait for ticks in this run of Trio be among these tasks, which somebody else wakes."""
    _SLEEPING.set(sleeping)


def _sleeping() -> SleepingTasks:
    try:
        return _SLEEPING.get()
    except LookupError:
        ticker = _Ticker()
        _SLEEPING.set(ticker)
        return ticker
