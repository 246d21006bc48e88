"""The queue of what a websocket has still to send: bounds it, and gathers messages into frames.

    callbacks ── put ── waiting ── next_frame ── the task that sends ── socket
              └──────── begin_direct_send, if nothing waits ────────────────────────┘

Updates that come close together share a frame: after a frame, the next waits until `batch_delay` is over. The
window is fixed: more updates do not prolong it, and the first after a silence goes at once. Answers, questions and
whatever else is not an update go at once too, and take along what waits before them, and others of their kind that
wait behind them. But no update: the page applies those of a frame before anything else in it.

No I/O and no tasks. Nothing here refuses a message: who puts one waits for room first, or afterwards.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import NamedTuple

import trio

from ..streams.buffer import BoundedBuffer
from .messages import HEARTBEAT_ACK

FRAME_BYTES = 256 * 1024
"""Bytes at which a frame is not made longer: the page can do nothing with the first byte before it has the last."""


class SendBuffer(BoundedBuffer):
    """How many bytes wait, and whether they are too many.

    Attributes:
        bound: bytes at which who sends is to wait.
        bytes: that wait.
    """

    __slots__ = ("bound", "bytes")

    def __init__(self, bound: int) -> None:
        super().__init__()
        self.bound = bound
        self.bytes = 0

    def full(self, times: int = 1) -> bool:
        return self.bytes >= times * self.bound

    def charge(self, size: int) -> None:
        self.bytes += size

    def release(self, size: int) -> None:
        self.bytes -= size
        self.freed()


class _Message(NamedTuple):
    text: str
    size: int
    urgent: bool
    buffer: SendBuffer | None


class BatchingOutbox:
    """The messages of a websocket, in order.

    Args:
        bound: bytes that may wait before callbacks are to wait.
        batch_delay: seconds from one frame to the next, for updates; 0 gives every message a frame of its own.

    Attributes:
        buffer: how much waits.
        closed: nothing is taken in any more.
    """

    def __init__(self, bound: int, batch_delay: float) -> None:
        self.buffer = SendBuffer(bound)
        self.closed = False
        self._delay = batch_delay
        self._waiting: deque[_Message] = deque()
        self._urgent_count = 0
        self._window_ends = -inf
        self._acknowledging = False
        self._frame_is_being_sent = self._direct_send_is_under_way = False
        self._change: trio.Event | None = None

    def put(self, text: str, buffer: SendBuffer | None = None, *, urgent: bool = True) -> None:
        """Append a message; dropped if the outbox is closed.

        Args:
            text: the message.
            buffer: what it is charged to besides `self.buffer`.
            urgent: whether it is not to wait for others to share its frame.
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
        """Answer heartbeats; one answer that waits is for all of them."""
        if not self._acknowledging and not self.closed:
            self._acknowledging = True
            self.put(HEARTBEAT_ACK)

    def begin_direct_send(self) -> bool:
        """Whether a message may be sent at once, past the outbox: none waits, and none is being sent.

        If so, no frame is due until `end_direct_send` is called.
        """
        if self._direct_send_is_under_way or self._frame_is_being_sent or self._waiting or self.closed:
            return False
        self._direct_send_is_under_way = True
        self._window_ends = trio.current_time() + self._delay
        return True

    def end_direct_send(self) -> None:
        """What has passed by is sent."""
        self._direct_send_is_under_way = False
        if self._waiting or self.closed:
            self._wake_sender()

    async def next_frame(self) -> str | None:
        """Return the next frame when it is due, and the last one sent; None when the outbox is closed and empty."""
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
        """Take in nothing more; what waits can still be taken."""
        self.closed = True
        self._wake_sender()

    def discard(self) -> None:
        """Close, and forget what waits: nobody will read it."""
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
                # Nothing is won by keeping the rest back.
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
