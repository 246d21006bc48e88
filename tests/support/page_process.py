"""Finds the process that runs a page of a browser, to end it or to make it stand still.

No driver of all browsers says which process that is. So the page is made to burn CPU time, and the process among those
that this one has started which burns the most is the page's.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Generator
from pathlib import Path

BURN = "const end = Date.now() + 400; while (Date.now() < end) {}"
"""Statements that keep a page busy for a while."""


class PageProcess:
    """The process of a page.

    Attributes:
        pid: its number.
    """

    def __init__(self, burn: Callable[[], object]) -> None:
        """
        Args:
            burn: has the page run `BURN`, and returns when it has.
        """
        before = _cpu_times()
        burn()
        after = _cpu_times()
        self.pid = max(after, key=lambda pid: after[pid] - before.get(pid, 0))

    def kill(self) -> None:
        """End it as the system does when memory is short."""
        os.kill(self.pid, signal.SIGKILL)

    @contextlib.contextmanager
    def standing_still(self) -> Generator[None]:
        """Have it stand still for the time of the block, as a phone does with pages in the background."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)


def _cpu_times() -> dict[int, int]:
    """The ticks of CPU time that each descendant of this process has used."""
    parents: dict[int, int] = {}
    times: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # The name of the program, in brackets, may have spaces in it.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            parents[int(folder.name)] = int(fields[1])
            times[int(folder.name)] = int(fields[11]) + int(fields[12])
    return {pid: time for pid, time in times.items() if _descends(pid, os.getpid(), parents)}


def _descends(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    while pid in parents:
        pid = parents[pid]
        if pid == ancestor:
            return True
    return False
