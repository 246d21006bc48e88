"""Dash's websocket callbacks: one connection, one nursery.

    connection ── the task that reads, and starts callbacks
               ├─ the task that sends what has to wait (see `batching`)
               └─ callbacks: a task each, which sends its answer; plain ones wait there for their thread

When the socket closes, whoever closed it, the callbacks are cancelled and awaited. A page that does not read makes
its callbacks wait, and nobody else's; when it has taken nothing for `stall_timeout`, they are cancelled.

A message that makes no sense is answered with an error and changes nothing; what is not a message at all closes the
socket with 1007, a hook that refuses one closes it with the hook's code, and a server that stops with 1001, on
which Dash's renderer comes back.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Protocol
from urllib.parse import urlsplit

import trio

from .._dash import PreventUpdate, WebsocketDisconnected
from ..asgi.client_log import ClientWarnings
from ..errors import RequestRefused
from ..options import DEFAULTS
from ..user_code.cleanup import Deadline, clean_up_of
from ..user_code.containment import log_failure, split_cancellation
from ..user_code.inner_generators import InnerGenerators
from ..user_code.suspension import when_suspended
from . import messages
from .callback import CallbackConnection, WebsocketCallback
from .exchange import MessageExchange
from .messages import CallbackRequest, Heartbeat, Malformed, PropsResponse
from .open_sockets import OpenSockets
from .pacing import paced, run_in_thread

_log = logging.getLogger("flash.server")
_warnings = ClientWarnings(_log)

MALFORMED = 1007
REJECTED = 4001
GOING_AWAY = 1001
"""Codes with which the server closes a socket."""

CALLBACKS_PER_SOCKET = 1_000
"""How many callbacks of one browser may run at a time: more than any page has, and a bound."""

DEFAULT_PORTS = {"http": 80, "https": 443}
"""Which an origin does not name."""

CLOSE_TIMEOUT = 1.0
"""Seconds in which a socket that is to be closed takes the frame that says so."""

Hook = Callable[..., Awaitable[Any]]


class Websocket(Protocol):
    """What a connection needs of Quart's websocket; it is also what hooks are asked about."""

    async def close(self, code: int, reason: str = "") -> None: ...


