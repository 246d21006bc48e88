"""A real server for a test: Hypercorn's trio worker, in a thread of its own, on a port that was free."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

import quart
import trio
from hypercorn.config import Config
from hypercorn.trio import serve as serve_asgi  # pyright: ignore[reportUnknownVariableType]

from flash import Flash
from tests.support.eventually import TIMEOUT, eventually_sync
from tests.support.threads import running_in_thread

T = TypeVar("T")


class Journal(Generic[T]):
    """What the server's side of a test tells the test, in order, from whatever thread."""

    def __init__(self) -> None:
        self._entries: queue.SimpleQueue[T] = queue.SimpleQueue()

    def note(self, entry: T) -> None:
        self._entries.put(entry)

    def next(self) -> T:
        """The next entry; waits for it."""
        try:
            return self._entries.get(timeout=TIMEOUT)
        except queue.Empty:
            raise AssertionError("nothing more was noted") from None

    def rest(self) -> list[T]:
        """The entries that are there already and were not read yet."""
        return [self._entries.get() for _ in range(self._entries.qsize())]


class Gate:
    """Holds the server's side of a test back until the test opens it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened = False
        self._waiting: list[tuple[trio.lowlevel.TrioToken, trio.Event]] = []

    async def wait(self) -> None:
        event = trio.Event()
        with self._lock:
            if self._opened:
                return
            self._waiting.append((trio.lowlevel.current_trio_token(), event))
        await event.wait()

    def open(self) -> None:
        with self._lock:
            self._opened = True
            for token, event in self._waiting:
                token.run_sync_soon(event.set)


def protect_from_csrf(app: Flash) -> Journal[str]:
    """Have the app refuse POST requests without the proof that its cookie gives; their paths are noted."""
    refused = Journal[str]()

    @app.server.before_request
    async def protect() -> tuple[str, int] | None:
        if quart.request.method == "POST" and quart.request.headers.get("X-CSRFToken") != "proof":
            refused.note(quart.request.path)
            return "CSRF", 400
        return None

    @app.server.after_request
    async def issue(response: quart.Response) -> quart.Response:
        response.set_cookie("_csrf_token", "proof", samesite="Lax")
        return response

    return refused


@dataclass
class Server:
    """A server that runs.

    Attributes:
        app: what it serves.
        host: the address that it listens on.
        url: where, without a slash at the end.
    """

    app: Flash
    host: str = "127.0.0.1"
    url: str = ""
    _token: trio.lowlevel.TrioToken | None = None
    _stop: trio.Event = field(default_factory=trio.Event)

    def run(self, function: Callable[[], T]) -> T:
        """Call `function` in the server's thread."""
        return trio.from_thread.run_sync(function, trio_token=self._token)

    def expect_streaming(self, *names: str, in_order: bool = True) -> None:
        """Wait until the event callbacks with these names, and no others, have streams; `in_order`, oldest first."""

        def streaming() -> list[str]:
            return [info.callback.rpartition(".")[2] for info in self.run(self.app.streams)]

        def is_expected() -> bool:
            found = streaming()
            return found == list(names) or (not in_order and sorted(found) == sorted(names))

        eventually_sync(is_expected, lambda: f"{list(names)} have streams, not {streaming()}")

    async def main(self, ready: threading.Event) -> None:
        self._token = trio.lowlevel.current_trio_token()
        config = Config()
        config.bind = [f"{self.host}:0"]
        config.errorlog = logging.getLogger("hypercorn.tests")
        async with trio.open_nursery() as nursery:
            (self.url,) = await nursery.start(partial(serve_asgi, self.app, config, shutdown_trigger=self._stop.wait))
            ready.set()

    def stop(self) -> None:
        self.run(self._stop.set)


@contextlib.contextmanager
def serve(app: Flash, host: str = "127.0.0.1") -> Generator[Server]:
    """Serve `app` while the block runs; then stop, and check that no stream and no thread is left."""
    server = Server(app, host)
    with running_in_thread("server", server.main, server.stop):
        yield server
    assert app.streams() == []
