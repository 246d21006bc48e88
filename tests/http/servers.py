"""Servers for tests over real sockets: Hypercorn's trio worker on a free port of 127.0.0.1.

    async def test_something(serve: Serve) -> None:
        app = Flash(__name__)
        app.layout = [html.Button(id="go"), html.Div(id="out")]

        @app.event_callback(Input("go", "n_clicks"))
        async def count(clicks: int) -> AsyncIterator[Update]:
            yield stream_props("out", {"children": clicks})

        server = await serve(app)
        page = await server.page()         # see `pages.py`
        events = await page.connect()      # see `support/link.py`
        await page.start("go")
        opened = await events.expect("open")

Dash's registries of callbacks are process-wide: give each test an app of its own, and declare its callbacks with
`app.callback` and `app.event_callback`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx
import trio
from hypercorn.config import Config
from hypercorn.trio import serve as serve_with_hypercorn

from tests.http.pages import Page, new_client
from tests.support.eventually import TIMEOUT


class Server:
    """A server that runs in the test's nursery until the test is over or `stop` is called.

    Attributes:
        app: what it serves.
        port: where, on 127.0.0.1.
        prefix: of the app's routes as the browser sees them.
        make_page: makes a page of a browser, the port, and the prefix.
    """

    make_page: Callable[[httpx.AsyncClient, int, str], Page] = Page

    def __init__(self, app: Any, prefix: str) -> None:
        self.app = app
        self.port = 0
        self.prefix = prefix
        self.stopping = trio.Event()
        self.stopped = trio.Event()
        self._clients: list[httpx.AsyncClient] = []
        self._pages: list[Page] = []

    def browser(self) -> httpx.AsyncClient:
        """A browser with no cookies yet. It is closed with the server."""
        client = new_client(self.port)
        self._clients.append(client)
        return client

    async def page(
        self,
        path: str = "",
        *,
        browser: httpx.AsyncClient | None = None,
        prefix: str | None = None,
        load: bool = True,
    ) -> Page:
        """A page, loaded in a browser of its own unless one is given; of another app than `app` if it has a prefix."""
        page = self.make_page(
            self.browser() if browser is None else browser, self.port, self.prefix if prefix is None else prefix
        )
        self._pages.append(page)
        if load:
            await page.load(path)
        return page

    async def stop(self) -> None:
        """Let the server shut down gracefully, with whatever connections there are, and wait until it is down."""
        self.stopping.set()
        with trio.fail_after(TIMEOUT):
            await self.stopped.wait()

    async def release(self) -> None:
        """Close every page and browser."""
        for page in self._pages:
            await page.close()
        for client in self._clients:
            await client.aclose()


class Serve(Protocol):
    """The type of the `serve` fixture."""

    async def __call__(
        self, app: Any, *, at: Callable[..., Any] | None = None, prefix: str | None = None, **options: Any
    ) -> Server:
        """Start a server in the test's nursery.

        Args:
            app: the Flash app.
            at: the ASGI app to serve, if it is not `app` itself.
            prefix: where the browser finds the app, if not at its `requests_pathname_prefix`.
            options: of Hypercorn's Config.
        """
        ...


class Servers:
    """The servers of one test."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._servers: list[Server] = []

    async def start(
        self, app: Any, *, at: Callable[..., Any] | None = None, prefix: str | None = None, **options: Any
    ) -> Server:
        """Start a server: see `Serve`."""
        config = Config()
        config.bind = ["127.0.0.1:0"]
        config.graceful_timeout = 2.0
        for name, value in options.items():
            assert hasattr(config, name), name
            setattr(config, name, value)
        server = Server(app, app.config.requests_pathname_prefix if prefix is None else prefix)
        served = app if at is None else at

        async def run(task_status: trio.TaskStatus[list[str]]) -> None:
            try:
                await serve_with_hypercorn(
                    served, config, shutdown_trigger=server.stopping.wait, task_status=task_status
                )
            finally:
                server.stopped.set()

        bound = await self._nursery.start(run)
        server.port = urlsplit(bound[0]).port or 0
        self._servers.append(server)
        return server

    async def stop(self) -> None:
        """Close every page and browser, and shut every server down."""
        for server in self._servers:
            await server.release()
            await server.stop()
