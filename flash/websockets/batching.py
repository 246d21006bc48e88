"""Queues the messages that a websocket has still to send, within a bound, and gathers them into frames.

    callbacks ── put ── waiting messages ── next_frame ── the task that sends ── socket
              └──────── begin_direct_send, if no message waits ──────────────────┘

Updates share frames: a window of `batch_delay` seconds begins with each frame, and the updates that are put within it
make the next one. Updates do not prolong the window. An update that is put after its end is sent immediately, and a
full buffer ends it early.

All other messages, such as answers and requests for props, are urgent: they do not wait for the window. The frame of an
urgent message also contains the messages that wait before it, and the urgent messages that follow it directly. It does
not contain an update that follows it, because the page applies the updates of a frame before its other messages.

This module does no I/O and starts no task. `put` accepts every message; the caller waits for room, before or after it.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import NamedTuple

import trio

from ..streams.buffer import BoundedBuffer
from .messages import HEARTBEAT_ACK

FRAME_BYTES = 256 * 1024
"""The most bytes of a frame of several messages. The page can read a frame only when it has all of it."""


class SendBuffer(BoundedBuffer):
    """Counts the bytes that wait to be sent, of one callback or of a whole websocket.

    Attributes:
        bound: the number of waiting bytes at which the buffer is full, and senders wait.
        bytes: the number of bytes that wait.
    """

    __slots__ = ("bound", "bytes")

    def __init__(self, bound: int) -> None:
        super().__init__()
        self.bound: int = bound
        self.bytes: int = 0

    def full(self, times: int = 1) -> bool:
        return self.bytes >= times * self.bound

    def charge(self, size: int) -> None:
        """Count a message of `size` bytes that begins to wait."""
        self.bytes += size

    def release(self, size: int) -> None:
        """Count a message of `size` bytes that does not wait any more, and wake the senders if there is room."""
        self.bytes -= size
        self.freed()


class _Message(NamedTuple):
    text: str
    size: int
    urgent: bool
    buffer: SendBuffer | None


class SendQueue:
    """The messages that wait to be sent over one websocket, in order.

    Args:
        bound: the number of waiting bytes at which callbacks wait.
        batch_delay: seconds from one frame of updates to the next; 0 gives every message a frame of its own.

    Attributes:
        buffer: counts the bytes of all messages that wait.
        closed: whether `put` drops messages.
    """

    def __init__(self, bound: int, batch_delay: float) -> None:
        self.buffer: SendBuffer = SendBuffer(bound)
        self.closed: bool = False
        self._delay = batch_delay
        self._waiting: deque[_Message] = deque()
        self._urgent_count = 0
        self._window_ends = -inf
        self._acknowledging = False
        self._frame_is_being_sent = self._direct_send_is_under_way = False
        self._change: trio.Event | None = None

    def put(self, text: str, buffer: SendBuffer | None = None, *, urgent: bool = True) -> None:
        """Append a message. A closed queue drops it.

        Args:
            text: the message.
            buffer: a second buffer that counts the message, besides `self.buffer`.
            urgent: whether the message is sent without waiting for the window to end.
        """
        if self.closed:
            return
        message = _Message(text, len(text) if text.isascii() else len(text.encode(errors="replace")), urgent, buffer)
        self._waiting.append(message)
        self._urgent_count += urgent
        self.buffer.charge(message.size)
        if buffer is not None:
            buffer.charge(message.size)
        if urgent or len(self._waiting) == 1 or self.buffer.full():
            self._wake_sender()

    def acknowledge(self) -> None:
        """Append the answer to a heartbeat, unless such an answer waits already: one answers all heartbeats so far."""
        if not self._acknowledging and not self.closed:
            self._acknowledging = True
            self.put(HEARTBEAT_ACK)

    def begin_direct_send(self) -> bool:
        """Let the caller send one message directly, if no message waits and none is being sent.

        Returns:
            Whether the caller may send. If it may, it calls `end_direct_send` afterwards; until then `next_frame`
            waits.
        """
        if self._direct_send_is_under_way or self._frame_is_being_sent or self._waiting or self.closed:
            return False
        self._direct_send_is_under_way = True
        self._window_ends = trio.current_time() + self._delay
        return True

    def end_direct_send(self) -> None:
        """The message that was sent directly is sent; `next_frame` may return again."""
        self._direct_send_is_under_way = False
        if self._waiting or self.closed:
            self._wake_sender()

    async def next_frame(self) -> str | None:
        """Wait until a frame is due, and take it. A call says that the frame before it has been sent.

        Returns:
            The frame; None when the queue is closed and empty.
        """
        self._frame_is_being_sent = False
        while True:
            if self._direct_send_is_under_way:
                await self._wait_for_change()
            elif self._waiting:
                if self._due():
                    self._frame_is_being_sent = True
                    return self._take()
                with trio.move_on_at(self._window_ends):
                    await self._wait_for_change()
            elif self.closed:
                return None
            else:
                await self._wait_for_change()

    def close(self) -> None:
        """Accept no more messages. `next_frame` still returns those that wait."""
        self.closed = True
        self._wake_sender()

    def discard(self) -> None:
        """Accept no more messages, and drop those that wait, because the page will not read them."""
        while self._waiting:
            self._pop()
        self.close()

    def _due(self) -> bool:
        return bool(self._urgent_count) or self.closed or self.buffer.full() or trio.current_time() >= self._window_ends

    def _take(self) -> str:
        frame: list[str] = []
        size = 0
        urgent = False
        self._window_ends = trio.current_time() + self._delay
        while self._waiting:
            if size and size + self._waiting[0].size > FRAME_BYTES:
                # The rest makes a frame of its own, which is due immediately.
                self._window_ends = -inf
                break
            if urgent and not self._waiting[0].urgent:
                break
            message = self._pop()
            frame.append(message.text)
            size += message.size
            urgent = message.urgent
            if not self._delay:
                break
        return frame[0] if len(frame) == 1 else f"[{','.join(frame)}]"

    def _pop(self) -> _Message:
        message = self._waiting.popleft()
        self._urgent_count -= message.urgent
        if message.text is HEARTBEAT_ACK:
            self._acknowledging = False
        self.buffer.release(message.size)
        if message.buffer is not None:
            message.buffer.release(message.size)
        return message

    async def _wait_for_change(self) -> None:
        if self._change is None:
            self._change = trio.Event()
        await self._change.wait()

    def _wake_sender(self) -> None:
        if self._change is not None:
            self._change.set()
            self._change = None
