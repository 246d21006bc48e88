"""A page without a browser, on raw sockets: what the soak and other fault tests drive by the thousand.

Any process accepts a well-formed token, so a page needs to load nothing: it makes up its token and its browser's
cookie, connects, and sends the requests that Dash's renderer would send.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import trio

from tests.support.connections import open_connection
from tests.support.dash_requests import fill_in, key_of, pattern_of, request_of
from tests.support.eventually import TIMEOUT
from tests.support.http1 import Answer, Http1
from tests.support.link import Link
from tests.support.wire_client import PageIdentity, Post, events_target, resuming


@dataclass
class Page:
    """One page: it keeps a connection for its requests, and opens event streams.

    Attributes:
        port: of the server, on 127.0.0.1.
        identity: what it is called, and what it sends.
        host: what its requests say the server is called.
    """

    port: int
    identity: PageIdentity = field(default_factory=PageIdentity)
    host: str = "127.0.0.1"
    _socket: trio.SocketStream | None = None
    _http: Http1 | None = None
    _links: list[Link] = field(default_factory=list[Link])
    _turn: trio.Lock = field(default_factory=trio.Lock)

    @property
    def token(self) -> str:
        return self.identity.token

    async def get(self, path: str) -> Answer:
        return await self._request("GET", path, b"")

    async def dependencies(self) -> list[dict[str, Any]]:
        """Dash's list of the app's callbacks."""
        answer = await self.get("/_dash-dependencies")
        assert answer.status == 200, answer
        return answer.json()

    async def start(self, callback: Mapping[str, Any], values: Mapping[str, Any], index: int | None = None) -> Answer:
        """Send the request that starts an event callback.

        Args:
            callback: its entry in `dependencies`.
            values: of its Inputs and States, by `id.property`; those of objects by the value of `type`.
            index: what MATCH for `index` matches.
        """

        matched = {"index": index}
        props: dict[str, dict[str, Any]] = {}
        for entry in [*callback["inputs"], *callback["state"]]:
            if not entry["id"].endswith("-never"):
                component_id = fill_in(pattern_of(entry["id"]), matched)
                name = component_id if isinstance(component_id, str) else component_id["type"]
                prop = entry["property"]
                props.setdefault(key_of(component_id), {})[prop] = values.get(f"{name}.{prop}")
        trigger = callback["inputs"][0]
        changed = f"{key_of(fill_in(pattern_of(trigger['id']), matched))}.{trigger['property']}"
        body = request_of(callback, changed, {**props, **self.identity.props}, matched)
        return await self._say(Post(self.identity.start, json.dumps(body).encode()))

    async def cancel(self, stream: str, value: object, condition: int = 0) -> Answer:
        """Tell that the property of a condition has become `value`."""
        return await self._say(self.identity.cancel(stream, condition, value))

    async def acknowledge(self, event: str) -> Answer:
        return await self._say(self.identity.acknowledge(event))

    async def leave(self) -> Answer:
        """What the page sends on `pagehide`."""
        return await self._say(self.identity.leave())

    async def _say(self, post: Post) -> Answer:
        return await self._request("POST", post.target, post.body)

    async def connect(self, last: str = "", *, in_header: bool = True) -> Link:
        """Open the event stream; `last` is the id of the last event that the page has applied."""
        target = self.identity.events if in_header else events_target([self.identity.standing(last)])
        headers = [*self.identity.headers, *resuming(last if in_header else "")]
        with trio.fail_after(TIMEOUT):
            http = Http1(await open_connection(self.port), self.host)
            link = await Link.open(http, target, headers)
        self._links.append(link)
        return link

    async def close(self) -> None:
        """Close the connection that requests go by, and the event streams that are open."""
        await self._hang_up()
        for link in self._links:
            await link.close()

    async def _hang_up(self) -> None:
        closing, self._socket = self._socket, None
        if closing is not None:
            await trio.aclose_forcefully(closing)

    async def _request(self, method: str, path: str, body: bytes) -> Answer:
        async with self._turn:
            whole = False
            try:
                with trio.fail_after(TIMEOUT):
                    reused = self._socket is not None
                    try:
                        answer = await self._send(method, path, body)
                    except trio.BrokenResourceError:
                        # Like a browser: the server may just have closed a connection that was idle.
                        if not reused:
                            raise
                        await self._hang_up()
                        answer = await self._send(method, path, body)
                whole = self._http is not None and self._http.is_reusable
                return answer
            finally:
                if not whole:
                    await self._hang_up()

    async def _send(self, method: str, path: str, body: bytes) -> Answer:
        if self._socket is None or self._http is None:
            self._socket = await trio.open_tcp_stream("127.0.0.1", self.port)
            self._http = Http1(self._socket, self.host)
        headers = [*self.identity.headers, ("Content-Length", str(len(body)))]
        if body:
            headers.append(("Content-Type", "application/json"))
        await self._http.send(method, path, headers, body)
        return await self._http.answer()
