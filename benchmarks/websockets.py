"""A websocket of a page, in the client's loop: as much of the protocol as Dash's messages need."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

from benchmarks.client import Client, Connection
from tests.support.wire_client import cookie

OnMessage = Callable[[bytes, int], None]

CLOSE, PING, PONG = 8, 9, 10


class WebSocket(Connection):
    """A connection to `_dash-ws-callback`."""

    def __init__(self, client: Client, on_message: OnMessage, browser: str = "") -> None:
        super().__init__(client)
        self._on_message = on_message
        self._count = 0
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host = f"127.0.0.1:{client.port}"
        self._socket.sendall(
            f"GET /_dash-ws-callback HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
            f"Cookie: {cookie(browser)}\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            received = self._socket.recv(65_536)
            assert received, head
            head += received
        head, _, self._rest = head.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        client.add(self._socket, self)

    def request(self, payload: Any) -> str:
        """Ask for a callback, as the renderer does; returns the id of the request."""
        self._count += 1
        request = f"{self._count}"
        message = {"type": "callback_request", "rendererId": "tab", "requestId": request, "payload": payload}
        self._send(1, json.dumps(message, separators=(",", ":")).encode())
        return request

    def read(self) -> None:
        data, now = self.receive(), time.monotonic_ns()
        if not data:
            return
        data = self._rest + data
        at = 0
        while (frame := _frame(data, at)) is not None:
            kind, start, at = frame
            if kind == PING:
                self._send(PONG, data[start:at])
            elif kind == CLOSE:
                self.close()
                return
            else:
                self._on_message(data[start:at], now)
        self._rest = data[at:]

    def _send(self, kind: int, payload: bytes) -> None:
        # Masked, as it must be; with zeros, which costs nothing.
        length = len(payload)
        if length < 126:
            head = bytes([0x80 | kind, 0x80 | length])
        elif length < 1 << 16:
            head = bytes([0x80 | kind, 0x80 | 126]) + length.to_bytes(2, "big")
        else:
            head = bytes([0x80 | kind, 0x80 | 127]) + length.to_bytes(8, "big")
        self._socket.sendall(head + bytes(4) + payload)


def _frame(data: bytes, at: int) -> tuple[int, int, int] | None:
    """The kind of the frame at `at`, and where its payload begins and ends; None if it is not all there.

    Frames of a message that was cut into several are handed out one by one: nobody looks at them as a whole.
    """
    if len(data) < at + 2:
        return None
    length, start = data[at + 1] & 0x7F, at + 2
    if length >= 126:
        size = 2 if length == 126 else 8
        length, start = int.from_bytes(data[start : start + size], "big"), start + size
    return None if len(data) < start + length else (data[at] & 0x0F, start, start + length)
