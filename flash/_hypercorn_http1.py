"""Changes how Hypercorn sends the responses of HTTP: an answer in one write.

    app ── FlashHTTPStream ── FlashH11Protocol ── h11 ── the connection
           keeps the head     encodes head, body and end together
           until its body comes

ASGI asks a server to send the head of a response no earlier than the first part of its body. Hypercorn sends it at
once, and so has a write for the head, one for the body, and an empty one for the end. Here a head that announces the
length of its body waits for that body. A head without a length leaves at once: it may belong to an event stream whose
first event is far away.

`_hypercorn_patches` says which servers have these classes.
"""
# pyright: reportPrivateUsage=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Awaitable
from itertools import chain
from time import time
from typing import Any, cast

import h11
from hypercorn.events import RawData
from hypercorn.protocol.events import StreamClosed
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.utils import build_and_validate_headers, suppress_body

from ._hypercorn_messages import AppTasks


class FlashHTTPStream(HTTPStream):
    """One request of HTTP/1 or HTTP/2 and its response."""

    _head: Any

    def set_up(self, report: object) -> None:
        self._head = None
        self.task_group = cast("Any", AppTasks(self.task_group))

    def app_send(self, message: Any) -> Awaitable[None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Send a message of the app's. Not async itself, to save a coroutine for each message."""
        if self._head is not None:
            return self._send_after_head(message)
        if message is not None and self.state is ASGIHTTPState.REQUEST and _announces_length(message):
            self._head = message
            return _nothing()
        return super().app_send(message)

    async def _send_after_head(self, message: Any) -> None:
        """Send the head of the response, and a message that came after it."""
        head, self._head = self._head, None
        protocol = getattr(self.send, "__self__", None)
        if not _is_last_of_body(message) or not isinstance(protocol, FlashH11Protocol):
            await super().app_send(head)
            await super().app_send(message)
            return
        status = int(head["status"])
        headers = build_and_validate_headers(head["headers"])
        body = b"" if suppress_body(self.scope["method"], status) else bytes(message.get("body", b""))
        # From here on no other answer is possible: if this one fails, the connection ends.
        self.response, self.state = head, ASGIHTTPState.RESPONSE
        await protocol.send_answer(status, headers, body)
        self.state = ASGIHTTPState.CLOSED
        await self.config.log.access(self.scope, self.response, time() - self.start_time)
        await self.send(StreamClosed(stream_id=self.stream_id))


class FlashH11Protocol(H11Protocol):
    """A connection of HTTP/1.1."""

    def set_up(self, report: object) -> None:
        pass

    async def send_answer(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Send a whole response, in one write."""
        all_headers = list(chain(headers, self.config.response_headers("h11")))
        if self.keep_alive_requests >= self.config.keep_alive_max_requests:
            all_headers.append((b"connection", b"close"))
        connection = cast("h11.Connection", self.connection)
        try:
            data = connection.send(h11.Response(status_code=status, headers=all_headers)) or b""
            if body:
                data += connection.send(h11.Data(data=body)) or b""
            data += connection.send(h11.EndOfMessage()) or b""
        except h11.LocalProtocolError:
            if connection.their_state is not h11.ERROR:
                raise
        else:
            await self.send(RawData(data))


def _announces_length(message: Any) -> bool:
    """Whether a message of the app's is the head of a response that says how long its body is."""
    headers: object = message.get("headers")
    if message["type"] != "http.response.start" or not isinstance(headers, list):
        return False
    return any(name.lower() == b"content-length" for name, _ in cast("list[tuple[bytes, bytes]]", headers))


def _is_last_of_body(message: Any) -> bool:
    """Whether a message of the app's, if any, is the last part of the body of a response."""
    return message is not None and message["type"] == "http.response.body" and not message.get("more_body", False)


async def _nothing() -> None:
    """Do nothing."""
