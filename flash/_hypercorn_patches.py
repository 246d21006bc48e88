"""Patches Hypercorn's Trio worker, for the servers of Flash apps and for no other.

When the lifespan of a Flash app starts, `adopt` notes the configuration of the server that runs it. From then on each
connection that this server accepts is a `FlashTCPServer`, and speaks HTTP and websockets by the classes of
`_hypercorn_http1`, `_hypercorn_http2` and `_hypercorn_websocket`. Hypercorn has no option for its classes, so their
constructors are replaced: they look at the configuration, and leave the connections of other servers as they are.
"""
# pyright: reportPrivateUsage=false, reportUnknownVariableType=false

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable
from time import time
from typing import Any, cast
from weakref import WeakKeyDictionary

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, RawData, Updated
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import MAX_RECV, TCPServer

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
        self.idle_task = cast("Any", IdleTimeout(self, self._reading))

    async def run(self) -> None:
        """Serve the connection. A failure of its code is reported; in Hypercorn it would end the worker.

        One way to cause such a failure is open to every client: a websocket handshake that is refused, as one to a
        path that does not exist, and then more data on the same connection.
        """
        try:
            await super().run()
        except Exception as failure:
            error = _first_failure(failure)
            self._report(f"connection {type(error).__name__}", error)
        except BaseExceptionGroup as group:
            failures, others = group.split(Exception)
            if failures is not None:
                self._report("connections", _first_failure(failures))
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
            await self.send_all(event.data)
            return
        if type(event) is Updated:
            idle_task = cast("IdleTimeout", self.idle_task)
            if event.idle:
                idle_task.begin()
            else:
                idle_task.stop()
            return
        # When a request is answered whose body is cut off at that moment, Hypercorn writes an error while the
        # connection is closing. The BusyResourceError of that would end the worker, and with it every page.
        with contextlib.suppress(trio.BusyResourceError):
            await super().protocol_send(event)
        if type(event) is Closed:
            # h11 waits on, if there are bytes of another request.
            self._reading.cancel()

    async def send_all(self, data: bytes) -> None:
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

    @property
    def _is_closed(self) -> bool:
        """Whether the socket was closed while something that was read from it was handled. Trio waits for none such."""
        return self.stream.socket.fileno() == -1

    @property
    def _reads_directly(self) -> bool:
        return type(self.stream) is trio.SocketStream and not self.config.read_timeout and os.name == "posix"

    async def _read_data(self) -> None:
        try:
            with self._reading:
                received, self.received = self.received, b""
                if received:
                    await self.protocol.handle(RawData(received))
                del received
                if not self._reads_directly:
                    await super()._read_data()
                    return
                # Hypercorn tries to read first, in a scope with a deadline, by `receive_some`. A connection waits here
                # for most of its life, and that would take 2 KiB of it; a function for this loop, a tenth of that.
                while not self._is_closed:
                    try:
                        await trio.lowlevel.wait_readable(self.stream.socket)
                        if self._reading.cancel_called:
                            # What comes at the last moment is not begun: its client sends it again.
                            break
                        data = os.read(self.stream.socket.fileno(), MAX_RECV)
                    except BlockingIOError:
                        continue
                    except (OSError, trio.ClosedResourceError):
                        break
                    await self.protocol.handle(RawData(data))
                    if not data:
                        break
                    del data
            await self.protocol.handle(Closed())
        finally:
            cast("IdleTimeout", self.idle_task).end()
            if self._reading_over is None:
                self._reading_over = trio.Event()
            self._reading_over.set()


def _first_failure(failure: Exception) -> Exception:
    """The first failure of a group, and not a group itself, whose text says only that it is one."""
    while isinstance(failure, ExceptionGroup):
        failure = cast("ExceptionGroup[Exception]", failure).exceptions[0]
    return failure


REPLACEMENTS = {
    TCPServer: FlashTCPServer,
    H11Protocol: FlashH11Protocol,
    H2Protocol: FlashH2Protocol,
    HTTPStream: FlashHTTPStream,
    WSStream: FlashWSStream,
}
"""The classes of Hypercorn, and what instances of them become that serve a Flash app."""


class IdleTimeout:
    """Stops the reading of a connection that has been idle for `keep_alive_timeout`, which ends the connection.

    It takes the place of the task that Hypercorn starts for that after each request.

    Attributes:
        timeout: seconds for which the connection may be idle.
        since: when it has become idle, on Trio's clock.
    """

    __slots__ = ("_idle", "_is_over", "_reading", "since", "timeout")

    def __init__(self, server: TCPServer, reading: trio.CancelScope) -> None:
        self.since: float = 0.0
        self.timeout: float = server.config.keep_alive_timeout
        self._reading = reading
        self._idle = IdleConnections.of(server.context)
        self._is_over = False

    async def restart(self, task_group: object, action: object) -> None:
        """The connection has been accepted. Hypercorn would run `action` as a task."""
        self.begin()

    def begin(self) -> None:
        """The connection is idle from now on."""
        if not self._is_over:
            self.since = trio.current_time()
            self._idle.add(self)

    def stop(self) -> None:
        """A request has begun."""
        self._idle.discard(self)
        if self._reading.deadline != math.inf:
            self._reading.deadline = math.inf

    def end(self) -> None:
        """The connection is read no more."""
        self._is_over = True
        self._idle.discard(self)

    def end_at(self, deadline: float) -> None:
        """Have the connection end at `deadline`, on Trio's clock, if it is idle until then."""
        self._reading.deadline = deadline


class IdleConnections:
    """The connections of a server that have no request.

    One task waits for the time at which the first of them is to end: to become idle and to have a request again, which
    nearly all of them do before that, costs a connection next to nothing. When the server stops they end at once; or,
    where no more connections come to it but requests may, soon.
    """

    def __init__(self, context: Any) -> None:
        # The context of `_hypercorn_worker` says more than Hypercorn's own.
        self._ending: Any = getattr(context, "ending", context.terminated)
        self._context = context
        # In the order in which they have become idle. A dictionary, as sets have no order.
        self._connections: dict[IdleTimeout, None] = {}
        self._is_watched = False

    @classmethod
    def of(cls, context: Any) -> IdleConnections:
        """Those of the server whose connections have this context."""
        found: IdleConnections | None = getattr(context, "idle_connections", None)
        if found is None:
            found = context.idle_connections = cls(context)
            trio.lowlevel.spawn_system_task(found.end_with_server, name="end of idle connections")
        return found

    def add(self, connection: IdleTimeout) -> None:
        """This one has become idle, and ends when it has been so for its timeout."""
        self._connections.pop(connection, None)
        self._connections[connection] = None
        if self._ending.is_set():
            timeout = min(connection.timeout, getattr(self._context, "last_request_timeout", 0.0))
            connection.end_at(connection.since + timeout)
        elif not self._is_watched:
            self._is_watched = True
            trio.lowlevel.spawn_system_task(self._end_in_time, name="timeout of idle connections")

    def discard(self, connection: IdleTimeout) -> None:
        """This one is not idle any more."""
        self._connections.pop(connection, None)

    async def _end_in_time(self) -> None:
        """End the connections whose time is over, as long as there are any."""
        while self._connections:
            first = next(iter(self._connections))
            await trio.sleep_until(first.since + first.timeout)
            now = trio.current_time()
            for connection in list(self._connections):
                if connection.since + connection.timeout > now:
                    break
                self.discard(connection)
                connection.end_at(now)
        self._is_watched = False

    async def end_with_server(self) -> None:
        """Wait until the server stops, and have its idle connections end sooner."""
        await self._ending.wait()
        for connection in list(self._connections):
            self.add(connection)
