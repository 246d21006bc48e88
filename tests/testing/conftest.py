"""Fixtures: each test declares callbacks of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.global_callbacks import forget_global_callbacks


@pytest.fixture(autouse=True)
def _own_callbacks() -> Iterator[None]:
    """Forget what a test has declared without an app: the app of the next one would take it."""
    yield
    forget_global_callbacks()
