"""Calls a function when a coroutine first has to wait, so that what is needed only then is not paid for before.

A deadline, or a task that watches for the end of a connection, costs as much as a small request. And most coroutines
never have to wait.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Generator
from contextvars import Context
from functools import partial
from typing import Any, TypeVar, cast

T = TypeVar("T")


@types.coroutine
def when_suspended(
    coroutine: Awaitable[T], call: Callable[[], object], context: Context | None = None
) -> Generator[Any, Any, T]:
    """Await a coroutine, and call a function when it first lets other tasks run.

    Args:
        coroutine: is awaited.
        call: is called in the context of the task.
        context: that in which the coroutine runs; None if it runs in that of the task.
    """
    steps = cast("Generator[Any, Any, T]", coroutine)
    send: Callable[[Any], Any] = steps.send
    throw: Callable[[BaseException], Any] = steps.throw
    if context is not None:
        send, throw = partial(context.run, steps.send), partial(context.run, steps.throw)
    try:
        trap = send(None)
        call()
        while True:
            try:
                answer = yield trap
            except BaseException as error:
                trap = throw(error)
            else:
                trap = send(answer)
    except StopIteration as done:
        return done.value
