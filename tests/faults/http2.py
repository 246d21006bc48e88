"""The client's side of one HTTP/2 connection: a test opens its windows, and says when it is read."""

from __future__ import annotations

import contextlib

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import trio

from tests.support.eventually import TIMEOUT
from tests.support.http1 import Answer
from tests.support.wire_client import Headers


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

    def go_on(self) -> None:
        """Read again."""
        self._going_on.set()

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
        reported = False
        try:
            while data := await self._stream.receive_some(65_536):
                for event in self._http.receive_data(data):
                    self._handle(event)
                await self._flush()
                if self._settled.is_set() and not reported:
                    reported = True
                    task_status.started()
                await self._going_on.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except h2.exceptions.ProtocolError:
            # h2 takes nothing any more once the server takes no requests, though others may be answered still.
            if not self.over.is_set():
                raise
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
        try:
            self._begin(number, method, target, headers, body)
        except h2.exceptions.ProtocolError:
            raise trio.ClosedResourceError from None
        if window:
            self._http.increment_flow_control_window(window, number)
        await self._flush()
        return reply

    def encode_request(self, method: str, target: str, headers: Headers = (), body: bytes = b"") -> bytes:
        """The bytes of a request that is to be sent later, by `send`, in the order in which they were encoded."""
        self._begin(self._http.get_next_available_stream_id(), method, target, headers, body)
        return self._http.data_to_send()

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        await self._stream.send_all(data)

    def _begin(self, number: int, method: str, target: str, headers: Headers, body: bytes) -> None:
        pseudo = [(":method", method), (":path", target), (":scheme", "https"), (":authority", "127.0.0.1")]
        lower = [(name.lower(), value) for name, value in headers]
        self._http.send_headers(number, [*pseudo, *lower], end_stream=not body)
        if body:
            self._http.send_data(number, body, end_stream=True)

    async def reset(self, number: int) -> None:
        """Give up a response."""
        self._http.reset_stream(number)
        await self._flush()

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

    async def give_up(self) -> None:
        """Tell the server that the rest of the response is not wanted."""
        await self._connection.reset(self._number)

    async def answer(self) -> Answer:
        status = await self.status()
        body = b""
        with trio.fail_after(TIMEOUT):
            while data := await self.read():
                body += data
        return Answer(status, self._headers, body)
