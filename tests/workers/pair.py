"""Two workers in one process, without servers: a request that reaches the first, and needs the second."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from flash.asgi.tokens import new_token
from flash.workers.directory import Claims, browser_key
from flash.workers.frames import App
from flash.workers.peers import Answer, Peers
from tests.support.eventually import eventually
from tests.support.wire_client import cookie
from tests.workers.conftest import ClaimsDirectory

SECRET = new_token()


def scope_of(path: str = "/_flash/ack", kind: str = "http", version: str = "1.1") -> dict[str, Any]:
    scope = {
        "type": kind,
        "http_version": version,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"cookie", cookie(SECRET).encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    return scope | ({"method": "POST"} if kind == "http" else {})


class Browser:
    """The browser's end of a request: what it has sent, and what it was sent.

    Attributes:
        sent: messages that the app is yet to receive.
        received: messages of the response.
        reads: whether it takes what it is sent.
    """

    def __init__(self, *sent: dict[str, Any]) -> None:
        self.sent = list(sent)
        self.received: list[dict[str, Any]] = []
        self.taken = 0
        self.reads = trio.Event()
        self.reads.set()
        self._more = trio.Event()

    def say(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        self._more.set()

    async def receive(self) -> dict[str, Any]:
        while not self.sent:
            self._more = trio.Event()
            await self._more.wait()
        await trio.lowlevel.checkpoint()
        self.taken += 1
        return self.sent.pop(0)

    async def send(self, message: dict[str, Any]) -> None:
        await self.reads.wait()
        self.received.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.received)

    @property
    def status(self) -> int:
        return self.received[0]["status"]


class Pair:
    """Two workers: requests reach the first, the second holds the browser.

    Attributes:
        here: the peers of the first.
        there: the peers of the second.
        stopped: cancelled, the first has stopped.
        dead: cancelled, the second is dead.
    """

    def __init__(self, folder: Path, app: App, nursery: trio.Nursery) -> None:
        self.claims = Claims()
        self.nursery = nursery
        self.stopped = trio.CancelScope()
        self.dead = trio.CancelScope()

        def answers() -> dict[str, Answer]:
            return {"name": lambda about: "answer"}

        async def unreachable(scope: Any, receive: Any, send: Any) -> None:
            raise AssertionError("the request was to be sent on")

        self.here = Peers(unreachable, ClaimsDirectory(self.claims, "1"), str(folder / "1"), answers())
        self.there = Peers(app, ClaimsDirectory(self.claims, "2"), str(folder / "2"), answers())

    async def start(self) -> None:
        await self.nursery.start(self._run_here)
        await self.nursery.start(self._run_there)
        self.claims.join("1", str(self.here.socket_path))
        self.claims.join("2", str(self.there.socket_path))
        await self.there.holdings.claim(browser_key(SECRET))

    async def restart(self) -> None:
        """The second worker dies, and another one has its name, its socket and its browser."""
        self.dead.cancel()
        await eventually(lambda: self.dead.cancelled_caught)
        self.dead = trio.CancelScope()
        await self.nursery.start(self._run_there)

    async def _run_here(self, task_status: trio.TaskStatus[None]) -> None:
        with self.stopped:
            await self.here.run(task_status=task_status)

    async def _run_there(self, task_status: trio.TaskStatus[None]) -> None:
        with self.dead:
            await self.there.run(task_status=task_status)

    async def ask(self, browser: Browser, scope: dict[str, Any] | None = None) -> None:
        await self.here.asgi(scope_of() if scope is None else scope, browser.receive, browser.send)


StartPair = Callable[[App], Any]


@pytest.fixture
async def pair() -> AsyncIterator[StartPair]:
    with tempfile.TemporaryDirectory(prefix="flash-") as folder:
        async with trio.open_nursery() as nursery:

            async def start(app: App) -> Pair:
                workers = Pair(Path(folder), app, nursery)
                await workers.start()
                return workers

            yield start
            nursery.cancel_scope.cancel()
