"""Gives clean-up code time to await after a cancellation, and warns when clean-up was cut.

In a cancelled scope every `await` raises `Cancelled`. That is Trio's rule, and it holds in a `finally`, an `except` and
an `__aexit__` as well. `cleanup()` shields its block from that until the deadline of the stream, the `on_error` or the
callback that runs. So clean-up gets its time, and no more.

    task of a stream, an on_error, a callback        has its `Deadline` in a context variable, which its tasks inherit
        └── with flash.cleanup():                    a shielded scope, which ends at that deadline

Clean-up that awaits without `cleanup()` is cut at once, and a warning says so. Flash learns of it from the exception:
its `Cancelled` was raised while an earlier `Cancelled`, or a `GeneratorExit`, was being handled, and its traceback
leads to the `await` that it cut.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sysconfig
from collections.abc import Generator, Iterator
from contextvars import ContextVar
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import cast

import trio

from ..options import DEFAULTS

_log = logging.getLogger("flash.streams")

DEFAULT_TIMEOUT = DEFAULTS.cleanup_timeout
"""Seconds that clean-up may take outside any callback, where no app has a `cleanup_timeout=`."""

UNWIND_TIMEOUT = 0.1
"""Seconds that clean-up which was cut at its deadline has to unwind; then its stream's `end` is sent anyway."""


class Deadline:
    """When the clean-up of one stream, `on_error` or callback is to be over.

    Attributes:
        kind: what has the deadline, for messages, such as "the event callback".
        callback: the name of the callback; "" if there is none.
        timeout: seconds that clean-up has.
        at: the deadline, on Trio's clock; None as long as nothing has been cancelled.
        shields: how many blocks under `cleanup()` run.
    """

    __slots__ = ("at", "callback", "kind", "shields", "timeout")

    def __init__(self, kind: str, callback: str, timeout: float, at: float | None = None) -> None:
        self.kind: str = kind
        self.callback: str = callback
        self.timeout: float = timeout
        self.at = at
        self.shields: int = 0

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"{self.kind} {self.callback!r}" if self.callback else self.kind

    def begin(self) -> None:
        """Set the deadline: the stream or the callback has just been cancelled."""
        self.at = trio.current_time() + self.timeout


CURRENT_DEADLINE: ContextVar[Deadline | None] = ContextVar("flash_cleanup", default=None)
"""The deadline of the stream, the `on_error` or the callback that the current task runs."""


@contextlib.contextmanager
def cleanup() -> Generator[None]:
    """Let what the block awaits come to its end, though the stream or the callback has been cancelled.

        try:
            yield stream_props(...)
        finally:
            with flash.cleanup():
                await client.close()

    The block has the rest of `cleanup_timeout`, counted from the cancellation, or all of it if nothing was cancelled.
    If it is not over by then it is cut: an error is logged, and the program goes on after the block. Use it in async
    generators, callbacks and `on_error`, and in the tasks that these start. In plain code and on asyncio, where
    clean-up is not cut, it does nothing.
    """
    if not trio.lowlevel.in_trio_task():
        yield
        return
    deadline = CURRENT_DEADLINE.get() or Deadline("a task outside any callback", "", DEFAULT_TIMEOUT)
    at = trio.current_time() + deadline.timeout if deadline.at is None else deadline.at
    where: str | None = None
    deadline.shields += 1
    try:
        with trio.CancelScope(shield=True, deadline=at) as scope:
            try:
                yield
            except BaseException as error:
                where = _place(next(_leaves(error)))
                raise
    finally:
        deadline.shields -= 1
    if scope.cancelled_caught:
        _log.error(
            "What %s does in `with flash.cleanup():` was cut%s: cleanup_timeout (%g s) is over. Do less there, or "
            "raise cleanup_timeout= of Flash(...).",
            deadline.name,
            f" at {where}" if where else "",
            deadline.timeout,
        )


class CleanUpOf:
    """Gives the async callback that the block runs a deadline for its clean-up, and warns if the clean-up was cut.

    A class, as each request has one, and a generator for it takes three times as long.
    """

    __slots__ = ("_deadline", "_token")

    def __init__(self, callback: str, timeout: float) -> None:
        """
        Args:
            callback: its name.
            timeout: seconds that clean-up has.
        """
        self._deadline = Deadline("the callback", callback, timeout)

    def __enter__(self) -> Deadline:
        self._token = CURRENT_DEADLINE.set(self._deadline)
        return self._deadline

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            if error is not None and any(isinstance(leaf, trio.Cancelled) for leaf in _leaves(error)):
                report_cut(error, self._deadline)
        finally:
            CURRENT_DEADLINE.reset(self._token)


