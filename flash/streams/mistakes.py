"""Mistakes of an app's code that raise nothing: each is told once, in the log, and in the dev tools of the page.

What raises can be seen. What does not, such as a `set_props` after a stream's end, costs an hour. So it is said, with
the callback, the cause and the cure; and said once, for it may happen at every update.
"""

from __future__ import annotations

import logging

from ..user_code.containment import log_failure

_log = logging.getLogger("flash.streams")


class Mistakes:
    """The mistakes of one event callback that were found so far."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def tell(self, kind: str, sentence: str, error: BaseException | None = None) -> None:
        """Log `sentence`, with the traceback of `error`, if it is the first of its kind for this callback."""
        if kind not in self._told:
            self._told.add(kind)
            log_failure(_log, error, "%s", sentence, level=logging.WARNING)
