"""Writes to a page's socket without waking the task of the page's link.

    a generator yields ── outbox ── the link's task ── Hypercorn ── socket
                            └────────────── DirectWriter ──────────────┘

A single update costs most on the ordinary way: Trio switches to the link's task, and Hypercorn and Trio each do their
part of a write. While that task waits for events, the task that adds one may write it to the socket itself, as the next
chunk of the response, as far as the socket takes it without blocking. The link's task then writes the remaining bytes
before anything else.

This is safe only for HTTP/1.1, in chunks, and where nothing wraps Hypercorn's `send`. HTTP/2 and apps with middleware
around `send` use the ordinary way.
"""

from __future__ import annotations

from .. import _hypercorn
from .http_exchange import HTTP_EXCHANGE


class DirectWriter:
    """Writes chunks of one response, whose headers have been sent, to its socket."""

    def __init__(self, connection: _hypercorn.DirectWriteConnection) -> None:
        self._connection = connection
        self._unwritten: bytes | None = None

    @classmethod
    def of_request(cls) -> DirectWriter | None:
        """The writer for the current request's response; None if direct writes to it are not safe."""
        exchange = HTTP_EXCHANGE.get()
        connection = None if exchange is None else _hypercorn.direct_write_connection(exchange.server_send())
        return None if connection is None else cls(connection)

    @property
    def ready(self) -> bool:
        """Whether no other write to the socket is under way."""
        return self._unwritten is None and not self._connection.busy

    def write(self, data: bytes) -> bool:
        """Write a chunk without blocking.

        Returns:
            Whether the socket has taken all of it. If not, the caller has to have `finish` called.
        """
        self._unwritten = self._connection.write_now(b"%x\r\n%b\r\n" % (len(data), data))
        return self._unwritten is None

    async def finish(self) -> None:
        """Write the remaining bytes of the last chunk, if any, and wait until the socket has taken them."""
        if self._unwritten is not None:
            unwritten, self._unwritten = self._unwritten, None
            await self._connection.write(unwritten)
