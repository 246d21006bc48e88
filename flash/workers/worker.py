"""This process as a worker: what its supervisor has given it, and how the two talk.

The supervisor starts a worker with the same command that started itself, and with an `Assignment` in the environment.
`this_worker()`, in a module of its own, finds that; everything else runs as in a process without a supervisor.

A worker runs in a session of its own, so that a Ctrl-C reaches the supervisor alone, which tells each worker once, by
SIGTERM. Should the supervisor die, a thread sees its end of the control socket close, and sends the process the same
signal: no worker outlives its supervisor, not even one whose event loop is held up or has not begun.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import math
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import trio

from .connections import ConnectionReceiver, Counts
from .directory import Holder
from .machine import Machine
from .peer_port import PeerReceiver
from .supervisor_messages import (
    AskWorkers,
    Chosen,
    Claim,
    GiveUp,
    Held,
    Message,
    MessageReader,
    Ready,
    Resigned,
    Stopping,
    Stops,
    Workers,
    encode,
)

READ_SIZE = 65_536


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a supervisor gives a worker.

    Attributes:
        name: of the worker, such as "2".
        address: of the worker, for other workers: that of its unix socket, or of `Machine.address_of` it.
        socket_path: of the unix socket on which the worker is to serve others of its machine.
        control: the descriptor of the socket for messages.
        inode: of that socket.
        connections: the descriptor of the socket that connections come over.
        counts: the descriptor of the file for the number of connections.
        secure: for each listening socket whether its connections are TLS.
        seed: a random text that the workers of a generation have in common.
        machine: this machine among several; None if it is the only one.
        arrivals: the descriptor of the socket that connections of other machines come over.
    """

    name: str
    address: str
    socket_path: str
    control: int
    inode: int
    connections: int
    counts: int
    secure: tuple[bool, ...]
    seed: str
    machine: Machine | None
    arrivals: int

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The descriptors that the process is to inherit."""
        return (self.control, self.connections, self.counts, self.arrivals)

    def encode(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str) -> Assignment:
        fields: dict[str, Any] = json.loads(text)
        fields["secure"] = tuple(fields["secure"])
        if fields["machine"] is not None:
            fields["machine"] = Machine(**fields["machine"])
        return cls(**fields)

    def is_for_this_process(self) -> bool:
        """Whether this process has the descriptors, and not only the environment of one that has."""
        try:
            return os.fstat(self.control).st_ino == self.inode
        except OSError:
            return False


class Worker:
    """One worker, and the `Directory` that it asks: its supervisor.

    Attributes:
        name: such as "2".
        address: for other workers: that of its unix socket, or of `Machine.address_of` it.
        socket_path: of the unix socket on which it is to serve others of its machine.
        seed: a random text that the workers of a generation have in common.
        connections: those that the supervisor has accepted for it.
        machine: this machine among several; None if it is the only one.
        arrivals: the connections of other machines; None if there are none.
        chosen: is set when this worker is the one of its machine that runs what one of them is to run.
    """

    def __init__(self, assignment: Assignment) -> None:
        self.name = assignment.name
        self.address = assignment.address
        self.socket_path = assignment.socket_path
        self.seed = assignment.seed
        for descriptor in assignment.descriptors:
            os.set_inheritable(descriptor, False)
        self._control = socket.socket(fileno=assignment.control)
        channel = socket.socket(fileno=assignment.connections)
        counts = Counts(assignment.counts)
        os.close(assignment.counts)
        self.connections = ConnectionReceiver(channel, counts, assignment.secure)
        arrivals = socket.socket(fileno=assignment.arrivals)
        self.machine = machine = assignment.machine
        self.arrivals: PeerReceiver | None = None
        if machine is None:
            arrivals.close()
        else:
            self.arrivals = PeerReceiver(arrivals, machine, self.address)
        # Code that does not start serves neither.
        for unserved in (channel, arrivals):
            atexit.register(unserved.close)
        self.chosen = trio.Event()
        self._questions = itertools.count(1)
        self._answers: dict[int, _Answer] = {}
        self._outgoing, self._to_send = trio.open_memory_channel[Message](math.inf)
        self._supervisor_is_gone = False
        _write_lines()
        threading.Thread(
            target=_stop_with_supervisor, args=(self._control,), name="Flash's supervisor", daemon=True
        ).start()

    async def run(self) -> None:
        """Talk to the supervisor until it is gone."""
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(self._control))
        reader = MessageReader()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send, stream)
                with contextlib.suppress(trio.BrokenResourceError):
                    async for data in stream:
                        for message in reader.feed(bytes(data)):
                            self._receive(message)
                nursery.cancel_scope.cancel()
        finally:
            self._supervisor_is_gone = True
            for answer in self._answers.values():
                answer.give(None)

    async def _send(self, stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            async for message in self._to_send:
                await stream.send_all(encode(message))

    def _receive(self, message: Message) -> None:
        match message:
            case Chosen():
                self.chosen.set()
            case Held(question, holder):
                self._answers.pop(question).give(holder)
            case Workers(question, workers):
                self._answers.pop(question).give(workers)
            case Stops(question):
                self._answers.pop(question).give(message)
            case _:
                raise AssertionError(f"{message} is no message for a worker")

    @property
    def status(self) -> None:
        """`Directory.status`: without the supervisor there are no workers."""

    async def claim(self, browser: str) -> Holder | None:
        """`Directory.claim`. Not cancelled: who has claimed a browser has to know it, to give it up some day."""
        with trio.CancelScope(shield=True):
            return await self._ask(lambda question: Claim(question, browser))

    async def give_up(self, browser: str) -> None:
        """`Directory.give_up`."""
        await trio.lowlevel.checkpoint()
        self._tell(GiveUp(browser))

    def note_gone(self, worker: Holder) -> None:
        """`Directory.note_gone`. The supervisor of all workers knows it first."""

    async def note_unreachable(self, worker: Holder) -> None:
        """`Directory.note_unreachable`. The same."""

    async def workers(self) -> tuple[Holder, ...]:
        """`Directory.workers`: those of this worker's generation that have started."""
        workers: tuple[Holder, ...] | None = await self._ask(AskWorkers)
        return workers or (Holder(self.name, self.address, True),)

    def ready(self) -> None:
        """Tell the supervisor that this worker serves, and that other workers can reach it at `address`."""
        self._tell(Ready())

    def resign(self) -> None:
        """Tell the supervisor that what this worker may have been chosen for has ended."""
        self._tell(Resigned())

    async def stopping(self) -> Stops:
        """Tell the supervisor that this worker stops: it gets no browsers any more. Says what becomes of the others."""
        stops: Stops | None = await self._ask(Stopping)
        return stops or Stops(0, all_stop=True, others_go_on=False)

    def _tell(self, message: Message) -> None:
        self._outgoing.send_nowait(message)

    async def _ask(self, make: Callable[[int], Message]) -> Any:
        """The answer of the supervisor to a question; None if the supervisor is gone."""
        if self._supervisor_is_gone:
            await trio.lowlevel.checkpoint()
            return None
        question = next(self._questions)
        answer = self._answers[question] = _Answer()
        self._tell(make(question))
        await answer.given.wait()
        return answer.value


class _Answer:
    """The answer to a question, when it is given."""

    def __init__(self) -> None:
        self.given = trio.Event()
        self.value: Any = None

    def give(self, value: Any) -> None:
        self.value = value
        self.given.set()


def _stop_with_supervisor(control: socket.socket) -> None:
    """Wait, in a thread, until the supervisor is gone, and stop this process as the supervisor would."""
    poll = select.poll()
    # Without any event to wait for, it returns when the other end is closed.
    poll.register(control, 0)
    poll.poll()
    os.kill(os.getpid(), signal.SIGTERM)


def _write_lines() -> None:
    """Write each line of the standard output when it is complete, though that is a pipe."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(line_buffering=True)
