"""Patches Hypercorn's Trio worker, for the servers of Flash apps and for no other.

When the lifespan of a Flash app starts, `adopt` notes the configuration of the server that runs it. From then on each
connection that this server accepts is a `FlashTCPServer`, and speaks HTTP and websockets by the classes of
`_hypercorn_http1`, `_hypercorn_http2` and `_hypercorn_websocket`. Hypercorn has no option for its classes, so their
constructors are replaced: they look at the configuration, and leave the connections of other servers as they are.
"""
# pyright: reportPrivateUsage=false, reportUnknownVariableType=false

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable, Callable
from time import time
from typing import Any, cast
from weakref import WeakKeyDictionary

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, RawData
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer

from ._hypercorn_http1 import FlashH11Protocol, FlashHTTPStream
from ._hypercorn_http2 import FlashH2Protocol
from ._hypercorn_websocket import FlashWSStream
from ._trio import TlsWriter

FAIR_SENDS = 16
"""Writes of one connection after which another task has its turn."""

Report = Callable[[str, BaseException], None]
"""Logs that a connection has failed. Takes the kind of the failure, which limits repeated lines, and the exception."""

ResponseHeaders = Callable[[str], list[tuple[bytes, bytes]]]
"""Makes the headers that a server adds to each response of a protocol."""

_reports: WeakKeyDictionary[Config, Report] = WeakKeyDictionary()
"""The configurations of the servers that run Flash apps."""

_report_of_run: trio.lowlevel.RunVar[Report] = trio.lowlevel.RunVar("flash_report_of_run")
"""Set in a run of Trio where a Flash app is served and a middleware hides which server does."""


def adopt(receive: object, report: Report) -> None:
    """Make the connections of a server Flash's. To be called when its app starts, before it accepts any.

    Args:
        receive: the ASGI `receive` of the app's lifespan. If a middleware has wrapped it, all servers of this run of
            Trio are adopted.
        report: is called when a connection has failed.
    """
    lifespan: object = getattr(receive, "__self__", None)
    if isinstance(lifespan, Lifespan):
        if lifespan.config not in _reports:
            cast("Any", lifespan.config).response_headers = _once_a_second(lifespan.config.response_headers)
        _reports[lifespan.config] = report
    else:
        _report_of_run.set(report)
    for kind, replacement in REPLACEMENTS.items():
        if not hasattr(kind.__init__, "makes_flashs"):
            _replace_instances(kind, replacement)


def _report_for(config: Config) -> Report | None:
    """The function that reports failures of a server's connections; None if the server runs no Flash app."""
    report = _reports.get(config)
    if report is None:
        with contextlib.suppress(LookupError, RuntimeError):
            return _report_of_run.get()
    return report


def _once_a_second(response_headers: ResponseHeaders) -> ResponseHeaders:
    """Have the headers that the server adds to each response, the date among them, made once in a second."""
    made: dict[str, tuple[int, list[tuple[bytes, bytes]]]] = {}

    def headers_of_second(protocol: str) -> list[tuple[bytes, bytes]]:
        second, headers = made.get(protocol, (0, []))
        if second != int(time()):
            second, headers = made[protocol] = int(time()), response_headers(protocol)
        return headers.copy()

    return headers_of_second


def _replace_instances(kind: Any, replacement: Any) -> None:
    """Make new instances of a class that serve a Flash app instances of its subclass `replacement`."""
    make = kind.__init__

    def __init__(self: Any, *arguments: Any, **keywords: Any) -> None:
        make(self, *arguments, **keywords)
        if type(self) is kind and (report := _report_for(self.config)) is not None:
            self.__class__ = replacement
            self.set_up(report)

    __init__.makes_flashs = True  # pyright: ignore[reportFunctionMemberAccess]
    kind.__init__ = __init__


