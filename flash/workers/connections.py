"""Passes the connections that the supervisor accepts to its workers, in turn, and most to those that have few.

    supervisor                                worker
      accept ── in_order_of_load ─ send ───►  receive ── Hypercorn
                                  (socketpair)
                ◄─────────────────────────────  taken, closed
                                    (memory)

Workers that wait for connections on the same listening socket all wake up for each, and on an idle machine the same
one is always the first. So the supervisor accepts and chooses. The connection itself goes through a socketpair
(SCM_RIGHTS), and the supervisor has no part in it any more. How many connections a worker has taken and closed stands
in memory that both share: the supervisor reads it when it has to choose, and no message wakes it up.

The listening sockets stay with the supervisor for as long as it lives. So a new generation of workers, or a worker that
is started again, needs no socket of its own, and no connection that waits to be accepted is lost.

When the supervisor closes its end, `receive` raises trio.EndOfChannel after the last connection: the worker is to
finish what it has.
"""

from __future__ import annotations

import errno
import logging
import mmap
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

import trio

_log = logging.getLogger("flash.workers")

COUNTS_SIZE = 24
"""Bytes of the shared memory: three numbers of 8 bytes."""

HELD_UP_TIME = 0.1
"""Seconds in which a worker takes a connection on a machine that is not overloaded."""

UNEVENNESS = 1 / 8
"""The part by which a worker may have more connections than another and still has its turn; one more is always so."""

NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
"""The errors that say that there is no descriptor for a connection."""

NO_DESCRIPTOR_INTERVAL = 0.1
"""Seconds after which a worker tries again to receive a connection for which it had no descriptor."""


class Counts:
    """How many connections a worker has taken from the supervisor and from other workers, and how many are closed.

    Each number has one writer, the worker, and is written at once, being eight aligned bytes.

    Args:
        descriptor: of a file of `COUNTS_SIZE` bytes, which both processes map.
    """

    def __init__(self, descriptor: int) -> None:
        self._numbers = memoryview(mmap.mmap(descriptor, COUNTS_SIZE)).cast("Q")

    @property
    def taken(self) -> int:
        return self._numbers[0]

    @property
    def closed(self) -> int:
        return self._numbers[1]

    @property
    def adopted(self) -> int:
        return self._numbers[2]

    def count_taken(self) -> None:
        self._numbers[0] += 1

    def count_closed(self) -> None:
        self._numbers[1] += 1

    def count_adopted(self) -> None:
        self._numbers[2] += 1


def make_counts() -> int:
    """The descriptor of a file for `Counts`, which has no name."""
    with tempfile.TemporaryFile() as file:
        file.truncate(COUNTS_SIZE)
        return os.dup(file.fileno())


class Loaded(Protocol):
    """What the choice of a worker needs to know of it.

    Attributes:
        held_up: it does not take what it is sent.
        open: connections that it has been sent, by the supervisor or another worker, and has not closed.
        last: when it was chosen last, as a number that grows.
    """

    @property
    def held_up(self) -> bool: ...
    @property
    def open(self) -> int: ...
    @property
    def last(self) -> int: ...


L = TypeVar("L", bound=Loaded)


def in_order_of_load(workers: Sequence[L]) -> list[L]:
    """The workers, first the one that is to have the next connection.

    That is one that takes them; among those one with about the fewest; and then the one that has waited longest. Were
    it always the one with the fewest, a link that is open for hours would keep a worker from all short requests.
    """
    fewest = min((worker.open for worker in workers if not worker.held_up), default=0)
    few = fewest + 1 + int(fewest * UNEVENNESS)
    return sorted(workers, key=lambda worker: (worker.held_up, max(worker.open, few), worker.last))


