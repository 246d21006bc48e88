"""Has clients repeat requests that a worker no longer takes, because it is leaving and others go on.

A worker leaves while others go on: after SIGHUP the new ones, or those beside it when it is stopped alone. It gets no
new connections then. But a client may have one, and send a request on it to open a link or to start a stream, which a
server that stops refuses. Where others go on, no request is to be refused: the answer is 307, which has the client send
the same request to the same address again. It does so over another connection, as this one is closed, and reaches
another worker. A request that had come before, and is refused because the worker has begun to leave meanwhile, has the
same answer.

What a page says besides, such as an acknowledgement, is for the worker that has the page: the one that leaves, until it
has ended the page's link. After that the page has a link to those who go on, and may still have the old connection. So
a message that has come over that is sent again, once, if the worker that leaves does not know what it is about. One
that another worker has sent on is not: it would be sent on again. Nor is an acknowledgement for several pages, unless
all of them are unknown.

Over HTTP/2 the connection would stay. So a request that has come over it to this worker is refused in the way that has
clients repeat it over another: see `_hypercorn_http2`. But one that another worker has sent on has the same answer as
over HTTP/1.1: the connection is that worker's, which sends the request on to another holder, or begins with it itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import trio

from .._hypercorn import refusable_request
from .frames import App, Receive, Send
from .routing import begins_something, is_message

STOPS = (503,)
"""The status of the answer of a server that stops."""

IS_UNKNOWN = (403, 404, 409)
"""The statuses of the answers to a message about a page, a life or a stream of it, or a proof, that the server does not
have or know."""


class Leaving:
    """Whether a worker leaves, and what that does to its requests.

    Attributes:
        begun: the worker leaves, and others go on.
    """

    def __init__(self) -> None:
        self.begun = False
        self._decided = trio.Event()
        self._decided.set()

    @contextlib.contextmanager
    def deciding(self) -> Generator[None]:
        """Have those who ask `decided` wait until this block has found out whether others go on, and set `begun`.

        In it the directory is told that this worker stops. From then on it grants the worker no browser, and what it
        does not grant cannot be answered before it is known whether the request is to be sent again.
        """
        self._decided = trio.Event()
        try:
            yield
        finally:
            self._decided.set()

    async def decided(self) -> None:
        """Wait while a block of `deciding` runs."""
        await self._decided.wait()

    def refuses(self, scope: Any) -> bool:
        """Whether the worker does not take a request any more, because it leaves and others go on."""
        return self.begun and begins_something(scope)

    def around(self, app: App, *, sent_on: bool = False) -> App:
        """The ASGI app whose requests are sent again if they come too late for `app`.

        Args:
            app: answers all others.
            sent_on: whether the requests were sent on by other workers.
        """

        async def leaving(scope: Any, receive: Receive, send: Send) -> None:
            if begins_something(scope):
                refusals = STOPS
            elif is_message(scope) and not sent_on:
                refusals = IS_UNKNOWN
            else:
                return await app(scope, receive, send)
            is_answered = sent_on or scope["http_version"].startswith("1")
            request = None if is_answered else refusable_request(send)
            if not is_answered and request is None:
                return await app(scope, receive, send)

            async def send_again() -> None:
                await (_have_sent_again(scope, send) if request is None else request.refuse())

            if not self.refuses(scope):
                return await app(scope, receive, _MayBeRefused(self, refusals, send_again, send).send)
            if request is None:
                await read_body(receive)
            return await send_again()

        return leaving


class _MayBeRefused:
    """A request that may be refused because the worker has begun to leave meanwhile.

    Attributes:
        passes_on_to: the `send` of the server, which all but a refusal reaches unchanged.
    """

    def __init__(
        self, leaving: Leaving, refusals: tuple[int, ...], send_again: Callable[[], Awaitable[None]], send: Send
    ) -> None:
        """
        Args:
            leaving: whether the worker leaves.
            refusals: the statuses of the answers that have the request sent again if it does.
            send_again: has it sent again.
            send: of the server.
        """
        self.passes_on_to = send
        self._leaving = leaving
        self._refusals = refusals
        self._send_again = send_again
        self._is_sent_again = False

    async def send(self, message: Any) -> None:
        """The ASGI `send` of the request."""
        is_start = message["type"] == "http.response.start"
        if self._leaving.begun and is_start and message["status"] in self._refusals:
            self._is_sent_again = True
            await self._send_again()
        elif not self._is_sent_again:
            await self.passes_on_to(message)


async def read_body(receive: Receive) -> None:
    """Let a client send all of its request, so that it reads the answer."""
    while (await receive()).get("more_body", False):
        pass


async def _have_sent_again(scope: Any, send: Send) -> None:
    """Answer a request so that the client sends it again, over another connection."""
    # Relative to the address of the request, as the client knows it: a proxy may have changed what comes before.
    target = scope["raw_path"].partition(b"?")[0].rpartition(b"/")[2]
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    headers = [(b"location", target), (b"content-length", b"0"), (b"cache-control", b"no-store")]
    if scope["http_version"].startswith("1"):
        # The worker that has the connection may be another one, which does not close it by itself yet.
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": 307, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
