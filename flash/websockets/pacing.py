"""Runs callbacks that came over a websocket: an async one at the page's pace, a plain one in a thread.

`set_props` is a plain function and cannot wait for a page that does not read. So the coroutine of an async callback
is driven from here, and whenever it would go on after an `await` while the page has too much to read, it goes on
later. What it awaited is not touched by that: to the callback it looks like a busy machine.
"""

from __future__ import annotations

import logging
import types
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any, TypeVar

import trio

from .batching import SendBuffer

_log = logging.getLogger("flash.server")

T = TypeVar("T")


@types.coroutine
def paced(coroutine: Coroutine[Any, Any, T], buffer: SendBuffer) -> Generator[Any, Any, T]:
    """Await a coroutine, and keep it from going on while the buffer is full."""
    step: Callable[[Any], Any] = coroutine.send
    result: Any = None
    while True:
        try:
            trap = step(result)
        except StopIteration as over:
            return over.value
        try:
            result = yield trap
            step = coroutine.send
        except BaseException as error:
            result, step = error, coroutine.throw
        if buffer.full():
            yield from _wait_for_room(buffer).__await__()


async def _wait_for_room(buffer: SendBuffer) -> None:
    # A cancellation is not lost: it is raised again at what the coroutine awaits next. Raised here, it would take the
    # place of a result that the coroutine has already, such as a lock.
    with suppress(trio.Cancelled):
        await buffer.wait_for_room()


async def run_in_thread(
    function: Callable[[], T], limiter: trio.CapacityLimiter, cleanup_timeout: float, name: str
) -> T:
    """Run a plain function in a worker thread.

    When this is cancelled the thread has so many seconds to come to its end. Then it is left to itself, which is
    logged; it counts against the limiter as long as it runs.

    Args:
        function: what to run.
        limiter: of threads.
        cleanup_timeout: seconds.
        name: what to call it in the log.
    """
    token = trio.lowlevel.current_trio_token()
    began, over = False, trio.Event()
    unwanted = False

    def run() -> T:
        nonlocal began
        began = True
        try:
            if unwanted:
                raise RuntimeError("The callback was cancelled before it began.")
            return function()
        finally:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(over.set)

    try:
        return await trio.to_thread.run_sync(run, abandon_on_cancel=True, limiter=limiter)
    except trio.Cancelled:
        unwanted = True
        if began:
            with trio.move_on_after(cleanup_timeout, shield=True):
                await over.wait()
            if not over.is_set():
                _log.warning(
                    "The callback %r was left running in its thread: %g s after its websocket closed it had not "
                    "returned. Ask ctx.websocket.is_shutdown in loops, or make it `async def`.",
                    name,
                    cleanup_timeout,
                )
        raise
