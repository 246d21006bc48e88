"""Waiting for what will be, with a limit for when it will not."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
import trio

PATIENCE = 10.0
"""Seconds after which something that has not happened will not happen any more: a test fails then, and says so."""


async def eventually(condition: Callable[[], object]) -> None:
    """Return when `condition()` is true; fail if it does not become so."""
    with trio.move_on_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await trio.sleep(0.001)
        return
    pytest.fail(f"this has not become true: {inspect.getsource(condition).strip()}")
