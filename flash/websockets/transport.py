"""Serves one websocket on ASGI: Quart answers its handshake, and its messages may bypass Quart.

    Hypercorn ── FlashWebsocketConnection ── Quart: hooks, view, accept
                           └───── MessageTransport ──── a view that takes the messages over

A task of Quart's hands each message to the view through a queue, so each callback would pay for a queue and a switch
of tasks. The views for callbacks and for control messages therefore stop that task, and use a `MessageTransport`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from typing import Any, Protocol, cast

import trio
from quart import current_app

from .. import _hypercorn
from .._quart import WebsocketConnection, websocket_received, websocket_sent
from ..asgi.http_exchange import END_TIMEOUT

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class MessageTransport(Protocol):
    """Receives and sends the messages of one websocket."""

    async def receive(self) -> str | bytes | None:
        """Return the next message; None if the socket has closed."""
        ...

    def send(self, data: str) -> Coroutine[Any, Any, None]:
        """Send a message."""
        ...


class AsgiTransport:
    """Receives and sends the messages of one websocket by the callables of ASGI.

    Attributes:
        quart_task: the cancel scope of Quart's task that receives messages.
        client: the client of the websocket; None if the server does not say whether it is there.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self.quart_task: trio.CancelScope = trio.CancelScope()
        self.client: _hypercorn.WebsocketClient | None = _hypercorn.websocket_client(send)
        self._receive = receive
        self._send = send

    def take_over(self) -> None:
        """Stop Quart's task, so that messages come by `receive`. Call it before the handshake is accepted."""
        self.quart_task.cancel()

    def limit(self, size: int) -> None:
        """Make the server close the socket when a message is larger than `size` bytes, if the server is Hypercorn."""
        _hypercorn.limit_messages(self._send, size)

    async def receive(self) -> str | bytes | None:
        """Return the next message; None if the socket has closed."""
        # The first event may be "websocket.connect", which is not a message.
        while (event := await self._receive())["type"] != "websocket.receive":
            if event["type"] == "websocket.disconnect":
                return None
        text: str | None = event.get("text")
        message: str | bytes = event["bytes"] if text is None else text
        if websocket_received.receivers:
            await websocket_received.send_async(message, _sync_wrapper=cast("Any", current_app.ensure_async))
        return message

    async def send(self, data: str) -> None:
        await self._send({"type": "websocket.send", "bytes": None, "text": data})
        if websocket_sent.receivers:
            await websocket_sent.send_async(data)


TRANSPORT: ContextVar[AsgiTransport] = ContextVar("flash_websocket_transport")
"""The transport of the websocket whose handshake is being handled."""


class FlashWebsocketConnection(WebsocketConnection):
    """One websocket, which ends even if its peer is still sending when the app closes it.

    Hypercorn waits until the app has received what was read, before it reads on. Once the app has closed the socket, it
    does not receive any more, so the connection and its task would never end. This class receives the rest.
    """

    async def __call__(self, receive: Any, send: Any) -> None:
        TRANSPORT.set(AsgiTransport(receive, send))
        try:
            await super().__call__(receive, send)
        finally:
            self.app.nursery.start_soon(drain, receive)

    # The arguments depend on the version of Quart-Trio.
    async def handle_messages(self, *args: Any, **kwargs: Any) -> None:
        with TRANSPORT.get().quart_task:
            await super().handle_messages(*args, **kwargs)


async def drain(receive: Receive) -> None:
    """Receive what the peer of a websocket still sends after the app has closed it, until that is over.

    The server delivers what it has read without a pause, and closes the socket when the task of the app has ended.
    """
    over = False
    while not over:
        over = True
        with trio.move_on_after(END_TIMEOUT):
            await receive()
            over = False
