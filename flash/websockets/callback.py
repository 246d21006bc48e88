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

BURST = 64
"""How many times its bound the outbox may hold of one callback that never waits: a burst is fine, a leak is not."""


class _Question:
    """A question to the page that has no answer yet."""

    __slots__ = ("answer", "answered")

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.answer: Mapping[str, Any] | None = None


class Link:
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
        self._questions: dict[str, _Question] = {}

    async def send(self, message: str, buffer: SendBuffer | None = None, *, urgent: bool = True) -> None:
        """Wait for room, and send a message.

        Raises:
            WebsocketDisconnected: the socket has closed.
        """
        await self.outbox.buffer.wait_for_room()
        if self.is_shutdown:
            raise WebsocketDisconnected
        self.outbox.put(message, buffer, urgent=urgent)

    async def ask(
        self, renderer: str, component_id: str, prop: str, path: list[str | int] | None, patience: float
    ) -> Mapping[str, Any]:
        """Ask the page for a prop of a component.

        Raises:
            WebsocketDisconnected: the socket has closed.
            TimeoutError: there was no answer in time.
        """
        request, question = str(uuid.uuid4()), _Question()
        self._questions[request] = question
        try:
            with trio.move_on_after(patience):
                await self.send(messages.get_props_request(renderer, request, component_id, prop, path))
                await question.answered.wait()
        finally:
            del self._questions[request]
        if question.answer is not None:
            return question.answer
        if self.is_shutdown:
            raise WebsocketDisconnected
        raise TimeoutError(f"Timeout waiting for {component_id}.{prop}")

    def answer(self, response: messages.PropsResponse) -> None:
        """The page has answered. It may have been too late, or not asked."""
        question = self._questions.get(response.request)
        if question is not None:
            question.answer = response.props
            question.answered.set()

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
        for question in self._questions.values():
            question.answered.set()


class WebsocketCallback:
    """`ctx.websocket`: the page, to a callback that it called over its websocket."""

    def __init__(self, link: Link, renderer: str) -> None:
        self._link = link
        self._renderer = renderer
        self._buffer = SendBuffer(link.bound)
        self._told = False

    @property
    def is_shutdown(self) -> bool:
        """Whether the socket has closed. May be asked from any thread."""
        return self._link.is_shutdown

    def set_prop_sync(self, component_id: Any, prop_name: str, value: Any) -> None:
        """Set a property of a component in the page, now. `set_props` does the same.

        Raises:
            WebsocketDisconnected: the socket has closed; only in a thread, and only once.
            BufferOverrun: an async callback has sent far more than the page has read, without an `await`.
        """
        link = self._link
        if link.is_shutdown:
            self._disconnected()
            return
        message = messages.set_props(self._renderer, stringify_id(component_id), {prop_name: value})
        if trio.lowlevel.in_trio_run():
            self._put_in_burst(message)
            return
        try:
            if in_asyncio():
                trio.from_thread.run_sync(self._put_in_burst, message, trio_token=link.token)
            elif not trio.from_thread.run_sync(self._put_if_room, message, trio_token=link.token):
                trio.from_thread.run(self._put, message, trio_token=link.token)
        except (WebsocketDisconnected, trio.RunFinishedError):
            self._disconnected()

    async def set_prop(self, component_id: Any, prop_name: str, value: Any) -> None:
        """Set a property of a component in the page, now, and wait if the page does not read."""
        self.set_prop_sync(component_id, prop_name, value)
        wait_for_room = self._link.outbox.buffer.wait_for_room
        if trio.lowlevel.in_trio_run():
            await wait_for_room()
        elif in_asyncio():
            await run_beside(functools.partial(trio.from_thread.run, wait_for_room, trio_token=self._link.token))

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
        return await self._ask(stringify_id(component_id), prop_name, path, timeout)

    def get_prop_sync(
        self, component_id: Any, prop_name: str, timeout: float = 30.0, *, path: list[str | int] | None = None
    ) -> Any:
        """`get_prop` for plain callbacks: it holds up their thread."""
        arguments = (stringify_id(component_id), prop_name, path, timeout)
        try:
            return trio.from_thread.run(self._ask, *arguments, trio_token=self._link.token)
        except trio.RunFinishedError:
            raise WebsocketDisconnected from None

    async def _ask(self, component_id: str, prop: str, path: list[str | int] | None, patience: float) -> Any:
        if self._link.is_shutdown:
            raise WebsocketDisconnected
        return (await self._link.ask(self._renderer, component_id, prop, path, patience)).get(prop)

    def _put_in_burst(self, message: str) -> None:
        if self._buffer.full(BURST):
            raise BufferOverrun(
                f"A callback has sent more than {BURST} times {self._link.bound:,} bytes with set_props that "
                "its page has not read: let the task that sends be the callback itself, and await in between."
            )
        self._link.outbox.put(message, self._buffer, urgent=False)

    def _put_if_room(self, message: str) -> bool:
        outbox = self._link.outbox
        if outbox.buffer.full():
            return False
        if self._link.is_shutdown:
            raise WebsocketDisconnected
        outbox.put(message, self._buffer, urgent=False)
        return True

    async def _put(self, message: str) -> None:
        await self._link.send(message, self._buffer, urgent=False)

    def _disconnected(self) -> None:
        if trio.lowlevel.in_trio_run() or self._told:
            return
        self._told = True
        raise WebsocketDisconnected
