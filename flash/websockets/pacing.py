"""Runs websocket callbacks: async ones at the pace at which their page reads, plain ones in worker threads.

`set_props` is a plain function, so it cannot wait for a page that does not read. `paced` waits in its place: it steps
the coroutine of an async callback itself. When an `await` of the callback returns while the send buffer is full,
`paced` waits for room before it resumes the callback. The result of the `await` stays the same; it only arrives later.
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
    """Await a coroutine, and resume it only while the buffer is not full."""
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
    # Trio raises the suppressed cancellation again at the next `await` of the coroutine. If it were raised here, it
    # would replace the result of the `await` that has returned, and a lock, for example, would stay acquired.
    with suppress(trio.Cancelled):
        await buffer.wait_for_room()


async def run_in_thread(
    function: Callable[[], T], limiter: trio.CapacityLimiter, cleanup_timeout: float, name: str
) -> T:
    """Run a plain function in a worker thread.

    When the caller is cancelled, it waits up to `cleanup_timeout` for the thread to return. If the thread is still
    running then, it is abandoned, with a warning in the log; it counts against the limiter until it returns.

    Args:
        function: the function.
        limiter: bounds the threads that run at the same time.
        cleanup_timeout: seconds from the cancellation until the thread is abandoned.
        name: the name of the callback in the log.
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
