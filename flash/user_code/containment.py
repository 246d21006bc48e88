"""Contains what the user's code raises, so that it ends nothing but itself.

A task that raises ends its nursery, and with it every task beside it. Between the user's code and a nursery that
others share stands `contain`. It takes in everything: `SystemExit` too, which asks for the end of a process that
belongs to others as well, and `KeyboardInterrupt`. A real Ctrl-C is not raised in there: Trio raises it in its main
task instead, because the code that `contain` runs is protected from it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import cast

import trio

from .._trio import is_cancelled


@trio.lowlevel.enable_ki_protection
async def contain(log: logging.Logger, message: str, function: Callable[[], Awaitable[object]]) -> None:
    """Await `function()`, and log what it raises, with `message`. Only a cancellation passes."""
    try:
        await function()
    except BaseException as error:
        cancelled, failure = split_cancellation(error)
        if failure is not None:
            log_failure(log, failure, message)
        if cancelled is not None:
            raise cancelled from None


def split_cancellation(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """The cancellation in an exception, which is to reach the scope that it belongs to, and what else has failed.

    Out of a nursery that is cancelled both may come in one group. A `Cancelled` in a task that is not cancelled is a
    failure like others: its scope is not there any more, for somebody has kept it, or made it by hand.
    """
    if not is_cancelled(trio.lowlevel.current_task()):
        return None, error
    if isinstance(error, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", error).split(trio.Cancelled)
    return (error, None) if isinstance(error, trio.Cancelled) else (None, error)


def log_failure(
    log: logging.Logger, error: BaseException | None, message: str, *arguments: object, level: int = logging.ERROR
) -> None:
    """Log a message with the traceback of `error`; without, if it cannot be told what that is.

    An exception is of the user's making: its `__str__` or `__cause__` may raise.
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
