"""Changes Hypercorn's websockets: plain messages in one go, limited ones, and an end for handshakes that are refused.

wsproto takes ten times as long for a message as `plain_websocket`, which reads those that come whole, as nearly all do.
All else that a client sends, from the beginning of a frame to the end of one, is read by wsproto, as with Hypercorn.

`_hypercorn_patches` says which servers have them.
"""
# pyright: reportPrivateUsage=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, cast

from hypercorn.protocol.events import Body, Data, StreamClosed
from hypercorn.protocol.ws_stream import ASGIWebsocketState, FrameTooLargeError, WebsocketBuffer, WSStream
from wsproto.connection import ConnectionState

from ._hypercorn_messages import AppTasks
from .plain_websocket import FrameEnds, read_texts, write_text


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
        self._frame_ends = FrameEnds()

    def handle(self, event: Any) -> Awaitable[None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Handle an event. Not async itself, to save a coroutine for each frame."""
        if type(event) in (Body, Data):
            self.chunks_received += 1
            if self.closed:
                return super().handle(event)
            if not self.handshake.accepted:
                return self._refuse_early_data()
            if self._is_between_messages and (texts := read_texts(event.data, self.buffer.max_length)) is not None:
                return self._put(texts)
            self._frame_ends.pass_on(event.data)
        return super().handle(event)

    @property
    def _is_between_messages(self) -> bool:
        """Whether the client may begin a message, and is in none."""
        return (
            self._frame_ends.is_between_frames
            and self.buffer.value is None
            and self.connection.state is ConnectionState.OPEN
        )

    async def _put(self, texts: list[str]) -> None:
        put: Any = cast("Any", self).app_put
        for text in texts:
            await put({"type": "websocket.receive", "bytes": None, "text": text})

    def app_send(self, message: Any) -> Awaitable[None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Send a message of the app's. Not async itself, to save a coroutine for each message."""
        if (
            message is not None
            and message["type"] == "websocket.send"
            and message.get("bytes") is None
            and type(message["text"]) is str
            and not self.closed
            and self.state is ASGIWebsocketState.CONNECTED
            and self.connection.state is ConnectionState.OPEN
        ):
            return self.send(Data(self.stream_id, write_text(message["text"])))
        return super().app_send(message)

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
