"""Hands the connection of a link over to the worker that holds its browser, so that updates pass one process only.

    browser ── this worker: reads the request ── offer ──────────► the holder
                                              ◄─ adopted ────────
                                              ── the socket and the request (SCM_RIGHTS) ──► serves the connection
    browser ◄──────────────────────────────── updates ────────────────────────────────────── the holder

A browser does not know which worker its connection comes to. Most requests are small, and pass two workers if they come
to the wrong one: see `sending_on`. But a link stays for as long as its page, and each update would cost twice as much.
So the holder gets the connection itself, together with the request as this worker has read it, and serves it like one
that has come to it at once: it reads the same bytes and writes the same. This worker closes its descriptor, and has no
part in the link any more. If the socket gets lost because one of the two dies, no process has the connection any more,
so the system closes it, and the browser opens another.

That can be done over HTTP/1.1 without TLS, between workers of one machine. Elsewhere more than one socket is needed to
go on, and links are sent on like all other requests.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable

from .. import _hypercorn
from .frames import Message, encode_scope
from .peer_connection import PeerConnection, PeerGone
from .routing import is_long

_log = logging.getLogger("flash.workers")

OFFER = "flash.offer"
"""The field of a scope that says that its connection can be handed over."""

ADOPTED = "flash.adopted"
"""What the holder says of a request whose connection it takes."""

CONNECTION = "flash.connection"
"""The message that the socket comes with, and what was read of it."""


class Handover:
    """The connection of one link, which its holder may take."""

    def __init__(self, scope: Message, request: _hypercorn.UnansweredRequest) -> None:
        self._scope = scope
        self._unanswered = request

    @classmethod
    def of_request(cls, scope: Message, send: object) -> Handover | None:
        """The connection of a request; None if it cannot be handed over, or is not worth it.

        Args:
            scope: of the request.
            send: its `send`, which was not called.
        """
        if scope["type"] != "http" or not is_long(scope):
            return None
        request = _hypercorn.unanswered_request(send)
        return None if request is None else cls(scope, request)

    @property
    def offer(self) -> Message:
        """The message that asks the holder to take the request."""
        return {**encode_scope(self._scope), OFFER: True}

    async def run(self, holder: PeerConnection, receive: Callable[[], Awaitable[Message]]) -> None:
        """Hand the connection over to the holder, which has adopted it. This worker does not answer the request."""
        # When the end of the request has been received, nothing of it is on its way between the tasks of the server.
        while (message := await receive()).get("more_body", False):
            pass
        if message["type"] == "http.disconnect":
            return
        try:
            request = await self._unanswered.take_back()
            # If the holder is gone, the connection is closed, and the browser opens the link again.
            with contextlib.suppress(PeerGone):
                await holder.send_socket({"type": CONNECTION, "bytes": request}, self._unanswered.fileno)
        finally:
            await self._unanswered.let_go()


async def adopt(peer: PeerConnection, serve: Callable[[socket.socket, bytes], None]) -> None:
    """Receive the connection of a link that was offered, and serve it.

    Args:
        peer: the worker that hands it over.
        serve: has the server of this worker serve a connection; takes what was read of it, too.

    Raises:
        PeerGone: the other worker is dead, or the browser has left.
        MalformedFrame: the other worker sends something else.
    """
    peer.expect((CONNECTION,))
    try:
        message, connection = await peer.receive_socket()
    except OSError as error:
        _log.error("The connection of a link cannot be received: %s.", error.strerror)
        return
    try:
        serve(connection, message["bytes"])
    except BaseException:
        connection.close()
        raise
