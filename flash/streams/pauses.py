"""A process that was paused: stopped by a signal, suspended with its machine, or held up by code on its event loop.

Trio's clock goes on meanwhile. When the process runs again every deadline is over at once, and what others have sent
it in time is still in its sockets, unread. So who would judge somebody by a deadline first asks whether the process
has slept past it, and if so waits a while longer.
"""

from __future__ import annotations

import trio

NOTICED = 1.0
"""Seconds past a deadline from which on it is a pause: no timer of Trio's is so late."""

REPRIEVE = 5.0
"""Seconds that others have after a pause: enough to be read, and to answer."""


def slept_past(deadline: float) -> bool:
    """Whether the process was paused when it ought to have woken up at `deadline`."""
    return trio.current_time() > deadline + NOTICED
