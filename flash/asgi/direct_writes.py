"""Writes to a page's socket without waking the task of the page's link.

    a generator yields ── outbox ── the link's task ── Hypercorn ── socket
                            └────────────── DirectWriter ──────────────┘

A single update costs most on the ordinary way: Trio switches to the link's task, and Hypercorn and Trio each do their
part of a write. While that task waits for events, the task that adds one may write it to the socket itself, as the next
chunk of the response, as far as the socket takes it without blocking. The link's task then writes the remaining bytes
before anything else. With HTTP/2 the windows of the client bound what may be written; what they do not take goes the
ordinary way.

This is safe only for HTTP/1.1 in chunks, and HTTP/2 over TLS, and where nothing wraps Hypercorn's `send`. Apps with
middleware around `send` use the ordinary way.
"""

from __future__ import annotations

import math
import os
from time import perf_counter

from .. import _hypercorn
from .http_exchange import HTTP_EXCHANGE

DIRECT_WRITE_INTERVAL = 0.001
"""Seconds between two writes at least; what comes sooner is left to the link's task, which joins it."""


class DirectWriter:
    """Writes chunks of one response of HTTP/1.1, whose headers have been sent, to its socket.

    Attributes:
        free_from: when the next write may be, on the clock of `time.perf_counter`; infinite while bytes of the last one
            remain.
    """

    __slots__ = ("_connection", "_encryption", "_fileno", "_unwritten", "free_from")

    def __init__(self, connection: _hypercorn.DirectWriteConnection) -> None:
        self.free_from: float = 0.0
        self._connection = connection
        self._encryption = connection.encryption
        # Asked at each write: the number of a socket that is closed may be another one's soon.
        self._fileno = connection.fileno
        self._unwritten: bytes | None = None

    @classmethod
    def of_request(cls) -> DirectWriter | Http2Writer | None:
        """The writer for the current request's response; None if direct writes to it are not safe."""
        exchange = HTTP_EXCHANGE.get()
        if exchange is None:
            return None
        send = exchange.server_send()
        if (connection := _hypercorn.direct_write_connection(send)) is not None:
            return cls(connection)
        response = _hypercorn.direct_http2_response(send)
        return None if response is None else Http2Writer(response)

    def is_free(self) -> bool:
        """Whether something may be written: no other write is under way, and the last one was long enough ago."""
        encryption = self._encryption
        return perf_counter() >= self.free_from and (encryption is None or not encryption.busy)

    def rest(self) -> None:
        """Have the next write wait: something is being written otherwise, and what comes now can be joined."""
        self.free_from = perf_counter() + DIRECT_WRITE_INTERVAL

    def write(self, data: bytes) -> bool | None:
        """Write a chunk without blocking, if the writer is free.

        Returns:
            Whether the socket has taken all of it. If not, the caller has to have `finish` called. None if the writer
            is not free: nothing is written.
        """
        now, encryption = perf_counter(), self._encryption
        if now < self.free_from:
            return None
        chunk = b"%x\r\n%b\r\n" % (len(data), data)
        if encryption is not None:
            if encryption.busy:
                return None
            self._unwritten = encryption.write_now(chunk)
        else:
            try:
                written = os.write(self._fileno(), chunk)
            except OSError:
                # The socket's buffer is full, or the connection is lost, which `finish` finds out.
                written = 0
            if written < len(chunk):
                self._unwritten = chunk[written:]
        self.free_from = now + DIRECT_WRITE_INTERVAL
        if self._unwritten is None:
            return True
        self.free_from = math.inf
        return False

    async def finish(self) -> None:
        """Write the remaining bytes of the last chunk, if any, and wait until the socket has taken them."""
        if self._unwritten is not None:
            unwritten, self._unwritten = self._unwritten, None
            await self._connection.write(unwritten)
            self.rest()


class Http2Writer:
    """Does the same for one response of HTTP/2: writes parts of its body."""

    __slots__ = ("_response", "_unwritten", "free_from")

    def __init__(self, response: _hypercorn.Http2Response) -> None:
        self.free_from: float = 0.0
        self._response = response
        self._unwritten: bytes | None = None

    def is_free(self) -> bool:
        """As that of `DirectWriter`."""
        return perf_counter() >= self.free_from and not self._response.busy

    def rest(self) -> None:
        """As that of `DirectWriter`."""
        self.free_from = perf_counter() + DIRECT_WRITE_INTERVAL

    def write(self, data: bytes) -> bool | None:
        """As that of `DirectWriter`, for a part of the body."""
        now = perf_counter()
        if now < self.free_from or self._response.busy:
            return None
        self._unwritten = self._response.write_now(data)
        self.free_from = now + DIRECT_WRITE_INTERVAL
        if self._unwritten is None:
            return True
        self.free_from = math.inf
        return False

    async def finish(self) -> None:
        """Write what remains of the last part, if anything does, and wait until it is sent, or waits in a buffer."""
        if self._unwritten is not None:
            unwritten, self._unwritten = self._unwritten, None
            await self._response.write(unwritten)
            self.rest()
