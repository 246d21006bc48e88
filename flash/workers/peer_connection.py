"""Opens connections between workers, and sends and receives messages over them.

A connection is for one request, or one question; requests that have come whole may follow each other on it, see
`kept_connections`. Neither side queues messages: who sends waits until the other side has room, so a browser that does
not read slows down what it is sent from, through the connection as without it.

Workers of one machine have unix sockets, which no other user can reach. To a worker of another machine a connection is
TCP, and signed: see `signatures`.
"""

from __future__ import annotations

import array
import contextlib
import errno
import os
import select
import socket
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from types import TracebackType

import trio

from .frames import PIECE, Decoder, Message, encode
from .machine import Machine, host_and_port
from .signatures import CHALLENGE_SIZE, PROTOCOL, BadSignature, Signatures, Tags, new_number

READ_SIZE = 65_536

BACKLOG = 1_000
"""Connections that may wait until a worker accepts them: as many as a burst of requests brings."""

CONNECT_TIMEOUT = 1.0
"""Seconds in which the system of another machine has to take a connection: one that is gone says nothing."""

OPEN_TIMEOUT = 2.0
"""Seconds, from the same moment, in which the supervisor there has to answer, which is a process that may be slow."""

KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""When the system asks whether a machine that says nothing is there: after 20 s without answer the connection ends."""


class PeerGone(Exception):
    """The other worker has closed the connection, or is dead."""


def listen(path: str) -> trio.SocketListener:
    """Listen on the unix socket of this worker. Its folder has to be closed to other users.

    Raises:
        OSError: that cannot be done.
    """
    with contextlib.suppress(FileNotFoundError):
        # It was left by a worker that was killed: the supervisor gives a path to one worker at a time.
        os.unlink(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(path)
        listening.listen(BACKLOG)
        listening.setblocking(False)
        return trio.SocketListener(trio.socket.from_stdlib_socket(listening))
    except BaseException:
        listening.close()
        raise


def notice_silence(stream: trio.SocketStream) -> None:
    """Have a TCP connection end when the other machine is gone without a word."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        # Not every system has all of them.
        if hasattr(socket, name):
            stream.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def receive_exactly(stream: trio.SocketStream, size: int) -> bytes:
    """The next `size` bytes, and no more.

    Raises:
        PeerGone: not so many come.
    """
    received = bytearray()
    while len(received) < size:
        try:
            data = await stream.receive_some(size - len(received))
        except trio.BrokenResourceError as error:
            raise PeerGone from error
        if not data:
            raise PeerGone
        received += data
    return bytes(received)


