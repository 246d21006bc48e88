"""Composes what Flash says of a stream's end: to the page, in its one `end` event, and in the log."""

from __future__ import annotations

import logging

from ..cancel_scopes import EndReason
from ..user_code.containment import log_failure
from ..user_code.failures import sentence_of
from ..wire import Failure
from .spec import StreamSpec

_log = logging.getLogger("flash.streams")


def describe(spec: StreamSpec, error: BaseException) -> bytes:
    """Describe a failure for the page, as JSON."""
    try:
        return spec.describe(error)
    except BaseException as failure:
        # The exception's own __str__ or __repr__, most likely.
        log_failure(_log, failure, "The failure of the event callback %r could not be described.", spec.callback)
        return Failure("The stream failed, and so did the description of its exception.", None).encode()


def log_end(
    spec: StreamSpec,
    reason: EndReason,
    why: str,
    seconds: float,
    updates: int,
    error: BaseException | None,
    handled: bool,
) -> None:
    """Log one line for each end, with the traceback of a failure; as an error unless `on_error` has handled it.

    The traceback of a failure that many streams share is logged once, by their source.

    Args:
        spec: what the stream has run.
        reason: of the end.
        why: what the app's code has said of it; "" if nothing.
        seconds: for which the stream was open.
        updates: how many it has sent.
        error: what the generator has raised; None if nothing.
        handled: `on_error` has returned.
    """
    failed = reason is EndReason.FAILED
    if failed and spec.source_key is not None and error is not None:
        why, error = sentence_of(error), None
    log_failure(
        _log,
        error if failed else None,
        "%s: %s after %.3f s, %d updates%s",
        spec.label,
        reason,
        seconds,
        updates,
        why and f": {why}",
        level=logging.ERROR if failed and not handled else logging.INFO,
    )
