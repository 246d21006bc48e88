"""Lets callback requests go on after their client has disconnected, up to a limit.

A user reloads or closes a page while its callback saves something. On Flask, and so with Dash, the request does not
notice. Quart cancels the request, which interrupts the save. Flash does as Flask does: once a callback request has
arrived in whole, the server runs it to its end, hooks included, and discards the response. A callback with
`on_disconnect="cancel"` is cancelled as Quart does it.

When the server stops, these requests have its `graceful_timeout` like any other. Their number is limited, since a
client that disconnects costs nothing more, while the callback that it started still does.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator

import trio

_log = logging.getLogger("flash.server")

LIMIT = 1_000
"""How many requests of a process may go on without their clients; one more is cancelled when its client disconnects."""


class Unattended:
    """The requests of a process that go on without their clients.

    Attributes:
        count: their number.
    """

    def __init__(self) -> None:
        self.count: int = 0
        self._has_warned = False

    @contextlib.contextmanager
    def admit(self) -> Generator[bool]:
        """Count one more request while the block runs; yields False, and counts nothing, if `LIMIT` is reached."""
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
"""The requests of this process that go on without their clients."""


class DisconnectPolicy:
    """Decides whether one request goes on after its client has disconnected.

    Attributes:
        outlives_client: whether the request may go on then, as callback requests do.
        is_complete: whether the whole request has arrived; an incomplete one never goes on.
    """

    __slots__ = ("_must_cancel", "is_complete", "outlives_client")

    def __init__(self, outlives_client: bool) -> None:
        self.outlives_client: bool = outlives_client
        self.is_complete: bool = False
        self._must_cancel: trio.Event | None = None

    def cancel_with_client(self) -> None:
        """Have the request cancelled when its client disconnects, or at once if it has done so."""
        self.outlives_client = False
        if self._must_cancel is not None:
            self._must_cancel.set()

    async def wait_to_cancel(self) -> None:
        """Wait, after the client has disconnected, until the request is to be cancelled for that.

        Returns at once if the request does not go on. If it does, returns when `cancel_with_client` is called; the
        waiting task is cancelled when the request is over before that.
        """
        if self.outlives_client and self.is_complete:
            with UNATTENDED.admit() as admitted:
                if admitted:
                    self._must_cancel = trio.Event()
                    await self._must_cancel.wait()
