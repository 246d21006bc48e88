"""Writes to a page's socket without waking the task that serves its connection.

    a generator yields ── outbox ── the connection's task ── Quart ── Hypercorn ── socket
                             └────────── DirectWriter ───────────────────────────────┘

An update that is on its own pays most for the way: a switch to the connection's task, and what Quart, Hypercorn and
Trio do for a write. While that task has nothing to do but wait for news, whoever has some may write it to the socket
as the next chunk of the response, as far as the socket takes it without waiting. What it does not take is left to the
task, which comes before anything else it has to say.

Only for what is known to be safe: HTTP/1.1 without TLS, straight from Hypercorn, in chunks. Everything else, HTTP/2,
TLS, middleware that wraps `send`, goes the ordinary way.
"""

from __future__ import annotations

import os

from .. import _hypercorn
from .http_exchange import EXCHANGE


class DirectWriter:
    """Writes chunks of one response, whose headers have been sent, to its socket."""

    def __init__(self, connection: _hypercorn.PlainConnection) -> None:
        self._connection = connection
        self._rest = b""

    @classmethod
    def of_request(cls) -> DirectWriter | None:
        """The writer of the response to the request at hand; None if it has to go the ordinary way."""
        exchange = EXCHANGE.get()
        connection = None if exchange is None else _hypercorn.plain_connection(exchange.server_send())
        return None if connection is None else cls(connection)

    @property
    def ready(self) -> bool:
        """Whether nothing else is being written."""
        return not self._rest and not self._connection.busy

    def write(self, data: bytes) -> bool:
        """Write a chunk; says whether the socket has taken it all. If not, `finish` is to be called."""
        chunk = b"%x\r\n%b\r\n" % (len(data), data)
        try:
            written = os.write(self._connection.fileno, chunk)
        except OSError:
            # No room, or a connection that is lost: `finish` will know.
            written = 0
        self._rest = chunk[written:]
        return not self._rest

    async def finish(self) -> None:
        """Write what is left, if anything, and wait until that is done."""
        if self._rest:
            rest, self._rest = self._rest, b""
            await self._connection.write(rest)
