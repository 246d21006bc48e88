"""The browser's end of a page on raw sockets, well-behaved or not, and servers in processes of their own.

    site = Site(port)                       # or the `serve` fixture's, or that of `serving`
    page = await site.page()
    events = await page.connect()           # the event stream; acknowledges at every ping unless told not to
    await page.start("go")                  # the request by which Dash calls the event callback of go.n_clicks
    ended = await events.until("end")

Nothing is read from a socket unless a test asks for it: a page that does not read is one that nobody asks.
"""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import h11
import trio

from flash.asgi.tokens import new_token
from tests.support.connections import open_connection, reset
from tests.support.dash_requests import Callbacks
from tests.support.eventually import TIMEOUT
from tests.support.processes import Process, python
from tests.support.wire_client import Event, EventReader, PageIdentity, Post, resuming

Headers = Iterable[tuple[str, str]]


# Answers and events


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that has arrived."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


class Events:
    """An event stream that is read event by event.

    Attributes:
        status: of the response.
        applied: the id of the last event that was read; "" if there was none.
        stream: the socket; None if the connection is shared.
    """

    def __init__(
        self,
        status: int,
        read: Callable[[], Awaitable[bytes]],
        acknowledge: Callable[[str], Awaitable[object]] | None,
        stream: trio.SocketStream | None = None,
    ) -> None:
        self.status = status
        self.applied = ""
        self._read = read
        self._acknowledge = acknowledge
        self._stream = stream
        self._reader = EventReader()

    @property
    def stream(self) -> trio.SocketStream:
        assert self._stream is not None
        return self._stream

    async def next(self, *, pings: bool = False) -> Event:
        """The next event; EOFError if the response is over. Pings are left out unless they are asked for."""
        with trio.fail_after(TIMEOUT):
            while True:
                event = await self._event()
                if event.id is not None:
                    self.applied = event.id
                if event.name == "ping" and self._acknowledge is not None and self.applied:
                    # A page that cannot acknowledge reads on.
                    with contextlib.suppress(
                        OSError, trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError
                    ):
                        await self._acknowledge(self.applied)
                if pings or event.name != "ping":
                    return event

    async def until(self, name: str) -> Any:
        """The data of the next event with this name; those before it are skipped."""
        while (event := await self.next(pings=True)).name != name:
            pass
        return event.data

    async def rest(self) -> list[Event]:
        """The events until the response, or the connection, is over."""
        events: list[Event] = []
        with contextlib.suppress(EOFError):
            while True:
                events.append(await self.next())
        return events

    async def numbers(self, count: int) -> list[Any]:
        """What the next `count` updates have in their one property."""
        found: list[Any] = []
        while len(found) < count:
            event = await self.next()
            if event.name == "props":
                found.extend(value for _, props in event.data["props"] for value in props.values())
        return found

    async def close(self) -> None:
        """Go, as a browser does whose tab is closed."""
        await self.stream.aclose()

    async def _event(self) -> Event:
        while (event := self._reader.next_event()) is None:
            data = await self._read()
            if not data:
                raise EOFError
            self._reader.receive(data)
        return event


# HTTP/1.1


