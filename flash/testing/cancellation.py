"""Ends a stream at each of its checkpoints in turn, in each way in which streams end, and looks at what is left.

    1st checkpoint ── cancelled, superseded, timed_out, disconnected, shutdown, ..., failed
    2nd checkpoint ── cancelled, ...
    none is left ──── ended when the time is over

A checkpoint is a wait of the stream's task, or of one in a nursery of it, and each `yield`: every `yield` is made to
wait, as if the page were behind. An instrument of Trio's sees each wait, and ends the stream there. A stream is made to
fail at a `yield`: what it yields is refused. What Flash finds to be wrong with clean-up it logs, and that is read here.
"""

from __future__ import annotations

import itertools
import linecache
import logging
import re
import threading
import time as real_time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import trio

from ..callbacks.stream_context import LiveProps
from ..cancel_scopes import EndReason
from ..errors import InvalidUpdate
from ..streams.fairness import FairShare
from ..streams.stream import TASK_NAME, Stream
from .single_stream import END_TIMEOUT, SingleStream
from .virtual_time import VirtualTime
from .work_outside import all_tasks, place_in, place_of

THREAD_TIMEOUT = 2.0
"""Real seconds that threads have to end once a stream is over."""

OF_OTHERS = ("Trio thread", "flash asyncio", "asyncio_", "flash.testing", "ThreadPoolExecutor")
"""What the names of threads begin with that belong to no stream."""

WAYS = sorted(
    (reason for reason in EndReason if reason is not EndReason.COMPLETED),
    key=lambda reason: (reason is not EndReason.CANCELLED, reason is EndReason.FAILED),
)
"""The ways in which a stream is ended, `cancelled` first and `failed`, which is only at a `yield`, last."""


class _EveryYield(FairShare):
    """Has the stream pause at each `yield`."""

    def begin(self) -> None:
        """No share ever begins."""

    def is_used_up(self) -> bool:
        return True


class Attempt(trio.abc.Instrument):
    """One run of the stream, which is ended at one of its checkpoints.

    Attributes:
        place: where that is, once it is reached: file and line; None before.
    """

    def __init__(self, single: SingleStream, way: EndReason, number: int) -> None:
        """
        Args:
            single: the stream, not started yet.
            way: how it is to be ended.
            number: of the checkpoint, from 1.
        """
        self.place: str | None = None
        self._single = single
        self._way = way
        self._number = number
        self._count = 0
        self._stream: Stream | None = None
        self.refusal = InvalidUpdate(f"check_cancellation has refused update {number}, to make the stream fail.")

    async def run(self, time: VirtualTime, seconds: float) -> None:
        """Start the stream, let time pass until it is over, at most so many seconds, and finish it."""
        if self._way is EndReason.FAILED:
            self._single.encodes = self._fail
        stream = self._stream = self._single.start()
        stream.share = _EveryYield()
        end = trio.current_time() + seconds
        trio.lowlevel.add_instrument(self)
        try:
            while self.place is None and stream.state == "running" and await time.step(end):
                pass
        finally:
            trio.lowlevel.remove_instrument(self)
        if self.place is not None:
            end = trio.current_time() + END_TIMEOUT
            while any(info.id == stream.id for info in self._single.channel.streams()) and await time.step(end):
                pass
        await self._single.finish(time)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task waits. Trio calls this."""
        stream = self._stream
        if stream is None or stream.state != "running" or self._way is EndReason.FAILED:
            return
        if self.place is not None or not self._belongs(task):
            return
        place = place_of(task) or self._place_of_yield()
        if place is None:
            return
        self._count += 1
        if self._count == self._number:
            self.place = place
            self._end(stream)

    def _belongs(self, task: trio.lowlevel.Task) -> bool:
        """Whether a task is the stream's, or in a nursery of it."""
        above: trio.lowlevel.Task | None = task
        while above is not None and above.name != TASK_NAME + self._single.declaration.name:
            above = None if above.parent_nursery is None else above.parent_nursery.parent_task
        return above is not None

    def _place_of_yield(self) -> str | None:
        for generator in self._single.generators:
            frame = getattr(generator, "ag_frame", None) or getattr(generator, "gi_frame", None)
            if frame is not None:
                return place_in([(frame, frame.f_lineno)])
        return None

    def _end(self, stream: Stream) -> None:
        channel = self._single.channel
        match self._way:
            case EndReason.CANCELLED:
                stream.scope.change(0, 1)
            case EndReason.SUPERSEDED:
                channel.start(replace(self._single.spec(_nothing, LiveProps()), is_plain=False))
            case EndReason.DISCONNECTED | EndReason.SHUTDOWN:
                channel.close(self._way)
            case other:
                stream.scope.cancel(other)

    def _fail(self) -> None:
        self._count += 1
        if self._count == self._number:
            self.place = self._place_of_yield() or "?"
            raise self.refusal


