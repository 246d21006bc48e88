"""Passes the messages of Hypercorn's requests and websockets to the app, with fewer switches of tasks.

    Hypercorn's task, which reads ── put ── RequestMessages ── receive ── the app's task

Hypercorn uses a memory channel of Trio's, which lets other tasks run at each message: twice for a small request. And
the app's task begins before the whole request is there, so that it has to wait for the rest.
"""
# pyright: reportPrivateUsage=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.trio.task_group import _handle


class RequestMessages:
    """The messages of one request or websocket, in order: `put` is for the server, `receive` is the app's.

    A task lets others run only when it has to wait.

    Attributes:
        on_disconnect: called when the client has disconnected; None if only `receive` says so. An event stream has it,
            and so needs no task that waits for that.
    """

    __slots__ = ("_change", "_limit", "_messages", "on_disconnect")

    def __init__(self, limit: int) -> None:
        """`limit`: how many messages may wait for the app; then `put` waits."""
        self._limit = limit
        # A list: an empty deque takes 600 bytes of every request. There are never more than `limit`.
        self._messages: list[Any] = []
        self._change: trio.Event | None = None
        self.on_disconnect: Callable[[], None] | None = None

    async def put(self, message: Any) -> None:
        """Append a message, as soon as there is room."""
        while len(self._messages) >= self._limit:
            await self._wait()
        self._messages.append(message)
        if self.on_disconnect is not None and message["type"] == "http.disconnect":
            self.on_disconnect()
        self._wake()

    async def receive(self) -> Any:
        """The next message, as soon as there is one."""
        while not self._messages:
            await self._wait()
        return self.receive_nowait()

    def receive_nowait(self) -> Any:
        """The next message.

        Raises:
            trio.WouldBlock: none waits.
        """
        if not self._messages:
            raise trio.WouldBlock
        message = self._messages.pop(0)
        self._wake()
        return message

    def body_at_hand(self) -> bytes | None:
        """The body of the request, which stays here, as one message; None unless all of it waits."""
        parts: list[bytes] = []
        for message in self._messages:
            if message["type"] != "http.request":
                return None
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                body = b"".join(parts)
                # If nobody receives it, there is to be room for what follows.
                self._messages[: len(parts)] = [{"type": "http.request", "body": body, "more_body": False}]
                self._wake()
                return body
        return None

    def has_disconnect(self) -> bool:
        """Whether the message that the client has disconnected waits."""
        return any(message["type"] == "http.disconnect" for message in self._messages)

    async def _wait(self) -> None:
        # The server waits only while messages are there, and the app only while there are none.
        if self._change is None:
            self._change = trio.Event()
        await self._change.wait()

    def _wake(self) -> None:
        if self._change is not None:
            self._change.set()
            self._change = None


class AppTasks:
    """Starts the tasks of one connection, and gives those that run the app a `RequestMessages`."""

    def __init__(self, task_group: Any) -> None:
        self._task_group = task_group

    async def spawn_app(
        self, app: Any, config: Any, scope: Any, send: Callable[[Any], Awaitable[None]]
    ) -> Callable[[Any], Awaitable[None]]:
        """Run the app for a request, and return the function that takes the messages for it."""
        messages = RequestMessages(config.max_app_queue_size)
        threads = trio.to_thread.run_sync, trio.from_thread.run
        if isinstance(app, ASGIWrapper):
            app = _WithoutThreads(app.app)
        self._task_group.spawn(_handle, app, config, scope, messages.receive, send, *threads)
        return messages.put

    def spawn(self, function: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
        """Start another task of the connection."""
        self._task_group.spawn(function, *arguments)


class _WithoutThreads:
    """Calls an ASGI app as Hypercorn calls its wrapper of one, whose threads it has no use for."""

    __slots__ = ("_app",)

    def __init__(self, app: Any) -> None:
        self._app = app

    def __call__(self, scope: Any, receive: Any, send: Any, *threads: object) -> Awaitable[None]:
        # Not async itself: a coroutine takes a quarter of a KiB of every link.
        return self._app(scope, receive, send)
