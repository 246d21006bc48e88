"""The browser's end of a page: what Dash's renderer and Flash's client do, as far as the server can see it.

    page = await server.page()                  # loads the index, the layout and the callbacks; has cookie and token
    events = await page.connect()               # the event stream
    await page.start("go")                      # a click: increments n_clicks and sends the callback request
    opened = await events.expect("open")
    await page.cancel(opened["stream"], 0, 1)   # condition number 0 has become 1

A page keeps the values of its components' properties as the layout has them; `start` and `set` change them, and the
requests of callbacks carry them. What the server sends is not applied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import httpx
import trio

from flash.asgi.browser_cookie import COOKIE
from flash.asgi.page_secret import PAGE_ID
from flash.asgi.tokens import new_token
from flash.wire import START_HEADER
from tests.support.connections import open_connection
from tests.support.dash_requests import Callbacks, ComponentId, components_of, key_of
from tests.support.eventually import TIMEOUT
from tests.support.http1 import Http1
from tests.support.link import Link
from tests.support.wire_client import PageIdentity, Post, events_target


class Page:
    """One load of an app in one tab of one browser.

    Pages with the same `client` are tabs of the same browser.

    Attributes:
        client: the browser, with its cookies.
        port: of the server.
        prefix: of the app's routes, such as `/`.
        token: names the page.
        layout: as it was sent.
        dependencies: Dash's list of the app's callbacks.
        streams: the ids of the hidden components of the app's event callbacks, in the order of their declaration.
    """

    def __init__(self, client: httpx.AsyncClient, port: int, prefix: str = "/") -> None:
        self.client = client
        self.port = port
        self.prefix = prefix
        self.token = ""
        self.layout: Any = None
        self.dependencies: list[dict[str, Any]] = []
        self.streams: list[str] = []
        self._values: dict[str, dict[str, Any]] = {}
        self._links: list[Link] = []

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
            self._values[key_of(props["id"])] = props
            if kind == "flash.CallbackComponent":
                self.streams.append(props["id"])
        self.token = self._values.get(PAGE_ID, {}).get("token", "")

    @property
    def cookie(self) -> str:
        """The secret of the browser; "" if it has none."""
        return self.client.cookies.get(COOKIE) or ""

    @property
    def identity(self) -> PageIdentity:
        """What the page is called, and what it sends."""
        return PageIdentity(self.token, self.cookie, self.prefix)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        """GET a path that is relative to the app's prefix."""
        return await self.client.get(self.prefix + path, **options)

    async def post(self, path: str, body: Any) -> httpx.Response:
        """POST `body` as JSON to a path that is relative to the app's prefix."""
        return await self.client.post(self.prefix + path, json=body)

    # The event stream

    async def connect(
        self,
        *others: Page,
        last: str = "",
        turn: int = 0,
        tickets: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        receive_buffer: int | None = None,
        ok: bool = True,
    ) -> Link:
        """Open the page's event stream.

        Args:
            others: pages that it carries as well, as ones that have had no event yet.
            last: the id of the last event that has reached this page.
            turn: of this page.
            tickets: for pages whose cookie was overtaken.
            headers: instead of the browser's cookie.
            receive_buffer: bytes that the socket may hold unread.
            ok: whether the server is expected to accept.
        """
        if headers is None:
            headers = dict(self.identity.headers)
        standings = [self.identity.standing(last, turn), *(other.identity.standing() for other in others)]
        target = events_target(standings, self.prefix) + "".join(f"&ticket={ticket}" for ticket in tickets)
        with trio.fail_after(TIMEOUT):
            http = Http1(await open_connection(self.port, receive_buffer), f"127.0.0.1:{self.port}")
            connected = await Link.open(http, target, headers.items())
        self._links.append(connected)
        if ok:
            assert connected.status == 200, connected.status
        return connected

    async def cancel(self, stream: str, condition: int | str = 0, value: Any = None) -> httpx.Response:
        """Tell the server that the property of a condition of a stream has become `value`."""
        return await self._say(self.identity.cancel(stream, condition, value))

    async def acknowledge(self, event: str) -> httpx.Response:
        """Tell the server that all events up to the one with this id have been applied."""
        return await self._say(self.identity.acknowledge(event))

    async def leave(self) -> httpx.Response:
        """Tell the server that the page is being left, as on `pagehide`."""
        return await self._say(self.identity.leave())

    async def _say(self, post: Post) -> httpx.Response:
        return await self.client.post(post.target, content=post.body, headers={"Content-Type": "application/json"})

    async def close(self) -> None:
        """Close the event streams."""
        for each in self._links:
            await each.close()

    # Callbacks

    def set(self, component_id: ComponentId, **props: Any) -> None:
        """Give a component's properties other values than the layout has."""
        self._values.setdefault(key_of(component_id), {"id": component_id}).update(props)

    async def start(
        self, component_id: ComponentId, prop: str = "n_clicks", value: Any = None, *, callback: str = ""
    ) -> httpx.Response:
        """Change a property and send the request of the one callback that has it for an Input.

        Args:
            component_id: of the component; for MATCH and ALL the id of the one that has changed.
            prop: the property.
            value: None to count one up.
            callback: part of the callback's output, to tell callbacks on the same Input apart.
        """
        body = self.request(component_id, prop, value, callback=callback)
        names_page = any(entry["id"] == PAGE_ID for entry in body.get("state", []) if isinstance(entry, dict))
        headers = {START_HEADER: new_token()} if names_page else {}
        return await self.client.post(self.identity.start, json=body, headers=headers)

    async def call(
        self, component_id: ComponentId, prop: str = "n_clicks", value: Any = None, *, callback: str = ""
    ) -> dict[str, Any]:
        """Like `start`, for a callback that returns its result: what it answered, by component id."""
        response = await self.start(component_id, prop, value, callback=callback)
        assert response.status_code == 200, (response.status_code, response.text)
        return cast("dict[str, Any]", response.json()["response"])

    def request(
        self, component_id: ComponentId, prop: str = "n_clicks", value: Any = None, *, callback: str = ""
    ) -> dict[str, Any]:
        """The body of the request that `start` sends."""
        if value is None:
            value = (self._values.get(key_of(component_id), {}).get(prop) or 0) + 1
        self.set(component_id, **{prop: value})
        return Callbacks(self.dependencies).request(component_id, prop, values=self._values, callback=callback)


def new_client(port: int) -> httpx.AsyncClient:
    """A browser with no cookies yet."""
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", verify=False, trust_env=False, timeout=TIMEOUT, follow_redirects=False
    )