def report_cut(error: BaseException, deadline: Deadline) -> None:
    """Warn if clean-up was cut. `error` shows it: the exception with which a cancelled stream or callback has ended."""
    for leaf in _leaves(error):
        cut = _cut(leaf)
        if cut is None:
            continue
        place = _place(cut)
        if place is None:
            continue
        if _is_at_yield(cut):
            _log.warning(
                "%s yielded in its clean-up, at %s, after it was cancelled: the update is dropped, and what follows "
                "the `yield` in that block did not run. What the page is to be told at the end, on_error returns, or "
                "reset_props has.",
                deadline.name,
                place,
            )
        else:
            _log.warning(
                "The clean-up of %s was cut at its first `await`, at %s: once a stream or a callback is cancelled, "
                "each `await` raises trio.Cancelled, in `finally`, `except` and `__aexit__` too, and what follows it "
                "there did not run. Write `with flash.cleanup():` around it, which gives it cleanup_timeout (%g s).",
                deadline.name,
                place,
                deadline.timeout,
            )
        return


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions that a group holds, at any depth; the exception itself if it is not a group."""
    if isinstance(error, BaseExceptionGroup):
        for each in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(each)
    else:
        yield error


def _cut(error: BaseException) -> BaseException | None:
    """The earliest `Cancelled` in the chain of contexts of `error` that has cut clean-up; None if none has."""
    found: BaseException | None = None
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        handled = current.__context__
        # A `Cancelled` with a cause was raised by a library in place of another one, as AnyIO's task groups do.
        if (
            isinstance(current, trio.Cancelled)
            and current.__cause__ is None
            and handled is not None
            and any(_was_handled(each, current) for each in _leaves(handled))
            and not _is_forceful_close(current)
        ):
            found = current
        current = handled
    return found


def _was_handled(error: BaseException, cut: BaseException) -> bool:
    """Whether `error` is a cancellation, and the code that handled it is the code that was cut.

    The context of `cut` alone does not tell. Trio makes a `Cancelled` where a scope is cancelled, and if another task
    does that while it handles an exception, Python takes that exception for the context. But an exception that a
    function handles has passed through the frame of that function, and so has one that is raised below it: then the two
    tracebacks have that frame in common.
    """
    if not isinstance(error, trio.Cancelled | GeneratorExit):
        return False
    handlers = {id(traceback.tb_frame) for traceback in _frames(error)}
    return any(id(traceback.tb_frame) in handlers for traceback in _frames(cut))


def _frames(error: BaseException) -> Iterator[TracebackType]:
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _is_forceful_close(error: BaseException) -> bool:
    """Whether what was cut is an `aclose` of Trio's kind, which when it is cancelled closes all the same, at once.

    Trio's and AnyIO's classes `AsyncResource` promise that.
    """
    for traceback in _frames(error):
        frame = traceback.tb_frame
        closes = frame.f_code.co_name in ("aclose", "__aexit__")
        if closes and any(kind.__name__ == "AsyncResource" for kind in type(frame.f_locals.get("self")).__mro__):
            return True
    return False


_FLASH = str(Path(__file__).parents[1]) + os.sep
_STREAM = str(Path(__file__).parents[1] / "streams" / "stream.py")
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def _is_flash(traceback: TracebackType) -> bool:
    return traceback.tb_frame.f_code.co_filename.startswith(_FLASH)


def _is_library(traceback: TracebackType) -> bool:
    return traceback.tb_frame.f_code.co_filename.startswith((*_LIBRARIES, "<"))


def _place(error: BaseException) -> str | None:
    """Where in the user's code an exception was raised: file, line and function."""
    # Stop at the first frame of Flash's behind the user's: they are those of an exception that Flash caught, and threw
    # into the generator.
    theirs: list[TracebackType] = []
    for traceback in _frames(error):
        if _is_flash(traceback):
            if any(not _is_library(each) for each in theirs):
                break
            theirs.clear()
        else:
            theirs.append(traceback)
    theirs = [each for each in theirs if not _is_library(each)] or theirs[:1]
    if not theirs:
        return None
    code = theirs[-1].tb_frame.f_code
    return f"{code.co_filename}:{theirs[-1].tb_lineno} (in {code.co_qualname})"


def _is_at_yield(error: BaseException) -> bool:
    """Whether a stream threw it into its generator at a `yield`."""
    return any(
        not _is_flash(one) and two.tb_frame.f_code.co_filename == _STREAM for one, two in pairwise(_frames(error))
    )
