"""Finds the process that runs a page of a browser, to end it or to make it stand still.

No driver of all browsers says which process that is. So the page is made to burn CPU time, and the process among those
that this one has started which burns the most is the page's. Another one may happen to be busier once, such as one that
the browser has just started; so the page burns until the same process has been the busiest `ROUNDS` times in a row.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Generator
from pathlib import Path

BURN = "let sum = 0; for (let i = 0; i < 1e8; i++) { sum = (31 * sum + i) | 0; } window.burnt = sum;"
"""Statements that take a page some tenths of a second of CPU time, however busy the machine is."""


ROUNDS = 3
"""How often in a row a process has to be the busiest."""


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
        busiest = [_busiest(burn)]
        while len(busiest) < ROUNDS:
            pid = _busiest(burn)
            busiest = [*busiest, pid] if pid == busiest[-1] else [pid]
        self.pid = busiest[-1]

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


def _busiest(burn: Callable[[], object]) -> int:
    """The descendant of this process that uses the most CPU time while a page burns some."""
    before = _cpu_times()
    burn()
    after = _cpu_times()
    return max(after, key=lambda pid: after[pid] - before.get(pid, 0))


def descendants() -> list[int]:
    """The processes that this one has started, those that they have started, and so on."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int(_fields(int(folder.name))[1])
    return [pid for pid in parents if _descends(pid, parents)]


def _descends(pid: int, parents: dict[int, int]) -> bool:
    while pid in parents:
        pid = parents[pid]
        if pid == os.getpid():
            return True
    return False


def _cpu_times() -> dict[int, int]:
    """The ticks of CPU time that each descendant of this process has used."""
    times: dict[int, int] = {}
    for pid in descendants():
        with contextlib.suppress(OSError):
            fields = _fields(pid)
            times[pid] = int(fields[11]) + int(fields[12])
    return times


def _fields(pid: int) -> list[str]:
    """What `/proc/<pid>/stat` says behind the name of the program, which is in brackets and may have spaces in it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
