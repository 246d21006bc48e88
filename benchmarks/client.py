"""The load: one loop over the sockets of many pages, cheap enough not to be what is measured.

    client = Client(port)
    page = FlashPage(client, Dependencies(client), on_events)    # connects; acknowledges as Flash's script does
    client.run(until=lambda: page.greeted)
    page.start("go")

`on_events(block, now)` gets what has arrived, in whole events and as bytes, with the time in nanoseconds of the clock
that the servers stamp their updates with. Chunk headers may stand between the events.
"""

from __future__ import annotations

import http.client
import json
import re
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, Self

from flash.asgi.tokens import new_token
from tests.support.dash_requests import Callbacks
from tests.support.page import AnyPage
from tests.support.wire_client import Headers, PageIdentity, Post, cookie, has_ping, last_id_in, ping_interval_in

OnEvents = Callable[[bytes, int], None]
OnAnswer = Callable[[int, bytes], None]

STAMP = re.compile(rb'"children":(\d{12,})')
"""A time in nanoseconds, as the value of an update."""

UPDATE = b'"children"'
"""What each update of a stream has once, however many share an event."""

CONNECTIONS = 4
"""For requests: a browser has six to a host, and pages take one each."""

TIMEOUT = 120.0


class Reader(Protocol):
    """Who owns a socket of the loop."""

    def read(self) -> None:
        """There is something to read."""

    def close(self) -> None:
        """The loop is over."""


