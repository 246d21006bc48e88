"""The browser's end of a page: what Dash's renderer and Flash's client do, as far as the server can see it.

    page = await server.page()                  # loads the index, the layout and the callbacks; has cookie and token
    events = await page.connect()               # a link: see `support/link.py`
    await page.start("go")                      # a click: see `support/page.py`
    opened = await events.expect("open")
    await page.cancel(opened["stream"], 0, 1)   # condition number 0 has become 1

A page keeps the values of its components' properties as the layout has them; `start` and `set` change them, and the
requests of callbacks carry them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import httpx

from flash.asgi.browser_cookie import COOKIE
from flash.asgi.page_secret import PAGE_ID
from flash.testing.component_ids import ComponentId, key_of
from tests.support.connections import open_connection
from tests.support.dash_requests import components_of
from tests.support.eventually import TIMEOUT
from tests.support.http1 import Http1
from tests.support.linked_page import LinkedPage
from tests.support.wire_client import PageIdentity, Post


class Page(LinkedPage[httpx.Response]):
    """One load of an app in one tab of one browser.

    Pages with the same `client` are tabs of the same browser.

    Attributes:
        client: the browser, with its cookies.
        port: of the server.
        layout: as it was sent.
        streams: the ids of the hidden components of the app's event callbacks, in the order of their declaration.
    """

    def __init__(self, client: httpx.AsyncClient, port: int, prefix: str = "/") -> None:
        super().__init__(PageIdentity("", "", prefix), [])
        self.client = client
        self.port = port
        self.layout: Any = None
        self.streams: list[str] = []

    async def load(self, path: str = "") -> None:
        """Get what a browser gets when the app is opened at `path`."""
        for url in (path, "_dash-layout", "_dash-dependencies"):
            response = await self.get(url)
            assert response.status_code == 200, (url, response.status_code, response.text)
            if url == "_dash-layout":
                self.layout = response.json()
            elif url == "_dash-dependencies":
                self.dependencies = response.json()
        for kind, props in components_of(self.layout):
            self.values[key_of(props["id"])] = props
            if kind == "flash.CallbackComponent":
                self.streams.append(props["id"])
        self.token = self.values.get(PAGE_ID, {}).get("token", "")

    @property
    def cookie(self) -> str:
        """The secret of the browser; "" if it has none."""
        return self.client.cookies.get(COOKIE) or ""

    @property
    def identity(self) -> PageIdentity:
        """What the page is called, with the secret that the browser has now."""
        return replace(self._identity, browser=self.cookie)

    @property
    def prefix(self) -> str:
        """Of the app's routes, such as `/`."""
        return self._identity.prefix

    async def get(self, path: str, **options: Any) -> httpx.Response:
        """GET a path that is relative to the app's prefix."""
        return await self.client.get(self.prefix + path, **options)

    async def post(self, path: str, body: Any) -> httpx.Response:
        """POST `body` as JSON to a path that is relative to the app's prefix."""
        return await self.client.post(self.prefix + path, json=body)

    async def send(self, post: Post) -> httpx.Response:
        headers = {"Content-Type": "application/json", **dict(post.headers)}
        return await self.client.post(post.target, content=post.body, headers=headers)

    async def open(self, receive_buffer: int | None = None) -> Http1:
        return Http1(await open_connection(self.port, receive_buffer), f"127.0.0.1:{self.port}")

    async def call(
        self, component_id: ComponentId, prop: str = "n_clicks", value: Any = None, *, callback: str = ""
    ) -> dict[str, Any]:
        """Like `start`, for a callback that returns its result: what it answered, by component id."""
        response = await self.start(component_id, prop, value, callback=callback)
        assert response.status_code == 200, (response.status_code, response.text)
        return cast("dict[str, Any]", response.json()["response"])


def new_client(port: int) -> httpx.AsyncClient:
    """A browser with no cookies yet."""
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", verify=False, trust_env=False, timeout=TIMEOUT, follow_redirects=False
    )
