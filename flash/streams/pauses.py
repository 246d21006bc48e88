"""Tells whether this process was paused past a deadline: by a signal, with its machine, or by code on its event loop.

Trio's clock goes on during a pause. When the process runs again every deadline has passed at once, and what the pages
sent in time is still unread in the sockets. So whoever gives up a page at a deadline first asks whether the process has
slept past it. If so, the page gets `RESUME_TIMEOUT` more, at most `MAX_RESUMES` times in a row.
"""

from __future__ import annotations

import trio

LATE = 1.0
"""A timer that fires more than this many seconds late shows that the process was paused."""

RESUME_TIMEOUT = 5.0
"""Seconds that a page gets after a pause: enough to read what it has sent, and for it to answer."""

MAX_RESUMES = 3
"""How often a page gets them without a sign of life between: else code that holds the event loop for over `LATE`
seconds again and again would keep the streams of pages that are gone for as long as it does so."""


def slept_past(deadline: float) -> bool:
    """Whether the process was paused when it ought to have woken up at `deadline`."""
    return trio.current_time() > deadline + LATE