class PeerConnection:
    """A connection to another worker, on which either side sends messages. It is closed when an `async with` ends.

    Attributes:
        is_free: another request may follow. Whoever has opened it says so: the request is over, and nothing of it is on
            its way.
    """

    def __init__(
        self, stream: trio.SocketStream, expected: Collection[str], tags: tuple[Tags, Tags] | None = None
    ) -> None:
        """
        Args:
            stream: the connection.
            expected: the types of the messages that the other side may send first.
            tags: of the frames that are sent, and of those that are received; None if they are not signed.
        """
        self.is_free = False
        self._stream = stream
        self._unsent = b""
        # Bytes that were sent since other tasks could last run.
        self._since_checkpoint = 0
        self._tags = None if tags is None else tags[0]
        self._decoder = Decoder(expected, None if tags is None else tags[1])
        self._sending = trio.StrictFIFOLock()
        self._receiving = trio.StrictFIFOLock()

    async def __aenter__(self) -> PeerConnection:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close it: the other side gets what was sent, and then the end."""
        await self._stream.aclose()

    def close(self) -> None:
        """Close it at once."""
        self._stream.socket.close()

    @property
    def is_local(self) -> bool:
        """Whether the other worker is on this machine, so that sockets can be sent to it."""
        return self._stream.socket.family == socket.AF_UNIX

    def expect(self, types: Collection[str]) -> None:
        """Take messages of these types from now on."""
        self._decoder.expected = types

    @property
    def is_silent(self) -> bool:
        """Whether the connection stands, and nothing has come on it that was not received."""
        if self._decoder.has_begun:
            return False
        # `select` takes no descriptor beyond 1,023.
        poll = select.poll()
        poll.register(self._stream.socket.fileno(), select.POLLIN)
        return not poll.poll(0)

    async def send(self, message: Message) -> None:
        """Send a message, and wait until it is on its way. Other tasks run only if that takes a while.

        Raises:
            PeerGone: the other side does not receive any more.
        """
        await self.send_frames(encode(message))

    async def send_frames(self, frames: Iterable[bytes]) -> None:
        """Send messages that are encoded, as `send` does: several of them in one go."""
        await trio.lowlevel.checkpoint_if_cancelled()
        await _acquire(self._sending)
        try:
            for data in self._join(frames):
                # Mostly there is room for it, and nothing to wait for.
                written = self._write(data)
                if written < len(data):
                    await self._stream.send_all(data[written:])
                self._since_checkpoint += len(data)
                if self._since_checkpoint > PIECE:
                    self._since_checkpoint = 0
                    await trio.lowlevel.cancel_shielded_checkpoint()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise PeerGone from error
        except trio.Cancelled:
            # A part of a frame may be gone, so nothing can follow it.
            await trio.aclose_forcefully(self._stream)
            raise
        finally:
            self._sending.release()

    def send_at_once(self, frames: Iterable[bytes]) -> bool:
        """Send frames without waiting, while nothing else is sent.

        Returns:
            Whether all is sent. If not, the next `send_frames` sends the rest, or finds that the other side is gone.
        """
        data = b"".join(self._join(frames))
        self._unsent = data[self._write(data) :]
        return not self._unsent

    def _write(self, data: bytes) -> int:
        """Write bytes without waiting. Returns how many: none if there is no room, or the other side is gone."""
        try:
            return os.write(self._stream.socket.fileno(), data)
        except OSError:
            return 0

    def _join(self, frames: Iterable[bytes]) -> Iterator[bytes]:
        """The bytes of frames, as many in one as make about a piece of a body."""
        data = self._unsent
        for frame in frames:
            data += frame if self._tags is None else frame + self._tags.tag(frame)
            if len(data) >= PIECE:
                self._unsent = b""
                yield data
                data = b""
        self._unsent = b""
        if data:
            yield data

    async def receive(self) -> Message:
        """The next message. May be cancelled, and called again.

        Raises:
            PeerGone: the other side has closed the connection, or is dead.
            BadSignature: what has come is not signed as it should be.
            MalformedFrame: what has come is no message that is expected.
        """
        await _acquire(self._receiving)
        try:
            while (message := self._decoder.next_message()) is None:
                self._decoder.feed(await self._read())
            return message
        finally:
            self._receiving.release()

    async def _read(self) -> bytes:
        """What has come. Trio's `receive_some` costs more than all else that a small message does."""
        await trio.lowlevel.checkpoint_if_cancelled()
        has_waited = False
        while True:
            try:
                data = os.read(self._stream.socket.fileno(), READ_SIZE)
                break
            except BlockingIOError:
                try:
                    await trio.lowlevel.wait_readable(self._stream.socket)
                except trio.ClosedResourceError as error:
                    raise PeerGone from error
                has_waited = True
            except OSError as error:
                raise PeerGone from error
        if not has_waited:
            # Whoever sends as fast as this worker receives is not to keep all other tasks from running.
            await trio.lowlevel.cancel_shielded_checkpoint()
        if not data:
            raise PeerGone
        return data

    async def send_socket(self, message: Message, descriptor: int) -> None:
        """Send a message whose payload is small, and a descriptor of a socket with it. The sender keeps its own.

        Raises:
            PeerGone: the other side does not receive any more.
        """
        (frame,) = encode(message)
        descriptors = array.array("i", [descriptor])
        try:
            async with self._sending:
                sent = await self._stream.socket.sendmsg([frame], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
                await self._stream.send_all(frame[sent:])
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise PeerGone from error

    async def receive_socket(self) -> tuple[Message, socket.socket]:
        """The next message, and the socket that was sent with it.

        Raises:
            OSError: there is no socket, because this process has as many descriptors as it may have.
            PeerGone, MalformedFrame: as `receive`.
        """
        message, connection = None, None
        room = socket.CMSG_SPACE(array.array("i").itemsize)
        try:
            while message is None:
                data, ancillary, _, _ = await self._stream.socket.recvmsg(READ_SIZE, room)
                if not data:
                    raise PeerGone
                for level, kind, descriptors in ancillary:
                    if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                        connection = socket.socket(fileno=array.array("i", descriptors)[0])
                self._decoder.feed(data)
                message = self._decoder.next_message()
            if connection is None:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            connection.set_inheritable(False)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, ConnectionError):
                raise PeerGone from error
            raise
        return message, connection


