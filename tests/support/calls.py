"""Which functions of a part of Flash are called.

with calls_into("flask_apps") as called:
    ...
assert called == set()
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Generator
from types import FrameType


@contextlib.contextmanager
def calls_into(folder: str) -> Generator[set[str]]:
    """The functions of a folder of Flash's that are called while the block runs, in this thread or one that begins."""
    called: set[str] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and f"/flash/{folder}/" in frame.f_code.co_filename:
            called.add(frame.f_code.co_qualname)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield called
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
