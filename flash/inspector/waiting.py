"""Finds the line of the app's code at which a task or a generator waits.

A coroutine that waits refers to what it awaits, that to what it awaits, and so on down to Trio. The last frame of that
chain that is neither Trio's nor Flash's nor another package's is where the app's code waits. Python keeps that chain
anyway: to look at it costs the code that is looked at nothing.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

_FOLDERS = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
# A frame has the path by which its module was found, which may lead through a link.
_INSTALLED = tuple({str(path) for folder in _FOLDERS for path in (folder, folder.resolve())})
_FLASH = str(Path(__file__).parents[1])


def line_of(awaitable: object) -> str | None:
    """Where the app's code waits in a coroutine or a generator, as `file:line function`.

    Args:
        awaitable: a coroutine or a generator, async or plain.

    Returns:
        None if none of it is the app's code, or it is over.
    """
    found: FrameType | None = None
    for frame in _frames(awaitable):
        if _is_of_app(frame):
            found = frame
    if found is None:
        return None
    code = found.f_code
    return f"{Path(code.co_filename).name}:{found.f_lineno} {code.co_qualname}"


def _frames(awaitable: object) -> Iterator[FrameType]:
    """The frames of a chain of awaitables, the outermost first."""
    while awaitable is not None:
        for kind in ("cr", "ag", "gi"):
            frame: FrameType | None = getattr(awaitable, f"{kind}_frame", None)
            if frame is not None:
                yield frame
        awaitable = (
            getattr(awaitable, "cr_await", None)
            or getattr(awaitable, "ag_await", None)
            or getattr(awaitable, "gi_yieldfrom", None)
        )


def _is_of_app(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    return not file.startswith((*_INSTALLED, _FLASH, "<frozen"))
