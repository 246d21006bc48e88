"""Whether this process is a worker: a supervisor has put an assignment into its environment.

It stands by itself because every process asks: what a worker needs is loaded in workers only.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .worker import Worker

VARIABLE = "FLASH_WORKER"
"""The variable of the environment that has the assignment."""


@functools.cache
def this_worker() -> Worker | None:
    """This process as a worker; None if no supervisor has started it.

    Takes the assignment out of the environment, which the processes that the app starts inherit.
    """
    text = os.environ.pop(VARIABLE, None)
    if text is None:
        return None
    from .worker import Assignment, Worker

    assignment = Assignment.decode(text)
    return Worker(assignment) if assignment.is_for_this_process() else None
