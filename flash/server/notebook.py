"""Serves apps from notebooks: `app.run()` in a cell returns, and the server goes on in a thread of its own.

    cell ── app.run ── Dash's code for notebooks ── NotebookServer ── thread: trio.run
                              └── shows the app: inline, in a tab, or as a link

Where and how the app is shown is Dash's part, `jupyter_mode=` included. For the server, Dash asks Werkzeug; for an app
of Flash it gets a `NotebookServer` instead. Dash stops a server before it makes another for the same address, which is
what running a cell again comes to. So the streams of the old one have ended, with `shutdown`, when the new one begins.
When the kernel exits, those of all servers end in the same way. An interrupt of the kernel stops a server that is just
starting, and no other.
"""

from __future__ import annotations

import atexit
import errno
import socket
import threading
from collections.abc import Iterable
from typing import Any

from .._dash import DashApp
from .._dash_notebook import serve_notebooks_with
from ..errors import FlashError, InvalidOption
from . import serving
from .current_run import Run
from .run_options import IGNORED, ContextConfig
from .shutdown import SHUTDOWN_TIMEOUT, StopRequest

WITHOUT_EFFECT = IGNORED | {"use_reloader", "extra_files", "exclude_patterns"}
"""Options of `app.run` that need no effect in a notebook, which does not reload apps. Others would be missed."""

RETRY_INTERVAL = 0.05
"""Seconds between two requests to a server to stop: one that only begins does not hear the first."""


def prepare_notebooks() -> None:
    """Have Dash's code for notebooks take a `NotebookServer` for each app of Flash."""
    serve_notebooks_with(NotebookServer, lambda app: isinstance(app, DashApp), _refuse_lost_options)


def _refuse_lost_options(options: Iterable[str]) -> None:
    lost = [f"{name}=" for name in options if name not in WITHOUT_EFFECT]
    if lost:
        raise InvalidOption(
            f"app.run({', '.join(lost)}...) has no effect in a notebook, where one process serves the app, over HTTP. "
            "Leave it out, or put the app into a file and run that."
        )


class NotebookServer:
    """A server of one app. It runs in a thread from the moment it is made; Dash uses it like one of Werkzeug's.

    Args:
        app: the Flash app. Its cookie is made for frames of other sites, since a notebook at `localhost` is another
            site than an app at 127.0.0.1.
        host: the address to listen on.
        port: the port to listen on.

    Raises:
        OSError: it cannot listen there.
        FlashError: the app's code exited instead of starting. What else that code raises is raised as it is.
    """

    def __init__(self, app: Any, host: str, port: int) -> None:
        app.cross_site_frames = True
        self._app = app
        self._config = ContextConfig()
        self._config.loglevel = "WARNING"
        self._config.graceful_timeout = SHUTDOWN_TIMEOUT
        # It listens here, so that a port that is taken fails in the cell.
        self._config.bind = [f"fd://{_listen(host, port).detach()}"]
        self._stop_request = StopRequest()
        self._started = threading.Event()
        self._over = threading.Event()
        self._failure: BaseException | None = None
        self._run = Run(on_start=self._started.set)
        atexit.register(self.shutdown)
        threading.Thread(target=self._serve, name=f"Flash at {host}:{port}", daemon=True).start()
        try:
            self._started.wait()
        except BaseException:
            # The kernel was interrupted.
            self.shutdown()
            raise
        if self._failure is not None:
            self.shutdown()
            raise self._failure

    def serve_forever(self) -> None:
        """Wait until the server is over. Dash calls this in a thread."""
        self._over.wait()

    def shutdown(self) -> None:
        """Stop the server, and wait until its streams have ended, for at most `SHUTDOWN_TIMEOUT`."""
        atexit.unregister(self.shutdown)
        for _ in range(round(SHUTDOWN_TIMEOUT / RETRY_INTERVAL)):
            self._stop_request.make()
            if self._over.wait(RETRY_INTERVAL):
                break

    def _serve(self) -> None:
        try:
            serving.run(self._app, self._config, self._stop_request, self._run)
        except BaseException as error:
            self._failure = self._run.failure or error
            if isinstance(self._failure, SystemExit):
                self._failure = FlashError(f"The app's code exited as it started: {self._failure.code}.")
        finally:
            self._over.set()
            self._started.set()


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        sentence = f"Port {port} of {host} is taken, and not by this notebook: write app.run(port=...) with another."
        raise OSError(error.errno, sentence) from error
