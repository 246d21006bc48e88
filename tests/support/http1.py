"""The client's side of HTTP/1.1 over one connection, which reads nothing unless a test asks for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import h11
import trio

from tests.support.wire_client import Headers


class ConnectionLost(trio.BrokenResourceError):
    """The response has ended before it was complete."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that has arrived; the names of its headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


class Http1:
    """Requests over one connection, one after the other, and their responses.

    Attributes:
        stream: the connection.
    """

    def __init__(self, stream: trio.abc.Stream, host: str = "127.0.0.1") -> None:
        self.stream = stream
        self._host = host
        self._http = h11.Connection(h11.CLIENT)
        self._over = False

    async def send(self, method: str, target: str, headers: Headers = (), body: bytes = b"", then: bytes = b"") -> None:
        """Send a request and, in the same breath, bytes that are not part of it."""
        if self._over:
            self._http.start_next_cycle()
            self._over = False
        request = h11.Request(method=method, target=target, headers=[("Host", self._host), *headers])
        data = self._http.send(request) + self._http.send(h11.Data(data=body)) + self._http.send(h11.EndOfMessage())
        await self.stream.send_all(data + then)

    async def head(self) -> tuple[int, dict[str, str]]:
        """The status and the headers of the response."""
        event = await self._next()
        assert isinstance(event, h11.Response), event
        return event.status_code, {name.decode(): value.decode() for name, value in event.headers}

    async def read(self) -> bytes:
        """Some of the body; nothing at its end."""
        if not self._over:
            event = await self._next()
            if isinstance(event, h11.Data):
                return bytes(event.data)
            assert isinstance(event, h11.EndOfMessage), event
            self._over = True
        return b""

    async def body(self) -> bytes:
        """All of the body that is to come."""
        body = bytearray()
        while data := await self.read():
            body += data
        return bytes(body)

    async def answer(self) -> Answer:
        """The whole response."""
        status, headers = await self.head()
        return Answer(status, headers, await self.body())

    @property
    def is_reusable(self) -> bool:
        """Whether the connection takes another request."""
        return self._over and self._http.our_state is self._http.their_state is h11.DONE

    async def _next(self) -> Any:
        """The next event of HTTP; ConnectionLost if there is none any more."""
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(bytes(await self.stream.receive_some(65_536)))
        except (trio.BrokenResourceError, h11.RemoteProtocolError):
            raise ConnectionLost from None
        return event
