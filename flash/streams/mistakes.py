"""Reports mistakes in an app's code that raise nothing, once for each callback.

An exception is seen. A mistake that raises nothing, such as `set_props` after the end of a stream, can cost an hour. So
it is logged, with the callback, the cause and the remedy, and shown in the dev tools of the page. It is logged only
once, because it may happen at every update.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from ..cancel_scopes import EndReason
from ..user_code.containment import log_failure
from ..user_code.failures import sentence_of

_log = logging.getLogger("flash.streams")


class Mistakes:
    """The mistakes of one event callback that were logged so far."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def log_once(self, kind: str, sentence: str, error: BaseException | None = None) -> None:
        """Log `sentence`, with the traceback of `error`, if it is the first of its kind for this callback."""
        if kind not in self._logged:
            self._logged.add(kind)
            log_failure(_log, error, "%s", sentence, level=logging.WARNING)


class Mistake(NamedTuple):
    """A mistake in the code of one event callback.

    Attributes:
        kind: tells mistakes of one callback apart.
        sentence: cause and remedy.
        error: the exception that belongs to it, if there is one.
    """

    kind: str
    sentence: str
    error: BaseException | None = None


def yielded_none(name: str) -> Mistake:
    """The generator yielded None; `name` is what the event callback is called in sentences."""
    return Mistake("yields None", f"{name} yielded None: it is ignored. Yield stream_props(...), or nothing.")


def updated_after_end(name: str, reason: EndReason | None) -> Mistake:
    """`set_props` was called after the stream had ended, for `reason`; None if it was not cancelled."""
    return Mistake(
        "set_props after the end",
        f"set_props was called in {name} after its stream had ended ({reason or 'over'}), "
        "and changed nothing: the page was told that it is over. Wait for tasks and threads that a stream "
        "starts before its generator returns, in a nursery for instance.",
    )


def updated_in_cleanup(name: str, did: str) -> Mistake:
    """Clean-up has yielded, or called `set_props`: `did` says which."""
    return Mistake(
        f"{did} in clean-up",
        f"{name} {did} in its clean-up, after it was cancelled: that is dropped. What the page is to be told "
        "at the end, on_error returns, or reset_props has.",
    )


def failed_predicate(name: str, label: str | None, failure: BaseException) -> Mistake:
    """The predicate of the condition on the property `label` raised, and so the stream was cancelled."""
    return Mistake(
        f"predicate {label}",
        f"The predicate of the condition on {label} raised {sentence_of(failure)}: {name} was cancelled, for "
        "that counts as not met. Let it return True or False for every value, None included.",
        failure,
    )
