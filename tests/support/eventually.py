"""Wait until a condition is true, and fail the test if it does not become so.

await eventually(lambda: app.streams() == [])                      # in a test on Trio
eventually_sync(lambda: page.is_closed(), "the page is closed")    # in any other
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable
from typing import NoReturn

import pytest
import trio

TIMEOUT = 30.0
"""Seconds that a test waits for what must happen.

Long, because a busy machine is slow; a test that passes waits no longer than it must. A test of how soon something
happens names its own number instead.
"""

INTERVAL = 0.005
"""Seconds between two evaluations of a condition."""


async def eventually(
    condition: Callable[[], object | Awaitable[object]], what: str | Callable[[], str] = "", timeout: float = TIMEOUT
) -> None:
    """Return when `condition()` is true; fail the test if it is not within `timeout` seconds.

    Args:
        condition: a function, async or not.
        what: says in the failure what was waited for, when it fails if it is a function; the condition's source if "".
        timeout: in seconds.
    """
    with trio.move_on_after(timeout):
        while True:
            value = condition()
            if await value if inspect.isawaitable(value) else value:
                return
            await trio.sleep(INTERVAL)
    _fail(condition, what, timeout)


def eventually_sync(
    condition: Callable[[], object], what: str | Callable[[], str] = "", timeout: float = TIMEOUT
) -> None:
    """The same outside of Trio."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            _fail(condition, what, timeout)
        time.sleep(INTERVAL)


def _fail(condition: Callable[[], object], what: str | Callable[[], str], timeout: float) -> NoReturn:
    message = what() if callable(what) else what or inspect.getsource(condition).strip()
    pytest.fail(f"this has not become true within {timeout:g} s: {message}")
