"""Sends a request whose body has come on as one message, and has it answered with as few.

    browser ─ request ─► this worker ─ scope and body ───────────► the holder runs its app
    browser ◄─ answer ──             ◄─ held, response, over ──────

Most requests that are sent on are small: what a page says, above all the acknowledgement for each ping. If each message
wakes up the other worker, that costs more than to answer the request. So the body goes with the head. And that the
request is taken, the response, and that it is over go in one write, unless the app waits: then what there is goes at
once.

But a start is said to be taken before the app sees it: if the holder says nothing, nothing of the start has begun, and
it may be sent to another worker. Whatever else is sent on may begin twice, if the holder is killed just then, or held
up for `VERDICT_TIMEOUT`: it is what a page says, and the second time changes nothing.

Nothing of such a request is left on its connection when it is over, so that another one may follow. That the browser
leaves is noticed without a task, by a call of the server. Then the connection is closed, and the holder tells its app.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextvars import copy_context

import trio

from .. import _hypercorn
from .._hypercorn_messages import RequestMessages
from ..user_code.containment import contain
from ..user_code.first_wait import when_suspended
from .frames import HELD, OVER, PIECE, App, MalformedFrame, Message, Receive, encode
from .peer_connection import PeerConnection, PeerGone
from .routing import begins_something, is_long

_log = logging.getLogger("flash.workers")

_HELD, _OVER = ([*encode({"type": kind})] for kind in (HELD, OVER))
"""The frames that say that a request is taken, and over."""


def whole_body(scope: Message, receive: Receive) -> bytes | None:
    """The body of a request that is to be sent on whole, which can still be received; None of any other request."""
    if is_long(scope):
        return None
    body = _hypercorn.body_at_hand(receive)
    return body if body is not None and len(body) <= PIECE else None


async def answer_whole(
    app: App, scope: Message, body: bytes, connection: PeerConnection, start_soon: Callable[..., None]
) -> None:
    """Answer a request that another worker has sent on whole.

    Args:
        app: answers it.
        scope: of the request.
        body: all of its body.
        connection: to that worker; has been sent nothing of the answer.
        start_soon: starts a task.

    Raises:
        PeerGone: the other worker does not wait for the answer any more; the app has not seen the request.
    """
    # It has sent all that it sends. And it may have waited for so long that it has asked another worker meanwhile.
    connection.expect(())
    if not connection.is_silent:
        raise PeerGone
    # Its body, that it is answered, and that the browser has left.
    messages = RequestMessages(limit=3)
    await messages.put({"type": "http.request", "body": body, "more_body": False})
    answer = _Answer(connection, messages)
    if begins_something(scope):
        await answer.begin()
    watch = trio.CancelScope()

    def wait() -> None:
        if not answer.begin_at_once():
            start_soon(answer.send_rest)
        start_soon(_watch, connection, messages, watch)

    try:
        # The task of the connection serves other requests as well, of other browsers.
        context = copy_context()
        await contain(
            _log,
            "A request that another worker has sent on failed.",
            lambda: when_suspended(app(scope, messages.receive, answer.send), wait, context),
        )
    finally:
        watch.cancel()
    await answer.end()


async def _watch(connection: PeerConnection, messages: RequestMessages, watch: trio.CancelScope) -> None:
    """Tell the app of a request when the browser has left, or the other worker is dead."""
    with watch:
        try:
            await connection.receive()
        except PeerGone:
            pass
        except MalformedFrame as error:
            _log.error("A request that another worker sends on was given up: %s", error)
            connection.close()
        await messages.put({"type": "http.disconnect"})


class _Answer:
    """What is sent to the other worker: that the request is taken, the response, and that it is over."""

    def __init__(self, connection: PeerConnection, messages: RequestMessages) -> None:
        """
        Args:
            connection: to that worker.
            messages: of the request, which the app receives.
        """
        self._connection = connection
        self._messages = messages
        # What waits to be sent with what follows, until the app waits; None from then on.
        self._waiting: list[bytes] | None = [*_HELD]
        self._size = 0

    async def begin(self) -> None:
        """Say that the request is taken.

        Raises:
            PeerGone: to nobody.
        """
        waiting, self._waiting = self._waiting, None
        await self._connection.send_frames(waiting or ())

    def begin_at_once(self) -> bool:
        """Say that the request is taken, and send what there is of the response, without waiting.

        Returns:
            Whether all that is sent. If not, `send_rest` sends the rest.
        """
        if self._waiting is None:
            return True
        waiting, self._waiting = self._waiting, None
        return self._connection.send_at_once(waiting)

    async def send_rest(self) -> None:
        """Send what there was no room for."""
        await self._send(())

    async def send(self, message: Message) -> None:
        """The ASGI `send` of the request. When the browser has left it sends nothing, as with a server."""
        # Encoded here, what cannot be is an error of the app.
        frames = [*encode(message)]
        self._size += sum(map(len, frames))
        if self._waiting is not None and self._size <= PIECE:
            self._waiting += frames
        else:
            await self._send(frames)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            # As a server says it when it has sent the response.
            await self._messages.put({"type": "http.disconnect"})

    async def end(self) -> None:
        """Say that the request is over."""
        await self._send(_OVER)

    async def _send(self, frames: Iterable[bytes]) -> None:
        waiting, self._waiting = self._waiting, None
        try:
            await self._connection.send_frames(frames if waiting is None else [*waiting, *frames])
        except PeerGone:
            await trio.lowlevel.checkpoint()
