"""Gives clean-up that awaits its time after a cancellation, and warns when it was cut.

In a scope that is cancelled every `await` raises `Cancelled`: that is Trio's rule, and it holds for what a `finally`,
an `except` or an `__aexit__` awaits. `cleanup()` is the shield against that. It lasts for what is left of the deadline
of whoever runs: the stream, its `on_error`, or the callback. So clean-up gets its time, and no more.

    task of a stream, an on_error, a callback        `Deadline` in a context variable, which tasks and threads inherit
        └── with flash.cleanup():                    a shielded scope, which ends at that deadline

Clean-up that awaits without it is cut at once, and a warning says so. The exception shows that this has happened: its
`Cancelled` was raised while an earlier one, or `GeneratorExit`, was being handled, and still has the traceback of the
`await` that it cut.
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
        kind: what it is, for messages.
        callback: the name of the callback; "" if there is none.
        timeout: seconds that clean-up has.
        at: the deadline, on Trio's clock; None as long as nothing has been cancelled.
        shields: how many `cleanup()` are entered.
    """

    __slots__ = ("at", "callback", "kind", "shields", "timeout")

    def __init__(self, kind: str, callback: str, timeout: float, at: float | None = None) -> None:
        self.kind = kind
        self.callback = callback
        self.timeout = timeout
        self.at = at
        self.shields = 0

    @property
    def name(self) -> str:
        """Its name in messages."""
        return f"{self.kind} {self.callback!r}" if self.callback else self.kind

    def begin(self) -> None:
        """Set the deadline: the stream or the callback has just been cancelled."""
        self.at = trio.current_time() + self.timeout


CURRENT: ContextVar[Deadline | None] = ContextVar("flash_cleanup", default=None)
"""The deadline of the stream, the `on_error` or the callback at hand."""


@contextlib.contextmanager
def cleanup() -> Generator[None]:
    """Let what the block awaits come to its end, though the stream or the callback has been cancelled.

        try:
            yield stream_props(...)
        finally:
            with flash.cleanup():
                await client.close()

    The block has what is left of `cleanup_timeout` since the cancellation; if nothing was cancelled, all of it. What is
    not over then is cut, which is logged, and the program goes on behind the block. For async code, in generators,
    callbacks and `on_error`, and in tasks that these start. In plain code and on asyncio, where clean-up is not cut,
    it does nothing.
    """
    if not trio.lowlevel.in_trio_task():
        yield
        return
    deadline = CURRENT.get() or Deadline("a task outside any callback", "", DEFAULT_TIMEOUT)
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


@contextlib.contextmanager
def clean_up_of(callback: str, timeout: float) -> Generator[Deadline]:
    """Run an async callback in the block: give its clean-up a deadline, and report if it was cut.

    Args:
        callback: its name.
        timeout: seconds that clean-up has.
    """
    deadline = Deadline("the callback", callback, timeout)
    token = CURRENT.set(deadline)
    try:
        yield deadline
    except BaseException as error:
        if any(isinstance(leaf, trio.Cancelled) for leaf in _leaves(error)):
            report_cut(error, deadline)
        raise
    finally:
        CURRENT.reset(token)


def report_cut(error: BaseException, deadline: Deadline) -> None:
    """Warn if `error`, with which something that was cancelled ended, tells that its clean-up was cut."""
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
    """The exceptions in a group, and in groups in it; or the one that it is."""
    if isinstance(error, BaseExceptionGroup):
        for each in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(each)
    else:
        yield error


def _cut(error: BaseException) -> BaseException | None:
    """The first `Cancelled` on the way to `error` that was raised while another, or GeneratorExit, was handled."""
    found: BaseException | None = None
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        handled = current.__context__
        # One with a cause was raised by a library in place of another, as AnyIO's task groups do.
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

    A `Cancelled` is made where somebody cancels: if that is done while an exception is handled, in another task, then
    that one is its context. What is handled in a function has passed through its frame, as what is raised below has.
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

    That is what `AsyncResource` promises, Trio's and AnyIO's.
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
    # What is behind Flash's last frame came up through the user's: a generator is thrown what Flash was raised first.
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