class Http1:
    """One request and its response over a connection of its own."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT)

    async def send(self, method: str, target: str, headers: Headers, body: bytes, then: bytes = b"") -> None:
        """Send a request and, in the same breath, bytes that are not part of it."""
        request = h11.Request(method=method, target=target, headers=[("Host", "127.0.0.1"), *headers])
        data = self._http.send(request) + self._http.send(h11.Data(data=body)) + self._http.send(h11.EndOfMessage())
        await self._stream.send_all(data + then)

    async def head(self) -> tuple[int, dict[str, str]]:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Response):
                return event.status_code, {name.decode(): value.decode() for name, value in event.headers}
            await self._receive()

    async def read(self) -> bytes:
        """Some of the body; nothing at its end, or when the connection has broken."""
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Data):
                return bytes(event.data)
            if event is not h11.NEED_DATA:
                return b""
            try:
                await self._receive()
            except (h11.RemoteProtocolError, trio.BrokenResourceError):
                return b""

    async def _receive(self) -> None:
        self._http.receive_data(bytes(await self._stream.receive_some(65_536)))


# HTTP/2


class Http2:
    """One HTTP/2 connection. The window of each of its streams is shut until it is opened.

    Attributes:
        over: the server has closed the connection, or said that it does.
    """

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self.over = trio.Event()
        self._stream = stream
        self._http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._replies: dict[int, Reply] = {}
        self._settled = trio.Event()
        self._lock = trio.Lock()
        self._going_on = trio.Event()
        self._going_on.set()

    def pause(self) -> None:
        """Read nothing any more."""
        self._going_on = trio.Event()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the connection until the server closes it."""
        self._http.local_settings = h2.settings.Settings(
            client=True,
            initial_values={
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0,
                h2.settings.SettingCodes.ENABLE_PUSH: 0,
            },
        )
        self._http.initiate_connection()
        # The connection's own window is wide open: only the streams' are kept shut.
        self._http.increment_flow_control_window(2**30)
        await self._flush()
        told = False
        try:
            while data := await self._stream.receive_some(65_536):
                for event in self._http.receive_data(data):
                    self._handle(event)
                await self._flush()
                if self._settled.is_set() and not told:
                    told = True
                    task_status.started()
                await self._going_on.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self._end()

    async def request(
        self, method: str, target: str, headers: Headers = (), body: bytes = b"", *, window: int = 2**20
    ) -> Reply:
        """Send a request; its response may have `window` bytes more than are read.

        Raises:
            trio.ClosedResourceError: the server takes no more requests on this connection.
        """
        if self.over.is_set():
            raise trio.ClosedResourceError
        number = self._http.get_next_available_stream_id()
        reply = self._replies[number] = Reply(self, number)
        pseudo = [(":method", method), (":path", target), (":scheme", "https"), (":authority", "127.0.0.1")]
        lower = [(name.lower(), value) for name, value in headers]
        try:
            self._http.send_headers(number, [*pseudo, *lower], end_stream=not body)
        except h2.exceptions.ProtocolError:
            raise trio.ClosedResourceError from None
        if body:
            self._http.send_data(number, body, end_stream=True)
        if window:
            self._http.increment_flow_control_window(window, number)
        await self._flush()
        return reply

    async def consumed(self, size: int, number: int) -> None:
        """Let the server send as many bytes more."""
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self._http.acknowledge_received_data(size, number)
            await self._flush()

    def _end(self) -> None:
        self.over.set()
        for reply in self._replies.values():
            reply.end()
        self._replies.clear()

    def _handle(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.SettingsAcknowledged):
            self._settled.set()
        elif isinstance(event, h2.events.ConnectionTerminated):
            self._end()
        elif (reply := self._replies.get(getattr(event, "stream_id", 0) or 0)) is None:
            return
        elif isinstance(event, h2.events.ResponseReceived):
            reply.begin({str(name): str(value) for name, value in event.headers or ()})
        elif isinstance(event, h2.events.DataReceived):
            reply.receive(event.data or b"", event.flow_controlled_length or 0)
        elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
            reply.end()

    async def _flush(self) -> None:
        async with self._lock:
            if data := self._http.data_to_send():
                with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await self._stream.send_all(data)


