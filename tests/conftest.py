"""Forgets the callbacks that test modules declare without an app when they are imported."""

from __future__ import annotations

from tests.support.global_callbacks import forget_global_callbacks


def pytest_collection_finish() -> None:
    """The first app of the process would take them, in whichever test that happens to be."""
    forget_global_callbacks()
