"""Calls a function when a coroutine first has to wait, so that what is needed only then is not paid for before.

A deadline, or a task that watches for the end of a connection, costs as much as a small request. And most coroutines
never have to wait.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar, cast

T = TypeVar("T")


@types.coroutine
def when_suspended(coroutine: Awaitable[T], call: Callable[[], object]) -> Generator[Any, Any, T]:
    """Await a coroutine, and call a function when it first lets other tasks run."""
    steps = cast("Generator[Any, Any, T]", coroutine)
    try:
        trap = steps.send(None)
        call()
        while True:
            try:
                answer = yield trap
            except BaseException as error:
                trap = steps.throw(error)
            else:
                trap = steps.send(answer)
    except StopIteration as done:
        return done.value
