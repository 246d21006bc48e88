"""Serving with Hypercorn's trio worker, and stopping within a grace.

Hypercorn does not tell an app that it is to stop until every request is over, and an event stream never is. So the
order is turned round: on SIGTERM or Ctrl-C the streams are ended first, which ends their connections, and only then
is Hypercorn told. What may still hold the process, a peer that never reads (Hypercorn sends under a shield), a
clean-up that waits under one, a thread that blocks, gets the grace and no more: a thread of ours then ends it.

In another thread than the main one there are no signals. There a `StopRequest` says when to stop, as the fixtures of
`dash.testing` do; what holds the thread beyond the grace is left behind.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

import trio
from hypercorn.config import Config

from . import _hypercorn
from .threads import let_go_of_killed_workers

if TYPE_CHECKING:
    from .channels import Channels
    from .control import ControlSockets
    from .websocket import Connections

_log = logging.getLogger("flash.server")

GRACE = 15.0
"""Seconds in which a server stops, unless it is told otherwise: three times the default of `cleanup_timeout`."""

THREAD_GRACE = 2.0
"""The same in another thread than the main one: the fixtures of `dash.testing` wait for 3 seconds."""

MAX_USER_TIMEOUT = 2**31 - 1
"""Milliseconds: what Linux takes for TCP_USER_TIMEOUT."""

YOUNG_OBJECTS = 5_000
"""New objects after which Python looks for garbage among them: those of a hundred updates that are under way."""

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


_handlers_of_forks: dict[int, Any] = {}
"""While there is a server: what a fork, such as a background callback's process, is to do at those signals."""


class Served(Protocol):
    """What is served: a Flash app."""

    websockets: Connections
    controls: ControlSockets

    @property
    def channels(self) -> Channels: ...
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class StopRequest:
    """Asks servers to stop, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._servers: dict[trio.Event, trio.lowlevel.TrioToken] = {}

    @property
    def pending(self) -> bool:
        """Whether there is a server that it would stop."""
        return bool(self._servers)

    def make(self) -> None:
        """Let every server that runs stop, within its grace."""
        with self._lock:
            for event, token in self._servers.items():
                token.run_sync_soon(event.set)

    @contextlib.contextmanager
    def heard(self) -> Generator[trio.Event]:
        """An event that is set when the server of this task is to stop."""
        event = trio.Event()
        with self._lock:
            self._servers[event] = trio.lowlevel.current_trio_token()
        try:
            yield event
        finally:
            with self._lock:
                del self._servers[event]


def run(app: Served, config: Config, request: StopRequest | None = None) -> None:
    """Serve until SIGINT or SIGTERM; in another thread than the main one, until `request` is made.

    Stops within `config.graceful_timeout` seconds. If a clean-up is stuck then, the process exits with status 1.
    """
    if threading.current_thread() is not threading.main_thread():
        let_go_of_killed_workers()
    trio.run(_serve, app, config, StopRequest() if request is None else request)


async def _serve(app: Served, config: Config, request: StopRequest) -> None:
    sockets = config.create_sockets()
    patience = int(min(app.channels.page_limits.stall_timeout * 1_000, MAX_USER_TIMEOUT))
    for listening in (*sockets.secure_sockets, *sockets.insecure_sockets):
        give_up_on_silent_peers(listening, patience)
        listening.listen(config.backlog)
    if threading.current_thread() is not threading.main_thread():
        with request.heard() as asked:

            async def stop_as_asked() -> None:
                await asked.wait()
                await _end_streams(app, config)

            return await _hypercorn.serve(app, config, sockets, stop_as_asked)
    _handlers_of_forks.update((number, signal.getsignal(number)) for number in STOP_SIGNALS)
    with trio.open_signal_receiver(*STOP_SIGNALS) as signals, contextlib.ExitStack() as over:
        over.callback(_handlers_of_forks.clear)
        over.enter_context(collect_less())

        async def stop_on_signal() -> None:
            async for _ in signals:
                break
            for number in STOP_SIGNALS:
                signal.signal(number, _stop_at_once)
            # Not a moment longer than the server: who called `app.run` may have more to do.
            over.callback(_end_process_after(config.graceful_timeout, app))
            await _end_streams(app, config)

        await _hypercorn.serve(app, config, sockets, stop_on_signal)
    return None


async def _end_streams(app: Served, config: Config) -> None:
    """End the streams, and leave to Hypercorn what is left of the grace."""
    grace = config.graceful_timeout
    deadline = trio.current_time() + grace
    _log.info("Stopping: %d streams to end, within %g s.", app.channels.load.streams, grace)
    with trio.move_on_at(deadline):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app.websockets.shut_down)
            nursery.start_soon(app.controls.shut_down)
            nursery.start_soon(app.channels.shut_down)
    config.graceful_timeout = max(0.0, deadline - trio.current_time())


@contextlib.contextmanager
def collect_less() -> Generator[None]:
    """Have Python look for garbage less often while the block runs, and not among what was there before.

    Python's own threshold, some hundred new objects, is reached by a few updates, of which nothing is garbage.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    if gc.isenabled() and thresholds[0] > 0:
        gc.set_threshold(max(thresholds[0], YOUNG_OBJECTS), *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def give_up_on_silent_peers(listening: socket.socket, milliseconds: int) -> None:
    """Let connections die whose peer takes nothing for so long, where the system can (Linux)."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None and listening.family in (socket.AF_INET, socket.AF_INET6):
        # Accepted sockets inherit it.
        listening.setsockopt(socket.IPPROTO_TCP, option, milliseconds)


def _leave_the_server_behind() -> None:
    """In a fork: stop at signals as other processes do, instead of telling a server that is not there."""
    if _handlers_of_forks:
        signal.set_wakeup_fd(-1)
    for number, handler in _handlers_of_forks.items():
        signal.signal(number, handler)
    _handlers_of_forks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_the_server_behind)


def _stop_at_once(number: int, frame: FrameType | None) -> None:
    _exit(128 + number)


def _end_process_after(seconds: float, app: Served) -> Callable[[], None]:
    """End the process after so many seconds, unless what this returns is called by then."""

    def end() -> None:
        # This thread knows nothing of Trio, and must get to the end whatever the others are at.
        status = 1
        try:
            stuck = app.channels.callbacks()
            status = 1 if stuck else 0
            if stuck:
                _log.error("Stopped with clean-up still running in %s: see cleanup_timeout.", ", ".join(stuck))
        finally:
            _exit(status)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()

    def stand_down() -> None:
        timer.cancel()
        # Nothing of the server is to be there when it has stopped; a thread that is told to end takes a moment.
        timer.join(1)

    return stand_down


def _exit(status: int) -> None:
    """End the process whatever its tasks and threads are at."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(status)
