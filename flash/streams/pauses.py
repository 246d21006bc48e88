"""Tells whether this process was paused past a deadline: by a signal, with its machine, or by code on its event loop.

Trio's clock goes on during a pause. When the process runs again every deadline has passed at once, and what the pages
sent in time is still unread in the sockets. So whoever gives up a page at a deadline first asks whether the process has
slept past it. If so, the page gets `RESUME_TIMEOUT` more.
"""

from __future__ import annotations

import trio

LATE = 1.0
"""A timer that fires more than this many seconds late shows that the process was paused."""

RESUME_TIMEOUT = 5.0
"""Seconds that a page gets after a pause: enough to read what it has sent, and for it to answer."""


def slept_past(deadline: float) -> bool:
    """Whether the process was paused when it ought to have woken up at `deadline`."""
    return trio.current_time() > deadline + LATE