class Reply:
    """The response to one request over HTTP/2.

    Attributes:
        received: how many bytes of its body have come.
        begun: its head has come, or never will.
    """

    def __init__(self, connection: Http2, number: int) -> None:
        self.received = 0
        self.begun = trio.Event()
        self._connection = connection
        self._number = number
        self._headers: dict[str, str] = {}
        self._send, self._receive = trio.open_memory_channel[tuple[bytes, int]](10**9)

    def begin(self, headers: dict[str, str]) -> None:
        self._headers = headers
        self.begun.set()

    def receive(self, data: bytes, size: int) -> None:
        self.received += len(data)
        self._send.send_nowait((data, size))

    def end(self) -> None:
        self._send.close()
        self.begun.set()

    async def status(self) -> int:
        with trio.fail_after(TIMEOUT):
            await self.begun.wait()
        if ":status" not in self._headers:
            raise trio.ClosedResourceError
        return int(self._headers[":status"])

    async def read(self) -> bytes:
        """Some of the body; nothing at its end."""
        with contextlib.suppress(trio.EndOfChannel):
            data, size = await self._receive.receive()
            await self._connection.consumed(size, self._number)
            return data or await self.read()
        return b""

    async def answer(self) -> Answer:
        status = await self.status()
        body = b""
        with trio.fail_after(TIMEOUT):
            while data := await self.read():
                body += data
        return Answer(status, self._headers, body)


# Sites and pages


@dataclass
class Site:
    """A server as clients see it.

    Attributes:
        port: where it listens, on 127.0.0.1.
        tls: how its certificate is checked; None without TLS.
        dependencies: Dash's list of the app's callbacks.
        sockets: those that were opened and are closed by `close`.
        prefix: of the app's routes, with the slash at its end.
    """

    port: int
    tls: ssl.SSLContext | None = None
    prefix: str = "/"
    dependencies: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    sockets: set[trio.SocketStream] = field(default_factory=set[trio.SocketStream])

    async def open(self, receive_buffer: int | None = None) -> trio.SocketStream:
        """A connection, with a receive buffer of so many bytes."""
        stream = await open_connection(self.port, receive_buffer)
        self.sockets.add(stream)
        return stream

    async def secure(self, transport: trio.SocketStream, protocol: str) -> trio.SSLStream[trio.SocketStream]:
        """TLS over a connection, on which both sides speak `protocol`."""
        assert self.tls is not None
        self.tls.set_alpn_protocols([protocol])
        stream = trio.SSLStream(transport, self.tls, server_hostname="127.0.0.1", https_compatible=True)
        await stream.do_handshake()
        assert stream.selected_alpn_protocol() == protocol
        return stream

    async def http2(self, nursery: trio.Nursery, receive_buffer: int | None = None) -> Http2:
        """A connection that is kept by a task of `nursery`."""
        with trio.fail_after(TIMEOUT):
            connection = Http2(await self.secure(await self.open(receive_buffer), "h2"))
            await nursery.start(connection.run)
        return connection

    async def request(self, method: str, target: str, *, headers: Headers = (), body: bytes = b"") -> Answer:
        """A request, and its whole response, over a connection of its own."""
        with trio.fail_after(TIMEOUT):
            transport = await self.open()
            try:
                http = Http1(transport if self.tls is None else await self.secure(transport, "http/1.1"))
                length = ("Content-Length", str(len(body)))
                await http.send(method, target, [*headers, length, ("Connection", "close")], body)
                status, received = await http.head()
                content = b""
                while data := await http.read():
                    content += data
            finally:
                self.sockets.discard(transport)
                await trio.aclose_forcefully(transport)
        return Answer(status, received, content)

    async def get(self, target: str, *, headers: Headers = ()) -> Answer:
        return await self.request("GET", target, headers=headers)

    async def page(self, browser: str | None = None) -> Page:
        """A page of the app, in a browser of its own unless one is named."""
        if not self.dependencies:
            self.dependencies = (await self.get(f"{self.prefix}_dash-dependencies")).json()
        return Page(self, browser or new_token())

    async def close(self) -> None:
        """Close every connection, without a goodbye."""
        for stream in self.sockets:
            reset(stream)
        self.sockets.clear()
        await trio.lowlevel.checkpoint()


