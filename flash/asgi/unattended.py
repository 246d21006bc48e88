"""Lets callback requests go on though their client has gone: what was begun is brought to its end.

A page is reloaded, or closed, while its callback saves something. On Flask, and so with Dash, the request does not even
notice. Quart cancels it, which cuts the save in the middle. So a callback request, once it has come in whole, is
answered in full, hooks and all, and its answer goes nowhere. `on_disconnect="cancel"` of a callback asks for Quart's
way.

That lasts as long as the server does: when it stops, requests have the grace. And it is bounded, for a client costs
nothing once it has gone, but what it has asked for does.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator

import trio

_log = logging.getLogger("flash.server")

LIMIT = 1_000
"""How many requests of a process may go on without their clients; one more is cancelled when its client goes."""


class Unattended:
    """Those requests of a process.

    Attributes:
        count: how many there are.
    """

    def __init__(self) -> None:
        self.count = 0
        self._has_warned = False

    @contextlib.contextmanager
    def another(self) -> Generator[bool]:
        """There is one more while the block runs; says whether it may be."""
        if self.count >= LIMIT:
            if not self._has_warned:
                self._has_warned = True
                _log.warning(
                    "%d callbacks run whose pages have gone; further ones are cancelled when theirs go. Bound what "
                    "callbacks may take, or write on_disconnect='cancel' where it is not worth finishing.",
                    self.count,
                )
            yield False
            return
        self.count += 1
        try:
            yield True
        finally:
            self.count -= 1
            self._has_warned = self._has_warned and self.count > LIMIT // 2


UNATTENDED = Unattended()


class Attendance:
    """Whether one request is to go on without its client.

    Attributes:
        is_callback: it is a request that does.
        is_complete: all of it has come in.
    """

    __slots__ = ("_released", "is_callback", "is_complete")

    def __init__(self, is_callback: bool) -> None:
        self.is_callback = is_callback
        self.is_complete = False
        self._released: trio.Event | None = None

    def release(self) -> None:
        """It is to be cancelled when its client has gone, and at once if that is so already."""
        self.is_callback = False
        if self._released is not None:
            self._released.set()

    async def hold(self) -> None:
        """The client has gone: return when the request is to be cancelled for it; be cancelled when it is over."""
        if self.is_callback and self.is_complete:
            with UNATTENDED.another() as may_be:
                if may_be:
                    self._released = trio.Event()
                    await self._released.wait()
