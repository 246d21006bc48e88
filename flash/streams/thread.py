"""Runs a plain generator in a thread of its own, from its first step to its end.

    stream's task ── jobs: a step, `close`, a plain `on_error` ──▶ the thread, one job after the other
                  ◀───────────── what came of it ────────────────

A sqlite3 connection, an RLock or a thread-local value belongs to the thread that made it, and a plain generator may use
them like any function. So all its steps run in one thread and one context, which end with the stream. A second task
beside the stream's, the *keeper*, waits in `trio.to_thread.run_sync` as long as the thread lives. So
`trio.from_thread` works in the generator as in any thread of Trio's, and a cancellation of the stream reaches what a
step waits for there. `close` and `on_error` are shielded from it.

A thread costs 25 KB of memory before it does anything, and 8 MiB of address space: `StreamThreads` bounds them, by
refusing another stream.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from math import inf
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

import trio
from outcome import Error, Outcome, capture

from .._trio import forget_cancellation
from ..errors import RequestRefused
from ..options import DEFAULTS

_log = logging.getLogger("flash.streams")

_T = TypeVar("_T")


class Spawn(Protocol):
    """Runs a function as a task of the given name, with the given contextvars."""

    def __call__(
        self, context: contextvars.Context, function: Callable[[], Awaitable[object]], name: str, /
    ) -> None: ...


class StreamThreads:
    """Counts the streams that have a thread, and refuses more than there may be.

    Attributes:
        total: how many streams may have one.
        held: how many do: for a while more than `total`, if superseded streams still have theirs.
    """

    def __init__(self, total: int = DEFAULTS.stream_threads) -> None:
        self.total = total
        self.held = 0
        # Threads are counted here, where a start can be refused; so Trio need not limit them, too.
        self.limiter: trio.CapacityLimiter = trio.CapacityLimiter(inf)

    def check(self, callback: str, superseding: bool = False) -> None:
        """Raise RequestRefused if a stream of `callback` would be one too many.

        Args:
            callback: its name, for the message.
            superseding: it takes the place of one that has a thread.
        """
        if self.held - superseding >= self.total:
            raise RequestRefused(
                503,
                f"{callback!r} was not started: the server runs {self.held} streams of plain generators already, and "
                "each has a thread for its life. Let some end first, raise stream_threads= of Flash(...), or write the "
                "callback as `async def`.",
            )


class _Job:
    """A function to be called in the thread, and the task that waits for its result.

    Attributes:
        function: the function.
        task: the task; None if it does not wait any more.
        shielded: the stream's cancellation does not reach what the function waits for by `trio.from_thread`.
    """

    __slots__ = ("function", "shielded", "task")

    def __init__(self, function: Callable[[], Any], task: trio.lowlevel.Task, shielded: bool) -> None:
        self.function = function
        self.task: trio.lowlevel.Task | None = task
        self.shielded = shielded


class _State(Enum):
    """How far a thread has come: new → running → ending → over, without those that are skipped."""

    NEW = auto()
    """It has no job yet, and does not exist; it is counted all the same."""
    RUNNING = auto()
    """It takes jobs."""
    ENDING = auto()
    """It ends after its present job."""
    OVER = auto()
    """It has ended, or will never exist, and is not counted any more."""


class StreamThread:
    """The thread of one stream. It is counted when this is made, and starts with the first job."""

    def __init__(self, threads: StreamThreads, spawn: Spawn, callback: str) -> None:
        self._threads = threads
        self._spawn = spawn
        self._callback = callback
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._job: _Job | None = None
        self._state = _State.NEW
        self._cancellation = trio.CancelScope(shield=True)
        self._shield = trio.CancelScope()
        self._token = trio.lowlevel.current_trio_token()
        self._is_counted = True
        threads.held += 1

    @property
    def idle(self) -> bool:
        """It runs and has no job: the next one starts at once."""
        return self._state is _State.RUNNING and self._job is None

    @property
    def is_working(self) -> bool:
        """Whether it has a job that is not done, or is about to end."""
        return self._job is not None or self._state is _State.ENDING

    async def run(self, function: Callable[[], _T], *, shielded: bool = False, abandon: bool = False) -> _T:
        """Call a function in the thread.

        Args:
            function: what to call.
            shielded: the stream's cancellation does not reach what the function waits for by `trio.from_thread`.
            abandon: if the caller is cancelled, this raises at once, and the function goes on in the thread; else this
                waits for the function.
        """
        if self._state is _State.OVER:
            # The thread was ended from outside, as test fixtures do. Better run this in another one than not at all.
            return await trio.to_thread.run_sync(function, limiter=self._threads.limiter, abandon_on_cancel=abandon)
        if self._state is _State.NEW:
            self._state = _State.RUNNING
            self._spawn(contextvars.copy_context(), self._keep, f"thread of {self._callback}")
        job = self._job = _Job(function, trio.lowlevel.current_task(), shielded)

        def abort(_: Any) -> trio.lowlevel.Abort:
            if not abandon:
                return trio.lowlevel.Abort.FAILED
            job.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._jobs.put(job)
        return await trio.lowlevel.wait_task_rescheduled(abort)

    def cancel(self) -> None:
        """Cancel what the present job waits for by `trio.from_thread`."""
        if self._job is not None:
            self._cancellation.cancel()

    def end(self) -> None:
        """Let the thread end after its present job."""
        if self._state is _State.NEW:
            self._state = _State.OVER
            self._uncount()
        elif self._state is _State.RUNNING:
            self._state = _State.ENDING
            self._jobs.put(None)
            if self._job is None:
                # It ends at once: whoever waits for its place need not wait for the operating system.
                self._uncount()

    def _uncount(self) -> None:
        """The thread takes no place any more."""
        if self._is_counted:
            self._is_counted = False
            self._threads.held -= 1

    async def _keep(self) -> None:
        """The task that keeps the thread."""
        try:
            with self._cancellation, self._shield:
                # The stream may have been cancelled by now, and Trio starts no thread for a cancelled task.
                self._shield.shield = self._cancellation.cancel_called
                await trio.to_thread.run_sync(self._work, limiter=self._threads.limiter)
        except BaseException as error:
            # This must not reach the page's nursery. Every job has its result, or gets one here.
            _log.warning("The thread of %r was ended.", self._callback, exc_info=error)
        finally:
            self._state = _State.OVER
            self._uncount()
            if self._job is not None:
                self._answer(self._job, Error(RuntimeError(f"The thread of {self._callback!r} was ended.")))

    def _work(self) -> None:
        """Run in the thread: do one job after the other."""
        if self._shield.shield:
            trio.from_thread.run_sync(self._end_shield)
        while (job := self._jobs.get()) is not None:
            if job.shielded:
                # In the keeper's task: what waits there from now on is not cancelled.
                trio.from_thread.run_sync(self._begin_shield)
                forget_cancellation()
            result = capture(job.function)
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._answer, job, result)
            # Do not keep them until the next job comes: the job refers to the generator, and a result may be large.
            del job, result

    def _begin_shield(self) -> None:
        self._shield.shield = True

    def _end_shield(self) -> None:
        self._shield.shield = False

    def _answer(self, job: _Job, result: Outcome[Any]) -> None:
        if self._job is job:
            self._job = None
        if job.task is not None:
            task, job.task = job.task, None
            trio.lowlevel.reschedule(task, result)