class Client:
    """A loop over sockets.

    Attributes:
        port: of the server.
        answered: how many requests were answered.
        refused: the answers that were not 2xx.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.answered = 0
        self.refused: list[bytes] = []
        self._poll = select.epoll()
        self._readers: dict[int, Reader] = {}
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self._requests = [Requests(self) for _ in range(CONNECTIONS)]
        self._turn = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for reader in list(self._readers.values()):
            reader.close()
        self._poll.close()

    def connect(self) -> socket.socket:
        """A connection to the server."""
        return socket.create_connection(("127.0.0.1", self.port))

    def add(self, connection: socket.socket, reader: Reader) -> None:
        self._readers[connection.fileno()] = reader
        self._poll.register(connection.fileno(), select.EPOLLIN)

    def ignore(self, connection: socket.socket) -> None:
        """Read nothing of a connection any more, and leave it open."""
        self._poll.modify(connection.fileno(), 0)

    def remove(self, connection: socket.socket) -> None:
        del self._readers[connection.fileno()]
        self._poll.unregister(connection.fileno())
        connection.close()

    def get(self, path: str) -> bytes:
        """GET outside of the loop."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
            assert response.status == 200, (path, response.status, body[:1000])
            return body
        finally:
            connection.close()

    def post(
        self,
        path: str,
        body: Any,
        then: OnAnswer | None = None,
        browser: str = "",
        *,
        lane: int = -1,
        headers: Headers = (),
    ) -> None:
        """POST `body` as JSON; requests go over a few connections, in turn.

        Args:
            path: of the route.
            body: anything that JSON has, or the JSON itself.
            then: is told the status and the body of the answer.
            browser: the secret of Flash's cookie.
            lane: which connection; -1 for the next one.
            headers: beside those that every request has.
        """
        if lane < 0:
            self._turn = lane = (self._turn + 1) % CONNECTIONS
        content = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
        others = "".join(f"{name}: {value}\r\n" for name, value in headers)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: application/json\r\n"
            f"Cookie: {cookie(browser)}\r\n{others}Content-Length: {len(content)}\r\n\r\n"
        )
        self._requests[lane].send(head.encode() + content, then)

    def idle(self) -> bool:
        """Whether every request has been answered."""
        return not any(requests.waiting for requests in self._requests)

    def after(self, seconds: float, then: Callable[[], None]) -> None:
        """Call `then` in so many seconds, if the loop runs."""
        self._timers.append((time.monotonic() + seconds, then))

    def run(self, until: Callable[[], bool], timeout: float = TIMEOUT) -> None:
        """Let things happen until `until()`; it is asked after each round."""
        deadline = time.monotonic() + timeout
        while not until():
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing came of it in {timeout:g} s")
            self._round(0.01)

    def run_until_answered(self) -> None:
        """Let things happen until every request is answered that has been made so far, whatever is asked meanwhile."""
        last = [(requests.waiting, requests.waiting[-1]) for requests in self._requests if requests.waiting]
        self.run(lambda: not any(request is one for waiting, request in last for one in waiting))

    def run_for(self, seconds: float) -> None:
        """Let things happen for so long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._round(min(left, 0.01))

    def _round(self, timeout: float) -> None:
        if self._timers:
            now = time.monotonic()
            due = [then for at, then in self._timers if at <= now]
            self._timers = [(at, then) for at, then in self._timers if at > now]
            timeout = min([timeout, *(max(0.0, at - now) for at, _ in self._timers)])
            for then in due:
                then()
        for number, _ in self._poll.poll(timeout, 1024):
            reader = self._readers.get(number)
            if reader is not None:
                reader.read()


class Requests:
    """One keep-alive connection for requests, one at a time.

    Attributes:
        waiting: the requests that were not answered yet; the first has been sent.
    """

    def __init__(self, client: Client) -> None:
        self.waiting: deque[tuple[bytes, OnAnswer | None]] = deque()
        self._client = client
        self._socket: socket.socket | None = None
        self._received = b""

    def send(self, request: bytes, then: OnAnswer | None) -> None:
        self.waiting.append((request, then))
        if len(self.waiting) == 1:
            self._send_first()

    def _send_first(self) -> None:
        if self._socket is None:
            self._socket = self._client.connect()
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._client.add(self._socket, self)
        self._received = b""
        self._socket.sendall(self.waiting[0][0])

    def read(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(1 << 18)
        except ConnectionResetError:
            data = b""
        if not data:
            # It was idle for too long, or had its thousand requests.
            self.close()
            if self.waiting:
                self._send_first()
            return
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        lowered = head.lower()
        length = re.search(rb"content-length: (\d+)", lowered)
        if length is not None and len(body) < int(length[1]):
            return
        if b"transfer-encoding: chunked" in lowered and not body.endswith(b"0\r\n\r\n"):
            return
        if b"connection: close" in lowered:
            self.close()
        status = int(head[9:12])
        if status >= 300:
            self._client.refused.append(body)
        self._client.answered += 1
        _, then = self.waiting.popleft()
        if self.waiting:
            self._send_first()
        if then is not None:
            then(status, body)

    def close(self) -> None:
        if self._socket is not None:
            self._client.remove(self._socket)
            self._socket = None


class Connection:
    """A connection of a page to the client's server.

    Attributes:
        closed: one of the two has ended it.
    """

    def __init__(self, client: Client) -> None:
        self.closed = False
        self._client = client
        self._socket = client.connect()

    def receive(self) -> bytes:
        """What has come; nothing at the end, when it is closed."""
        try:
            data = self._socket.recv(1 << 20)
        except ConnectionResetError:
            data = b""
        if not data:
            self.close()
        return data

    def ignore(self) -> None:
        """Read nothing of it any more."""
        self._client.ignore(self._socket)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._client.remove(self._socket)


class EventStream(Connection):
    """One response that does not end, read as it comes."""

    def __init__(self, client: Client, request: bytes, on_events: OnEvents, separator: bytes = b"\n\n") -> None:
        super().__init__(client)
        self._on_events = on_events
        self._separator = separator
        self._rest = b""
        self._socket.sendall(request)
        client.add(self._socket, self)

    def read(self) -> None:
        data, now = self.receive(), time.monotonic_ns()
        if not data:
            return
        end = data.rfind(self._separator)
        if end < 0:
            self._rest += data
            return
        end += len(self._separator)
        block, self._rest = self._rest + data[:end], data[end:]
        self._on_events(block, now)


def get_stream(
    client: Client, target: str, on_events: OnEvents, browser: str = "", headers: Headers = ()
) -> EventStream:
    """The answer to a GET, as a stream of events."""
    more = "".join(f"{name}: {value}\r\n" for name, value in headers)
    request = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\nCookie: {cookie(browser)}\r\n{more}\r\n"
    return EventStream(client, request.encode(), on_events)


class FlashPage(AnyPage[None]):
    """A page of a Flash app, as far as its server can see it: it connects, and acknowledges as the script does.

    Attributes:
        on_events: is given what comes.
        applied: the id of the last event that it has done with.
        greeted: its connection stands.
        acknowledgements: how many it has sent.
    """

    def __init__(
        self,
        client: Client,
        dependencies: Dependencies,
        on_events: OnEvents,
        *,
        acknowledges: bool = True,
        browser: str | None = None,
        link_headers: Headers = (),
    ) -> None:
        """Connect.

        Args:
            client: the loop.
            dependencies: the app's callbacks.
            on_events: is given what comes.
            acknowledges: what has come is applied at once, and acknowledged when that is due.
            browser: the secret of its browser; None for a browser of its own.
            link_headers: those of the request for its link, beside its cookie.
        """
        super().__init__(PageIdentity(browser=browser or new_token()), dependencies.dependencies)
        self.on_events = on_events
        self.applied = b""
        self.greeted = False
        self.acknowledgements = 0
        self._client = client
        self._acknowledges = acknowledges
        self._acknowledged = b""
        self._acknowledged_at = time.monotonic_ns()
        self._unasked = 0.0
        self.stream = get_stream(client, self.identity.events, self._receive, self.identity.browser, link_headers)

    def send(self, post: Post) -> None:
        self._client.post(post.target, post.body, browser=self.identity.browser, headers=post.headers)

    def keep_up(self) -> None:
        """Acknowledge what has been applied."""
        if self.applied and self.applied != self._acknowledged:
            self._acknowledged = self.applied
            self._acknowledged_at = time.monotonic_ns()
            self.acknowledgements += 1
            self.acknowledge(self.applied.decode())

    def leave(self) -> None:
        """Be gone, with all streams, as a page whose tab is closed."""
        super().leave()
        self.stream.close()

    def _receive(self, block: bytes, now: int) -> None:
        if not self.greeted and (interval := ping_interval_in(block)) is not None:
            self.greeted = True
            # A little more than the interval between pings: see `keepUp` in the script.
            self._unasked = interval * 1e9 * 1.1
        self.on_events(block, now)
        if self._acknowledges:
            if last := last_id_in(block):
                self.applied = last
            if has_ping(block) or now - self._acknowledged_at > self._unasked:
                self.keep_up()


class Dependencies(Callbacks):
    """The callbacks of a Dash app, and the requests that its renderer sends for them."""

    def __init__(self, client: Client) -> None:
        client.get("/")
        super().__init__(json.loads(client.get("/_dash-dependencies")))

    def click(self, component: str, value: Any) -> Any:
        """The body that is sent when `n_clicks` of `component`, an Input of one callback, has become `value`.

        A page of Flash makes the requests for its streams itself: they say whose they are.
        """
        return self.request(component, values={component: {"n_clicks": value}})
