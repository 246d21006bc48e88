"""Keeps connections to other workers for the next request, as a server keeps those of browsers.

    with kept.connect(...) ── one that is kept, or else a new one ── the request ─┬─ it is free: kept for `KEPT_TIMEOUT`
                                                                                 └─ it is not: closed

To open a connection costs both workers as much as a small request, and between machines two round trips. It can be kept
if its request has left nothing behind, which only one that was sent on whole can promise: see `whole_requests`.

The other worker closes a connection on which nothing comes, too, but later: so it closes none that is just being used.
If that worker is gone, its connections say so before they are used.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncGenerator, Collection

import trio

from .peer_connection import Dialer, PeerConnection

KEPT_TIMEOUT = 5.0
"""Seconds for which a connection is kept that is not used."""

KEPT = 8
"""Connections to one worker that are kept. There are more only while as many requests are answered at a time."""


class KeptConnections:
    """The connections of one worker to others that are kept."""

    def __init__(self, dialer: Dialer) -> None:
        """`dialer`: opens connections."""
        self._dialer = dialer
        # By address, and the one that was used last at the end, with the time until which it is kept.
        self._kept: dict[str, list[tuple[PeerConnection, float]]] = {}
        self._has_some = trio.Event()
        self._is_over = False

    def __len__(self) -> int:
        return sum(map(len, self._kept.values()))

    @contextlib.asynccontextmanager
    async def connect(self, address: str, expected: Collection[str]) -> AsyncGenerator[PeerConnection]:
        """A connection to another worker for one request.

        Args:
            address: as for `Dialer.connect`.
            expected: the types of the messages that the other side may send first.

        Raises:
            OSError, PeerGone, BadSignature: as `Dialer.connect`.
        """
        connection = self._take(address) or await self._dialer.connect(address, expected)
        connection.expect(expected)
        is_kept = False
        try:
            yield connection
            is_kept = self._keep(address, connection)
        finally:
            if not is_kept:
                await connection.aclose()

    async def close_unused(self) -> None:
        """Close each connection that was not used for `KEPT_TIMEOUT`, until cancelled, and then all."""
        try:
            while True:
                await self._has_some.wait()
                while self._kept:
                    await trio.sleep_until(min(kept[0][1] for kept in self._kept.values()))
                    self._close(trio.current_time())
                self._has_some = trio.Event()
        finally:
            self._is_over = True
            self._close(math.inf)

    def _take(self, address: str) -> PeerConnection | None:
        """The connection that was used last, if the other worker has not closed it."""
        while kept := self._kept.get(address):
            connection, _ = kept.pop()
            if not kept:
                del self._kept[address]
            if connection.is_silent:
                connection.is_free = False
                return connection
            connection.close()
        return None

    def _keep(self, address: str, connection: PeerConnection) -> bool:
        """Keep a connection for another request, if it can be used for one, and there are not enough."""
        kept = self._kept.get(address, [])
        if self._is_over or not connection.is_free or len(kept) >= KEPT:
            return False
        self._kept[address] = [*kept, (connection, trio.current_time() + KEPT_TIMEOUT)]
        self._has_some.set()
        return True

    def _close(self, now: float) -> None:
        """Close the connections that were to be kept until `now` at most."""
        for address, kept in list(self._kept.items()):
            self._kept[address] = [(connection, until) for connection, until in kept if until > now]
            if not self._kept[address]:
                del self._kept[address]
            for connection, until in kept:
                if until <= now:
                    connection.close()
