"""The browser's end of an event stream, on a raw socket: what is on the wire, byte by byte and event by event.

`EventStream` sends the request of an `EventSource`, keeps the response's status and headers, and hands out the
events one at a time as they arrive. It reads only when it is asked to: a page that does not read is one that
nobody asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trio

from tests.support.connections import open_connection
from tests.support.eventually import TIMEOUT
from tests.support.http1 import Http1
from tests.support.wire_client import Event, EventReader, parse_event


class EventStream:
    """A connection to `_flash/events`.

    Use `connect` (or `Page.connect`) to make one, and `next`, `expect` and `until_closed` to read it.

    Attributes:
        status: of the response.
        headers: of the response, with lower-case names.
        stream: the socket.
        hello: the connection's first event, once it has come.
    """

    def __init__(self, stream: trio.SocketStream, status: int, headers: dict[str, str], http: Http1) -> None:
        self.stream = stream
        self.status = status
        self.headers = headers
        self.hello: Event | None = None
        self._http = http
        self._reader = EventReader()

    @classmethod
    async def connect(
        cls, port: int, target: str, headers: Mapping[str, str], *, receive_buffer: int | None = None
    ) -> EventStream:
        """Send `GET target` and read the head of the response.

        Args:
            port: of the server, on 127.0.0.1.
            target: path and query.
            headers: beside `Host` and `Accept`.
            receive_buffer: bytes that the socket may hold unread; few, to be a page that does not read.
        """
        with trio.fail_after(TIMEOUT):
            stream = await open_connection(port, receive_buffer)
            http = Http1(stream, f"127.0.0.1:{port}")
            await http.send("GET", target, [("Accept", "text/event-stream"), *headers.items()])
            status, received = await http.head()
        return cls(stream, status, received, http)

    async def read(self) -> bytes:
        """What of the body has arrived, at least one byte; nothing at its end."""
        with trio.fail_after(TIMEOUT):
            return await self._http.read()

    async def block(self) -> bytes:
        """The next block of lines, without the empty line that ends it; EOFError if the response is over."""
        while (block := self._reader.next_block()) is None:
            data = await self.read()
            if not data:
                assert self._reader.rest == b"", "the response ended within an event"
                raise EOFError
            self._reader.receive(data)
        return block

    async def next_of_all(self) -> Event:
        """The next event, whatever it is; EOFError if the response is over."""
        while (block := await self.block()).startswith(b"retry:"):
            pass
        event = parse_event(block)
        if event.name == "hello":
            self.hello = event
        return event

    async def next(self, *, pings: bool = False) -> Event:
        """The next event, but for a `hello`, and pings unless they are asked for; EOFError if the response is over."""
        while True:
            event = await self.next_of_all()
            if event.name != "hello" and (pings or event.name != "ping"):
                return event

    async def until(self, name: str) -> Any:
        """The data of the next event of this name; those before it are left out."""
        while (event := await self.next()).name != name:
            pass
        return event.data

    async def expect(self, name: str) -> Any:
        """The data of the next event, which is to have this name."""
        event = await self.next()
        assert event.name == name, event
        return event.data

    async def to_end(self) -> tuple[list[Any], Any]:
        """The pairs of all updates that come, joined or not, and the data of the `end` behind them."""
        pairs: list[Any] = []
        while (event := await self.next()).name == "props":
            pairs += event.data["props"]
        assert event.name == "end", event
        return pairs, event.data

    async def until_closed(self) -> list[Event]:
        """The events that are left until the server ends the response."""
        events: list[Event] = []
        while True:
            try:
                events.append(await self.next())
            except EOFError:
                return events

    async def close(self) -> None:
        """Go, as a browser does whose tab is closed."""
        await self.stream.aclose()