async def _acquire(lock: trio.StrictFIFOLock) -> None:
    """Acquire a lock. Of one that is free, `acquire` lets other tasks run first."""
    try:
        lock.acquire_nowait()
    except trio.WouldBlock:
        await lock.acquire()


class Dialer:
    """Connects one worker to others."""

    def __init__(self, path: str | None, machine: Machine | None) -> None:
        """
        Args:
            path: of the unix socket of the worker, in the folder of those of its machine; None if it has none.
            machine: its machine; None if there is one only.
        """
        self._folder = None if path is None else Path(path).parent
        self._machine = machine

    async def connect(self, address: str, expected: Collection[str]) -> PeerConnection:
        """Connect to another worker.

        Args:
            address: the path of a unix socket, which begins with a slash, or `Machine.address_of` it.
            expected: the types of the messages that the other side may send first.

        Raises:
            ConnectionRefusedError: nothing listens at the address.
            TimeoutError: its machine says nothing.
            OSError: the worker cannot be reached for another reason.
            PeerGone: it has closed the connection.
            BadSignature: at the address is something else than a worker.
        """
        if address.startswith("/"):
            return PeerConnection(await trio.open_unix_socket(address), expected)
        machine, _, name = address.rpartition("/")
        if self._machine is None:
            raise OSError(f"The worker at {address} takes signed connections, and there is no secret.")
        if self._machine.is_here(address):
            if self._folder is None:
                raise OSError(f"The worker at {address} had the address of this one before.")
            return PeerConnection(await trio.open_unix_socket(str(self._folder / f"{name}.sock")), expected)
        with trio.move_on_after(OPEN_TIMEOUT):
            stream = await _connect(*host_and_port(machine))
            try:
                notice_silence(stream)
                return await _open(stream, address, name, self._machine.secret, expected)
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
        raise _silent(machine)


async def _connect(host: str, port: int) -> trio.SocketStream:
    """A TCP connection to another machine.

    Raises:
        ConnectionRefusedError: nothing listens there, at any address of the host.
        TimeoutError: it says nothing.
        OSError: it cannot be reached for another reason.
    """
    with trio.move_on_after(CONNECT_TIMEOUT):
        try:
            return await trio.open_tcp_stream(host, port)
        except OSError as error:
            # Trio raises one error for the errors at all addresses.
            errors = getattr(error.__cause__, "exceptions", ())
            if errors and all(isinstance(each, ConnectionRefusedError) for each in errors):
                raise ConnectionRefusedError(str(error)) from error
            raise
    raise _silent(host)


def _silent(machine: str) -> TimeoutError:
    return TimeoutError(f"The machine at {machine} does not answer.")


async def _open(
    stream: trio.SocketStream, address: str, name: str, secret: str, expected: Collection[str]
) -> PeerConnection:
    """Begin a signed connection, as the one who has connected."""
    challenge = await receive_exactly(stream, CHALLENGE_SIZE)
    if not challenge.startswith(PROTOCOL):
        raise BadSignature(f"What listens at {address} is no worker of this version of Flash.")
    number = new_number()
    signatures = Signatures(secret, address, challenge, number)
    try:
        await stream.send_all(name.encode() + number + signatures.proof)
    except trio.BrokenResourceError as error:
        raise PeerGone from error
    return PeerConnection(stream, expected, (signatures.of_sender, signatures.of_receiver))