class ConnectionSender:
    """The supervisor's end: sends connections to one worker.

    Attributes:
        last: the number of the choice in which this worker had its last connection.
    """

    def __init__(self, channel: socket.socket, counts: Counts) -> None:
        channel.setblocking(False)
        self._channel = channel
        self._counts = counts
        self._sent = 0
        self._taken = 0
        self._waits_since = 0.0
        self.last = 0

    @property
    def held_up(self) -> bool:
        """Whether connections wait, and none was taken for `HELD_UP_TIME`: something holds up the event loop."""
        now, taken = time.monotonic(), self._counts.taken
        if taken != self._taken:
            self._taken, self._waits_since = taken, now
        return self._sent > taken and now - self._waits_since > HELD_UP_TIME

    @property
    def open(self) -> int:
        return self._sent + self._counts.adopted - self._counts.closed

    def send(self, connection: int, listener: int, number: int) -> bool:
        """Send the worker a connection. Returns whether it could be sent; then the caller closes its own descriptor.

        Args:
            connection: its file descriptor.
            listener: the number of the listening socket that it was accepted on.
            number: that of this choice, for `last`.
        """
        try:
            socket.send_fds(self._channel, [bytes([listener])], [connection])
        except OSError:
            # The worker is dead, or so many wait for it that there is no room.
            return False
        if self._sent == self._counts.taken:
            self._waits_since = time.monotonic()
        self._sent += 1
        self.last = number
        return True

    def close(self) -> None:
        """Send nothing more, and let the worker know."""
        self._channel.close()


class ConnectionReceiver:
    """The worker's end: receives the connections that the worker is to serve.

    Args:
        channel: the socket that they come over.
        counts: of this worker.
        secure: for each listening socket whether its connections are TLS.

    Attributes:
        ended: the supervisor has closed its end, and the last connection was received.
        prepare: is called with each connection.
    """

    prepare: Callable[[socket.socket], None] | None = None

    def __init__(self, channel: socket.socket, counts: Counts, secure: Sequence[bool]) -> None:
        channel.setblocking(False)
        self.ended = False
        self._channel = channel
        self._counts = counts
        self._secure = secure

    async def receive(self) -> tuple[socket.socket, bool]:
        """The next connection, and whether it is TLS.

        Raises:
            trio.EndOfChannel: the supervisor has closed its end.
        """
        await trio.lowlevel.checkpoint()
        while True:
            try:
                return self._receive()
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._channel)
            except OSError as error:
                if error.errno not in NO_DESCRIPTOR:
                    raise
                # The supervisor sees that this worker takes nothing, and passes it over.
                _log.error("A connection cannot be received: %s.", error.strerror)
                await trio.sleep(NO_DESCRIPTOR_INTERVAL)

    def rest(self) -> Iterator[tuple[socket.socket, bool]]:
        """The connections that have come and were not received yet."""
        while True:
            try:
                yield self._receive()
            except (OSError, trio.EndOfChannel):
                return

    def count_adopted(self) -> None:
        """A connection has come from another worker."""
        self._counts.count_adopted()

    def count_closed(self) -> None:
        """A connection is closed."""
        self._counts.count_closed()

    def close(self) -> None:
        """Receive nothing more."""
        self._channel.close()

    def _receive(self) -> tuple[socket.socket, bool]:
        if not self._channel.recv(1, socket.MSG_PEEK):
            self.ended = True
            raise trio.EndOfChannel
        # Were the connection received without a descriptor for it, it would be lost. Where there is none, this raises.
        os.close(os.dup(self._channel.fileno()))
        # One byte was sent with each descriptor, and says where the connection was accepted.
        data, descriptors, _, _ = socket.recv_fds(self._channel, 1, 1)
        self._counts.count_taken()
        if not descriptors:
            # A thread has taken the last one meanwhile.
            self._counts.count_closed()
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        (descriptor,) = descriptors
        os.set_inheritable(descriptor, False)
        connection = socket.socket(fileno=descriptor)
        if self.prepare is not None:
            self.prepare(connection)
        return connection, self._secure[data[0]]
