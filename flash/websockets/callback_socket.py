"""Runs Dash's websocket callbacks: each websocket is one nursery, and each of its callbacks a task in it.

    CallbackSocket.run ── the task that reads messages, and starts callbacks
                       ├─ the task that sends the frames of the send queue (see `batching`)
                       ├─ the task that pings the client
                       └─ callbacks: one task each, which runs a plain callback in a thread, and sends the answer

When either side closes the socket, its callbacks are cancelled, and `run` returns when all have ended. If a page does
not read, its own callbacks wait, and no others. If it takes nothing for `stall_timeout`, they are cancelled.

A JSON object that is not a message of Dash's is answered with an error and changes nothing. The server closes the
socket with 1007 if a frame is not a JSON object, with the code that a hook gives if the hook rejects a message, and
with 1001 if the server stops; Dash's renderer connects again after 1001.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

import trio

from .._dash import PreventUpdate, WebsocketDisconnected
from ..asgi.client_log import ClientWarnings
from ..errors import RequestRefused
from ..options import DEFAULTS, FlashOptions
from ..user_code.cleanup import CleanUpOf, Deadline
from ..user_code.containment import log_failure, split_cancellation
from ..user_code.first_wait import when_suspended
from ..user_code.inner_generators import InnerGenerators
from . import messages
from .callback import CallbackConnection, WebsocketCallback
from .messages import CallbackMessage, Heartbeat, Malformed, PropsResponse
from .open_sockets import OpenSockets
from .pacing import paced, run_in_thread
from .transport import MessageTransport

_log = logging.getLogger("flash.server")
_warnings = ClientWarnings(_log)

MALFORMED = 1007
REJECTED = 4001
GOING_AWAY = 1001
"""Codes with which the server closes a socket."""

CALLBACKS_PER_SOCKET = 1_000
"""The most callbacks of one socket that may run at the same time: more than the pages of a browser need."""

DEFAULT_PORTS = {"http": 80, "https": 443}
"""The ports that an origin leaves out, by its scheme."""

CLOSE_TIMEOUT = 1.0
"""Seconds that sending the close frame of a socket may take."""

Hook = Callable[..., Awaitable[Any]]


class Websocket(Protocol):
    """What a callback socket needs of Quart's websocket, which is also passed to the hooks."""

    async def close(self, code: int, reason: str = "") -> None: ...


class WebsocketClient(Protocol):
    """The client of a websocket: `_hypercorn.WebsocketClient` is one."""

    @property
    def chunks_received(self) -> int: ...
    @property
    def is_being_written_to(self) -> bool: ...
    async def ping(self) -> None: ...


@dataclass(slots=True)
class Prepared:
    """A callback that is ready to run.

    Attributes:
        name: the name of the callback in the log.
        function: the name of the user's function.
        execute: runs the callback, and returns its result as JSON.
        is_async: whether `execute` returns a coroutine.
        is_well_formed: checks whether the request has the form that the callback declares. Called if it has failed.
    """

    name: str
    function: str
    execute: Callable[[], Any]
    is_async: bool
    is_well_formed: Callable[[], bool] = field(default=lambda: True)


class WebsocketLimits(NamedTuple):
    """The bounds of the callback websockets of an app.

    Attributes:
        buffer: the number of bytes waiting for a page at which its callbacks wait.
        stall_timeout: seconds that a page has to take a frame, and a client to answer a ping.
        cleanup_timeout: seconds, after its socket has closed, that a thread has to return, or a task under `cleanup()`.
        threads: bounds the plain callbacks that run at the same time.
        sockets: the most sockets that may be open.
        per_browser: the most sockets of one browser that may be open.
        ping_interval: seconds from one check that a client is there to the next.
    """

    buffer: int
    stall_timeout: float
    cleanup_timeout: float
    threads: trio.CapacityLimiter
    sockets: int
    per_browser: int = DEFAULTS.pages_per_browser
    ping_interval: float = DEFAULTS.ping_interval

    @classmethod
    def of(cls, options: FlashOptions, threads: trio.CapacityLimiter) -> WebsocketLimits:
        """Those that the options of an app say."""
        return cls(
            buffer=options.stream_buffer_bytes,
            stall_timeout=options.effective_stall_timeout,
            cleanup_timeout=options.cleanup_timeout,
            threads=threads,
            sockets=options.pages_per_server,
            per_browser=options.pages_per_browser,
            ping_interval=options.ping_interval,
        )


@dataclass(frozen=True, slots=True)
class CallbackSocketSettings:
    """What callback sockets need of their app.

    Attributes:
        prepare: finds the callback that a request asks for; raises RequestRefused if there is none.
        describe: turns the exception of a callback into the text that the page gets.
        hooks: returns the hooks that check each message.
        batch_delay: seconds from one frame of updates to the next.
        limits: the bounds of the sockets.
    """

    prepare: Callable[[dict[str, Any], WebsocketCallback], Prepared]
    describe: Callable[[BaseException], str]
    hooks: Callable[[], Sequence[Hook]]
    batch_delay: float
    limits: WebsocketLimits


