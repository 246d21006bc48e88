"""Fixtures: each test declares callbacks of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dash._callback import GLOBAL_CALLBACK_LIST, GLOBAL_CALLBACK_MAP

from flash.event_callback import GLOBAL_EVENT_CALLBACKS


@pytest.fixture(autouse=True)
def _own_callbacks() -> Iterator[None]:
    """Forget what a test has declared without an app: the app of the next one would take it."""
    yield
    GLOBAL_EVENT_CALLBACKS.take()
    GLOBAL_CALLBACK_LIST.clear()
    GLOBAL_CALLBACK_MAP.clear()
