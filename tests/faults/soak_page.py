"""The pages of the soak: on raw sockets, because they come by the thousand.

Any process accepts a well-formed token, so a page needs to load nothing: it makes up its token and its browser's
cookie, connects, and sends the requests that Dash's renderer would send.
"""

from __future__ import annotations

from typing import Any

import trio

from tests.faults.soak_timeline import Timeline, name_of
from tests.support.connections import open_connection
from tests.support.eventually import TIMEOUT
from tests.support.http1 import Answer, Http1
from tests.support.linked_page import LinkedPage
from tests.support.wire_client import PageIdentity, Post

SHOWN = 120
"""Bytes of the body of a request that the timeline shows."""


class Page(LinkedPage[Answer]):
    """One page: it keeps a connection for its requests, and opens links.

    Attributes:
        port: of the server, on 127.0.0.1.
        timeline: what the page does and is told.
    """

    def __init__(self, port: int, dependencies: list[dict[str, Any]]) -> None:
        super().__init__(PageIdentity(), dependencies)
        self.port = port
        self.timeline = Timeline(name_of(self.identity.browser))
        self._http: Http1 | None = None
        self._turn = trio.Lock()

    async def open(self, receive_buffer: int | None = None) -> Http1:
        return Http1(await open_connection(self.port, receive_buffer))

    async def send(self, post: Post) -> Answer:
        length = ("Content-Length", str(len(post.body)))
        headers = [*self.identity.headers, length, ("Content-Type", "application/json"), *post.headers]
        self.timeline.note(f"sends {post.target} {post.body[:SHOWN].decode(errors='replace')}")
        async with self._turn:
            whole = False
            try:
                with trio.fail_after(TIMEOUT):
                    reused = self._http is not None
                    try:
                        answer = await self._exchange(post, headers)
                    except trio.BrokenResourceError:
                        # Like a browser: the server may just have closed a connection that was idle.
                        if not reused:
                            raise
                        await self._hang_up()
                        answer = await self._exchange(post, headers)
                whole = self._http is not None and self._http.is_reusable
                self.timeline.note(f"is answered {post.target} with {answer.status}, {self.describe(answer)}")
                return answer
            finally:
                if not whole:
                    await self._hang_up()

    async def close(self) -> None:
        """Close the connection that requests go by, and the links."""
        await self._hang_up()
        await super().close()

    def describe(self, answer: Answer) -> str:
        """What the timeline says of an answer."""
        return answer.text

    async def _exchange(self, post: Post, headers: list[tuple[str, str]]) -> Answer:
        if self._http is None:
            self._http = await self.open()
        await self._http.send("POST", post.target, headers, post.body)
        return await self._http.answer()

    async def _hang_up(self) -> None:
        closing, self._http = self._http, None
        if closing is not None:
            await trio.aclose_forcefully(closing.stream)