class FlashTCPServer(TCPServer):
    """A connection that writes without waiting what the socket accepts, and whose failure ends no other connection.

    Hypercorn's own way to write costs a lock, a shielded scope and a switch of tasks each time. Only what the socket
    does not take goes that way; and TLS, which has no other.
    """

    stream: Any
    received = b""
    """What another process has read of the connection."""

    def set_up(self, report: Report) -> None:
        self._report = report
        self._sends = 0
        self._reading = trio.CancelScope()
        self._reading_over: trio.Event | None = None
        self.idle_task = cast("Any", IdleTask())

    async def run(self) -> None:
        """Serve the connection. A failure of its code is reported; in Hypercorn it would end the worker.

        One way to cause such a failure is open to every client: a websocket handshake that is refused, as one to a
        path that does not exist, and then more data on the same connection.
        """
        try:
            await super().run()
        except Exception as error:
            self._report(f"connection {type(error).__name__}", error)
        except BaseExceptionGroup as group:
            failures, others = group.split(Exception)
            if failures is not None:
                self._report("connections", failures.exceptions[0])
            if others is not None:
                raise others from None

    async def protocol_send(self, event: Any) -> None:
        if type(event) is RawData and not event.data:
            # The end of a body whose length was announced.
            return
        if type(event) is RawData and type(self.stream) is trio.SocketStream and not self.send_lock.locked():
            await trio.lowlevel.checkpoint_if_cancelled()
            try:
                sent = os.write(self.stream.socket.fileno(), event.data)
            except OSError:
                # There is no room, or the connection is lost: Hypercorn's way finds out which.
                sent = 0
            if sent == len(event.data):
                self._sends += 1
                if self._sends % FAIR_SENDS == 0:
                    await trio.lowlevel.cancel_shielded_checkpoint()
                return
            event = RawData(event.data[sent:])
        if type(event) is RawData:
            await self._send_all(event.data)
            return
        # When a request is answered whose body is cut off at that moment, Hypercorn writes an error while the
        # connection is closing. The BusyResourceError of that would end the worker, and with it every page.
        with contextlib.suppress(trio.BusyResourceError):
            await super().protocol_send(event)
        if type(event) is Closed:
            # h11 waits on, if there are bytes of another request.
            self._reading.cancel()

    async def _send_all(self, data: bytes) -> None:
        """Wait until the socket has taken all of the data, as Hypercorn does, and what TLS has encrypted already."""
        async with self.send_lock:
            try:
                with trio.CancelScope(shield=True):
                    if data or type(self.stream) is trio.SocketStream:
                        await self.stream.send_all(data)
                    else:
                        await TlsWriter(self.stream).flush()
            except trio.BusyResourceError:
                # The connection is closing.
                pass
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                # If another request has come already, h11 reads on when this response is over: it will never be.
                self._reading.cancel()
                await self.protocol.handle(Closed())

    async def stop_reading(self) -> None:
        """Read no more, and return when the task that reads has done with what it has read."""
        if self._reading_over is None:
            self._reading_over = trio.Event()
            self._reading.cancel()
        await self._reading_over.wait()

    async def _read_data(self) -> None:
        try:
            with self._reading:
                received, self.received = self.received, b""
                if received:
                    await self.protocol.handle(RawData(received))
                await super()._read_data()
            if self._reading.cancelled_caught:
                await self.protocol.handle(Closed())
        finally:
            cast("IdleTask", self.idle_task).end()
            if self._reading_over is None:
                self._reading_over = trio.Event()
            self._reading_over.set()


REPLACEMENTS = {
    TCPServer: FlashTCPServer,
    H11Protocol: FlashH11Protocol,
    H2Protocol: FlashH2Protocol,
    HTTPStream: FlashHTTPStream,
    WSStream: FlashWSStream,
}
"""The classes of Hypercorn, and what instances of them become that serve a Flash app."""


class IdleTask:
    """The one task of a connection that closes it when it has been idle for `keep_alive_timeout`.

    Hypercorn's own task is cancelled and started anew for each request. This one sleeps until the timeout may be over;
    a request only notes that it has begun or ended.
    """

    def __init__(self) -> None:
        self._idle_since: float | None = None
        self._scope: trio.CancelScope | None = None
        self._over = False

    async def restart(self, task_group: Any, action: Callable[[], Awaitable[None]]) -> None:
        """The connection is idle from now on. `action` is the method of it that Hypercorn would run as a task."""
        self._idle_since = trio.current_time()
        if self._scope is None and not self._over:
            self._scope = trio.CancelScope()
            task_group.spawn(self._close_when_idle, self._scope, cast("Any", action).__self__)

    async def stop(self) -> None:
        """A request has begun."""
        self._idle_since = None

    def end(self) -> None:
        """The client has closed the connection."""
        self._over = True
        if self._scope is not None:
            self._scope.cancel()

    async def _close_when_idle(self, scope: trio.CancelScope, server: Any) -> None:
        timeout: float = server.config.keep_alive_timeout
        # The context of `_hypercorn_worker` says more than Hypercorn's own.
        ending = getattr(server.context, "ending", server.context.terminated)
        with scope:
            while True:
                since = self._idle_since
                with trio.move_on_at((trio.current_time() if since is None else since) + timeout):
                    await ending.wait()
                now, since = trio.current_time(), self._idle_since
                if since is None:
                    # A response is being sent, which may last for days: `restart` starts another task after it.
                    self._scope = None
                    return
                if ending.is_set():
                    last_request_timeout: float = getattr(server.context, "last_request_timeout", 0.0)
                    timeout = min(timeout, last_request_timeout)
                if now >= since + timeout:
                    break
                if ending.is_set():
                    await trio.sleep_until(since + timeout)
        if not scope.cancelled_caught:
            with trio.CancelScope(shield=True):
                await server._initiate_server_close()
