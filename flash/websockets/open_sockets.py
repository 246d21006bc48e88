"""Counts the open websockets of an app, bounds them, of all browsers and of each, and closes them at the end.

An app has two kinds, Dash's for callbacks and Flash's for control messages, and one `OpenSockets` for each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

import trio

from ..errors import RequestRefused


class Socket(Protocol):
    """A websocket that was accepted."""

    async def run(self) -> None:
        """Serve it until either side closes it."""
        ...

    def stop(self) -> None:
        """Close it, because the server stops."""
        ...


S = TypeVar("S", bound=Socket)


class OpenSockets(Generic[S]):
    """The websockets of one kind.

    Args:
        total: how many there may be.
        per_browser: how many of them may be of one browser.

    Attributes:
        closing: the server stops, and accepts no more.
    """

    def __init__(self, total: int, per_browser: int) -> None:
        self.closing = False
        self._total = total
        self._per_browser = per_browser
        self._open: dict[S, trio.Event] = {}
        self._of_browser: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[S]:
        return iter(list(self._open))

    def check(self, browser: str) -> None:
        """Raise RequestRefused if another socket of `browser` would be one too many."""
        if self.closing:
            raise RequestRefused(503, "The server is stopping.")
        if len(self) >= self._total:
            raise RequestRefused(503, "The server holds as many websockets as it may. Try again later.")
        if self._of_browser[browser] >= self._per_browser:
            raise RequestRefused(429, f"This browser has {self._of_browser[browser]} websockets open already.")

    async def serve(self, socket: S, browser: str) -> None:
        """Run a socket of `browser`."""
        over = self._open[socket] = trio.Event()
        self._of_browser[browser] += 1
        try:
            await socket.run()
        finally:
            self._of_browser[browser] -= 1
            if not self._of_browser[browser]:
                del self._of_browser[browser]
            del self._open[socket]
            over.set()

    async def shut_down(self) -> None:
        """Accept no more, close every socket, and return when they are over."""
        self.closing = True
        over = list(self._open.values())
        for socket in self:
            socket.stop()
        for event in over:
            await event.wait()
