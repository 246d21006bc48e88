"""Joins a process that no supervisor has started to others: each one of `hypercorn -k trio -w N`, by a Redis.

    Hypercorn ── the server's asgi_app: SendingOn ── the asgi_app from before
                                            └─────── peer ports of other processes

To the others, such a process is a machine with one worker. It has a port of its own at the advertised address, takes
the connections that come there, and passes them to itself as a supervisor would. It takes part from the end of the
server's start to its shutdown, of which such a server tells the app late: when its own connections are over.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

import trio

from ..errors import InvalidOption
from ..workers.machine import ADVERTISE_VARIABLE, Machine, new_name
from ..workers.machine_options import find_machine
from ..workers.redis_claims import URL_VARIABLE, RedisClaims, check_redis
from ..workers.redis_directory import RedisDirectory
from ..workers.this_worker import this_worker
from .all_workers import join_workers, leave_workers
from .current_run import APPS

_log = logging.getLogger("flash.workers")

FINISH_TIMEOUT = 1.0
"""Seconds that requests of other processes have to be answered when the streams have ended."""


async def find_others(server: Any, state: dict[str, Any] | None) -> OtherProcesses | None:
    """What joins this process to others, as variables of the environment describe it; None if it serves alone.

    Args:
        server: the QuartTrio that is about to start.
        state: of its lifespan.

    Raises:
        InvalidOption: a variable cannot be used, or another one is missing, or no Redis answers.
    """
    if this_worker() is not None:
        return None
    if ADVERTISE_VARIABLE not in os.environ:
        if URL_VARIABLE in os.environ:
            _log.warning(
                "%s is set, and has no effect in this process: the others do not know where to reach it. Set %s to an "
                "address of this machine, or serve with `flash run --workers`.",
                URL_VARIABLE,
                ADVERTISE_VARIABLE,
            )
        return None
    machine = find_machine(None, None, None)
    if machine is None:
        return None
    if not hasattr(socket, "send_fds"):
        raise InvalidOption("Several processes take a system with unix sockets, such as Linux.")
    await check_redis(os.environ[URL_VARIABLE], machine.address)
    return OtherProcesses(server, *machine.listen(), state)


class OtherProcesses:
    """What joins the apps of one server to those of other processes."""

    def __init__(self, server: Any, machine: Machine, listening: socket.socket, state: dict[str, Any] | None) -> None:
        """
        Args:
            server: a QuartTrio.
            machine: this process, as the others know it.
            listening: a socket that listens at its address.
            state: of the lifespan of the server.
        """
        from ..workers.peer_port import PeerPort, PeerReceiver, PeerSender

        self._server = server
        self._name = new_name()
        address = machine.address_of(self._name)
        ours, theirs = socket.socketpair()
        self._to_here = PeerSender(ours)
        self._port = PeerPort(listening, machine, self._give)
        claims = RedisClaims(os.environ[URL_VARIABLE])

        async def neighbours() -> list[str]:
            return [address]

        self._directory = RedisDirectory(claims, f"{machine.address}/{os.getpid()}", address, neighbours)
        self._asgi_app_before = server.asgi_app
        arrivals = PeerReceiver(theirs, machine, address)
        self._peers = join_workers(server, self._directory, None, arrivals, self._asgi_app_before)
        self._peers.state = state
        self._directory.on_lost = self._peers.holdings.lose
        self._scope = trio.CancelScope()
        self._may_take_part, self._takes_part = trio.Event(), trio.Event()
        for app in server.extensions[APPS]:
            app.share_signing_secret(machine.secret)
        server.asgi_app = self._peers.asgi

    def _give(self, name: str, connection: socket.socket, numbers: bytes) -> bool:
        """Pass a connection of another process to this one."""
        if name == self._name:
            self._to_here.send(connection, numbers)
        return name == self._name

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take connections of other processes, until `end` is called."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._peers.run)
                nursery.start_soon(self._port.run)
                task_status.started()
                await self._may_take_part.wait()
                await nursery.start(self._directory.run)
                self._takes_part.set()

    async def take_part(self) -> None:
        """Hold browsers from now on."""
        self._may_take_part.set()
        await self._takes_part.wait()

    async def stop(self) -> None:
        """Hold nobody new, and let others have what is held here, because the server stops."""
        with self._peers.leaving.deciding():
            self._peers.leaving.begun = await self._directory.stop()
        self._peers.stop(lambda holder: True)

    async def leave(self) -> None:
        """Take part no longer, when requests of others are answered."""
        with trio.move_on_after(FINISH_TIMEOUT):
            await self._peers.finish()
        await self._directory.leave()

    def end(self) -> None:
        """Undo what has joined the server to others."""
        self._server.asgi_app = self._asgi_app_before
        leave_workers(self._server)
        self._to_here.close()
        self._scope.cancel()
