"""Chooses the worker that runs what one worker of the machine is to run: `@app.background(once="machine")`.

    worker 1 is ready ── it is chosen ── it stops: its tasks end, and it resigns ── another one is chosen
                                      └─ or it dies ────────────────────────────┘

There are never two at once: the next one is chosen when the tasks of the one before have ended, or its process has.
Until then the machine has none. When a generation is replaced, its chosen worker stops like the others of it, and the
next one is of the new generation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol


class Candidate(Protocol):
    """What is to be known of a worker that may be chosen; `WorkerProcess` is one.

    Attributes:
        resigned: it runs nothing any more of what it may have been chosen for.
    """

    resigned: bool

    def choose(self) -> None:
        """Have it run what it is chosen for."""
        ...


class ChosenWorker:
    """The one worker of a machine that is chosen, if there is one."""

    def __init__(self, candidates: Callable[[], Sequence[Candidate]]) -> None:
        """`candidates`: returns the workers that may be chosen now."""
        self._candidates = candidates
        self._worker: Candidate | None = None

    def choose_if_none(self) -> None:
        """Choose one, if there is none and one can be had. Called when a worker has become ready, or has resigned."""
        if self._worker is not None and not self._worker.resigned:
            return
        self._worker = next(iter(self._candidates()), None)
        if self._worker is not None:
            self._worker.choose()