class Page:
    """One load of the app in one tab.

    Attributes:
        identity: what it is called, and what it sends.
        headers: what the browser sends with each request.
    """

    def __init__(self, site: Site, browser: str) -> None:
        self.site = site
        self.identity = PageIdentity(browser=browser, prefix=site.prefix)
        self.headers = [*self.identity.headers, ("Content-Type", "application/json")]

    @property
    def token(self) -> str:
        return self.identity.token

    @property
    def browser(self) -> str:
        return self.identity.browser

    async def connect(
        self,
        *,
        after: str = "",
        acknowledging: bool = True,
        receive_buffer: int | None = None,
        then: bytes = b"",
        ok: bool = True,
    ) -> Events:
        """Open the event stream over HTTP/1.1.

        Args:
            after: the id of the last event that the page has applied.
            acknowledging: whether to acknowledge at each ping that is read.
            receive_buffer: bytes that the socket may hold unread.
            then: bytes to be sent behind the request.
            ok: whether the server is expected to accept.
        """
        with trio.fail_after(TIMEOUT):
            stream = await self.site.open(receive_buffer)
            http = Http1(stream)
            await http.send("GET", self.identity.events, [*self.headers, *resuming(after)], b"", then)
            status, _ = await http.head()
        assert not ok or status == 200, status
        return Events(status, http.read, self.acknowledge if acknowledging else None, stream)

    async def connect_http2(
        self, connection: Http2, *, after: str = "", acknowledging: bool = True, window: int = 2**20
    ) -> tuple[Events, Reply]:
        """Open the event stream as one stream of an HTTP/2 connection, whose window is shut if it is 0."""
        reply = await self.request_http2(connection, after=after, window=window)
        status = await reply.status()
        assert status == 200, status

        async def acknowledge(event: str) -> None:
            post = self.identity.acknowledge(event)
            await (await connection.request("POST", post.target, self.headers, post.body)).answer()

        return Events(status, reply.read, acknowledge if acknowledging else None), reply

    async def request_http2(self, connection: Http2, *, after: str = "", window: int = 2**20) -> Reply:
        """Ask for the event stream over HTTP/2, and do not wait for the response."""
        return await connection.request("GET", self.identity.events, [*self.headers, *resuming(after)], window=window)

    async def acknowledge(self, event: str) -> Answer:
        return await self._say(self.identity.acknowledge(event))

    async def cancel(self, stream: str, value: object, condition: int = 0) -> Answer:
        return await self._say(self.identity.cancel(stream, condition, value))

    async def leave(self) -> Answer:
        return await self._say(self.identity.leave())

    async def _say(self, post: Post) -> Answer:
        return await self.site.request("POST", post.target, headers=self.headers, body=post.body)

    async def status(self) -> Answer:
        """Why a connection of the page would be refused."""
        return await self.site.get(self.identity.status, headers=self.headers)

    async def start(self, component: str = "go", value: Any = 1) -> Answer:
        """The request with which Dash calls the callback whose Input is the component's `n_clicks`."""
        body = json.dumps(self.body(component, value)).encode()
        return await self.site.request("POST", self.identity.start, headers=self.headers, body=body)

    async def begin(self, component: str = "go", value: Any = 1) -> None:
        """Start an event callback; fail if the server does not."""
        answer = await self.start(component, value)
        assert answer.status in (200, 204), (answer.status, answer.text)

    def body(self, component: str = "go", value: Any = 1) -> dict[str, Any]:
        """The body of that request."""
        values = {component: {"n_clicks": value}, **self.identity.props}
        return Callbacks(self.site.dependencies).request(component, values=values)


# Sites in processes


@contextlib.asynccontextmanager
async def serving(
    folder: Path, *arguments: str, source: str, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[tuple[Process, Site]]:
    """A process that serves the module `served`, which is made of `source`.

    Without arguments beside options of `flash run` it is that; else what the arguments say.
    """
    (folder / "served.py").write_text(source)
    command = arguments if arguments and arguments[0] in ("-m", "served.py") else flash_run(*arguments)
    with python(folder, *command) as process:
        site = Site(process.wait_for_port(), tls)
        try:
            yield process, site
        finally:
            with trio.CancelScope(shield=True):
                await site.close()


def flash_run(*options: str) -> tuple[str, ...]:
    """The arguments of Python for `flash run served:app` on a free port."""
    return ("-m", "flash", "run", "served:app", "--port", "0", *options)
