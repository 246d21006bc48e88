"""Fairness: makes a generator that never waits let other tasks run, once per millisecond.

A `yield` normally costs no switch of tasks. A generator that yields in a loop and awaits nothing in between would
therefore keep every other task of the process from running. So once its share of time is used up, its stream pauses at
the next `yield`.

A generator that waits for something by itself, such as a queue, lets others run anyway and need not pause. Whether a
step of the generator has waited can be observed, but that costs time; so only every eighth pause asks for it to be
observed. A generator that is found to wait is not paused at the next eight yields for which a share was used up, and
then observed again.
"""

from __future__ import annotations

import time

from .generators import Steps

SHARE = 0.001
"""Seconds for which a generator may yield without letting another task run: far below a frame, far above a switch."""

OBSERVE_EVERY = 8
"""After every eighth pause the generator's steps are observed, to find out whether it waits by itself."""

TRUSTED = 8
"""For how many shares a generator is not observed that was found to wait."""


class FairShare:
    """The time for which one generator may yield before another task has to run.

    Attributes:
        until: when the share is over, on the clock of `time.perf_counter`; before, it is not used up.
    """

    __slots__ = ("_pauses", "_trusted", "until")

    def __init__(self) -> None:
        self.until: float = 0.0
        self._pauses = 0
        self._trusted = 0

    def is_used_up(self, steps: Steps, now: float) -> bool:
        """Whether the generator must pause at the time `now`, so that other tasks can run."""
        if now <= self.until:
            return False
        if self._trusted or (steps.observe and steps.suspended):
            self._trusted = self._trusted - 1 if self._trusted else TRUSTED
            steps.observe = not self._trusted
            self.until = now + SHARE
            return False
        steps.observe = self._pauses % OBSERVE_EVERY == 0
        self._pauses += 1
        return True

    def begin(self) -> None:
        """Other tasks have just had their turn: a new share begins."""
        self.until = time.perf_counter() + SHARE
