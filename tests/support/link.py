"""A page's end of a link: the response to `GET _flash/events`, block by block and event by event.

    link = await Link.open(Http1(stream), identity.events, identity.headers)
    opened = await link.expect("open")                       # the next event
    ended = await link.until("end")                          # the next event of this name

A link reads only when it is asked to: a page that does not read is one that nobody asks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import h11
import trio

from tests.support.connections import reset
from tests.support.eventually import TIMEOUT
from tests.support.http1 import ConnectionLost, Headers, Http1
from tests.support.wire_client import Event, EventReader, parse_event


class Link:
    """One response that carries events. Every method that reads raises EOFError when the response is over.

    Attributes:
        status: of the response.
        headers: of the response, with lower-case names.
        hello: the last `hello` that was read.
        applied: the id of the last event that was read; "" if none had one.
        is_cut: the response has ended before it was complete.
    """

    def __init__(
        self,
        status: int,
        headers: dict[str, str],
        read: Callable[[], Awaitable[bytes]],
        *,
        acknowledge: Callable[[str], Awaitable[object]] | None = None,
        stream: trio.abc.Stream | None = None,
    ) -> None:
        """A link whose response has begun.

        Args:
            status: of the response.
            headers: of the response.
            read: returns some of the response's body, and nothing at its end.
            acknowledge: is called with the id of the last event at each ping that is read.
            stream: the connection, if it is the link's own.
        """
        self.status = status
        self.headers = headers
        self.hello: Event | None = None
        self.applied = ""
        self.is_cut = False
        self._read = read
        self._acknowledge = acknowledge
        self._stream = stream
        self._reader = EventReader()

    @classmethod
    async def open(
        cls,
        http: Http1,
        target: str,
        headers: Headers = (),
        *,
        then: bytes = b"",
        acknowledge: Callable[[str], Awaitable[object]] | None = None,
    ) -> Link:
        """Send the request of an `EventSource`, and read the head of the response.

        Args:
            http: the connection; it is closed if there is no response.
            target: path and query.
            headers: beside `Host` and `Accept`.
            then: bytes that are sent in the same breath.
            acknowledge: as for `Link`.
        """
        try:
            await http.send("GET", target, [("Accept", "text/event-stream"), *headers], then=then)
            status, received = await http.head()
        except BaseException:
            await trio.aclose_forcefully(http.stream)
            raise
        return cls(status, received, http.read, acknowledge=acknowledge, stream=http.stream)

    @property
    def stream(self) -> trio.SocketStream:
        """The socket."""
        assert isinstance(self._stream, trio.SocketStream)
        return self._stream

    async def block(self) -> bytes:
        """The next block of lines, without the empty line that ends it."""
        with trio.fail_after(TIMEOUT):
            while (block := self._reader.next_block()) is None:
                self._reader.receive(await self._more())
        return block

    async def next_of_all(self) -> Event:
        """The next event, whatever it is."""
        while (block := await self.block()).startswith(b"retry:"):
            pass
        event = parse_event(block)
        if event.id is not None:
            self.applied = event.id
        if event.name == "hello":
            self.hello = event
        elif event.name == "ping" and self._acknowledge is not None and self.applied:
            # A page that cannot acknowledge reads on.
            with contextlib.suppress(OSError, trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError):
                await self._acknowledge(self.applied)
        return event

    async def next(self, *, pings: bool = False, hellos: bool = False) -> Event:
        """The next event; one that is a `ping` or a `hello` only if it is asked for."""
        with trio.fail_after(TIMEOUT):
            while True:
                event = await self.next_of_all()
                if (pings or event.name != "ping") and (hellos or event.name != "hello"):
                    return event

    async def expect(self, name: str) -> Any:
        """The data of the next event, which is to have this name."""
        event = await self.next(pings=name == "ping", hellos=name == "hello")
        assert event.name == name, event
        return event.data

    async def until(self, name: str) -> Any:
        """The data of the next event of this name; those before it are left out."""
        while (event := await self.next(pings=name == "ping", hellos=name == "hello")).name != name:
            pass
        return event.data

    async def to_end(self) -> tuple[list[Any], Any]:
        """The pairs of all updates that come, joined or not, and the data of the `end` behind them."""
        pairs: list[Any] = []
        while (event := await self.next()).name == "props":
            pairs += event.data["props"]
        assert event.name == "end", event
        return pairs, event.data

    async def numbers(self, count: int) -> list[Any]:
        """What the next `count` updates have in their one property; other events are left out."""
        found: list[Any] = []
        while len(found) < count:
            found += [value for _, props in (await self.until("props"))["props"] for value in props.values()]
        return found

    async def rest(self) -> list[Event]:
        """The events until the response is over, by whomever and however."""
        events: list[Event] = []
        with contextlib.suppress(EOFError):
            while True:
                events.append(await self.next())
        return events

    async def until_closed(self) -> list[Event]:
        """The events until the server ends the response, which is then complete."""
        events = await self.rest()
        assert not self.is_cut, events
        return events

    async def close(self) -> None:
        """Go as a browser does whose tab is closed, with a FIN."""
        await trio.aclose_forcefully(self.stream)

    def reset(self) -> None:
        """Go without a goodbye, with a RST."""
        reset(self.stream)

    async def _more(self) -> bytes:
        try:
            data = await self._read()
        except trio.ClosedResourceError:
            # This end has closed it.
            raise EOFError from None
        except ConnectionLost:
            self.is_cut = True
            raise EOFError from None
        if not data:
            self.is_cut = self._reader.rest != b""
            raise EOFError
        return data
