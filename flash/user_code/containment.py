"""Keeps what the user's code raises from ending anything but that code.

A task that raises ends its nursery, and with it every other task there. So `contain` runs the user's code where a
nursery is shared, and logs whatever the code raises. That includes `SystemExit`, which asks for the end of a process
that serves others as well, and `KeyboardInterrupt`. A real Ctrl-C is never raised there: the code that `contain` runs
is protected from it, and Trio raises it in its main task instead.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import cast

import trio

from .._trio import is_cancelled, is_cancelled_from_outside


@trio.lowlevel.enable_ki_protection
async def contain(log: logging.Logger, message: str, function: Callable[[], Awaitable[object]]) -> None:
    """Await `function()`, and log what it raises, with `message`. Only a cancellation passes."""
    try:
        await function()
    except BaseException as error:
        contain_failure(log, message, error)


def contain_failure(log: logging.Logger, message: str, error: BaseException) -> None:
    """Log what the user's code has raised, with `message`. A cancellation is raised again."""
    cancelled, failure = split_cancellation(error)
    if failure is not None:
        log_failure(log, failure, message)
    if cancelled is not None:
        raise cancelled from None


async def watch_despite_cancel(
    nursery: trio.Nursery, watch: Callable[[], Awaitable[object]], log: logging.Logger, owner: str, consequence: str
) -> None:
    """Await `watch()` in a nursery that user code can reach, and again, shielded, if that code cancels the nursery.

    A cancellation from outside the nursery passes.

    Args:
        nursery: its body awaits this function.
        watch: may be cut anywhere, and called again.
        log: says that the nursery was cancelled.
        owner: whose nursery it is; for the log.
        consequence: what becomes of what runs there; for the log, without a full stop.
    """
    try:
        await watch()
        return
    except trio.Cancelled:
        if is_cancelled_from_outside(nursery.cancel_scope):
            raise
    # Outside the `except`: else Trio's exception would become the context of every later one.
    log_cancelled_nursery(log, owner, consequence)
    with trio.CancelScope(shield=True):
        await watch()


def log_cancelled_nursery(log: logging.Logger, owner: str, consequence: str) -> None:
    """Log that user code has cancelled a nursery: see `watch_despite_cancel`."""
    log.error(
        "The nursery of %s was cancelled, by code that has reached for it (`parent_nursery`), or because a task failed "
        "that was started there. %s. Start tasks in a nursery of your own.",
        owner,
        consequence,
    )


def split_cancellation(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """Split an exception into the cancellation, which is to reach its scope, and the failure; either may be None.

    A nursery that was cancelled may raise both in one group. In a task that is not cancelled, a `Cancelled` is a
    failure like any other: no scope is left that would catch it, as when code keeps a `Cancelled` and raises it later.
    """
    if not is_cancelled(trio.lowlevel.current_task()):
        return None, error
    if isinstance(error, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", error).split(trio.Cancelled)
    return (error, None) if isinstance(error, trio.Cancelled) else (None, error)


def log_failure(
    log: logging.Logger, error: BaseException | None, message: str, *arguments: object, level: int = logging.ERROR
) -> None:
    """Log a message with the traceback of `error`, or without it if it cannot be formatted.

    The exception may be of a class of the user's, whose `__str__` or `__cause__` raises.
    """
    try:
        log.log(level, message, *arguments, exc_info=error)
    except BaseException as failure:
        log.log(
            level,
            f"{message} The traceback of the %s cannot be shown: it raises %s.",
            *arguments,
            type(error).__name__,
            type(failure).__name__,
        )
