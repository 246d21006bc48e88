"""Has Python look for garbage in a served process without stopping it for long.

    new objects ── two young generations ── the old one ── frozen
                                                ▲            │
                                                └────────────┘ for a complete collection

A program that is served has a few hundred objects for each page, which live for hours, and next to none of them is
ever garbage of the kind that Python has to look for: objects that refer to each other in a circle. All others go at
once. Python goes through all objects now and then all the same, half a second for a million of them, in which
no page gets anything.

So what has survived a collection of the old generation is frozen (`gc.freeze`): later ones only go through what has
come since. A frozen object goes as soon as nothing refers to it, as any other. Only a circle of frozen objects stays.
It is found by a complete collection, before which all are thawed. One is due when as many objects were frozen as there
were after the one before; and at the latest when that one's time has passed `PAUSE_SHARE` times. The first is due after
`FIRST_FROZEN` objects or `FIRST_COMPLETE` seconds. Python begins it when it would look through the old generation
anyway. `gc.collect()`, called by the app's code, is complete, unless Python was about to do so by itself (see
`FREED_BEFORE`): then the next one is.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Generator

YOUNG_OBJECTS = 5_000
"""New objects after which Python looks for garbage among them: those of a hundred updates that are under way."""

MIDDLE_COLLECTIONS = 3
"""How many collections of the young generation may pass before one of the middle one: few, so that each is short."""

OLD_COLLECTIONS = 1
"""The same for the old generation and the middle one."""

PAUSE_SHARE = 2_000
"""A complete collection that is due only by its age takes at most one in so many seconds."""

FIRST_COMPLETE = 60
"""Seconds from the start until the first one is due for its age: how long one takes is not known before."""

FIRST_FROZEN = 150_000
"""Objects frozen since the start until the first one is due: about as many as a small app has when it starts.

To have Python count those that there are would make every start longer by 30 ms.
"""

FREED_BEFORE = 500
"""How many objects may go after there were enough new ones, and before Python begins the collection, from 3.12 on."""

_YOUNG, _OLD = 0, 2
"""What Python calls the generations of the new and of the old objects."""


@contextlib.contextmanager
def short_collections() -> Generator[None]:
    """Have Python's collections of garbage be few and short while the block runs.

    In a program that has turned them off they stay off, and only what there is before the block is frozen.
    """
    thresholds = gc.get_threshold()
    survivors = Survivors()
    if gc.isenabled() and thresholds[0] > 0:
        gc.callbacks.append(survivors)
        gc.set_threshold(max(thresholds[0], YOUNG_OBJECTS), MIDDLE_COLLECTIONS, OLD_COLLECTIONS)
    try:
        yield
    finally:
        if survivors in gc.callbacks:
            gc.callbacks.remove(survivors)
            gc.set_threshold(*thresholds)
        gc.unfreeze()


class Survivors:
    """Freezes all objects that there are, and then what survives collections of the old generation.

    Python calls it, as one of `gc.callbacks`, when a collection begins and ends.
    """

    def __init__(self) -> None:
        self._is_complete = False
        self._began = 0.0
        # A collection now would make the start longer by a seventh, and next to nothing of a program is garbage yet.
        gc.freeze()
        # How many objects there were after the last complete collection, how many were frozen since, and when the next
        # one is due for its age.
        self._after_complete = FIRST_FROZEN
        self._frozen_since = 0
        self._due = time.monotonic() + FIRST_COMPLETE

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        if info["generation"] != _OLD:
            return
        if phase == "start":
            self._begin()
        else:
            self._freeze()

    def _begin(self) -> None:
        """Have the collection that begins be complete, if one is due."""
        self._began = time.monotonic()
        # Python itself begins one when it has counted so many new objects, and so many of the younger collections.
        counts, thresholds = gc.get_count(), gc.get_threshold()
        is_pythons = counts[_YOUNG] > thresholds[_YOUNG] - FREED_BEFORE and counts[_OLD] > thresholds[_OLD]
        self._is_complete = not is_pythons or self._frozen_since >= self._after_complete or self._began >= self._due
        if self._is_complete:
            gc.unfreeze()

    def _freeze(self) -> None:
        """Freeze what has survived the collection that ends."""
        if self._is_complete:
            gc.freeze()
            self._after_complete, self._frozen_since = gc.get_freeze_count(), 0
            now = time.monotonic()
            self._due = now + PAUSE_SHARE * (now - self._began)
        else:
            self._frozen_since += len(gc.get_objects(_OLD))
            gc.freeze()
