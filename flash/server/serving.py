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
import time
from collections.abc import Generator
from queue import SimpleQueue
from types import FrameType
from typing import Any, Protocol

import trio
from hypercorn.config import Config

from .. import _hypercorn
from .._trio import let_go_of_killed_workers
from .lifespan import Run, StreamingApp, begin_run

_log = logging.getLogger("flash.server")

GRACE = 15.0
"""Seconds in which a server stops, unless it is told otherwise: three times the default of `cleanup_timeout`."""

THREAD_GRACE = 2.0
"""The same in another thread than the main one: the fixtures of `dash.testing` wait for 3 seconds."""

MAX_USER_TIMEOUT = 2**31 - 1
"""Milliseconds: what Linux takes for TCP_USER_TIMEOUT."""

YOUNG_OBJECTS = 5_000
"""New objects after which Python looks for garbage among them: those of a hundred updates that are under way."""

WATCHED = "FLASH_WATCHED"
"""Set in the environment of a server that a watchman starts again when its code changes."""

ONE_PRESS = 1.0
"""Seconds in which such a server takes a second signal for the first: a Ctrl-C reaches both, and is passed on."""

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


_handlers_of_forks: dict[int, Any] = {}
"""While there is a server: what a fork, such as a background callback's process, is to do at those signals."""


class Served(StreamingApp, Protocol):
    """What is served: a Flash app. There may be others on its server."""

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

    Raises:
        SystemExit: the server has not started, because the app's code exited, or could not go on; with that status or
            message, or 1.
    """
    if threading.current_thread() is not threading.main_thread():
        let_go_of_killed_workers()
    outcome = Run()
    try:
        trio.run(_serve, app, config, StopRequest() if request is None else request, outcome)
    except BaseException:
        if isinstance(outcome.failure, SystemExit):
            raise SystemExit(outcome.failure.code or 1) from None
        raise
    if outcome.failure is not None:
        raise SystemExit(1)


async def _serve(app: Served, config: Config, request: StopRequest, outcome: Run) -> None:
    sockets = config.create_sockets()
    timeout = int(min(app.channels.page_limits.stall_timeout * 1_000, MAX_USER_TIMEOUT))
    for listening in (*sockets.secure_sockets, *sockets.insecure_sockets):
        give_up_on_silent_peers(listening, timeout)
        listening.listen(config.backlog)
    serving = Serving(config, outcome)
    if threading.current_thread() is not threading.main_thread():
        with request.heard() as asked:
            serving.asked = asked
            await serving.run(app, sockets)
        return
    _handlers_of_forks.update((number, signal.getsignal(number)) for number in STOP_SIGNALS)
    try:
        with collect_less(), hear_signals(serving):
            await serving.run(app, sockets)
    finally:
        _handlers_of_forks.clear()


class Serving:
    """A server, from before its start to its end.

    Attributes:
        asked: set when it is to stop.
        started: it serves.
    """

    def __init__(self, config: Config, outcome: Run) -> None:
        self.asked = trio.Event()
        self.started = False
        self.config = config
        self._run = outcome
        begin_run(outcome)
        outcome.stop = lambda: self.asked.set()

    async def run(self, app: Served, sockets: Any) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._give_up_start, nursery.cancel_scope)
            await _hypercorn.serve(app, self.config, sockets, self._stop)
            nursery.cancel_scope.cancel()

    def stuck(self) -> list[str]:
        """What keeps the server from stopping in order, as far as the app's code does. May be asked from any thread."""
        return self._run.callbacks() if self.started else ["before_serving"]

    async def _give_up_start(self, scope: trio.CancelScope) -> None:
        """Hypercorn listens when the app has started, which may take long."""
        await self.asked.wait()
        if not self.started:
            _log.info("Stopping before the app has started.")
            scope.cancel()

    async def _stop(self) -> None:
        """End the streams, and leave to Hypercorn what is left of the grace."""
        self.started = True
        await self.asked.wait()
        grace = self.config.graceful_timeout
        deadline = trio.current_time() + grace
        _log.info("Stopping: %d streams to end, within %g s.", self._run.streams, grace)
        with trio.move_on_at(deadline):
            await self._run.end_streams()
        self.config.graceful_timeout = max(0.0, deadline - trio.current_time())


@contextlib.contextmanager
def hear_signals(serving: Serving) -> Generator[None]:
    """Let the server stop at the first signal, within its grace, and at once at the second.

    Handlers of Python's are called between any two of its instructions: also while the app's code holds the event loop.
    Then it is a thread that ends the process when the grace is over, for the loop may never go on.
    """
    token = trio.lowlevel.current_trio_token()
    heard_at: float | None = None
    # Not a lock, which the code that a signal interrupts may hold.
    seconds: SimpleQueue[float | None] = SimpleQueue()
    called_off = threading.Event()

    def hear(number: int, frame: FrameType | None) -> None:
        nonlocal heard_at
        now = time.monotonic()
        if heard_at is None:
            heard_at = now
            seconds.put(serving.config.graceful_timeout)
            token.run_sync_soon(serving.asked.set)
        elif WATCHED not in os.environ or now - heard_at > ONE_PRESS:
            _exit(128 + number)

    def end_process() -> None:
        # This thread knows nothing of Trio, and must get to the end whatever the others are at.
        grace = seconds.get()
        if grace is None or called_off.wait(grace):
            return
        status = 1
        try:
            stuck = serving.stuck()
            status = 1 if stuck else 0
            if stuck:
                _log.error("Stopped with %s still running, which does not end: see cleanup_timeout.", ", ".join(stuck))
        finally:
            _exit(status)

    thread = threading.Thread(target=end_process, name="Flash's grace", daemon=True)
    thread.start()
    before = {number: signal.signal(number, hear) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        # Not a moment longer than the server: who called `app.run` may have more to do.
        called_off.set()
        seconds.put(None)
        thread.join(1)
        for number, handler in before.items():
            signal.signal(number, handler)


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


def _exit(status: int) -> None:
    """End the process whatever its tasks and threads are at."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(status)