class CallbackSocket:
    """One accepted websocket, and the callbacks that run for it.

    Args:
        websocket: the websocket as Quart has it.
        transport: receives and sends its messages.
        settings: what the socket needs of the app.
        client: the client; None if the server does not say whether it is there.
    """

    def __init__(
        self,
        websocket: Websocket,
        transport: MessageTransport,
        settings: CallbackSocketSettings,
        client: WebsocketClient | None = None,
    ) -> None:
        self._websocket = websocket
        self._client = client
        self._transport = transport
        self._settings = settings
        self._connection = CallbackConnection(settings.limits.buffer, settings.batch_delay)
        self._scope = trio.CancelScope()
        self._reading_scope = trio.CancelScope()
        self._watching_scope = trio.CancelScope()
        self._close_frame: tuple[int, str] | None = None
        self._deadlines: set[Deadline] = set()

    @property
    def is_shutdown(self) -> bool:
        """Whether the socket has closed, or is closing."""
        return self._connection.is_shutdown

    @property
    def waiting_bytes(self) -> int:
        """The number of bytes that wait to be sent."""
        return self._connection.send_queue.buffer.bytes

    async def run(self) -> None:
        """Serve the socket until either side has closed it and every callback has ended."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send)
                if self._client is not None:
                    nursery.start_soon(self._watch, self._client)
                async with trio.open_nursery() as callbacks:
                    try:
                        with self._reading_scope:
                            await self._read(callbacks)
                    finally:
                        # When the server stops, the messages that wait are still sent. They are dropped when the page
                        # has gone, or has sent a message that is malformed or rejected.
                        stopping = self._close_frame is not None and self._close_frame[0] == GOING_AWAY
                        self._connection.shut_down(discard=not stopping)
                        for deadline in self._deadlines:
                            deadline.begin()
                        callbacks.cancel_scope.cancel()
                self._watching_scope.cancel()

    def stop(self) -> None:
        """Close the socket, because the server stops."""
        self._close_frame = (GOING_AWAY, "The server stops.")
        self._reading_scope.cancel()

    async def _watch(self, client: WebsocketClient) -> None:
        """Ping the client, and end the socket when the client has sent nothing for `stall_timeout`.

        The method counts pings without an answer, not seconds, so that a pause of this process ends no socket.
        """
        limits, unanswered, received = self._settings.limits, 0, client.chunks_received
        with self._watching_scope:
            while unanswered * limits.ping_interval < limits.stall_timeout:
                await trio.sleep(limits.ping_interval)
                if client.chunks_received != received:
                    unanswered, received = 0, client.chunks_received
                elif not client.is_being_written_to:
                    # A frame that cannot be written has a deadline of its own: see `_set_deadline`.
                    unanswered += 1
                if not client.is_being_written_to:
                    await client.ping()
            self._scope.cancel()

    async def _read(self, callbacks: trio.Nursery) -> None:
        while self._close_frame is None:
            data = await self._transport.receive()
            if data is None:
                # The page has gone, so nothing can be sent either.
                self._scope.cancel()
                return
            try:
                message = await messages.decode(data)
            except Malformed as error:
                self._close_frame = (MALFORMED, str(error))
                return
            self._close_frame = await ask_hooks(
                self._settings.hooks(), self._websocket, message, default="Message rejected"
            )
            if self._close_frame is None:
                await self._handle(message, callbacks)

    async def _handle(self, message: Mapping[str, Any], callbacks: trio.Nursery) -> None:
        # While `send` waits for a page that does not read, this socket does not read either.
        try:
            parsed = messages.read(message)
        except Malformed as error:
            await self._connection.send(messages.error(messages.renderer_of(message), str(error), "malformed"))
            return
        match parsed:
            case Heartbeat():
                self._connection.send_queue.acknowledge()
            case PropsResponse():
                self._connection.receive_response(parsed)
            case CallbackMessage():
                if len(callbacks.child_tasks) < CALLBACKS_PER_SOCKET:
                    callbacks.start_soon(self._respond, parsed)
                else:
                    running = f"{CALLBACKS_PER_SOCKET} callbacks of this browser are running already."
                    await self._connection.send(messages.callback_error(parsed, running))

    async def _respond(self, request: CallbackMessage) -> None:
        """Run a callback and answer its request."""
        answer = await self._call(request)
        if self._connection.send_queue.begin_direct_send():
            # Most answers are sent here, since waking the task that sends would cost as much as sending.
            try:
                await self._write(answer)
            finally:
                self._connection.send_queue.end_direct_send()
        else:
            with contextlib.suppress(WebsocketDisconnected):
                await self._connection.send(answer)

    # Trio does not raise KeyboardInterrupt in this function: see `containment`.
    @trio.lowlevel.enable_ki_protection
    async def _call(self, request: CallbackMessage) -> str:
        """Run a callback, and return the message that answers its request."""
        name, limits = "?", self._settings.limits
        callback: Prepared | None = None
        try:
            callback = self._settings.prepare(request.payload, WebsocketCallback(self._connection, request.renderer))
            name = callback.name
            if callback.is_async:
                with CleanUpOf(callback.function, limits.cleanup_timeout) as deadline:
                    self._deadlines.add(deadline)
                    try:
                        coroutine: Coroutine[Any, Any, str] = callback.execute()
                        async with InnerGenerators(f"the callback {name!r}"):
                            data = await paced(coroutine, self._connection.send_queue.buffer)
                    finally:
                        self._deadlines.remove(deadline)
            else:
                data = await run_in_thread(callback.execute, limits.threads, limits.cleanup_timeout, name)
            return messages.callback_response(request, data)
        except (PreventUpdate, WebsocketDisconnected):
            return messages.prevent_update(request)
        except RequestRefused as refusal:
            return messages.callback_error(request, str(refusal))
        except Exception as error:
            if callback is not None and not callback.is_well_formed():
                _warnings.warn("malformed", "A callback request was refused, which no page sends", error=error)
                return messages.callback_error(request, "The request is malformed.")
            _log.error("The callback %r failed.", name, exc_info=error)
            return messages.callback_error(request, self._settings.describe(error))
        except BaseException as error:
            cancelled, failure = split_cancellation(error)
            if failure is not None:
                log_failure(_log, failure, "The callback %r failed.", name)
            if cancelled is not None:
                raise cancelled from None
            return messages.callback_error(request, self._settings.describe(error))

    async def _send(self) -> None:
        """Send the frames of the send queue until it is closed and empty, then close the socket if asked to."""
        while (frame := await self._connection.send_queue.next_frame()) is not None:
            await self._write(frame)
        if self._close_frame is not None:
            with trio.move_on_after(CLOSE_TIMEOUT):
                await self._websocket.close(*self._close_frame)

    async def _write(self, frame: str) -> None:
        await when_suspended(self._transport.send(frame), self._set_deadline)
        if self._scope.deadline != inf:
            self._scope.deadline = inf

    def _set_deadline(self) -> None:
        # This deadline cancels the callbacks. The server may shield the send itself: `serving` ends that.
        self._scope.deadline = trio.current_time() + self._settings.limits.stall_timeout


class CallbackSockets(OpenSockets[CallbackSocket]):
    """The open callback sockets of an app.

    Attributes:
        limits: the bounds of the sockets.
    """

    def __init__(self, limits: WebsocketLimits) -> None:
        super().__init__(limits.sockets, limits.per_browser)
        self.limits = limits


async def ask_hooks(hooks: Sequence[Hook], *arguments: Any, default: str) -> tuple[int, str] | None:
    """Call hooks in order until one rejects, and return its code and reason; None if no hook rejects.

    Args:
        hooks: the hooks. A hook rejects if it returns False, or a code and a reason, or if it raises.
        arguments: the arguments of each hook.
        default: the reason for a hook that returns False.
    """
    for hook in hooks:
        try:
            result = await hook(*arguments)
        except BaseException as error:
            if split_cancellation(error)[0] is not None:
                raise
            _log.error("A websocket hook failed, and what it was asked about is refused.", exc_info=error)
            return REJECTED, "Authentication error"
        if result is False:
            return REJECTED, default
        if isinstance(result, tuple) and len(rejection := cast("tuple[Any, ...]", result)) == 2:
            code, reason = rejection
            return int(code), str(reason)
    return None


def check_origin(origin: str | None, host: str | None, allowed: Sequence[str], secure: bool = False) -> None:
    """Raise RequestRefused unless a handshake comes from a page of this site, or of an allowed origin.

    Args:
        origin: the Origin header.
        host: the Host header.
        allowed: the origins of other sites that are allowed.
        secure: whether the handshake came over TLS. If it did, a page that was loaded without TLS is refused, since
            anybody on its way may have changed it. If it did not, a page that was loaded with TLS is accepted: a proxy
            has ended TLS, and has not said so.
    """
    if not origin:
        raise RequestRefused(403, "Origin header required")
    if origin in allowed:
        return
    try:
        page, default = urlsplit(origin), DEFAULT_PORTS[urlsplit(origin).scheme]
        here = urlsplit(f"//{host or ''}")
        same = (page.hostname, page.port or default) == (here.hostname, here.port or default)
    except (KeyError, ValueError):
        same, page = False, None
    if not same or page is None or not page.hostname or (secure and page.scheme != "https"):
        raise RequestRefused(403, "Origin not allowed")
