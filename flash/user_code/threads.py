"""Runs the user's async functions where Dash calls plain ones, and plain functions in worker threads.

Dash calls layouts, hooks and pages as plain functions, and Flash has it do so in worker threads. From there an async
function can be run on the event loop, while the thread waits for it. Such threads are counted by limiters of their own,
which async functions do not use: otherwise forty waiting threads would keep each other from going on.
"""

from __future__ import annotations

import functools
import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from inspect import isawaitable, iscoroutinefunction
from typing import Any, TypeVar

import trio

T = TypeVar("T")


def run_async(function: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """Run an async function for a caller that is not async: on the loop of the server, or else on a new one."""
    if trio.lowlevel.in_trio_run():
        # An async program makes an app. It waits here as it would for a plain function.
        with ThreadPoolExecutor(1) as other:
            return other.submit(trio.run, function, *arguments).result()
    try:
        trio.from_thread.check_cancelled()
    except RuntimeError:
        return trio.run(function, *arguments)
    return trio.from_thread.run(function, *arguments)


def as_plain(function: Any) -> Any:
    """A plain function that does what an async one does; anything else as it is."""
    if not iscoroutinefunction(function):
        return function

    @functools.wraps(function)
    def plain(*arguments: Any, **keywords: Any) -> Any:
        return run_async(functools.partial(function, *arguments, **keywords))

    return plain


def on_own_loop(function: Any) -> Any:
    """A plain function that runs an async one in a run of Trio of its own; anything else as it is.

    For background callbacks, which run in processes without a server: Dash would run them on asyncio.
    """
    if not iscoroutinefunction(function):
        return function

    @functools.wraps(function)
    def plain(*arguments: Any, **keywords: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            # In a fork of the server, signals would otherwise wake the server's loop.
            signal.set_wakeup_fd(-1)
        return trio.run(functools.partial(function, *arguments, **keywords))

    return plain


def run_without_waiting(function: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run, in whatever thread, an async function that has nothing to wait for."""
    coroutine = function()
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise RuntimeError(f"{function!r} waits.")


def in_thread(function: Callable[..., Any], limiter: trio.CapacityLimiter) -> Callable[..., Awaitable[Any]]:
    """An async function that runs a plain one in a worker thread; an awaitable that this returns is awaited."""

    @functools.wraps(function)
    async def run(*arguments: Any, **keywords: Any) -> Any:
        # In a list, because Trio refuses an awaitable that a thread returns.
        [result] = await trio.to_thread.run_sync(lambda: [function(*arguments, **keywords)], limiter=limiter)
        return await result if _is_awaitable(result) else result

    return run


def _is_awaitable(result: Any) -> bool:
    """Whether what a plain function has returned can be awaited; of a proxy, whether what it stands for can.

    Every `LocalProxy` of Werkzeug's, such as Quart's `request`, has an `__await__`, and so counts as awaitable.
    """
    return isawaitable(result) and (type(result) is result.__class__ or hasattr(result.__class__, "__await__"))
