"""Runs asyncio's event loop in a thread beside Trio's, and hands work from Trio's tasks to it.

There is one loop per Trio run, and so one per server: asyncio's locks, pools and sessions can be shared between
callbacks. It is asyncio's own loop, unchanged: what works under `asyncio.run` works here. It opens when it is first
needed. A system task of Trio's owns it, which ends after everything else: by then streams have ended, and their pages
have been sent the reasons.

A task of Trio's asks for something and waits for the answer. When it is cancelled, what it asked for is cancelled on
asyncio's side, and the task goes on waiting until that has ended: nothing is left behind to run by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import trio
from outcome import Error, Value

from ..errors import AsyncioCancelled

_T = TypeVar("_T")

Result: TypeAlias = Value[Any] | Error
Report: TypeAlias = Callable[[Result], None]

_log = logging.getLogger("flash.asyncio")

CLOSE_TIMEOUT = 5.0
"""Seconds that tasks of the user's, and threads of `asyncio.to_thread`, have to end when the server has stopped."""


class AsyncioThread:
    """An asyncio event loop in a thread of its own.

    Attributes:
        loop: the event loop.
    """

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.new_event_loop()
        self._token = trio.lowlevel.current_trio_token()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="flash asyncio", daemon=True)
        self._thread.start()

    async def ask(self, name: str, begin: Callable[[Report], None], cancel: Callable[[], None]) -> Any:
        """Call `begin(answer)` in the loop's thread, and return or raise what `answer` is then called with.

        Args:
            name: of the function that runs on asyncio, for messages.
            begin: sees to it that `answer` is called, once, in the loop's thread.
            cancel: called in the loop's thread if the caller is cancelled. The answer is waited for all the same.

        Raises:
            trio.Cancelled: the caller was cancelled, and the answer is a CancelledError.
            AsyncioCancelled: the answer is a CancelledError, but the caller was not cancelled.
        """
        task = trio.lowlevel.current_task()
        interrupt: Callable[[], Any] | None = None

        def answer(result: Result) -> None:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(trio.lowlevel.reschedule, task, Value(result))

        def abort(raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
            nonlocal interrupt
            interrupt = raise_cancel
            self.loop.call_soon_threadsafe(cancel)
            return trio.lowlevel.Abort.FAILED

        self.loop.call_soon_threadsafe(begin, answer)
        result: Result = await trio.lowlevel.wait_task_rescheduled(abort)
        if isinstance(result, Error) and isinstance(result.error, asyncio.CancelledError):
            if interrupt is not None:
                interrupt()
            raise AsyncioCancelled(
                f"A task of asyncio's in {name!r} was cancelled, and not because its stream or request was: by "
                "itself, or by something that it waited for."
            ) from result.error
        return result.unwrap()

    async def own(self) -> None:
        """Keep the loop until the task is cancelled, and close it."""
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._close)

    def _close(self) -> None:
        self._stopping = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(CLOSE_TIMEOUT)
        if self._thread.is_alive():
            _log.error(
                "asyncio tasks or threads still run %g s after the server has stopped; they are left behind. Let "
                "asyncio.CancelledError pass, and do not block for long in asyncio.to_thread.",
                CLOSE_TIMEOUT,
            )

    def _run(self) -> None:
        """The loop's thread."""
        while not self._stopping:
            try:
                self.loop.run_forever()
            except BaseException:
                # SystemExit and KeyboardInterrupt end asyncio's loops. One callback raised it, and the others go on.
                _log.exception("A callback of the asyncio event loop raised.")
        try:
            self.loop.run_until_complete(_end_tasks())
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
        except BaseException:
            _log.exception("The asyncio event loop could not be closed in order.")
        finally:
            self.loop.close()


async def _end_tasks() -> None:
    """Cancel the tasks that the user's code has left, and wait for them."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


_thread: trio.lowlevel.RunVar[AsyncioThread] = trio.lowlevel.RunVar("flash_asyncio_thread")


def asyncio_thread() -> AsyncioThread:
    """The loop of this Trio run."""
    try:
        return _thread.get()
    except LookupError:
        thread = AsyncioThread()
        _thread.set(thread)
        trio.lowlevel.spawn_system_task(thread.own, name="flash asyncio")
        return thread


def in_asyncio() -> bool:
    """Whether the caller runs on an event loop of asyncio's, and so must not block."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def run_beside(function: Callable[[], _T]) -> _T:
    """Call a function that blocks in another thread, for a coroutine of asyncio's."""
    return await asyncio.to_thread(function)
