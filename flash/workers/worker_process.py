"""The supervisor's side of one worker: its process, from start to end, and the answers to what it asks.

`WorkerProcess.run` returns when the process has ended. By then nobody holds its browsers any more, and whatever it has
written stands in the log.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from .connections import ConnectionSender, Counts, make_counts
from .directory import Claims
from .log_lines import LogWriter
from .machine import ADVERTISE_VARIABLE, VARIABLE as SECRET_VARIABLE, Machine
from .peer_port import PeerSender
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
from .this_worker import VARIABLE
from .worker import Assignment

LAST_LINES_TIMEOUT = 1.0
"""Seconds in which the last lines of a process that has ended are copied: a child of it may hold its output open."""


@dataclass(frozen=True, slots=True)
class Log:
    """Where the workers' standard output and standard error go."""

    out: LogWriter = field(default_factory=lambda: LogWriter(sys.stdout.buffer))
    err: LogWriter = field(default_factory=lambda: LogWriter(sys.stderr.buffer))


class WorkerProcess:
    """One process of a worker.

    Args:
        number: of the worker, from 1.
        command: what to run.
        claims: of its generation.
        socket_path: where it is to serve other workers.
        secure: for each listening socket whether its connections are TLS.
        seed: of its generation.
        log: where its output goes.
        machine: this machine among several; None if it is the only one.
        on_resigned: is called when the process runs nothing any more that one worker of the machine is to run: it has
            said so, or ended.

    Attributes:
        ready: the app has started.
        stopping: it stops, and is to have no new connections if others can have them.
        resigned: it runs nothing any more that one worker of the machine is to run, and will not.
        connections: sends it connections.
        peers: sends it connections of other machines.
    """

    def __init__(
        self,
        number: int,
        command: Sequence[str],
        claims: Claims,
        socket_path: Path,
        secure: tuple[bool, ...],
        seed: str,
        log: Log,
        machine: Machine | None,
        on_resigned: Callable[[], object],
    ) -> None:
        self.number = number
        self.name = str(number)
        self.ready = trio.Event()
        self.stopping = False
        self.resigned = False
        self._on_resigned = on_resigned
        self._chosen = trio.Event()
        self._sending = trio.Lock()
        self._ended = False
        self._told_to_stop = self._drains = False
        self._command = command
        self._claims = claims
        self._socket_path = socket_path
        self._address = str(socket_path) if machine is None else machine.address_of(str(socket_path))
        self._log = log
        self._process: trio.Process | None = None
        control, self._their_control = socket.socketpair()
        self._control = trio.SocketStream(trio.socket.from_stdlib_socket(control))
        channel, self._their_channel = socket.socketpair()
        self._counts = make_counts()
        self.connections = ConnectionSender(channel, Counts(self._counts))
        arrivals, self._their_arrivals = socket.socketpair()
        self.peers = PeerSender(arrivals)
        self._assignment = Assignment(
            name=self.name,
            address=self._address,
            socket_path=str(socket_path),
            control=self._their_control.fileno(),
            inode=os.fstat(self._their_control.fileno()).st_ino,
            connections=self._their_channel.fileno(),
            counts=self._counts,
            secure=secure,
            seed=seed,
            machine=machine,
            arrivals=self._their_arrivals.fileno(),
        )

    @property
    def peer_name(self) -> str:
        """The name by which other machines find the process: see `machine`."""
        return self._socket_path.stem

    @property
    def is_serving(self) -> bool:
        """Whether the process serves, be it only to say that it stops."""
        return self.ready.is_set() and not self._ended

    async def run(self) -> int:
        """Start the process, and wait until it has ended.

        Returns:
            Its exit status; if a signal has ended it, the signal's number as a negative one.
        """
        try:
            self._process = process = await trio.lowlevel.open_process(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=self._assignment.descriptors,
                env=self._environment(),
                start_new_session=True,
            )
        finally:
            self._their_control.close()
            self._their_channel.close()
            self._their_arrivals.close()
            os.close(self._counts)
        if self._told_to_stop:
            process.terminate()
        assert process.stdout is not None
        assert process.stderr is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._answer)
            nursery.start_soon(self._tell_chosen)
            async with trio.open_nursery() as logging:
                logging.start_soon(partial(self._log.out.copy, process.stdout, f"[{self.name}] "))
                logging.start_soon(partial(self._log.err.copy, process.stderr, f"[{self.name}] "))
                try:
                    status = await process.wait()
                finally:
                    self._ended = True
                    self._resign()
                    self._claims.leave(self.name)
                    self.connections.close()
                    self.peers.close()
                    self._socket_path.unlink(missing_ok=True)
                logging.cancel_scope.deadline = trio.current_time() + LAST_LINES_TIMEOUT
            nursery.cancel_scope.cancel()
        await self._control.aclose()
        return status

    def _environment(self) -> dict[str, str]:
        """The environment of the process. What its machine has is in the assignment, and nowhere else."""
        of_machine = (SECRET_VARIABLE, ADVERTISE_VARIABLE)
        inherited = {name: value for name, value in os.environ.items() if name not in of_machine}
        return inherited | {VARIABLE: self._assignment.encode()}

    def choose(self) -> None:
        """Have the process run what one worker of the machine is to run."""
        self._chosen.set()

    def _resign(self) -> None:
        if not self.resigned:
            self.resigned = True
            self._on_resigned()

    def stop(self) -> None:
        """Stop the process, as all of its generation stops."""
        self._told_to_stop = True
        if not self.stopping:
            # A second signal would end it at once, also if it stops by itself.
            self.stopping = True
            self._send_signal(signal.SIGTERM)

    def drain(self) -> None:
        """Stop the process, and send it no more connections: it serves those that it has been sent."""
        self._drain()
        self.stop()

    def _drain(self) -> None:
        self._drains = True
        self.connections.close()

    def kill(self) -> None:
        """End the process, whatever it does."""
        self.stopping = self._told_to_stop = True
        self._send_signal(signal.SIGKILL)

    def _send_signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def _answer(self) -> None:
        """Answer the messages of the process."""
        reader = MessageReader()
        with contextlib.suppress(trio.BrokenResourceError):
            async for data in self._control:
                answers = [self._handle(message) for message in reader.feed(bytes(data))]
                await self._send([answer for answer in answers if answer is not None])

    async def _tell_chosen(self) -> None:
        await self._chosen.wait()
        with contextlib.suppress(trio.BrokenResourceError):
            await self._send([Chosen()])

    async def _send(self, messages: Sequence[Message]) -> None:
        async with self._sending:
            await self._control.send_all(b"".join(map(encode, messages)))

    def _handle(self, message: Message) -> Message | None:
        match message:
            case Ready():
                self._claims.join(self.name, self._address)
                self.ready.set()
            case Stopping(question):
                self.stopping = True
                self._claims.stop(self.name)
                if not self._told_to_stop:
                    self._drain()
                return Stops(question, self._told_to_stop, self._drains)
            case Claim(question, browser):
                return Held(question, self._claims.claim(browser, self.name))
            case Resigned():
                self._resign()
            case GiveUp(browser):
                self._claims.give_up(browser, self.name)
            case AskWorkers(question):
                return Workers(question, tuple(self._claims.workers(self.name)))
            case _:
                raise AssertionError(f"{message} is no message for a supervisor")
        return None
