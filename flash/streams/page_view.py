"""Defines what the inspector is shown of a page."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from .stream import Stream


@dataclass(frozen=True, slots=True)
class PageView:
    """What runs for a page at a moment. It is made to be looked at, and not to be kept.

    Attributes:
        browser: the secret of its browser.
        page: the first characters of its token.
        is_linked: it has a link.
        unacknowledged: bytes that were sent to it, and that it has not acknowledged.
        streams: those that run.
        tasks: those in its nursery, the streams' own and their helpers' included.
    """

    browser: str
    page: str
    is_linked: bool
    unacknowledged: int
    streams: list[Stream]
    tasks: list[trio.lowlevel.Task]
