"""One websocket on ASGI: what Quart makes of its handshake, and its messages without a way through Quart.

    Hypercorn ── FlashWebsocketConnection ── Quart: hooks, view, accept
                           └────── MessageExchange ──── a view that takes the messages over

Quart has a task that hands each message to the view through a queue. Where a message is a callback that is all it costs
to be told of it, so Dash's callbacks come and go by the exchange.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from typing import Any, Protocol

import trio
from quart import current_app

from .. import _hypercorn
from .._quart import WebsocketConnection, websocket_received, websocket_sent
from ..asgi.http_exchange import END_TIMEOUT

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class MessageExchange(Protocol):
    """Receives and sends the messages of one websocket."""

    async def receive(self) -> str | bytes | None:
        """Return the next message; None if the socket has closed."""
        ...

    def send(self, data: str) -> Coroutine[Any, Any, None]:
        """Send a message."""
        ...


class AsgiMessageExchange:
    """The messages of one websocket.

    Attributes:
        pump: the scope of Quart's task for them.
        peer: the client, if the server can tell of it.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self.pump = trio.CancelScope()
        self.peer = _hypercorn.websocket_peer(send)
        self._receive = receive
        self._send = send

    def take_over(self) -> None:
        """From now on messages come by `receive`. To be called before the socket is accepted: then none has come."""
        self.pump.cancel()

    def limit(self, size: int) -> None:
        """Have the server close the socket on a message that is larger, where it can."""
        _hypercorn.limit_messages(self._send, size)

    async def receive(self) -> str | bytes | None:
        """The next message; None if the socket has closed."""
        # "websocket.connect" may still be there.
        while (event := await self._receive())["type"] != "websocket.receive":
            if event["type"] == "websocket.disconnect":
                return None
        text: str | None = event.get("text")
        message: str | bytes = event["bytes"] if text is None else text
        if websocket_received.receivers:
            await websocket_received.send_async(message, _sync_wrapper=current_app.ensure_async)  # type: ignore[arg-type]
        return message

    async def send(self, data: str) -> None:
        await self._send({"type": "websocket.send", "bytes": None, "text": data})
        if websocket_sent.receivers:
            await websocket_sent.send_async(data)


MESSAGE_EXCHANGE: ContextVar[AsgiMessageExchange] = ContextVar("flash_message_exchange")
"""The websocket at hand."""


class FlashWebsocketConnection(WebsocketConnection):
    """One websocket, which can be closed while its peer goes on sending.

    Hypercorn hands over what it has read before it reads on, and nobody takes it when the app is done with the
    socket: neither the connection nor its task would ever end.
    """

    async def __call__(self, receive: Any, send: Any) -> None:
        MESSAGE_EXCHANGE.set(AsgiMessageExchange(receive, send))
        try:
            await super().__call__(receive, send)
        finally:
            self.app.nursery.start_soon(self._drain, receive)

    # What Quart-Trio gives it depends on its version.
    async def handle_messages(self, *args: Any, **kwargs: Any) -> None:
        with MESSAGE_EXCHANGE.get().pump:
            await super().handle_messages(*args, **kwargs)

    @staticmethod
    async def _drain(receive: Receive) -> None:
        # What the server has read already comes without a pause, and it closes the socket when this has returned.
        over = False
        while not over:
            over = True
            with trio.move_on_after(END_TIMEOUT):
                await receive()
                over = False
