"""Composes what Flash says of a stream's end: to the page, in its one `end` event, and in the log."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

from ..cancel_scopes import EndReason
from ..user_code.containment import log_failure
from .spec import StreamSpec

_log = logging.getLogger("flash.streams")


def encode_end(stream_id: str, reason: EndReason, props: Sequence[bytes], error: bytes, handled: bool) -> bytes:
    """The data of `end`.

    Args:
        stream_id: of the stream.
        reason: why it ended.
        props: the last pairs, as JSON, in the order in which the page applies them.
        error: the description of a failure, as JSON; `null` if the stream has not failed.
        handled: whether `on_error` has dealt with the failure, so that the page need not report it.
    """
    return b'{"stream":%b,"reason":"%b","props":[%b],"error":%b%b}' % (
        json.dumps(stream_id).encode(),
        reason.encode(),
        b",".join(filter(None, props)),
        error,
        b',"handled":true' if handled and reason is EndReason.FAILED else b"",
    )


def describe(spec: StreamSpec, error: BaseException) -> bytes:
    """Describe a failure for the page, as JSON."""
    try:
        return spec.describe(error)
    except BaseException as failure:
        # The exception's own __str__ or __repr__, most likely.
        log_failure(_log, failure, "The failure of the event callback %r could not be described.", spec.callback)
        return b'{"message":"The stream failed, and so did the description of its exception.","html":null}'


def log_end(
    callback: str, reason: EndReason, seconds: float, updates: int, error: BaseException | None, handled: bool
) -> None:
    """Log one line for each end, with the traceback of a failure; as an error unless `on_error` has handled it."""
    failed = reason is EndReason.FAILED
    log_failure(
        _log,
        error if failed else None,
        "%s: %s after %.3f s, %d updates",
        callback,
        reason,
        seconds,
        updates,
        level=logging.ERROR if failed and not handled else logging.INFO,
    )
