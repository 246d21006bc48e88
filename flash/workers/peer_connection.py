"""Opens connections between workers, and sends and receives messages over them.

A connection is for one request, or one question. Neither side queues messages: who sends waits until the other side has
room, so a browser that does not read slows down what it is sent from, through the connection as without it.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Collection

import trio

from .frames import Decoder, Message, encode

READ_SIZE = 65_536

BACKLOG = 1_000
"""Connections that may wait until a worker accepts them: as many as a burst of requests brings."""


class PeerGone(Exception):
    """The other worker has closed the connection, or is dead."""


async def connect(address: str) -> trio.SocketStream:
    """Connect to the socket of another worker.

    Args:
        address: the path of a unix socket, which begins with a slash, or host:port.

    Raises:
        OSError: the worker cannot be reached.
    """
    if address.startswith("/"):
        return await trio.open_unix_socket(address)
    host, _, port = address.rpartition(":")
    return await trio.open_tcp_stream(host.strip("[]"), int(port))


def listen(address: str) -> trio.SocketListener:
    """Listen on the socket of this worker for others. The folder of a unix socket has to be closed to other users.

    Raises:
        OSError: the address is in use, or is not this machine's.
    """
    if address.startswith("/"):
        family, name = socket.AF_UNIX, address
        with contextlib.suppress(FileNotFoundError):
            # It was left by a worker that was killed: the supervisor gives an address to one worker at a time.
            os.unlink(address)
    else:
        host, _, port = address.rpartition(":")
        family, _, _, _, name = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family != socket.AF_UNIX:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(name)
        listening.listen(BACKLOG)
        listening.setblocking(False)
        return trio.SocketListener(trio.socket.from_stdlib_socket(listening))
    except BaseException:
        listening.close()
        raise


class PeerConnection:
    """A connection to another worker, on which either side sends messages."""

    def __init__(self, stream: trio.SocketStream, expected: Collection[str]) -> None:
        """
        Args:
            stream: the connection.
            expected: the types of the messages that the other side may send first.
        """
        self._stream = stream
        self._decoder = Decoder(expected)
        self._sending = trio.StrictFIFOLock()
        self._receiving = trio.StrictFIFOLock()

    def expect(self, types: Collection[str]) -> None:
        """Take messages of these types from now on."""
        self._decoder.expected = types

    async def send(self, message: Message) -> None:
        """Send a message, and wait until it is on its way.

        Raises:
            PeerGone: the other side does not receive any more.
        """
        async with self._sending:
            for frame in encode(message):
                try:
                    await self._stream.send_all(frame)
                except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                    raise PeerGone from error
                except trio.Cancelled:
                    # A part of the frame may be gone, so nothing can follow it.
                    await trio.aclose_forcefully(self._stream)
                    raise

    async def receive(self) -> Message:
        """The next message. May be cancelled, and called again.

        Raises:
            PeerGone: the other side has closed the connection, or is dead.
            MalformedFrame: what has come is no message that is expected.
        """
        async with self._receiving:
            while (message := self._decoder.next_message()) is None:
                try:
                    data = await self._stream.receive_some(READ_SIZE)
                except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                    raise PeerGone from error
                if not data:
                    raise PeerGone
                self._decoder.feed(data)
            return message
