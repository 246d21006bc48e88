"""Gives up requests whose bodies stop arriving, and bounds how many unfinished bodies a browser may have.

An upload may take hours over a slow line, so the whole of it has no timeout. But in each `INTERVAL` at least `MINIMUM`
bytes have to arrive, which the slowest line manages. Without that rule a body that was announced and never sent, or
sent byte by byte for ever, would hold its connection, its task and the bytes already read for as long as the client
likes.

A browser may have `PER_BROWSER` unfinished bodies at a time: it opens six connections, and sends up to a hundred
requests on one of HTTP/2.

A request whose body arrives together with its headers, as most do, does not use this module.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import trio

INTERVAL = 60.0
"""Seconds in which `MINIMUM` bytes of a body have to arrive."""

MINIMUM = 1_000
"""Bytes of a body that have to arrive in each `INTERVAL`."""

PER_BROWSER = 100
"""How many unfinished bodies one browser may have; requests without its cookie are counted by their address."""

Receive = Callable[[], Awaitable[Any]]


class BodyProgress:
    """The ASGI `receive` of one request, which gives the request up when its body stops arriving.

    Attributes:
        given_up: whether the request was given up.
    """

    def __init__(self, receive: Receive, give_up: Callable[[], bool], on_body_over: Callable[[], None]) -> None:
        """
        Args:
            receive: returns the next ASGI message.
            give_up: ends the request; returns False, and leaves the request alone, if its response has begun.
            on_body_over: called when the body is complete, or was given up.
        """
        self.given_up: bool = False
        self._receive = receive
        self._give_up = give_up
        self._on_body_over = on_body_over
        self._bytes_in_window = 0
        self._window_end = trio.current_time() + INTERVAL
        self._is_over = False

    async def __call__(self) -> Any:
        while not self._is_over:
            with trio.CancelScope(deadline=self._window_end) as scope:
                message = await self._receive()
                self._count(message)
                return message
            if scope.cancelled_caught:
                self._end_window()
        return await self._receive()

    def _count(self, message: Any) -> None:
        """Count the bytes of a message that has arrived."""
        self._bytes_in_window += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._end_body()
        elif trio.current_time() >= self._window_end:
            self._end_window()

    def _end_window(self) -> None:
        """Give the request up if too few bytes arrived in the window; begin the next window."""
        if self._bytes_in_window < MINIMUM:
            self.given_up = self._give_up()
            self._end_body()
        self._bytes_in_window = 0
        self._window_end = trio.current_time() + INTERVAL

    def _end_body(self) -> None:
        self._is_over = True
        self._on_body_over()


class UnfinishedBody:
    """One body that the server waits for, counted for the client that sends it."""

    _counts: ClassVar[Counter[str]] = Counter()

    def __init__(self, sender: str) -> None:
        """
        Args:
            sender: identifies the client: the secret of its browser, or its address.
        """
        self._sender: str | None = sender
        self._counts[sender] += 1

    @property
    def is_too_many(self) -> bool:
        """Whether the client has more than `PER_BROWSER` unfinished bodies, this one included."""
        return self._sender is not None and self._counts[self._sender] > PER_BROWSER

    def release(self) -> None:
        """Count the body no longer; only the first call has an effect."""
        if self._sender is not None:
            self._counts[self._sender] -= 1
            if not self._counts[self._sender]:
                del self._counts[self._sender]
            self._sender = None
