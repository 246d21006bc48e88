"""The websockets of Hypercorn, as Flash changes them: messages within bounds, and handshakes that end.

`_hypercorn_patches` says which servers have them.
"""
# pyright: reportPrivateUsage=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, cast

from hypercorn.protocol.events import Body, Data, StreamClosed
from hypercorn.protocol.ws_stream import ASGIWebsocketState, FrameTooLargeError, WebsocketBuffer, WSStream


class FlashWSStream(WSStream):
    """One websocket of Hypercorn's.

    Attributes:
        heard: whether anything has come from the client since this was last set to False.
    """

    heard: bool

    def set_up(self, report: object) -> None:
        self.heard = False
        self.buffer = BoundedMessage(self.config.websocket_max_message_size)

    def handle(self, event: Any) -> Awaitable[None]:  # type: ignore[override]
        """Take an event. Not async itself: that would cost a coroutine more for each frame."""
        if type(event) in (Body, Data):
            self.heard = True
            if not self.closed and not self.handshake.accepted:
                return self._refuse_early_data()
        return super().handle(event)

    async def _refuse_early_data(self) -> None:
        """End a websocket whose client has sent data before the handshake was accepted, and tell the app.

        Hypercorn refuses such a handshake and does not tell the app, which accepts it and waits for messages for ever:
        the task and the socket are never given back.
        """
        if self.state is ASGIWebsocketState.HANDSHAKE:
            await self._send_error_response(400)
        await self.send(StreamClosed(stream_id=self.stream_id))

    async def _accept(self, message: Any) -> None:
        # Nothing but zlib bounds what a frame of permessage-deflate inflates to, a thousandfold: the extension is not
        # negotiated.
        self.handshake.extensions = None
        await super()._accept(message)


class BoundedMessage(WebsocketBuffer):
    """The fragments of one message. Of a message that is too large nothing is kept, nor of what still comes of it."""

    def extend(self, event: Any) -> None:
        if self.length + len(event.data) > self.max_length:
            self.value, self.length = None, self.max_length + 1
            raise FrameTooLargeError
        cast("Any", super()).extend(event)
