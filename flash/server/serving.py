"""Serves an app with Hypercorn's trio worker, in the main thread or in another one; `shutdown` stops the server.

`run_workers` serves it with several processes, each of which comes to `run`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import threading
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import trio
from hypercorn.config import Config

from .. import _hypercorn
from .._hypercorn_worker import Adopt, serve_connections
from .._trio import forget_killed_threads
from ..errors import FlashError, InvalidOption
from ..ticks import wake_by
from ..workers.this_worker import this_worker
from .all_workers import AppOfWorkers, join_workers
from .clock import ServerClock, use_for_sleep
from .current_run import Run, StreamingApp, begin_run, current_run
from .garbage import short_collections
from .shutdown import RELOADED, Shutdown, StopRequest, handle_signals, restoring_handlers_in_forks

if TYPE_CHECKING:
    # What only one of several workers needs, or their supervisor, is loaded there.
    from ..workers.directory import Directory
    from ..workers.machine import Machine
    from ..workers.redis_directory import RedisDirectory
    from ..workers.worker import Worker

MAX_USER_TIMEOUT = 2**31 - 1
"""Milliseconds: the longest TCP_USER_TIMEOUT that Linux takes."""


class CannotListen(FlashError, OSError):
    """The server cannot listen: `filename` has the addresses, `strerror` the system's reason."""


