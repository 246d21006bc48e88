"""Machines of a test: addresses of the loopback range, each with a port for the workers of other machines.

    async with trio.open_nursery() as nursery:
        machine = LoopbackMachine(1)
        nursery.start_soon(machine.run)
        peers = Peers(app, directory, path, answers, machine.arrivals_of(path))

The port is a real one, and passes real connections; only the supervisor's process around it is missing.
"""

from __future__ import annotations

import socket

from flash.workers.machine import Machine
from flash.workers.peer_port import PeerPort, PeerReceiver, PeerSender

SECRET = "a secret of forty characters, or nearly so"


def bound(number: int) -> socket.socket:
    """A socket that listens on a free port of the machine with this number."""
    listening = socket.socket()
    listening.bind((f"127.0.0.{number}", 0))
    listening.listen()
    listening.setblocking(False)
    return listening


class LoopbackMachine:
    """One machine.

    Attributes:
        machine: what the workers of the machine are told of it.
        listens_at: host and port where it listens, which is the advertised address unless that is another one.
    """

    def __init__(self, number: int, secret: str = SECRET, advertise: str = "") -> None:
        self._listening = bound(number)
        self.listens_at: tuple[str, int] = self._listening.getsockname()
        self.machine = Machine(advertise or "{}:{}".format(*self.listens_at), secret)
        self._senders: dict[str, PeerSender] = {}

    def address_of(self, socket_path: str) -> str:
        """The address of a worker for other workers."""
        return self.machine.address_of(socket_path)

    def arrivals_of(self, socket_path: str) -> PeerReceiver:
        """The connections of other machines to the worker with this unix socket."""
        ours, theirs = socket.socketpair()
        address = self.address_of(socket_path)
        self._senders[address.rpartition("/")[2]] = PeerSender(ours)
        return PeerReceiver(theirs, self.machine, address)

    async def run(self) -> None:
        """Take connections, until cancelled."""
        try:
            await PeerPort(self._listening, self.machine, self._give).run()
        finally:
            for sender in self._senders.values():
                sender.close()

    def _give(self, name: str, connection: socket.socket, numbers: bytes) -> bool:
        if name in self._senders:
            self._senders[name].send(connection, numbers)
        return name in self._senders
