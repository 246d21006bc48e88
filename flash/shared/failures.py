"""Makes of what the generator of a source has raised what its followers raise: for each an exception of its own.

An exception object belongs to whoever handles it: raising it adds to its traceback, and a handler may add notes.
"""

from __future__ import annotations

import contextlib
import copy
import re
from typing import Literal

from ..errors import (
    FeedFailed,
    FeedUnavailable,
    FlashError,
    SharedStreamFailed,
    SharedStreamUnavailable,
)
from ..user_code.failures import sentence_of

Kind = Literal["feed", "shared stream"]
"""What messages call what a source runs."""

_NO_PAGE = re.compile(
    r"name='callback_context'|only available from a callback|Not within an? (request|websocket|app)\b"
)

_NO_PAGE_NOTES: dict[Kind, str] = {
    "feed": "The source of a feed runs for all its followers: it has no page, no request, no session and no ctx. Hand "
    "over what it needs as an argument of the feed.",
    "shared stream": "The generator of a shared stream runs for all the pages that follow it: it has no page, no "
    "request, no session and no ctx. It gets the values of its Inputs and States, and what the function in shared= "
    "returns.",
}


UNAVAILABLE = (FeedUnavailable, SharedStreamUnavailable)
"""The exceptions that `unavailable` makes."""


def unavailable(kind: Kind, message: str, status: int = 503) -> FeedUnavailable | SharedStreamUnavailable:
    """What says that a source of this kind cannot be followed."""
    return FeedUnavailable(message, status) if kind == "feed" else SharedStreamUnavailable(message, status)


def failure_of_feed(name: str, error: BaseException) -> BaseException:
    """A `FeedFailed`, with what the generator of the source `name` has raised as its `__cause__`."""
    return _failure(FeedFailed, name, error)


def _failure(kind: type[FlashError], name: str, error: BaseException) -> FlashError:
    failure = kind(f"{name[:1].upper()}{name[1:]} failed: {sentence_of(error)}")
    failure.__cause__ = error
    return failure


def failure_of_stream(name: str, error: BaseException) -> BaseException:
    """A copy of what the generator of the source `name` has raised, or a `SharedStreamFailed` if that has none.

    So `on_error` of a stream that follows a source is given what it would be given if the stream had run by itself.
    """
    try:
        own = copy.copy(error)
    except Exception:
        return _failure(SharedStreamFailed, name, error)
    if type(own) is not type(error) or own is error:
        return _failure(SharedStreamFailed, name, error)
    own.__traceback__, own.__cause__, own.__context__ = error.__traceback__, error.__cause__, error.__context__
    own.__suppress_context__ = error.__suppress_context__
    return own


def note_missing_page(error: BaseException, kind: Kind) -> None:
    """Add a note to an exception that was raised because a source has no page and no request."""
    if _NO_PAGE.search(sentence_of(error)):
        # The user's code may have put anything into `__notes__`.
        with contextlib.suppress(BaseException):
            error.add_note(_NO_PAGE_NOTES[kind])
