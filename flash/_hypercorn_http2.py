"""Changes Hypercorn's HTTP/2: closes idle connections, and gives up responses that the client does not read.

`_hypercorn_patches` says which servers have it.
"""
# pyright: reportPrivateUsage=false, reportUnknownVariableType=false

from __future__ import annotations

import contextlib
from typing import Any

import trio
from h2.errors import ErrorCodes
from h2.events import RequestReceived
from h2.exceptions import ProtocolError
from hypercorn.events import RawData, Updated
from hypercorn.protocol.events import Body, StreamClosed
from hypercorn.protocol.h2 import BUFFER_HIGH_WATER, BufferCompleteError, H2Protocol, StreamBuffer
from hyperframe.frame import GoAwayFrame
from priority.priority import MissingStreamError

PIECE = 65_536
"""Bytes of a body that are sent at a time."""

SHUT_WINDOW_TIMEOUT = 60.0
"""Seconds for which a client may read nothing of a response before Flash gives the response up."""


class FlashH2Protocol(H2Protocol):
    """One connection of Hypercorn's that speaks HTTP/2."""

    def set_up(self, report: object) -> None:
        self.stream_buffers = _BuffersWithTimeout()
        self._refused = set[int]()
        self._takes_requests = True

    async def initiate(self, *arguments: Any, **keywords: Any) -> None:
        """Begin, and mark a connection idle that has no request yet, as one without TLS has not."""
        await super().initiate(*arguments, **keywords)
        if self.idle:
            await self.send(Updated(idle=True))

    async def _handle_events(self, events: list[Any]) -> None:
        """Handle what has come; refuse new requests when the server stops, in the way that lets clients repeat them.

        So it does when one was refused before: those that followed it were said to be not processed, too. Hypercorn
        resets them with a code that does not say whether the request was processed.
        """
        if self.context.terminated.is_set() or not self._takes_requests:
            for event in events:
                if type(event) is RequestReceived:
                    self._refused.add(event.stream_id)
                    self.connection.reset_stream(event.stream_id, ErrorCodes.REFUSED_STREAM)
        if self._refused:
            events = [event for event in events if getattr(event, "stream_id", None) not in self._refused]
        await super()._handle_events(events)

    async def refuse(self, number: int) -> None:
        """Refuse a request that has come, as one that was not processed, and take no more on this connection.

        A client sends such a request again by itself, over another connection if this one takes none. h2 can only say
        so for all requests at once, and forgets those that are being answered. So the frame is made here.
        """
        if self._takes_requests:
            self._takes_requests = False
            last = self.connection.highest_inbound_stream_id
            await self.send(RawData(data=GoAwayFrame(last_stream_id=last).serialize()))
        self._refused.add(number)
        with contextlib.suppress(ProtocolError):
            self.connection.reset_stream(number, ErrorCodes.REFUSED_STREAM)
        await self._flush()
        await self.stream_send(StreamClosed(stream_id=number))
        # The sending task forgets the request.
        await self._window_updated(number)

    def has_unsent(self, number: int) -> bool:
        """Whether a part of a response has not been sent yet, or the response is over."""
        buffer: Any = self.stream_buffers.get(number)
        return buffer is None or bool(buffer.buffer)

    def take_now(self, number: int, data: bytes) -> tuple[int, bytes]:
        """Take as much of a part of a response as the client's windows allow; nothing of it must be unsent.

        Returns:
            How many bytes are taken, and what is to be written for them, and for whatever else h2 has to say.
        """
        connection, taken = self.connection, 0
        # If the client has given up the response, nothing of it is taken.
        with contextlib.suppress(ProtocolError):
            while taken < len(data):
                window = connection.local_flow_control_window(number)
                size = min(len(data) - taken, window, connection.max_outbound_frame_size)
                if size <= 0:
                    break
                connection.send_data(number, data[taken : taken + size])
                taken += size
        return taken, connection.data_to_send()

    async def stream_send(self, event: Any) -> None:
        """Send a part of a response: a large body piece by piece, and none to a client that takes none of it.

        Hypercorn copies a whole body before it waits for the client's window, and does not wait if that is shut.
        """
        buffer: Any = self.stream_buffers.get(event.stream_id)
        if type(event) is Body and len(event.data) > PIECE:
            for begin in range(0, len(event.data), PIECE):
                if buffer is not None and not buffer.given_up:
                    await super().stream_send(Body(stream_id=event.stream_id, data=event.data[begin : begin + PIECE]))
        else:
            await super().stream_send(event)
        if buffer is not None and buffer.given_up:
            with contextlib.suppress(ProtocolError):
                self.connection.reset_stream(event.stream_id, ErrorCodes.CANCEL)
                await self._flush()
            # The sending task finds the buffer closed, and discards the rest.
            await buffer.close()
            with contextlib.suppress(MissingStreamError):
                self.priority.unblock(event.stream_id)
            await self.has_data.set()


class BufferWithTimeout(StreamBuffer):
    """The buffer of one response, given up when the client has taken nothing of it for `SHUT_WINDOW_TIMEOUT`.

    Attributes:
        given_up: the client has taken nothing for so long.
        taken: bytes that it has taken.
    """

    given_up = False
    taken = 0

    async def push(self, data: bytes) -> None:
        if self._complete or self.given_up:
            raise BufferCompleteError
        self.buffer.extend(data)
        await self._is_empty.clear()
        if len(self.buffer) >= BUFFER_HIGH_WATER:
            await self._wait_while_taken(self._paused)
            await self._paused.clear()

    async def drain(self) -> None:
        await self._wait_while_taken(self._is_empty)

    async def pop(self, max_length: int) -> bytes:
        # Hypercorn's `pop` reports room in the buffer even if it takes nothing because the window is shut.
        data = bytes(self.buffer[:max_length])
        del self.buffer[: len(data)]
        self.taken += len(data)
        if len(self.buffer) < BUFFER_HIGH_WATER:
            await self._paused.set()
        if not self.buffer:
            await self._is_empty.set()
        return data

    async def _wait_while_taken(self, event: Any) -> None:
        """Wait for an event of the buffer; give the buffer up if the client takes nothing of it for the timeout."""
        while True:
            before = self.taken
            with trio.move_on_after(SHUT_WINDOW_TIMEOUT):
                return await event.wait()
            if self.taken == before:
                self.given_up = True
                raise BufferCompleteError


class _BuffersWithTimeout(dict[int, StreamBuffer]):
    """The buffers of a connection: Hypercorn puts its own in here when a request begins, and they become Flash's."""

    def __setitem__(self, stream_id: int, buffer: StreamBuffer) -> None:
        buffer.__class__ = BufferWithTimeout
        super().__setitem__(stream_id, buffer)
