"""Fairness: makes a generator that never waits let other tasks run, once per millisecond.

A `yield` normally costs no switch of tasks. A generator that yields in a loop and awaits nothing in between would
therefore keep every other task of the process from running. So once its share of time is used up, its stream pauses at
the next `yield`.

A generator that waits for something by itself, such as a queue, lets others run anyway and need not pause. It has done
so if the event loop has made another turn since its share began: in one turn a task runs once.
"""

from __future__ import annotations

import time

import trio

SHARE = 0.001
"""Seconds for which a generator may yield without letting another task run: far below a frame, far above a switch."""


class LoopTurns(trio.abc.Instrument):
    """Counts the turns of Trio's event loop. In each turn, every task that has something to do runs once.

    Attributes:
        count: how many there were.
    """

    def __init__(self) -> None:
        self.count = 0

    def after_io_wait(self, timeout: float) -> None:
        """A turn begins. Trio calls this."""
        self.count += 1


_TURNS: trio.lowlevel.RunVar[LoopTurns] = trio.lowlevel.RunVar("flash_loop_turns")


def loop_turns() -> LoopTurns:
    """The turns of this run of Trio, counted from the first time on that somebody asks for them."""
    try:
        return _TURNS.get()
    except LookupError:
        turns = LoopTurns()
        trio.lowlevel.add_instrument(turns)
        _TURNS.set(turns)
        return turns


class FairShare:
    """The time for which one generator may yield before another task has to run.

    Attributes:
        until: when the share is over, on the clock of `time.perf_counter`; before, it is not used up.
    """

    __slots__ = ("_turn", "_turns", "until")

    def __init__(self) -> None:
        self.until: float = 0.0
        self._turns = loop_turns()
        # In which turn the share began.
        self._turn = self._turns.count

    def is_used_up(self) -> bool:
        """Whether the generator must pause, so that other tasks can run."""
        now, turn = time.perf_counter(), self._turns.count
        if now <= self.until:
            return False
        if self._turn == turn:
            return True
        # The generator has waited since, and others have had their turn. `begin` is not called: the code of one more
        # function costs an update that comes alone a fetch into the caches.
        self._turn, self.until = turn, now + SHARE
        return False

    def begin(self) -> None:
        """Other tasks have just had their turn: a new share begins."""
        self._turn, self.until = self._turns.count, time.perf_counter() + SHARE
