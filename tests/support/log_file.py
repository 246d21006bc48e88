"""Writes what happens in the process of a test's app to its file `log`, which `Process.log` reads."""

from __future__ import annotations

from pathlib import Path

FILE = Path("log")
"""In the folder in which the process runs."""


def note(line: str) -> None:
    """Add a line to the file."""
    with FILE.open("a") as file:
        file.write(f"{line}\n")
