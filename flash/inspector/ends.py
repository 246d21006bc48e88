"""Remembers the last streams that ended, as text: nothing of a stream is held that is over."""

from __future__ import annotations

import time
import traceback
from collections import deque
from dataclasses import dataclass

import trio

from ..streams.observer import ObservedStream, Observer, StreamEnd

KEPT = 50
"""How many ends are remembered."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of one stream.

    Attributes:
        callback: the name of the event callback.
        reason: why it ended.
        at: when, in seconds since 1970.
        seconds: how long it ran.
        updates: how many updates it had.
        cleanup: seconds from its cancellation to its end; None if it was not cancelled.
        traceback: of what its generator, or its clean-up, has raised; "" if nothing.
    """

    callback: str
    reason: str
    at: float
    seconds: float
    updates: int
    cleanup: float | None
    traceback: str


class Ends(Observer):
    """Remembers the ends of streams.

    Attributes:
        last: the last ones, newest first.
        are_kept: whether they are remembered: not where nobody can look.
    """

    def __init__(self) -> None:
        self.are_kept = False
        self.last: deque[Ended] = deque(maxlen=KEPT)

    def ended(self, stream: ObservedStream, end: StreamEnd) -> None:
        if not self.are_kept:
            return
        self.last.appendleft(
            Ended(
                callback=stream.spec.callback,
                reason=str(end.reason),
                at=time.time(),
                seconds=trio.current_time() - stream.started,
                updates=end.updates,
                cleanup=end.since_cancel,
                traceback="" if end.error is None else _format(end.error),
            )
        )


def _format(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except Exception as failure:
        # The exception may be of a class of the app's, whose `__str__` raises.
        return f"{type(error).__name__}, whose traceback cannot be shown: it raises {type(failure).__name__}."