async def _nothing() -> Any:
    """The generator of the stream that supersedes another one."""
    return
    yield


class _Complaints(logging.Handler):
    """Collects what Flash logs as a warning or worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def first_without(self, expected: BaseException) -> str | None:
        """The first of them that is not about this exception."""
        for record in self.records:
            error = record.exc_info and record.exc_info[1]
            if error is not expected and (error is None or error.__cause__ is not expected):
                return record.getMessage() + (f" {error!r}" if error else "")
        return None


@contextmanager
def _complaints() -> Generator[_Complaints]:
    """Collect in the block what is otherwise logged."""
    log, handler = logging.getLogger("flash"), _Complaints()
    level, propagates = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.WARNING)
    log.propagate = False
    try:
        yield handler
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagates


async def check_in(
    nursery: trio.Nursery,
    time: VirtualTime,
    callback: object,
    args: Sequence[Any],
    keywords: Mapping[str, Any],
    seconds: float,
    left: Callable[[], object] | None,
) -> None:
    """`check_cancellation`, in a nursery."""
    for number in itertools.count(1):
        for way in WAYS:
            single = await SingleStream.prepare(nursery, callback, args, keywords)
            attempt = Attempt(single, way, number)
            tasks, threads = set(all_tasks()), set(threading.enumerate())
            wrong: str | None = None
            with _complaints() as complaints:
                try:
                    await attempt.run(time, seconds)
                except AssertionError as error:
                    wrong = str(error)
            if single.failure is not None and attempt.place is None:
                raise single.explain_failure()
            wrong = wrong or complaints.first_without(attempt.refusal)
            wrong = wrong or next(_left_behind(tasks, threads, left), None)
            if wrong is not None:
                raise AssertionError(f"{_how(single.name, way, number, attempt.place, seconds)}: {wrong}")
            if attempt.place is None and way is EndReason.CANCELLED:
                return


def _left_behind(
    tasks: set[trio.lowlevel.Task], threads: set[threading.Thread], left: Callable[[], object] | None
) -> Iterator[str]:
    """What a stream has left behind: a sentence for each."""
    for task in set(all_tasks()) - tasks:
        if not task.name.startswith("flash "):
            yield f"The task {task.name!r} is left, at {place_of(task)}."
    deadline = real_time.monotonic() + THREAD_TIMEOUT
    while new := [
        thread for thread in threading.enumerate() if thread not in threads and not thread.name.startswith(OF_OTHERS)
    ]:
        if real_time.monotonic() > deadline:
            yield f"The thread {new[0].name!r} is left."
            break
        real_time.sleep(0.01)
    if left is not None and (found := left()):
        yield f"left() is not empty: {found!r}."


def _how(name: str, way: EndReason, number: int, place: str | None, seconds: float) -> str:
    """How the stream was ended, for messages."""
    if place is None:
        return f"{name} was ended after {seconds:g} s (disconnected)"
    found = re.match(r"(.+):(\d+) \(", place)
    line = "" if found is None else f": `{linecache.getline(found[1], int(found[2])).strip()}`"
    return f"{name} was ended ({way}) at its checkpoint number {number}, {place}{line}"
