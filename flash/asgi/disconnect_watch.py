"""Cancels a request when its client disconnects, in a task that begins only when the request first waits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Any

import trio


async def cancel_on_disconnect(scope: trio.CancelScope, receive: Callable[[], Awaitable[Any]]) -> None:
    """Wait until the client has disconnected, and cancel the scope."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


class DisconnectWatch:
    """Cancels one request when its client disconnects: a system task, which ends when the request does.

    It is in no nursery of the request's own, since most requests never wait, and a nursery costs as much as a task.

    Attributes:
        request_scope: the cancel scope of the request.
    """

    __slots__ = ("_failure", "_receive", "_scope", "request_scope")

    def __init__(self, receive: Callable[[], Awaitable[Any]]) -> None:
        self.request_scope = trio.CancelScope()
        self._receive = receive
        self._scope: trio.CancelScope | None = None
        self._failure: Exception | None = None

    def begin(self) -> None:
        """Watch from now on, in a task."""
        self._scope = trio.CancelScope()
        trio.lowlevel.spawn_system_task(self._run, self._scope, context=copy_context())

    async def _run(self, scope: trio.CancelScope) -> None:
        """Wait for the client to disconnect."""
        with scope:
            try:
                await cancel_on_disconnect(self.request_scope, self._receive)
            except Exception as error:
                # It is the request that fails, and not the whole run of Trio.
                self._failure = error
                self.request_scope.cancel()

    def end(self) -> None:
        """Watch no more. Raises the failure of `receive`, if it has failed."""
        if self._scope is not None:
            self._scope.cancel()
        if self._failure is not None:
            raise self._failure
