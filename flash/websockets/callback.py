"""Gives a callback that came over a websocket its page: `ctx.websocket`, and `set_props` over the same socket.

Async callbacks run as tasks, plain ones in worker threads; both use the same methods. All messages go through the
send queue of the socket. If the send queue is full, because the page does not read, the sender waits:

- A thread waits within `set_props`.
- A task waits at its next `await`, since `set_props` is a plain function: see `pacing`.
- A callback written for asyncio (`on_asyncio`) does not wait in `set_props`, because it would block the other callbacks
  in its thread. `await ctx.websocket.set_prop(...)` and `get_prop` wait in another thread.

A task that never waits may put in up to `BURST_FACTOR` times the bound; then `set_props` raises `BufferOverrun`.

When the socket closes, tasks are cancelled. Python cannot cancel a thread: `is_shutdown` becomes true, and the next
`set_props` or `get_prop` in the thread raises `WebsocketDisconnected`. `set_props` raises it once, as a cancellation
would be raised. Later calls do nothing, so that a `finally` block which calls it still runs to its end.
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
from .batching import SendBuffer, SendQueue

BURST_FACTOR = 64
"""How many times the bound one callback that does not wait may have in the send queue. A short burst stays below it."""


class _PropsRequest:
    """A request for props that the page has not answered yet."""

    __slots__ = ("answer", "answered")

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.answer: Mapping[str, Any] | None = None


class CallbackConnection:
    """The connection to the page that all callbacks of one websocket share.

    Attributes:
        send_queue: the messages that wait to be sent.
        is_shutdown: whether the socket has closed, or is closing.
        bound: the number of waiting bytes at which callbacks wait.
        token: lets threads call functions in the event loop of the socket.
    """

    def __init__(self, bound: int, batch_delay: float) -> None:
        self.send_queue: SendQueue = SendQueue(bound, batch_delay)
        self.is_shutdown: bool = False
        self.bound = bound
        self.token: trio.lowlevel.TrioToken = trio.lowlevel.current_trio_token()
        self._props_requests: dict[str, _PropsRequest] = {}

    async def send(self, message: str, buffer: SendBuffer | None = None, *, urgent: bool = True) -> None:
        """Wait for room in the send queue, and put a message into it.

        Raises:
            WebsocketDisconnected: the socket has closed.
        """
        await self.send_queue.buffer.wait_for_room()
        if self.is_shutdown:
            raise WebsocketDisconnected
        self.send_queue.put(message, buffer, urgent=urgent)

    async def request_prop(
        self, renderer: str, component_id: str, prop: str, path: list[str | int] | None, answer_timeout: float
    ) -> Mapping[str, Any]:
        """Ask the page for a prop of a component, and return the props in its answer.

        Raises:
            WebsocketDisconnected: the socket has closed.
            TimeoutError: the page did not answer within `answer_timeout` seconds.
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
        """Give an answer of the page to the task that waits for it. An answer that no task waits for is dropped."""
        request = self._props_requests.get(response.request_id)
        if request is not None:
            request.answer = response.props
            request.answered.set()

    def shut_down(self, *, discard: bool = True) -> None:
        """Close the send queue, and wake the tasks that wait for an answer of the page.

        Args:
            discard: whether to drop the messages that wait to be sent.
        """
        self.is_shutdown = True
        if discard:
            self.send_queue.discard()
        else:
            self.send_queue.close()
        for request in self._props_requests.values():
            request.answered.set()


class WebsocketCallback:
    """`ctx.websocket`: lets a callback that came over a websocket set and read props of its page.

    Args:
        connection: the connection to the page.
        renderer: the id of the tab that asked for the callback.
    """

    def __init__(self, connection: CallbackConnection, renderer: str) -> None:
        self._connection = connection
        self._renderer = renderer
        self._buffer = SendBuffer(connection.bound)
        self._has_raised = False

    @property
    def is_shutdown(self) -> bool:
        """Whether the socket has closed, or is closing. Any thread may read it."""
        return self._connection.is_shutdown

    def set_prop_sync(self, component_id: Any, prop_name: str, value: Any) -> None:
        """Set a property of a component in the page immediately. `set_props` does the same.

        Raises:
            WebsocketDisconnected: the socket has closed. Raised only in a thread, and only once.
            BufferOverrun: an async callback has sent far more than its page has read, without an `await`.
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
        """Set a property as `set_prop_sync` does, and wait for room if the page does not read."""
        self.set_prop_sync(component_id, prop_name, value)
        wait_for_room = self._connection.send_queue.buffer.wait_for_room
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
        """Read a property of a component from the page.

        A plain callback, which cannot await, calls `get_prop_sync`.

        Args:
            component_id: the id of the component.
            prop_name: the name of the property.
            timeout: seconds to wait for the page's answer.
            path: the path to a part of the property, as in a `Patch`, to read only that part. Needs Dash 4.5.

        Returns:
            The value; None if the page has no such component or property.

        Raises:
            WebsocketDisconnected: the socket has closed.
            TimeoutError: the page did not answer within `timeout` seconds.
        """
        if not trio.lowlevel.in_trio_run():
            # The caller is a callback written for asyncio, or a plain callback written for Dash, which calls
            # `asyncio.run(ctx.websocket.get_prop(...))`.
            ask = functools.partial(self.get_prop_sync, component_id, prop_name, timeout, path=path)
            return await run_beside(ask)
        return await self._request_prop(stringify_id(component_id), prop_name, path, timeout)

    def get_prop_sync(
        self, component_id: Any, prop_name: str, timeout: float = 30.0, *, path: list[str | int] | None = None
    ) -> Any:
        """Do what `get_prop` does, for plain callbacks: their thread waits."""
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
        self._connection.send_queue.put(message, self._buffer, urgent=False)

    def _put_if_room(self, message: str) -> bool:
        send_queue = self._connection.send_queue
        if send_queue.buffer.full():
            return False
        if self._connection.is_shutdown:
            raise WebsocketDisconnected
        send_queue.put(message, self._buffer, urgent=False)
        return True

    async def _put(self, message: str) -> None:
        await self._connection.send(message, self._buffer, urgent=False)

    def _disconnected(self) -> None:
        if trio.lowlevel.in_trio_run() or self._has_raised:
            return
        self._has_raised = True
        raise WebsocketDisconnected
