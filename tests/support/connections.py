"""Plain connections to a server of a test, on this machine: opened with a small receive buffer, or ended by a reset."""

from __future__ import annotations

import random
import socket
import struct

import trio


async def open_connection(port: int, receive_buffer: int | None = None, host: str = "127.0.0.1") -> trio.SocketStream:
    """Connect to a port of this machine.

    Args:
        port: of the server.
        receive_buffer: bytes that the socket may hold unread; few, to be a page that does not read.
        host: an address of the loopback range.
    """
    connected = trio.socket.socket()
    if receive_buffer is not None:
        # Only what is set before the connection counts for the window that the server is offered.
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        await connected.connect((host, port))
    except BaseException:
        connected.close()
        raise
    return trio.SocketStream(connected)


def reset(stream: trio.SocketStream) -> None:
    """Go without a goodbye: the server gets a reset, and what it was sent and has not read yet is lost."""
    if stream.socket.fileno() != -1:
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.socket.close()


def free_port() -> int:
    """A port that no outgoing connection is given, so that it stays free while nothing listens there."""
    while True:
        port = random.randint(20_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def accepts_connections(port: int) -> bool:
    """Whether something listens on a port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
