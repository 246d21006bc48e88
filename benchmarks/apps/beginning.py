"""When streams begin to tick: once a client says that all of them have been started.

A thousand starts take seconds. Streams that tick meanwhile would slow them down, and would not all tick at one moment.
"""

from __future__ import annotations

import trio

from flash import Flash

LATER = 0.1
"""Seconds from a client's word to the moment that the streams are told: by then each of them has been woken."""


class Beginning:
    """The moment at which the streams begin that have been started since the last one.

    A GET of `/begin` sets it.
    """

    def __init__(self, app: Flash) -> None:
        self._told = trio.Event()
        self._moment = 0.0
        app.server.route("/begin")(self._begin)

    async def wait(self) -> float:
        """Wait for the client; returns the moment, the same for all, by Trio's clock."""
        await self._told.wait()
        return self._moment

    async def _begin(self) -> str:
        self._moment = trio.current_time() + LATER
        self._told.set()
        self._told = trio.Event()
        return "ok"
