"""Gives up requests whose bodies do not arrive: each has to bring some bytes in each minute.

An upload may take hours over a slow line, so its time is not what is bounded. But in each `WINDOW` it has to bring
`MINIMUM` bytes, which the slowest line does; a body that was announced and never comes, or comes byte by byte for ever,
would hold its connection, its task and what was read of it for as long as it likes.

And of the bodies that a browser has announced and not sent, there may be `PER_BROWSER` at a time: a browser has six
connections, and a hundred requests on one of HTTP/2.

Nothing here concerns a request whose body has come with it, as that of most has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import trio

WINDOW = 60.0
"""Seconds in which a body has to bring `MINIMUM` bytes."""

MINIMUM = 1_000
"""Bytes that a body has to bring in each `WINDOW`."""

PER_BROWSER = 100
"""How many bodies of one browser are waited for at a time; of requests without its cookie, those of one address."""

Receive = Callable[[], Awaitable[Any]]


class BodyProgress:
    """Receives the messages of one request, and gives up on a body that does not come along.

    Attributes:
        given_up: it has.
    """

    def __init__(self, receive: Receive, give_up: Callable[[], bool], came: Callable[[], None]) -> None:
        """
        Args:
            receive: gives the next message.
            give_up: ends the request; says whether it has, which it has not if that is being answered already.
            came: called when the body has come, or is given up.
        """
        self.given_up = False
        self._receive = receive
        self._give_up = give_up
        self._on_over = came
        self._came = 0
        self._until = trio.current_time() + WINDOW
        self._over = False

    async def __call__(self) -> Any:
        while not self._over:
            with trio.CancelScope(deadline=self._until) as scope:
                message = await self._receive()
                self._note(message)
                return message
            if scope.cancelled_caught:
                self._look()
        return await self._receive()

    def _note(self, message: Any) -> None:
        self._came += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._over = True
            self._on_over()
        elif trio.current_time() >= self._until:
            self._look()

    def _look(self) -> None:
        """A window is over."""
        if self._came < MINIMUM:
            self.given_up = self._give_up()
            self._over = True
            self._on_over()
        self._came = 0
        self._until = trio.current_time() + WINDOW


class AwaitedBody:
    """A place among the bodies of one sender that are waited for."""

    _counts: ClassVar[Counter[str]] = Counter()

    def __init__(self, sender: str) -> None:
        """`sender`: what tells it from others."""
        self._sender: str | None = sender
        self._counts[sender] += 1

    @property
    def is_too_many(self) -> bool:
        """Whether the sender has more than it may."""
        return self._sender is not None and self._counts[self._sender] > PER_BROWSER

    def leave(self) -> None:
        """Give the place back; only the first call has an effect."""
        if self._sender is not None:
            self._counts[self._sender] -= 1
            if not self._counts[self._sender]:
                del self._counts[self._sender]
            self._sender = None
