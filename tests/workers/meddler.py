"""Somebody in the network between two machines: sees, alters and records what goes between them."""

from __future__ import annotations

from collections.abc import Callable

import trio

from tests.workers.machines import bound

Alter = Callable[[bytes], bytes]


def nothing(data: bytes) -> bytes:
    """Leaves the data as they are."""
    return data


class Meddler:
    """Listens where a machine is believed to be, and passes to it what comes.

    Attributes:
        address: where it listens, as host:port.
        target: host and port of the machine.
        to_holder: alters what is sent to the machine.
        to_sender: alters what the machine answers.
        recorded: for each connection what was sent to the machine, unaltered, in the pieces that came.
    """

    def __init__(self, number: int) -> None:
        """
        Args:
            number: of the loopback address.
        """
        self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound(number)))
        self.address = "{}:{}".format(*self._listener.socket.getsockname())
        self.target: tuple[str, int] = ("", 0)
        self.to_holder: Alter = nothing
        self.to_sender: Alter = nothing
        self.recorded: list[list[bytes]] = []

    async def run(self) -> None:
        """Take connections, until cancelled."""
        await trio.serve_listeners(self._serve, [self._listener])

    async def _serve(self, sender: trio.SocketStream) -> None:
        recording: list[bytes] = []
        self.recorded.append(recording)

        def note(data: bytes) -> bytes:
            recording.append(data)
            return self.to_holder(data)

        async with await trio.open_tcp_stream(*self.target) as holder, trio.open_nursery() as nursery:
            nursery.start_soon(self._pass, sender, holder, note)
            await self._pass(holder, sender, lambda data: self.to_sender(data))
            nursery.cancel_scope.cancel()

    @staticmethod
    async def _pass(source: trio.SocketStream, sink: trio.SocketStream, alter: Alter) -> None:
        try:
            async for data in source:
                await sink.send_all(alter(bytes(data)))
            await sink.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
