"""The browser's end of a websocket: what Dash's worker does, as far as the server can see it, by `trio_websocket`.

socket = await connect(page)
request = await socket.send(page.request("go"))     # a click
update = await socket.expect("set_props")
payload = await socket.response(request)            # skips what comes before it
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any, Protocol, cast

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from tests.http.pages import Page
from tests.support.connections import open_connection
from tests.support.eventually import TIMEOUT

RENDERER = "tab"


class Socket:
    """One websocket of a browser.

    Attributes:
        raw: the connection itself.
        frames: what has been read, frame by frame.
        skipped: the messages that `response` and `expect` have passed over.
    """

    def __init__(self, raw: WebSocketConnection, stream: trio.SocketStream) -> None:
        self.raw = raw
        self._stream = stream
        self.frames: list[list[dict[str, Any]]] = []
        self.skipped: list[dict[str, Any]] = []
        self._unread: list[dict[str, Any]] = []
        self._count = 0

    async def send(self, payload: Mapping[str, Any], *, renderer: str = RENDERER) -> str:
        """Ask for a callback, whose request over HTTP would be `payload`; return the id of the request."""
        self._count += 1
        request = f"{renderer}-{self._count}"
        await self.say(type="callback_request", rendererId=renderer, requestId=request, payload=payload)
        return request

    async def say(self, **message: Any) -> None:
        """Send a message."""
        await self.raw.send_message(json.dumps(message))

    async def answer(self, question: Mapping[str, Any], **props: Any) -> None:
        """Answer a `get_props_request`."""
        await self.say(
            type="get_props_response", rendererId=RENDERER, requestId=question["requestId"], payload=dict(props)
        )

    async def next(self) -> dict[str, Any]:
        """The next message."""
        while not self._unread:
            with trio.fail_after(TIMEOUT):
                frame = json.loads(await self.raw.get_message())
            self._unread = cast("list[dict[str, Any]]", frame if isinstance(frame, list) else [frame])
            self.frames.append(list(self._unread))
        return self._unread.pop(0)

    async def expect(self, kind: str) -> dict[str, Any]:
        """The next message, which is of this type."""
        message = await self.next()
        assert message["type"] == kind, message
        return message

    async def response(self, request: str) -> dict[str, Any]:
        """The payload of the response to a request; what comes before it is in `skipped`."""
        while True:
            message = await self.next()
            if message["type"] == "callback_response" and message["requestId"] == request:
                return cast("dict[str, Any]", message["payload"])
            self.skipped.append(message)

    async def call(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Ask for a callback and return the payload of the response."""
        return await self.response(await self.send(payload))

    async def closed(self) -> tuple[int, str | None]:
        """Wait until the server has closed the socket; return the code and the reason."""
        with trio.fail_after(TIMEOUT), contextlib.suppress(ConnectionClosed):
            while True:
                await self.raw.get_message()
        reason = self.raw.closed
        assert reason is not None
        return reason.code, reason.reason

    async def leave(self) -> None:
        """Be gone: the browser was closed, or its network went away."""
        await self._stream.aclose()


class Connect(Protocol):
    """The type of the `connect` fixture."""

    async def __call__(
        self, page: Page, *, origin: str | None = "", path: str = "_dash-ws-callback", receive_buffer: int | None = None
    ) -> Socket:
        """Open a websocket.

        Args:
            page: whose browser opens it.
            origin: None for no such header, "" for the page's own.
            path: relative to the app's prefix.
            receive_buffer: bytes that the socket may hold unread.
        """
        ...


class Sockets:
    """The websockets of one test."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._streams: list[trio.SocketStream] = []
        self._sockets: list[Socket] = []

    async def connect(
        self, page: Page, *, origin: str | None = "", path: str = "_dash-ws-callback", receive_buffer: int | None = None
    ) -> Socket:
        """Open a websocket: see `Connect`."""
        headers = page.identity.headers
        if origin is not None:
            headers.append(("Origin", origin or f"http://127.0.0.1:{page.port}"))
        stream = await open_connection(page.port, receive_buffer)
        self._streams.append(stream)
        raw = await wrap_client_stream(
            self._nursery,
            stream,
            f"127.0.0.1:{page.port}",
            f"{page.prefix}{path}",
            extra_headers=[(name.encode(), value.encode()) for name, value in headers],
        )
        socket = Socket(raw, stream)
        self._sockets.append(socket)
        return socket

    async def close(self) -> None:
        """Close them all."""
        for socket in self._sockets:
            with trio.move_on_after(1):
                await socket.raw.aclose()
        for stream in self._streams:
            await stream.aclose()
