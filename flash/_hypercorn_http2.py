"""What Flash changes in Hypercorn's HTTP/2: see `_hypercorn`, which does the same for the rest of it."""
# pyright: reportPrivateUsage=false, reportUnknownVariableType=false

from __future__ import annotations

import contextlib
from typing import Any

import trio
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from hypercorn.events import Updated
from hypercorn.protocol.events import Body
from hypercorn.protocol.h2 import BUFFER_HIGH_WATER, BufferCompleteError, H2Protocol, StreamBuffer
from priority.priority import MissingStreamError

PIECE = 65_536
"""Bytes of a body that are handed over at a time."""

SHUT_WINDOW_TIMEOUT = 60.0
"""Seconds for which a client may take nothing of a response before that is given up."""


def close_idle_http2() -> None:
    """Let a connection that has begun to speak HTTP/2 without TLS, and asks for nothing, be idle like any other."""
    original = H2Protocol.initiate
    if getattr(original, "is_idle_at_first", False):
        return

    async def initiate(self: Any, *arguments: Any, **keywords: Any) -> None:
        await original(self, *arguments, **keywords)
        if self.idle:
            await self.send(Updated(idle=True))

    initiate.is_idle_at_first = True  # type: ignore[attr-defined]
    H2Protocol.initiate = initiate


def give_up_on_shut_windows() -> None:
    """Send large bodies over HTTP/2 piece by piece, and not for ever to a client that takes none of them.

    Hypercorn copies a whole body before it waits for the client's window, which it does not do if that is shut.
    """
    if getattr(H2Protocol.stream_send, "gives_up", False):
        return
    send = H2Protocol.stream_send

    async def stream_send(self: Any, event: Any) -> None:
        buffer: Any = self.stream_buffers.get(event.stream_id)
        if type(event) is Body and len(event.data) > PIECE:
            for begin in range(0, len(event.data), PIECE):
                if buffer is not None and not getattr(buffer, "given_up", False):
                    await send(self, Body(stream_id=event.stream_id, data=event.data[begin : begin + PIECE]))
        else:
            await send(self, event)
        if buffer is not None and getattr(buffer, "given_up", False):
            with contextlib.suppress(ProtocolError):
                self.connection.reset_stream(event.stream_id, ErrorCodes.CANCEL)
                await self._flush()
            # The task that sends finds it closed, and lets go of the rest.
            await buffer.close()
            with contextlib.suppress(MissingStreamError):
                self.priority.unblock(event.stream_id)
            await self.has_data.set()

    async def push(self: Any, data: bytes) -> None:
        if self._complete or getattr(self, "given_up", False):
            raise BufferCompleteError
        self.buffer.extend(data)
        await self._is_empty.clear()
        if len(self.buffer) >= BUFFER_HIGH_WATER:
            await _while_taken(self, self._paused)
            await self._paused.clear()

    async def drain(self: Any) -> None:
        await _while_taken(self, self._is_empty)

    async def pop(self: Any, max_length: int) -> bytes:
        # Hypercorn takes what it did not get, because the window is shut, for a sign that there is room.
        data = bytes(self.buffer[:max_length])
        del self.buffer[: len(data)]
        self.taken = getattr(self, "taken", 0) + len(data)
        if len(self.buffer) < BUFFER_HIGH_WATER:
            await self._paused.set()
        if not self.buffer:
            await self._is_empty.set()
        return data

    stream_send.gives_up = True  # type: ignore[attr-defined]
    H2Protocol.stream_send = stream_send  # type: ignore[method-assign]
    StreamBuffer.push, StreamBuffer.drain, StreamBuffer.pop = push, drain, pop


async def _while_taken(buffer: Any, event: Any) -> None:
    """Wait for an event of a buffer; give it up if the client has taken nothing of it for long."""
    while True:
        before = getattr(buffer, "taken", 0)
        with trio.move_on_after(SHUT_WINDOW_TIMEOUT):
            return await event.wait()
        if getattr(buffer, "taken", 0) == before:
            buffer.given_up = True
            raise BufferCompleteError
