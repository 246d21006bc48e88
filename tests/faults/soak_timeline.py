"""What happened to a page of the soak, line by line: it is printed with what was wrong with the page.

A page notes what it does and what it is told. The workers note in a file that they share which requests of a browser
they have answered, and how far its runs have come: so it has the lines of those that were killed, too. `Timeline.told`
puts both together by their times.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

WORKERS_FILE = Path("timeline")
"""Where the workers write, in the folder in which they run."""

NAME_SIZE = 8
"""Characters of a browser's secret that name it here."""

LINES = 300
"""How many lines of its own a page keeps, the last ones."""

SHOWN = 5
"""How many timelines a report has."""

WorkersLine = tuple[float, str, str]
"""When a worker has written, about which browser or run, and what."""


def name_of(browser: str) -> str:
    """What the browser with this secret is called in timelines."""
    return browser[:NAME_SIZE]


def name_of_run(run: int) -> str:
    """What the run of a stream is called in timelines."""
    return f"run-{run}"


@dataclass(eq=False)
class Timeline:
    """What a page has noted.

    Attributes:
        name: of its browser: see `name_of`.
        runs: those that the page has started.
    """

    name: str
    runs: set[int] = field(default_factory=set[int])
    _lines: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=LINES))

    def note(self, what: str) -> None:
        self._lines.append((time.time(), f"page: {what}"))

    def told(self, of_workers: Iterable[WorkersLine] = ()) -> list[str]:
        """All lines about the page, its browser and its runs, in the order of their times."""
        names = {self.name, *map(name_of_run, self.runs)}
        lines = sorted([*self._lines, *((at, what) for at, name, what in of_workers if name in names)])
        began = lines[0][0] if lines else 0.0
        return [f"{at - began:8.3f} {what}" for at, what in lines]


def paragraphs(suspects: Sequence[Timeline], of_workers: Iterable[WorkersLine] = ()) -> list[str]:
    """The part of a report that says what happened to the first pages with which something is wrong."""
    lines: list[str] = []
    for timeline in suspects[:SHOWN]:
        lines += ["", f"page {timeline.name}:", *(f"  {line}" for line in timeline.told(of_workers))]
    return lines


def note_in_worker(name: str, what: str) -> None:
    """Write a line about a browser or a run from this process, which is a worker."""
    line = f"{time.time():.6f} {name} worker {os.getpid()}: {what}\n"
    with WORKERS_FILE.open("ab", buffering=0) as file:
        file.write(line.encode())


def read_workers_lines(folder: Path) -> list[WorkersLine]:
    """What the workers that run in a folder have written."""
    file = folder / WORKERS_FILE
    lines = [line.split(" ", 2) for line in file.read_text().splitlines()] if file.exists() else []
    return [(float(at), name, what) for at, name, what in lines]
