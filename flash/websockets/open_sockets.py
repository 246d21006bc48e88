"""Counts the open websockets of an app, bounds their number, in total and per browser, and closes them at shutdown.

An app has two kinds, Dash's for callbacks and Flash's for control messages, and an `OpenSockets` for each kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

import trio

from ..errors import RequestRefused


class Socket(Protocol):
    """An accepted websocket."""

    async def run(self) -> None:
        """Serve the socket until either side closes it."""
        ...

    def stop(self) -> None:
        """Close the socket, because the server stops."""
        ...


S = TypeVar("S", bound=Socket)


class OpenSockets(Generic[S]):
    """The open websockets of one kind.

    Args:
        total: the most sockets that may be open.
        per_browser: the most sockets of one browser that may be open.

    Attributes:
        closing: whether the server is stopping, and refuses new sockets.
    """

    def __init__(self, total: int, per_browser: int) -> None:
        self.closing: bool = False
        self._total = total
        self._per_browser = per_browser
        self._open: dict[S, trio.Event] = {}
        self._of_browser: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[S]:
        return iter(list(self._open))

    def check(self, browser: str) -> None:
        """Raise RequestRefused if the server is stopping, or if another socket of `browser` would exceed a bound."""
        if self.closing:
            raise RequestRefused(503, "The server is stopping.")
        if len(self) >= self._total:
            raise RequestRefused(503, "The server holds as many websockets as it may. Try again later.")
        if self._of_browser[browser] >= self._per_browser:
            raise RequestRefused(429, f"This browser has {self._of_browser[browser]} websockets open already.")

    async def serve(self, socket: S, browser: str) -> None:
        """Run a socket of `browser`, and count it as open until it has ended."""
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
        """Refuse new sockets, close every open one, and return when all have ended."""
        self.closing = True
        over = list(self._open.values())
        for socket in self:
            socket.stop()
        for event in over:
            await event.wait()
