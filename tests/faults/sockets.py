"""The browser's end of a page on raw sockets, well-behaved or not, and servers in processes of their own.

    site = Site(port)                       # or the `serve` fixture's, or that of `serving`
    page = await site.page()
    events = await page.connect()           # a link: see `support/link.py`
    await page.start("go")                  # a click: see `support/page.py`
    ended = await events.until("end")

Nothing is read from a socket unless a test asks for it: a page that does not read is one that nobody asks.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from flash.asgi.tokens import new_token
from flash.testing.component_ids import ComponentId
from tests.faults.http2 import Http2, Reply
from tests.support.connections import open_connection, reset
from tests.support.eventually import TIMEOUT
from tests.support.http1 import Answer, Http1
from tests.support.link import Link
from tests.support.linked_page import LinkedPage
from tests.support.processes import Process, python
from tests.support.wire_client import Headers, PageIdentity, Post, resuming


@dataclass
class Site:
    """A server as clients see it.

    Attributes:
        port: where it listens.
        tls: how its certificate is checked; None without TLS.
        dependencies: Dash's list of the app's callbacks.
        sockets: those that were opened and are closed by `close`.
        prefix: of the app's routes, with the slash at its end.
        host: the address of the loopback range where it listens.
    """

    port: int
    tls: ssl.SSLContext | None = None
    prefix: str = "/"
    dependencies: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    sockets: set[trio.SocketStream] = field(default_factory=set[trio.SocketStream])
    host: str = "127.0.0.1"

    async def open(self, receive_buffer: int | None = None) -> trio.SocketStream:
        """A connection, with a receive buffer of so many bytes."""
        stream = await open_connection(self.port, receive_buffer, self.host)
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
                return await http.answer()
            finally:
                self.sockets.discard(transport)
                await trio.aclose_forcefully(transport)

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


class Page(LinkedPage[Answer]):
    """One load of the app in one tab; its links acknowledge unless they are told otherwise.

    Attributes:
        site: the server.
    """

    acknowledges = True

    def __init__(self, site: Site, browser: str) -> None:
        super().__init__(PageIdentity(browser=browser, prefix=site.prefix), site.dependencies)
        self.site = site

    @property
    def browser(self) -> str:
        """The secret in the browser's cookie."""
        return self.identity.browser

    @property
    def headers(self) -> list[tuple[str, str]]:
        """What the browser sends with each request."""
        return [*self.identity.headers, ("Content-Type", "application/json"), *self.more_headers]

    async def open(self, receive_buffer: int | None = None) -> Http1:
        transport = await self.site.open(receive_buffer)
        return Http1(transport if self.site.tls is None else await self.site.secure(transport, "http/1.1"))

    async def send(self, post: Post) -> Answer:
        return await self.site.request("POST", post.target, headers=[*self.headers, *post.headers], body=post.body)

    async def connect_http2(self, connection: Http2, *, after: str = "", window: int = 2**20) -> tuple[Link, Reply]:
        """Open a link as one stream of an HTTP/2 connection, whose window is shut if it is 0."""
        reply = await self.request_http2(connection, after=after, window=window)
        status = await reply.status()
        assert status == 200, status

        async def acknowledge(event: str) -> None:
            post = self.identity.acknowledge(event)
            await (await connection.request("POST", post.target, self.headers, post.body)).answer()

        return Link(status, {}, reply.read, acknowledge=acknowledge if self.acknowledges else None), reply

    async def request_http2(self, connection: Http2, *, after: str = "", window: int = 2**20) -> Reply:
        """Ask for a link over HTTP/2, and do not wait for the response."""
        return await connection.request("GET", self.identity.events, [*self.headers, *resuming(after)], window=window)

    async def status(self) -> Answer:
        """Why a link of the page would be refused."""
        return await self.site.get(self.identity.status, headers=self.headers)

    async def begin(self, component_id: ComponentId = "go", value: Any = None) -> None:
        """Start an event callback; fail if the server does not."""
        answer = await self.start(component_id, value=value)
        assert answer.status in (200, 204), (answer.status, answer.text)


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