class Peer(Protocol):
    """The client of a websocket."""

    @property
    def is_being_written_to(self) -> bool: ...
    def was_heard(self) -> bool: ...
    async def ping(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """A callback that is ready to be run.

    Attributes:
        name: what to call it in the log.
        function: the name of the user's function.
        execute: runs it; returns its result as JSON.
        is_async: whether `execute` is to be awaited.
        is_well_formed: whether the request is of the form that the callback declares: asked when it has failed.
    """

    name: str
    function: str
    execute: Callable[[], Any]
    is_async: bool
    is_well_formed: Callable[[], bool] = field(default=lambda: True)


@dataclass(frozen=True, slots=True)
class WebsocketLimits:
    """What bounds the websockets of an app.

    Attributes:
        buffer: bytes that may wait for a page before its callbacks wait.
        stall_timeout: seconds that a page has to take a frame.
        cleanup_timeout: seconds that a thread has to return when its socket has closed, and a task under `cleanup()`.
        threads: limits the plain callbacks that run at a time.
        sockets: how many there may be.
        per_browser: how many of them may be of one browser.
        ping_interval: seconds after which a client is asked whether it is there.
    """

    buffer: int
    stall_timeout: float
    cleanup_timeout: float
    threads: trio.CapacityLimiter
    sockets: int
    per_browser: int = DEFAULTS.pages_per_browser
    ping_interval: float = DEFAULTS.ping_interval


@dataclass(frozen=True, slots=True)
class Settings:
    """What connections need of the app.

    Attributes:
        prepare: finds the callback that is asked for; raises RequestRefused if there is none.
        describe: what the page is told of a callback's failure.
        hooks: what is asked about each message.
        batch_delay: seconds from one frame of updates to the next.
        limits: what bounds them.
    """

    prepare: Callable[[dict[str, Any], WebsocketCallback], Prepared]
    describe: Callable[[BaseException], str]
    hooks: Callable[[], Sequence[Hook]]
    batch_delay: float
    limits: WebsocketLimits


class CallbackSocket:
    """One websocket that was accepted, and the callbacks that run for it."""

    def __init__(
        self, websocket: Websocket, exchange: MessageExchange, settings: Settings, peer: Peer | None = None
    ) -> None:
        self._websocket = websocket
        self._peer = peer
        self._exchange = exchange
        self._settings = settings
        self._connection = CallbackConnection(settings.limits.buffer, settings.batch_delay)
        self._scope = trio.CancelScope()
        self._reading_scope = trio.CancelScope()
        self._watching_scope = trio.CancelScope()
        self._close_frame: tuple[int, str] | None = None
        self._deadlines: set[Deadline] = set()

    @property
    def is_shutdown(self) -> bool:
        """The socket has closed, or is about to."""
        return self._connection.is_shutdown

    @property
    def waiting_bytes(self) -> int:
        """How much waits to be sent."""
        return self._connection.outbox.buffer.bytes

    async def run(self) -> None:
        """Serve the socket until either side closes it, and every callback is over."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send)
                if self._peer is not None:
                    nursery.start_soon(self._watch, self._peer)
                async with trio.open_nursery() as callbacks:
                    try:
                        with self._reading_scope:
                            await self._read(callbacks)
                    finally:
                        # On a stop, what waits may still go; otherwise nobody is there, or ought to hear more.
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

    async def _watch(self, peer: Peer) -> None:
        """Close the socket when nothing is heard of its client, which answers pings if it is there.

        What is counted is pings, not seconds: while this process is paused nothing is heard of anybody.
        """
        limits, unanswered = self._settings.limits, 0
        with self._watching_scope:
            while unanswered * limits.ping_interval < limits.stall_timeout:
                await trio.sleep(limits.ping_interval)
                if peer.was_heard():
                    unanswered = 0
                elif not peer.is_being_written_to:
                    # What cannot be written has a deadline of its own.
                    unanswered += 1
                if not peer.is_being_written_to:
                    await peer.ping()
            self._scope.cancel()

    async def _read(self, callbacks: trio.Nursery) -> None:
        while self._close_frame is None:
            data = await self._exchange.receive()
            if data is None:
                # Nobody is there to be written to, either.
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
        # Where this waits, for a page that does not read, the page is not read either.
        try:
            said = messages.read(message)
        except Malformed as error:
            await self._connection.send(messages.error(messages.renderer_of(message), str(error), "malformed"))
            return
        match said:
            case Heartbeat():
                self._connection.outbox.acknowledge()
            case PropsResponse():
                self._connection.receive_response(said)
            case CallbackRequest():
                if len(callbacks.child_tasks) < CALLBACKS_PER_SOCKET:
                    callbacks.start_soon(self._respond, said)
                else:
                    running = f"{CALLBACKS_PER_SOCKET} callbacks of this browser are running already."
                    await self._connection.send(messages.callback_error(said, running))

    async def _respond(self, asked: CallbackRequest) -> None:
        """Run a callback and answer its request."""
        answer = await self._call(asked)
        if self._connection.outbox.begin_direct_send():
            # As most answers do: waking the task that sends would cost as much as sending.
            try:
                await self._write(answer)
            finally:
                self._connection.outbox.end_direct_send()
        else:
            with contextlib.suppress(WebsocketDisconnected):
                await self._connection.send(answer)

    # A Ctrl-C is never raised in here: see `containment`.
    @trio.lowlevel.enable_ki_protection
    async def _call(self, asked: CallbackRequest) -> str:
        """Run a callback; return the answer to its request."""
        name, limits = "?", self._settings.limits
        callback: Prepared | None = None
        try:
            callback = self._settings.prepare(asked.payload, WebsocketCallback(self._connection, asked.renderer))
            name = callback.name
            if callback.is_async:
                with clean_up_of(callback.function, limits.cleanup_timeout) as deadline:
                    self._deadlines.add(deadline)
                    try:
                        coroutine: Coroutine[Any, Any, str] = callback.execute()
                        async with InnerGenerators(f"the callback {name!r}"):
                            data = await paced(coroutine, self._connection.outbox.buffer)
                    finally:
                        self._deadlines.remove(deadline)
            else:
                data = await run_in_thread(callback.execute, limits.threads, limits.cleanup_timeout, name)
            return messages.callback_response(asked, data)
        except (PreventUpdate, WebsocketDisconnected):
            return messages.prevent_update(asked)
        except RequestRefused as refusal:
            return messages.callback_error(asked, str(refusal))
        except Exception as error:
            if callback is not None and not callback.is_well_formed():
                _warnings.warn("malformed", "A callback request was refused, which no page sends", error=error)
                return messages.callback_error(asked, "The request is malformed.")
            _log.error("The callback %r failed.", name, exc_info=error)
            return messages.callback_error(asked, self._settings.describe(error))
        except BaseException as error:
            cancelled, failure = split_cancellation(error)
            if failure is not None:
                log_failure(_log, failure, "The callback %r failed.", name)
            if cancelled is not None:
                raise cancelled from None
            return messages.callback_error(asked, self._settings.describe(error))

    async def _send(self) -> None:
        """The task that writes what the outbox has."""
        while (frame := await self._connection.outbox.next_frame()) is not None:
            await self._write(frame)
        if self._close_frame is not None:
            with trio.move_on_after(CLOSE_TIMEOUT):
                await self._websocket.close(*self._close_frame)

    async def _write(self, frame: str) -> None:
        await when_suspended(self._exchange.send(frame), self._set_deadline)
        if self._scope.deadline != inf:
            self._scope.deadline = inf

    def _set_deadline(self) -> None:
        # The server may shield what it sends: the deadline is for the callbacks. See `serving` for the socket.
        self._scope.deadline = trio.current_time() + self._settings.limits.stall_timeout


class CallbackSockets(OpenSockets[CallbackSocket]):
    """The connections of an app.

    Attributes:
        limits: what bounds them.
    """

    def __init__(self, limits: WebsocketLimits) -> None:
        super().__init__(limits.sockets, limits.per_browser)
        self.limits = limits


async def ask_hooks(hooks: Sequence[Hook], *arguments: Any, default: str) -> tuple[int, str] | None:
    """Ask hooks whether they object; return the code and the reason of the first that does.

    Args:
        hooks: each returns False, or a code and a reason, if it objects. One that raises does too.
        arguments: what they are asked about.
        default: the reason if a hook gives none.
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
        if isinstance(result, tuple) and len(result) == 2:  # type: ignore[reportUnknownArgumentType]
            code, reason = result  # type: ignore[reportUnknownVariableType]
            return int(code), str(reason)  # type: ignore[reportUnknownArgumentType]
    return None


def check_origin(origin: str | None, host: str | None, allowed: Sequence[str], secure: bool = False) -> None:
    """Raise RequestRefused unless a handshake comes from a page of this site, or of one that is allowed.

    Args:
        origin: the header.
        host: the header.
        allowed: origins of other sites.
        secure: whether the handshake has come over TLS. Then a page without it is one that anybody may have written.
            The other way round the page is as safe as it looks, and a proxy has not told of its TLS.
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
