"""Runs Trio in a thread of its own, on a virtual clock, for tests that are not async."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

import trio
import trio.testing
from outcome import Error, Outcome, Value

from .virtual_time import VirtualTime

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

END_TIMEOUT = 3.0
"""Real seconds that the thread may take to end."""


POLL = 1.0
"""Real seconds between two looks at whether the thread still runs."""


class TrioThread:
    """A run of Trio in a thread, with one task in which functions are called, one after the other.

    Attributes:
        nursery: for tasks that outlast such a call.
        time: the clock of the run.
    """

    nursery: trio.Nursery
    time: VirtualTime

    def __init__(self) -> None:
        self._jobs: trio.MemorySendChannel[Callable[[], Awaitable[None]] | None]
        started: queue.SimpleQueue[trio.lowlevel.TrioToken | BaseException] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(started,), name="flash.testing", daemon=True)
        self._thread.start()
        token = started.get()
        if isinstance(token, BaseException):
            raise token
        self._token = token

    def call(self, function: Callable[[*Arguments], Awaitable[T]], *arguments: *Arguments) -> T:
        """Call an async function there, and return or raise what it does."""
        answers: queue.SimpleQueue[Outcome[T]] = queue.SimpleQueue()

        async def job() -> None:
            try:
                answers.put(Value(await function(*arguments)))
            except Exception as error:
                answers.put(Error(error))
            except BaseException as error:
                answers.put(Error(error))
                raise

        try:
            self._token.run_sync_soon(self._jobs.send_nowait, job)
        except trio.RunFinishedError:
            raise AssertionError(f"The thread of the test is over: {self._failure!r}.") from self._failure
        while True:
            with contextlib.suppress(queue.Empty):
                return answers.get(timeout=POLL).unwrap()
            if not self._thread.is_alive() and answers.empty():
                raise AssertionError(f"The thread of the test has ended: {self._failure!r}.") from self._failure

    def end(self) -> bool:
        """End the run; says whether it has ended. If not, because something cannot be cancelled, it is left behind."""
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._jobs.send_nowait, None)
        self._thread.join(END_TIMEOUT)
        return not self._thread.is_alive()

    def _run(self, started: queue.SimpleQueue[trio.lowlevel.TrioToken | BaseException]) -> None:
        async def main() -> None:
            self._jobs, jobs = trio.open_memory_channel[Callable[[], Awaitable[None]] | None](100)
            self.time = VirtualTime.of_run()
            async with trio.open_nursery() as self.nursery:
                started.put(trio.lowlevel.current_trio_token())
                async for job in jobs:
                    if job is None:
                        break
                    await job()
                self.time.release()
                self.nursery.cancel_scope.cancel()

        try:
            trio.run(main, clock=trio.testing.MockClock())
        except BaseException as error:
            self._failure = error
            started.put(error)
