"""Shuts a server down within its timeout: on a signal or a request, in order, and by force if it is stuck.

Hypercorn does not tell an app that the server stops until every request is over, and a page's link never is. So
Flash turns the order round: on SIGTERM or Ctrl-C it ends the streams first, which ends their connections, and only
then lets Hypercorn stop. Some things may still hold the process: a peer that never reads (Hypercorn sends under a
shield), a clean-up that waits under a shield, a thread that blocks. When `graceful_timeout` is over, a thread of
Flash's ends the process whatever it does.

Only the main thread receives signals. In another thread a `StopRequest` stops the server, as the fixtures of
`dash.testing` do; what still holds that thread when the timeout is over is left behind.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from queue import SimpleQueue
from types import FrameType
from typing import Any

import trio
from hypercorn.config import Config

from .current_run import Run, StreamingApp

_log = logging.getLogger("flash.server")

SHUTDOWN_TIMEOUT = 15.0
"""Seconds in which a server stops unless its configuration says otherwise: thrice the default of `cleanup_timeout`."""

THREAD_SHUTDOWN_TIMEOUT = 2.0
"""The same in another thread than the main one: the fixtures of `dash.testing` wait for 3 seconds."""

RELOADED = "FLASH_WATCHED"
"""Set in the environment of a server that a reloader starts again when its code changes."""

SAME_SIGNAL_INTERVAL = 1.0
"""Seconds in which such a server takes a second signal for the first: a Ctrl-C reaches both, and is passed on."""

STUCK_AFTER = 1.0
"""Seconds after the end of `cleanup_timeout` when a stream that is not over counts as stuck."""

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


_handlers_of_forks: dict[int, Any] = {}
"""While a server runs: the handlers of these signals for a fork, such as the process of a background callback."""


class StopRequest:
    """Stops servers from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._servers: dict[trio.Event, trio.lowlevel.TrioToken] = {}

    @property
    def pending(self) -> bool:
        """Whether a server runs that the request would stop."""
        return bool(self._servers)

    def make(self) -> None:
        """Have every running server stop, within its timeout."""
        with self._lock:
            for event, token in self._servers.items():
                token.run_sync_soon(event.set)

    @contextlib.contextmanager
    def received(self) -> Generator[trio.Event]:
        """An event that is set when the server of this task is to stop."""
        event = trio.Event()
        with self._lock:
            self._servers[event] = trio.lowlevel.current_trio_token()
        try:
            yield event
        finally:
            with self._lock:
                del self._servers[event]


class Shutdown:
    """The shutdown of one server.

    Attributes:
        requested: is set when the server is to stop.
        started: the server has started.
        config: Hypercorn's; its `graceful_timeout` is the timeout of the shutdown, in seconds.
    """

    def __init__(self, config: Config, run: Run) -> None:
        self.requested: trio.Event = trio.Event()
        self.started: bool = False
        self.config = config
        self._run = run
        run.stop = lambda: self.requested.set()

    def stuck(self) -> list[str]:
        """The names of the app's functions that keep the server from stopping. May be called from any thread."""
        return self._run.running() if self.started else ["before_serving"]

    async def cancel_start(self, scope: trio.CancelScope) -> None:
        """Cancel `scope`, in which the server runs, if the shutdown is requested before it has started.

        Hypercorn waits for the shutdown only when the app has started, which may take long.
        """
        await self.requested.wait()
        if not self.started:
            _log.info("Stopping before the app has started.")
            scope.cancel()

    async def end_streams_on_request(self) -> None:
        """Wait for the request, end the streams, and leave to Hypercorn what is left of the timeout.

        Hypercorn calls this when the server has started, and stops when it returns.
        """
        self.started = True
        if self._run.failure is None:
            self._run.on_start()
        await self.requested.wait()
        timeout = self.config.graceful_timeout
        deadline = trio.current_time() + timeout
        _log.info("Stopping: %d streams to end, within %g s.", self._run.streams, timeout)
        with trio.move_on_at(deadline):
            await end_streams(self._run.apps)
        self.config.graceful_timeout = max(0.0, deadline - trio.current_time())


async def end_streams(apps: Sequence[StreamingApp]) -> None:
    """End every stream of the apps with `shutdown`, and close their sockets; then their background work, then sources.

    That order, because streams show what the background work does, and both follow the sources of feeds. Nothing waits
    for long for a stream that is stuck: the others clean up meanwhile. Returns when all of it is over.
    """
    streams_are_over = trio.Event()

    async def end() -> None:
        async with trio.open_nursery() as nursery:
            for app in apps:
                nursery.start_soon(app.websockets.shut_down)
                nursery.start_soon(app.controls.shut_down)
                nursery.start_soon(app.channels.shut_down)
        streams_are_over.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(end)
        with trio.move_on_after(max(app.channels.limits.cleanup_timeout for app in apps) + STUCK_AFTER):
            await streams_are_over.wait()
        await _in_parallel(app.background.shut_down for app in apps)
        await _in_parallel(app.sources.shut_down for app in apps)


async def _in_parallel(functions: Iterable[Callable[[], Awaitable[None]]]) -> None:
    async with trio.open_nursery() as nursery:
        for function in functions:
            nursery.start_soon(function)


@contextlib.contextmanager
def handle_signals(shutdown: Shutdown) -> Generator[None]:
    """Shut the server down at the first signal, within its timeout, and end the process at the second.

    Python calls its signal handlers between any two of its instructions, also while the app's code holds the event
    loop. The loop may never go on then, so a thread ends the process when the timeout is over.
    """
    token = trio.lowlevel.current_trio_token()
    first_signal_at: float | None = None
    # Not a lock: the code that a signal interrupts may hold it.
    timeouts: SimpleQueue[float | None] = SimpleQueue()
    server_stopped = threading.Event()

    def handle_signal(number: int, frame: FrameType | None) -> None:
        nonlocal first_signal_at
        now = time.monotonic()
        if first_signal_at is None:
            first_signal_at = now
            timeouts.put(shutdown.config.graceful_timeout)
            token.run_sync_soon(shutdown.requested.set)
        elif RELOADED not in os.environ or now - first_signal_at > SAME_SIGNAL_INTERVAL:
            _exit(128 + number)

    def end_process() -> None:
        # This thread does not use Trio, and gets to its end whatever the other threads do.
        timeout = timeouts.get()
        if timeout is None or server_stopped.wait(timeout):
            return
        status = 1
        try:
            stuck = shutdown.stuck()
            status = 1 if stuck else 0
            if stuck:
                _log.error("Stopped with %s still running, which does not end: see cleanup_timeout.", ", ".join(stuck))
        finally:
            _exit(status)

    thread = threading.Thread(target=end_process, name="Flash's shutdown", daemon=True)
    thread.start()
    before = {number: signal.signal(number, handle_signal) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        # The thread ends with the server: the caller of `app.run` may have more to do.
        server_stopped.set()
        timeouts.put(None)
        thread.join(1)
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def restoring_handlers_in_forks() -> Generator[None]:
    """Have forks of this process handle signals as before the block, instead of stopping a server they do not run."""
    _handlers_of_forks.update((number, signal.getsignal(number)) for number in STOP_SIGNALS)
    try:
        yield
    finally:
        _handlers_of_forks.clear()


def _restore_handlers() -> None:
    """In a fork: restore the signal handlers from before the server started."""
    if _handlers_of_forks:
        signal.set_wakeup_fd(-1)
    for number, handler in _handlers_of_forks.items():
        signal.signal(number, handler)
    _handlers_of_forks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restore_handlers)


def _exit(status: int) -> None:
    """End the process, whatever its tasks and threads do."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(status)