class Served(StreamingApp, AppOfWorkers, Protocol):
    """A Flash app to serve. Its server may have others."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...
    def share_reload_hash(self, seed: str) -> None: ...
    def share_signing_secret(self, seed: str) -> None: ...


def run(app: Served, config: Config, request: StopRequest | None = None, outcome: Run | None = None) -> None:
    """Serve until SIGINT or SIGTERM; in another thread than the main one, until `request` is made.

    Stops within `config.graceful_timeout` seconds. If a clean-up is stuck then, the process exits with status 1.

    Args:
        app: is served.
        config: Hypercorn's.
        request: stops the server in another thread than the main one.
        outcome: is told the failure for which the server does not start, or stops.

    Raises:
        CannotListen: it cannot listen where `config` says.
        SystemExit: the server did not start, because the app's code exited, or could not go on; with that status or
            message, or 1.
    """
    if threading.current_thread() is not threading.main_thread():
        forget_killed_threads()
    outcome = Run() if outcome is None else outcome
    request = StopRequest() if request is None else request
    use_for_sleep()
    clock = ServerClock()
    try:
        trio.run(_serve, app, config, request, outcome, clock, clock=clock, instruments=[clock])
    except BaseException:
        if isinstance(outcome.failure, SystemExit):
            raise SystemExit(outcome.failure.code or 1) from None
        raise
    if outcome.failure is not None:
        raise SystemExit(1)


async def _serve(app: Served, config: Config, request: StopRequest, outcome: Run, clock: ServerClock) -> None:
    wake_by(clock.sleeping)
    begin_run(outcome)
    shutdown = Shutdown(config, outcome)
    worker = this_worker()
    if worker is not None:
        with restoring_handlers_in_forks(), short_collections(), handle_signals(shutdown):
            await _serve_as_worker(app, config, worker, shutdown)
        return
    with listening_sockets(config, app.channels.page_limits.stall_timeout) as sockets:
        if threading.current_thread() is not threading.main_thread():
            with request.received() as requested:
                shutdown.requested = requested
                await _serve_until_shutdown(app, config, sockets, shutdown)
            return
        with restoring_handlers_in_forks(), short_collections(), handle_signals(shutdown):
            await _serve_until_shutdown(app, config, sockets, shutdown)


async def _serve_until_shutdown(app: Served, config: Config, sockets: Any, shutdown: Shutdown) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shutdown.cancel_start, nursery.cancel_scope)
        await _hypercorn.serve(app, config, sockets, shutdown.end_streams_on_request)
        nursery.cancel_scope.cancel()


async def _serve_as_worker(app: Served, config: Config, worker: Worker, shutdown: Shutdown) -> None:
    """Serve the connections that the supervisor of this process sends it."""
    app.share_reload_hash(worker.seed)
    app.share_signing_secret(worker.seed if worker.machine is None else worker.machine.secret)
    worker.connections.prepare = functools.partial(
        give_up_on_silent_peers, timeout=app.channels.page_limits.stall_timeout
    )

    shared = _shared_directory(worker)
    directory: Directory = worker if shared is None else shared
    peers = join_workers(app.asgi_server, directory, worker.socket_path, worker.arrivals)

    async def started(adopt: Adopt) -> None:
        if current_run().failure is None:
            shutdown.started = True
            peers.adopt = adopt
            if shared is not None:
                shared.on_lost = peers.holdings.lose
                await nursery.start(shared.run)
            worker.ready()

    async def stop() -> None:
        await shutdown.requested.wait()
        with peers.leaving.deciding():
            stops = await worker.stopping()
            others_go_on = stops.others_go_on
            if shared is not None:
                others_go_on = await shared.stop() or others_go_on
            peers.leaving.begun = others_go_on
        # Where the others of this machine stop, too, the pages are told the end of their streams by the links to them.
        peers.stop(lambda holder: not stops.all_stop or (shared is not None and not shared.is_near(holder)))
        await shutdown.end_streams_on_request()
        if not any(served.background.names() for served in current_run().apps):
            worker.resign()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shutdown.cancel_start, nursery.cancel_scope)
        nursery.start_soon(worker.run)
        await nursery.start(peers.run)
        await serve_connections(peers.leaving.around(app), config, worker.connections, started=started, stop=stop)
        with trio.move_on_after(config.graceful_timeout):
            await peers.finish()
        if shared is not None:
            await shared.leave()
        nursery.cancel_scope.cancel()


def _shared_directory(worker: Worker) -> RedisDirectory | None:
    """The directory that this worker shares with those of other machines; None if there are none."""
    machine = worker.machine
    if machine is None:
        return None
    from ..workers.redis_claims import URL_VARIABLE, RedisClaims
    from ..workers.redis_directory import RedisDirectory

    async def neighbours() -> list[str]:
        return [each.address for each in await worker.workers()]

    claims = RedisClaims(os.environ[URL_VARIABLE])
    return RedisDirectory(claims, f"{machine.address}/{os.getpid()}", worker.address, neighbours)


def run_workers(
    command: Sequence[str], config: Config, size: int, directory: str | None, machine: Machine | None = None
) -> None:
    """Listen, and have several processes serve, until SIGINT or SIGTERM: see `workers.supervisor`.

    Args:
        command: runs this program again, as a worker: `run` finds that it is one.
        config: says where to listen.
        size: the number of processes.
        directory: the folder for the sockets of the workers; None for a new one.
        machine: this machine among several, which share a Redis; None if it is the only one.

    Raises:
        InvalidOption: an option of the configuration, the folder, or the address of the machine cannot be used, or
            Redis does not answer.
        CannotListen: the process cannot listen there.
        SystemExit: the code does not start, or a worker has not stopped in time; with its status.
    """
    from ..workers.redis_claims import URL_VARIABLE, check_redis
    from ..workers.socket_directory import socket_directory
    from ..workers.supervisor import Plan, Supervisor

    if not hasattr(socket, "send_fds") or not hasattr(signal, "SIGHUP"):
        raise InvalidOption("Several workers take a system with unix sockets, such as Linux.")
    if config.quic_bind:
        raise InvalidOption("Several workers do not serve QUIC (quic_bind): leave it out, or run one worker.")
    if machine is not None:
        trio.run(check_redis, os.environ[URL_VARIABLE], machine.address)
    # For Hypercorn, several workers mean that other servers may listen on the same port.
    config.workers = 1
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(socket_directory(directory))
        joined = None if machine is None else machine.listen()
        if joined is not None:
            stack.enter_context(joined[1])
        sockets = stack.enter_context(listening_sockets(config))
        listeners = [(listening, True) for listening in sockets.secure_sockets]
        listeners += [(listening, False) for listening in sockets.insecure_sockets]

        async def announce() -> None:
            for listening, is_tls in listeners:
                address = _hypercorn.address_of(listening, is_tls=is_tls)
                await config.log.info(f"Running on {address} with {size} workers (CTRL + C to quit)")

        plan = Plan(command, size, listeners, folder, config.graceful_timeout, RELOADED in os.environ, announce, joined)
        status = trio.run(Supervisor(plan).run)
    if status:
        raise SystemExit(status)


@contextlib.contextmanager
def listening_sockets(config: Config, stall_timeout: float | None = None) -> Generator[Any]:
    """Sockets that listen where `config` says, as Hypercorn groups them; closed when the block is over.

    Hypercorn closes them too, but only if it has come as far as to accept connections.

    Args:
        config: has the addresses.
        stall_timeout: seconds after which connections end whose peer takes nothing; None to leave that to others.

    Raises:
        CannotListen: the process cannot listen there.
    """
    with contextlib.ExitStack() as closing:
        try:
            sockets = config.create_sockets()
            for created in (*sockets.secure_sockets, *sockets.insecure_sockets, *sockets.quic_sockets):
                closing.enter_context(created)
            for listening in (*sockets.secure_sockets, *sockets.insecure_sockets):
                if stall_timeout is not None:
                    give_up_on_silent_peers(listening, stall_timeout)
                listening.listen(config.backlog)
        except OSError as error:
            raise CannotListen(error.errno, error.strerror or str(error), ", ".join(config.bind)) from error
        yield sockets


def check_can_listen(config: Config) -> None:
    """Raise CannotListen if this process cannot listen where `config` says.

    A reloader checks it before it starts the server: then no change of the code would help.
    """
    with listening_sockets(config):
        pass


@contextlib.contextmanager
def exiting_if_it_cannot_listen() -> Generator[None]:
    """Have the program exit with a sentence if the block cannot listen; in another thread than the main one, raise.

    Raises:
        CannotListen: it cannot, in another thread: an exit would end that alone, and say nothing.
        SystemExit: it cannot; with the sentence, which Python prints, and status 1.
    """
    try:
        yield
    except CannotListen as error:
        if threading.current_thread() is not threading.main_thread():
            raise
        raise SystemExit(
            f"Flash cannot listen on {error.filename}: {error.strerror}. Listen elsewhere with app.run(port=...) or "
            "app.run(host=...)."
        ) from error


def give_up_on_silent_peers(connection: socket.socket, timeout: float) -> None:
    """Have a connection end whose peer takes nothing for so many seconds, where the system can (Linux).

    Of a listening socket, the connections that it accepts inherit that.
    """
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, option, int(min(timeout * 1_000, MAX_USER_TIMEOUT)))
