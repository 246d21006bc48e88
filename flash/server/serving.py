"""Serves an app with Hypercorn's trio worker, in the main thread or in another one; `shutdown` stops the server."""

from __future__ import annotations

import contextlib
import gc
import socket
import threading
from collections.abc import Generator
from typing import Any, Protocol

import trio
from hypercorn.config import Config

from .. import _hypercorn
from .._trio import forget_killed_threads
from .current_run import Run, StreamingApp, begin_run
from .shutdown import Shutdown, StopRequest, handle_signals, restoring_handlers_in_forks

MAX_USER_TIMEOUT = 2**31 - 1
"""Milliseconds: the longest TCP_USER_TIMEOUT that Linux takes."""

YOUNG_OBJECTS = 5_000
"""New objects after which Python looks for garbage among them: those of a hundred updates that are under way."""


class Served(StreamingApp, Protocol):
    """A Flash app to serve. Its server may have others."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


def run(app: Served, config: Config, request: StopRequest | None = None) -> None:
    """Serve until SIGINT or SIGTERM; in another thread than the main one, until `request` is made.

    Stops within `config.graceful_timeout` seconds. If a clean-up is stuck then, the process exits with status 1.

    Raises:
        SystemExit: the server did not start, because the app's code exited, or could not go on; with that status or
            message, or 1.
    """
    if threading.current_thread() is not threading.main_thread():
        forget_killed_threads()
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
    begin_run(outcome)
    shutdown = Shutdown(config, outcome)
    if threading.current_thread() is not threading.main_thread():
        with request.received() as requested:
            shutdown.requested = requested
            await _serve_until_shutdown(app, config, sockets, shutdown)
        return
    with restoring_handlers_in_forks(), collect_less(), handle_signals(shutdown):
        await _serve_until_shutdown(app, config, sockets, shutdown)


async def _serve_until_shutdown(app: Served, config: Config, sockets: Any, shutdown: Shutdown) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shutdown.cancel_start, nursery.cancel_scope)
        await _hypercorn.serve(app, config, sockets, shutdown.end_streams_on_request)
        nursery.cancel_scope.cancel()


@contextlib.contextmanager
def collect_less() -> Generator[None]:
    """Have Python look for garbage less often while the block runs, and not among the objects from before it.

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
    """Have connections end whose peer takes nothing for so long, where the system can (Linux)."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None and listening.family in (socket.AF_INET, socket.AF_INET6):
        # Accepted sockets inherit it.
        listening.setsockopt(socket.IPPROTO_TCP, option, milliseconds)
