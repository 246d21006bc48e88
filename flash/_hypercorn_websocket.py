"""Changes Hypercorn's websockets: limits the size of messages, and ends handshakes that are refused.

`_hypercorn_patches` says which servers have them.
"""
# pyright: reportPrivateUsage=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, cast

from hypercorn.protocol.events import Body, Data, StreamClosed
from hypercorn.protocol.ws_stream import ASGIWebsocketState, FrameTooLargeError, WebsocketBuffer, WSStream

from ._hypercorn_messages import AppTasks


class FlashWSStream(WSStream):
    """One websocket of Hypercorn's.

    Attributes:
        chunks_received: how often the client has sent anything.
    """

    chunks_received: int

    def set_up(self, report: object) -> None:
        self.chunks_received = 0
        self.task_group = cast("Any", AppTasks(self.task_group))
        self.buffer = BoundedMessage(self.config.websocket_max_message_size)

    def handle(self, event: Any) -> Awaitable[None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Handle an event. Not async itself, to save a coroutine for each frame."""
        if type(event) in (Body, Data):
            self.chunks_received += 1
            if not self.closed and not self.handshake.accepted:
                return self._refuse_early_data()
        return super().handle(event)

    async def _refuse_early_data(self) -> None:
        """End a websocket whose client has sent data before the handshake was accepted, and tell the app.

        Hypercorn refuses such a handshake without telling the app, which accepts it and waits for messages for ever,
        so that neither the task nor the socket ends.
        """
        if self.state is ASGIWebsocketState.HANDSHAKE:
            await self._send_error_response(400)
        await self.send(StreamClosed(stream_id=self.stream_id))

    async def _accept(self, message: Any) -> None:
        # Compression (permessage-deflate) is not negotiated: a frame may inflate a thousandfold, without a limit.
        self.handshake.extensions = None
        await super()._accept(message)


class BoundedMessage(WebsocketBuffer):
    """The fragments of one message. When the message is too large, all of them are discarded, later ones too."""

    def extend(self, event: Any) -> None:
        if self.length + len(event.data) > self.max_length:
            self.value, self.length = None, self.max_length + 1
            raise FrameTooLargeError
        cast("Any", super()).extend(event)
