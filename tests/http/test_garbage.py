"""When a served process looks for garbage, and that it finds all of it in the end."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from flash.server import garbage
from flash.server.garbage import MIDDLE_COLLECTIONS, OLD_COLLECTIONS, YOUNG_OBJECTS, short_collections


class Ring:
    """Refers to itself: only a collection ends it."""

    def __init__(self) -> None:
        self.itself = self


def ring() -> weakref.ref[Ring]:
    """A weak reference to one that is garbage."""
    return weakref.ref(Ring())


@contextmanager
def full_collections() -> Generator[list[int]]:
    """How many objects were frozen after each collection of the old generation."""
    frozen: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "stop" and info["generation"] == 2:
            frozen.append(gc.get_freeze_count())

    gc.callbacks.append(note)
    try:
        yield frozen
    finally:
        gc.callbacks.remove(note)


def live_on(objects: int) -> list[object]:
    """New objects that live on. They bring collections on."""
    return [[number] for number in range(objects)]


def enough() -> int:
    """How many new objects bring on collections of the old generation after a complete one.

    Python puts off the first until there are a quarter as many as have survived that one.
    """
    return ONE_OLD + gc.get_freeze_count() // 3


ONE_OLD = 2 * YOUNG_OBJECTS * (MIDDLE_COLLECTIONS + 1) * (OLD_COLLECTIONS + 1)
"""New objects that bring two collections of the old generation on."""


def test_a_server_looks_for_garbage_less_often_and_puts_that_back() -> None:
    before, callbacks = gc.get_threshold(), gc.callbacks.copy()
    with short_collections():
        assert gc.get_threshold()[0] > before[0]
        assert gc.get_freeze_count() > 10_000
    assert gc.get_threshold() == before
    assert gc.callbacks == callbacks
    assert gc.get_freeze_count() == 0


def test_who_turned_the_garbage_collector_off_keeps_it_off() -> None:
    before, callbacks = gc.get_threshold(), gc.callbacks.copy()
    gc.set_threshold(0)
    try:
        with short_collections():
            assert gc.get_threshold()[0] == 0
            assert gc.callbacks == callbacks
        assert gc.get_threshold()[0] == 0
    finally:
        gc.set_threshold(*before)


def test_what_has_survived_is_frozen_and_not_gone_through_again() -> None:
    with short_collections(), full_collections() as frozen:
        gc.collect()
        kept = live_on(enough())
        assert len(frozen) > 1
        assert frozen[-1] > frozen[0] + len(kept) / 2
        assert len(gc.get_objects()) < len(kept) / 2


def test_a_frozen_object_goes_when_nothing_refers_to_it_any_more() -> None:
    with short_collections():
        kept = live_on(ONE_OLD)
        gc.collect()
        before = gc.get_freeze_count()
        number = len(kept)
        del kept
        assert gc.get_freeze_count() < before - number / 2


def test_garbage_that_was_frozen_is_found_when_as_much_again_was_frozen() -> None:
    with short_collections():
        kept_ring = Ring()
        gone = weakref.ref(kept_ring)
        first = live_on(ONE_OLD)
        # It is garbage from now on, and frozen.
        del kept_ring
        assert gone() is not None
        more: list[object] = []
        enough = 2 * gc.get_freeze_count()
        while gone() is not None:
            assert len(more) * ONE_OLD < enough
            more.append(live_on(ONE_OLD))
        del first, more


def test_garbage_that_was_frozen_is_found_after_some_time_at_the_latest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "PAUSE_SHARE", 0)
    with short_collections():
        kept_ring = Ring()
        gone = weakref.ref(kept_ring)
        gc.collect()
        del kept_ring
        kept = live_on(enough())
        assert gone() is None
        del kept


def test_a_collection_that_the_app_asks_for_is_complete() -> None:
    with short_collections():
        kept_ring = Ring()
        gone = weakref.ref(kept_ring)
        gc.collect()
        del kept_ring
        assert gone() is not None
        gc.collect()
        assert gone() is None


def test_a_collection_that_the_app_asks_for_is_complete_though_python_is_due_to_begin_one() -> None:
    with short_collections():
        kept = live_on(400_000)
        kept_ring = Ring()
        gone = weakref.ref(kept_ring)
        gc.collect()
        # Python puts off going through the old generation until a quarter more objects have survived.
        while gc.get_count()[2] <= gc.get_threshold()[2]:
            kept += live_on(1_000)
        del kept_ring
        assert gone() is not None
        assert gc.get_count()[0] < YOUNG_OBJECTS / 2
        gc.collect()
        assert gone() is None
        del kept


def test_garbage_that_is_new_goes_as_in_any_program() -> None:
    with short_collections():
        gone = ring()
        kept = live_on(2 * YOUNG_OBJECTS)
        assert gone() is None
        del kept


def test_an_import_changes_nothing_of_how_python_looks_for_garbage() -> None:
    program = """if True:
        import gc
        before = (gc.get_threshold(), gc.callbacks.copy(), gc.isenabled(), gc.get_freeze_count())
        import flash
        flash.Flash(__name__)
        assert before == (gc.get_threshold(), gc.callbacks, gc.isenabled(), gc.get_freeze_count())"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_what_a_program_has_frozen_stays_frozen_when_flash_is_loaded() -> None:
    program = """if True:
        import gc
        gc.freeze()
        before = gc.get_freeze_count()
        import flash
        flash.Flash(__name__)
        assert gc.get_freeze_count() > before / 2"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_flash_run_does_not_count_what_there_is() -> None:
    program = """if True:
        import gc
        from flash.command_line import load
        from flash.server.garbage import short_collections
        gc.get_freeze_count = None
        gc.freeze()
        load("benchmarks.apps.flash_plain:app")
        from flash import feed
        with short_collections():
            pass"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
