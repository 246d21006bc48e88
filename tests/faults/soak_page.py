"""A page without a browser, on raw sockets: what the soak and other fault tests drive by the thousand.

Any process accepts a well-formed token, so a page needs to load nothing: it makes up its token and its browser's
cookie, connects, and sends the requests that Dash's renderer would send.
"""

from __future__ import annotations

import json
import secrets
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import h11
import trio

from tests.support.eventually import TIMEOUT


class ConnectionLost(Exception):
    """The response has ended before it was complete."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a connection: its name, its data, and its id or ""."""

    name: str
    data: Any
    id: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request."""

    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Page:
    """One page: it keeps a connection for its requests, and opens event streams.

    Attributes:
        port: of the server, on 127.0.0.1.
        token: names the page.
        browser: the secret that it sends as its cookie.
        host: what its requests say the server is called.
    """

    port: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    browser: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    host: str = "127.0.0.1"
    _socket: trio.SocketStream | None = None
    _http: h11.Connection = field(default_factory=lambda: h11.Connection(h11.CLIENT))
    _connections: list[Connection] = field(default_factory=list["Connection"])
    _turn: trio.Lock = field(default_factory=trio.Lock)

    async def get(self, path: str) -> Answer:
        return await self._request("GET", path, b"")

    async def post(self, path: str, body: object) -> Answer:
        return await self._request("POST", path, json.dumps(body).encode())

    async def dependencies(self) -> list[dict[str, Any]]:
        """Dash's list of the app's callbacks."""
        answer = await self.get("/_dash-dependencies")
        assert answer.status == 200, answer
        return answer.json()

    async def start(self, callback: Mapping[str, Any], values: Mapping[str, Any], index: int | None = None) -> Answer:
        """Send the request that starts an event callback.

        Args:
            callback: its entry in `dependencies`.
            values: of its Inputs and States, by `id.property`; those of objects by the value of `type`.
            index: what MATCH for `index` matches.
        """

        def fill(entry: dict[str, Any]) -> dict[str, Any]:
            name, prop = entry["id"], entry["property"]
            if name == "_flash":
                return {"id": name, "property": prop, "value": self.token}
            if name.startswith("{"):
                kind = json.loads(name)["type"]
                return {"id": {"type": kind, "index": index}, "property": prop, "value": values.get(f"{kind}.{prop}")}
            if name.endswith("-never"):
                return dict(entry)
            return {"id": name, "property": prop, "value": values.get(f"{name}.{prop}")}

        inputs = [fill(entry) for entry in callback["inputs"]]
        trigger = inputs[0]
        name = trigger["id"]
        written = name if isinstance(name, str) else json.dumps(name, sort_keys=True, separators=(",", ":"))
        body: dict[str, Any] = {
            "output": callback["output"],
            "inputs": inputs,
            "state": [fill(entry) for entry in callback["state"]],
            "changedPropIds": [f"{written}.{trigger['property']}"],
        }
        return await self.post("/_dash-update-component", body)

    async def cancel(self, stream: str, value: object, condition: int = 0) -> Answer:
        """Tell that the property of a condition has become `value`."""
        body = {"page": self.token, "stream": stream, "condition": condition, "value": value}
        return await self.post("/_flash/cancel", body)

    async def acknowledge(self, event: str) -> Answer:
        return await self.post("/_flash/ack", {"page": self.token, "event": event})

    async def leave(self) -> Answer:
        """What the page sends on `pagehide`."""
        return await self.post("/_flash/close", {"page": self.token})

    async def connect(self, last: str = "", *, in_header: bool = True) -> Connection:
        """Open the event stream; `last` is the id of the last event that the page has applied."""
        with trio.fail_after(TIMEOUT):
            stream = await trio.open_tcp_stream("127.0.0.1", self.port)
            http = h11.Connection(h11.CLIENT)
            query = f"page={self.token}" + (f"&after={last}" if last and not in_header else "")
            headers = [*self._headers(), ("Accept", "text/event-stream")]
            if last and in_header:
                headers.append(("Last-Event-ID", last))
            request = h11.Request(method="GET", target=f"/_flash/events?{query}", headers=headers)
            try:
                await stream.send_all(http.send(request) + http.send(h11.EndOfMessage()))
                response = await _next_event(stream, http)
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
            assert isinstance(response, h11.Response), response
            connection = Connection(stream, http, response.status_code, dict(response.headers.raw_items()))
            self._connections.append(connection)
            return connection

    async def close(self) -> None:
        """Close the connection that requests go by, and the event streams that are open."""
        await self._hang_up()
        for connection in self._connections:
            await connection.close()

    async def _hang_up(self) -> None:
        closing, self._socket = self._socket, None
        if closing is not None:
            await trio.aclose_forcefully(closing)

    def _headers(self) -> list[tuple[str, str]]:
        return [("Host", self.host), ("Cookie", f"flash_browser={self.browser}")]

    async def _request(self, method: str, path: str, body: bytes) -> Answer:
        async with self._turn:
            whole = False
            try:
                with trio.fail_after(TIMEOUT):
                    reused = self._socket is not None
                    try:
                        answer = await self._send(method, path, body)
                    except (ConnectionLost, trio.BrokenResourceError):
                        # Like a browser: the server may just have closed a connection that was idle.
                        if not reused:
                            raise
                        await self._hang_up()
                        answer = await self._send(method, path, body)
                whole = self._http.our_state is h11.DONE and self._http.their_state is h11.DONE
                if whole:
                    self._http.start_next_cycle()
                return answer
            finally:
                if not whole:
                    await self._hang_up()

    async def _send(self, method: str, path: str, body: bytes) -> Answer:
        if self._socket is None:
            self._socket = await trio.open_tcp_stream("127.0.0.1", self.port)
            self._http = h11.Connection(h11.CLIENT)
        http = self._http
        headers = [*self._headers(), ("Content-Length", str(len(body)))]
        if body:
            headers.append(("Content-Type", "application/json"))
        request = h11.Request(method=method, target=path, headers=headers)
        sent = http.send(request) or b""
        await self._socket.send_all(
            sent + (http.send(h11.Data(data=body)) or b"") + (http.send(h11.EndOfMessage()) or b"")
        )
        response = await _next_event(self._socket, http)
        assert isinstance(response, h11.Response), response
        received = bytearray()
        while isinstance(event := await _next_event(self._socket, http), h11.Data):
            received += event.data
        return Answer(response.status_code, bytes(received))


class Connection:
    """The page's end of an event stream.

    Attributes:
        status: of the response.
        headers: of the response.
    """

    def __init__(
        self, stream: trio.SocketStream, http: h11.Connection, status: int, headers: dict[bytes, bytes]
    ) -> None:
        self.status = status
        self.headers = {name.decode().lower(): value.decode() for name, value in headers.items()}
        self._stream = stream
        self._http = http
        self._buffer = b""

    async def next(self) -> Event | None:
        """The next event; None if the response is over; ConnectionLost if it was cut."""
        while True:
            block, found, rest = self._buffer.partition(b"\n\n")
            if found:
                self._buffer = rest
                fields = dict(line.split(": ", 1) for line in block.decode().split("\n"))
                if "event" in fields:
                    return Event(fields["event"], json.loads(fields["data"]), fields.get("id", ""))
                continue
            try:
                event = await _next_event(self._stream, self._http)
            except trio.ClosedResourceError:
                return None
            if not isinstance(event, h11.Data):
                return None
            self._buffer += event.data

    async def expect(self, name: str) -> Any:
        """The data of the next event that is not a ping; it is to have this name."""
        with trio.fail_after(TIMEOUT):
            while True:
                event = await self.next()
                assert event is not None, f"the response is over, and no {name!r} has come"
                if event.name != "ping":
                    assert event.name == name, event
                    return event.data

    async def is_cut(self) -> bool:
        """Whether the response ends without being complete. Reads what comes until then."""
        try:
            while await self.next() is not None:
                pass
        except ConnectionLost:
            return True
        return False

    async def close(self) -> None:
        """Go as a browser does, with a FIN."""
        await trio.aclose_forcefully(self._stream)

    def reset(self) -> None:
        """Go without a goodbye, with a RST."""
        self._stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._stream.socket.close()


async def _next_event(stream: trio.SocketStream, http: h11.Connection) -> Any:
    """The next event of HTTP."""
    try:
        while (event := http.next_event()) is h11.NEED_DATA:
            http.receive_data(await stream.receive_some(65_536))
    except (trio.BrokenResourceError, h11.RemoteProtocolError):
        raise ConnectionLost from None
    return event
