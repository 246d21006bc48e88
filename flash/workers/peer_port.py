"""Takes the connections of other machines at one port, and passes each to the worker that it is for.

    another machine                supervisor                       worker
      connects ──────────────────► PeerPort: challenge
      opening, with a name ──────► proof is right: PeerSender ────► PeerReceiver ── Peers
      frames ────────────────────────────────────(SCM_RIGHTS)─────► frames

There is one port for all workers of a machine, because one is all that a container, a firewall or a network policy has
to be told, however many workers there are. The supervisor has it, since it outlives each worker, and while it replaces
workers there are two generations of them. It reads the opening, whose size is fixed, and not a byte more; the
connection itself goes to the worker through a socketpair, and the supervisor has no part in it any more.

So a worker meets only those who have the secret, and a stranger meets only the supervisor: for `OPENING_TIMEOUT`, and
as one of `STRANGERS`, beyond which the one who has waited longest is turned away.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable
from typing import Any, cast

import trio

from ..asgi.client_log import ClientWarnings
from ..user_code.containment import contain
from .frames import encode
from .machine import Machine
from .peer_connection import PeerConnection, PeerGone, notice_silence, receive_exactly
from .signatures import (
    CHALLENGE_SIZE,
    GONE,
    NAME_SIZE,
    NUMBER_SIZE,
    OPENING_SIZE,
    PROTOCOL,
    REFUSED,
    Signatures,
    new_number,
)

_log = logging.getLogger("flash.workers")
_warnings = ClientWarnings(_log)

OPENING_TIMEOUT = 10.0
"""Seconds in which who connects has to prove that it has the secret."""

STRANGERS = 500
"""Connections that may be without a proof at the same time."""

Give = Callable[[str, socket.socket, bytes], bool]
"""Passes a connection to the worker of a name, with both random numbers; returns False if there is no such worker.

If there is one that cannot take it, the connection is lost."""


class PeerPort:
    """The port of one machine."""

    def __init__(self, listening: socket.socket, machine: Machine, give: Give) -> None:
        """
        Args:
            listening: a socket that listens at the address of the machine.
            machine: this one.
            give: passes a connection to a worker.
        """
        self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
        self._machine = machine
        self._give = give
        self._strangers: dict[trio.CancelScope, None] = {}

    async def run(self) -> None:
        """Take connections, until cancelled."""
        await trio.serve_listeners(self._serve, [self._listener])

    async def _serve(self, stream: trio.SocketStream) -> None:
        # Whatever fails with one connection, the supervisor goes on.
        await contain(_log, "A connection to the port for workers failed.", lambda: self._receive(stream))

    async def _receive(self, stream: trio.SocketStream) -> None:
        """Meet who has connected, for a while."""
        who = _host(stream)
        with trio.move_on_after(OPENING_TIMEOUT) as scope:
            if len(self._strangers) >= STRANGERS:
                next(iter(self._strangers)).cancel()
            self._strangers[scope] = None
            try:
                await self._meet(stream, who)
            except (PeerGone, trio.BrokenResourceError):
                # A health check of the port, maybe, or a machine that has stopped in between.
                pass
            finally:
                del self._strangers[scope]
        if scope.cancelled_caught:
            _warnings.warn("silent peer", "A connection of %s to the port for workers was closed: it said nothing", who)

    async def _meet(self, stream: trio.SocketStream, who: str) -> None:
        notice_silence(stream)
        challenge = PROTOCOL + new_number()
        await stream.send_all(challenge)
        opening = await receive_exactly(stream, OPENING_SIZE)
        name = opening[:NAME_SIZE].decode("latin-1")
        number = opening[NAME_SIZE : NAME_SIZE + NUMBER_SIZE]
        signatures = Signatures(self._machine.secret, f"{self._machine.address}/{name}", challenge, number)
        if not signatures.prove(opening[NAME_SIZE + NUMBER_SIZE :]):
            _warnings.warn(
                "bad proof", "A connection of %s was refused: it is not signed with the secret of this machine", who
            )
            await self._answer(stream, signatures, REFUSED)
        elif not self._give(name, cast("Any", stream.socket), challenge + number):
            await self._answer(stream, signatures, GONE)

    @staticmethod
    async def _answer(stream: trio.SocketStream, signatures: Signatures, kind: str) -> None:
        """Answer in place of a worker."""
        (frame,) = encode({"type": kind})
        await stream.send_all(frame + signatures.of_receiver.tag(frame))


def _host(stream: trio.SocketStream) -> str:
    """Where a connection comes from, for the log."""
    try:
        return str(stream.socket.getpeername()[0])
    except OSError:
        return "an unknown address"


class PeerSender:
    """The supervisor's end of a socketpair: sends connections of other machines to one worker."""

    def __init__(self, channel: socket.socket) -> None:
        channel.setblocking(False)
        self._channel = channel

    def send(self, connection: socket.socket, numbers: bytes) -> None:
        """Send a connection, and both random numbers. The caller closes its own descriptor."""
        # The worker may have just died, or so many wait for it that there is no room. Then the connection is lost, and
        # the other side tries again.
        with contextlib.suppress(OSError):
            socket.send_fds(self._channel, [numbers], [connection.fileno()])

    def close(self) -> None:
        """Send nothing more."""
        self._channel.close()


class PeerReceiver:
    """The worker's end: receives the connections of other machines.

    Args:
        channel: the socket that they come over.
        machine: this one.
        address: of the worker, for other machines.

    Attributes:
        machine: as above.
    """

    def __init__(self, channel: socket.socket, machine: Machine, address: str) -> None:
        channel.setblocking(False)
        self.machine = machine
        self._channel = channel
        self._address = address

    async def receive(self, *expected: str) -> PeerConnection:
        """The next connection.

        Args:
            expected: the types of the messages that the other side may send first.

        Raises:
            trio.EndOfChannel: the supervisor has closed its end.
        """
        await trio.lowlevel.checkpoint()
        while True:
            try:
                numbers, descriptors, _, _ = socket.recv_fds(self._channel, CHALLENGE_SIZE + NUMBER_SIZE, 1)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._channel)
                continue
            if not numbers:
                raise trio.EndOfChannel
            if not descriptors:
                # This process has as many as it may have: the other side tries again.
                continue
            (descriptor,) = descriptors
            os.set_inheritable(descriptor, False)
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(socket.socket(fileno=descriptor)))
            signatures = Signatures(
                self.machine.secret, self._address, numbers[:CHALLENGE_SIZE], numbers[CHALLENGE_SIZE:]
            )
            return PeerConnection(stream, expected, (signatures.of_receiver, signatures.of_sender))

    def close(self) -> None:
        """Receive nothing more."""
        self._channel.close()
