"""The callback's side of a websocket: `ctx.websocket`, and what `set_props` does in a callback that came over one.

A callback is a task, if it is async, or runs in a worker thread; both may use the same methods. What they send goes
through the outbox of the connection. When that holds as much as it may, because the page does not read, a thread
waits in `set_props`. A task cannot wait there, for `set_props` is a plain function; it waits at its next `await`
(see `pacing`). A callback written for asyncio (`on_asyncio`) must not hold up its thread either, which it
shares: it may send as much without waiting as a task may, and waits in another thread for what it asks.

When the socket closes, tasks are cancelled. A thread cannot be: it sees `is_shutdown`, and its next `set_props`
or `get_prop` raises `WebsocketDisconnected`. `set_props` raises it once, as a cancellation would; later calls do
nothing, so that a `finally` which calls it still does the rest of its work.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Mapping
from typing import Any

import trio

from .._dash import WebsocketDisconnected, stringify_id
from ..asyncio_bridge.thread import in_asyncio, run_beside
from ..errors import BufferOverrun
from . import messages
from .batching import BatchingOutbox, SendBuffer

BURST_FACTOR = 64
"""How many times its bound the outbox may hold of one callback that never waits: a burst is fine, a leak is not."""


class _PropsRequest:
    """A request to the page that has no answer yet."""

    __slots__ = ("answer", "answered")

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.answer: Mapping[str, Any] | None = None


class CallbackConnection:
    """What the callbacks of one websocket share.

    Attributes:
        outbox: what is to be sent.
        is_shutdown: the socket has closed, or is about to.
        bound: bytes that may wait to be sent.
    """

    def __init__(self, bound: int, batch_delay: float) -> None:
        self.outbox = BatchingOutbox(bound, batch_delay)
        self.is_shutdown = False
        self.bound = bound
        self.token = trio.lowlevel.current_trio_token()
        self._props_requests: dict[str, _PropsRequest] = {}

    async def send(self, message: str, buffer: SendBuffer | None = None, *, urgent: bool = True) -> None:
        """Wait for room, and send a message.

        Raises:
            WebsocketDisconnected: the socket has closed.
        """
        await self.outbox.buffer.wait_for_room()
        if self.is_shutdown:
            raise WebsocketDisconnected
        self.outbox.put(message, buffer, urgent=urgent)

    async def request_prop(
        self, renderer: str, component_id: str, prop: str, path: list[str | int] | None, answer_timeout: float
    ) -> Mapping[str, Any]:
        """Ask the page for a prop of a component.

        Raises:
            WebsocketDisconnected: the socket has closed.
            TimeoutError: there was no answer in time.
        """
        request_id, request = str(uuid.uuid4()), _PropsRequest()
        self._props_requests[request_id] = request
        try:
            with trio.move_on_after(answer_timeout):
                await self.send(messages.get_props_request(renderer, request_id, component_id, prop, path))
                await request.answered.wait()
        finally:
            del self._props_requests[request_id]
        if request.answer is not None:
            return request.answer
        if self.is_shutdown:
            raise WebsocketDisconnected
        raise TimeoutError(f"Timeout waiting for {component_id}.{prop}")

    def receive_response(self, response: messages.PropsResponse) -> None:
        """The page has answered. It may have been too late, or not asked."""
        request = self._props_requests.get(response.request)
        if request is not None:
            request.answer = response.props
            request.answered.set()

    def shut_down(self, *, discard: bool = True) -> None:
        """The socket closes: nothing more is sent, and nobody is to wait for the page.

        Args:
            discard: whether to forget what waits to be sent.
        """
        self.is_shutdown = True
        if discard:
            self.outbox.discard()
        else:
            self.outbox.close()
        for request in self._props_requests.values():
            request.answered.set()


class WebsocketCallback:
    """`ctx.websocket`: the page, to a callback that it called over its websocket."""

    def __init__(self, connection: CallbackConnection, renderer: str) -> None:
        self._connection = connection
        self._renderer = renderer
        self._buffer = SendBuffer(connection.bound)
        self._has_raised = False

    @property
    def is_shutdown(self) -> bool:
        """Whether the socket has closed. May be read from any thread."""
        return self._connection.is_shutdown

    def set_prop_sync(self, component_id: Any, prop_name: str, value: Any) -> None:
        """Set a property of a component in the page, now. `set_props` does the same.

        Raises:
            WebsocketDisconnected: the socket has closed; only in a thread, and only once.
            BufferOverrun: an async callback has sent far more than the page has read, without an `await`.
        """
        connection = self._connection
        if connection.is_shutdown:
            self._disconnected()
            return
        message = messages.set_props(self._renderer, stringify_id(component_id), {prop_name: value})
        if trio.lowlevel.in_trio_run():
            self._put_in_burst(message)
            return
        try:
            if in_asyncio():
                trio.from_thread.run_sync(self._put_in_burst, message, trio_token=connection.token)
            elif not trio.from_thread.run_sync(self._put_if_room, message, trio_token=connection.token):
                trio.from_thread.run(self._put, message, trio_token=connection.token)
        except (WebsocketDisconnected, trio.RunFinishedError):
            self._disconnected()

    async def set_prop(self, component_id: Any, prop_name: str, value: Any) -> None:
        """Set a property of a component in the page, now, and wait if the page does not read."""
        self.set_prop_sync(component_id, prop_name, value)
        wait_for_room = self._connection.outbox.buffer.wait_for_room
        if trio.lowlevel.in_trio_run():
            await wait_for_room()
        elif in_asyncio():
            await run_beside(functools.partial(trio.from_thread.run, wait_for_room, trio_token=self._connection.token))

    async def get_prop(
        self,
        component_id: Any,
        prop_name: str,
        timeout: float = 30.0,  # noqa: ASYNC109 - this is Dash's signature
        *,
        path: list[str | int] | None = None,
    ) -> Any:
        """Ask the page for a property of a component.

        In a plain callback, where nothing can be awaited, call `get_prop_sync`.

        Args:
            component_id: its id.
            prop_name: the property.
            timeout: seconds to wait for the page.
            path: of the part of the property that is wanted, as in a `Patch`; the page's side of it is in Dash 4.5.

        Returns:
            The value; None if there is no such component or property.

        Raises:
            WebsocketDisconnected: the socket has closed.
            TimeoutError: the page did not answer.
        """
        if not trio.lowlevel.in_trio_run():
            # Callbacks written for asyncio, and plain ones for Dash, as `asyncio.run(ctx.websocket.get_prop(...))`.
            ask = functools.partial(self.get_prop_sync, component_id, prop_name, timeout, path=path)
            return await run_beside(ask)
        return await self._request_prop(stringify_id(component_id), prop_name, path, timeout)

    def get_prop_sync(
        self, component_id: Any, prop_name: str, timeout: float = 30.0, *, path: list[str | int] | None = None
    ) -> Any:
        """`get_prop` for plain callbacks: it holds up their thread."""
        arguments = (stringify_id(component_id), prop_name, path, timeout)
        try:
            return trio.from_thread.run(self._request_prop, *arguments, trio_token=self._connection.token)
        except trio.RunFinishedError:
            raise WebsocketDisconnected from None

    async def _request_prop(
        self, component_id: str, prop: str, path: list[str | int] | None, answer_timeout: float
    ) -> Any:
        if self._connection.is_shutdown:
            raise WebsocketDisconnected
        return (await self._connection.request_prop(self._renderer, component_id, prop, path, answer_timeout)).get(prop)

    def _put_in_burst(self, message: str) -> None:
        if self._buffer.full(BURST_FACTOR):
            raise BufferOverrun(
                f"A callback has sent more than {BURST_FACTOR} times {self._connection.bound:,} bytes with set_props "
                "that its page has not read: let the task that sends be the callback itself, and await in between."
            )
        self._connection.outbox.put(message, self._buffer, urgent=False)

    def _put_if_room(self, message: str) -> bool:
        outbox = self._connection.outbox
        if outbox.buffer.full():
            return False
        if self._connection.is_shutdown:
            raise WebsocketDisconnected
        outbox.put(message, self._buffer, urgent=False)
        return True

    async def _put(self, message: str) -> None:
        await self._connection.send(message, self._buffer, urgent=False)

    def _disconnected(self) -> None:
        if trio.lowlevel.in_trio_run() or self._has_raised:
            return
        self._has_raised = True
        raise WebsocketDisconnected
