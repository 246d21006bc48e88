"""A pretend page of a test on Trio, which opens links over HTTP/1.1."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Generic, TypeVar

import trio

from tests.support.eventually import TIMEOUT
from tests.support.http1 import Http1
from tests.support.link import Link
from tests.support.page import AnyPage
from tests.support.wire_client import PageIdentity, events_target, resuming

Answer = TypeVar("Answer")


class LinkedPage(AnyPage[Coroutine[Any, Any, Answer]], Generic[Answer]):
    """A page whose requests are answered, and that opens links.

    Attributes:
        acknowledges: its links acknowledge at each ping that is read.
        more_headers: what the browser sends with each request beside its cookie.
        links: those that it has opened.
    """

    acknowledges: bool = False

    def __init__(self, identity: PageIdentity, dependencies: list[dict[str, Any]]) -> None:
        super().__init__(identity, dependencies)
        self.more_headers: list[tuple[str, str]] = []
        self.links: list[Link] = []

    @abstractmethod
    async def open(self, receive_buffer: int | None = None) -> Http1:
        """A new connection to the server, whose socket may hold so many bytes unread."""

    async def connect(
        self,
        *others: AnyPage[Any],
        last: str = "",
        after: str = "",
        turn: int = 0,
        link: int | None = None,
        tickets: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        receive_buffer: int | None = None,
        over: Http1 | None = None,
        then: bytes = b"",
        ok: bool = True,
        timeout: float = TIMEOUT,
    ) -> Link:
        """Open a link.

        Args:
            others: pages that it carries as well, as ones that have had no event yet.
            last: the id of the last event that has reached this page, for the address.
            after: the same, for the header that an EventSource sends when it connects again.
            turn: of this page.
            link: its number among those that the hub of the page has opened; None for one that the page opens.
            tickets: for pages whose cookie was overtaken.
            headers: instead of the browser's cookie.
            receive_buffer: bytes that the socket may hold unread; few, to be a page that does not read.
            over: a connection that is open already.
            then: bytes that are sent behind the request.
            ok: whether the server is expected to accept.
            timeout: seconds for which the server may take to answer.
        """
        standings = [self.identity.standing(last, turn, link)]
        standings += [other.identity.standing(link=link) for other in others]
        target = events_target(standings, self.identity.prefix, tickets)
        sent = self.identity.headers if headers is None else headers.items()
        with trio.fail_after(timeout):
            opened = await Link.open(
                over or await self.open(receive_buffer),
                target,
                [*sent, *self.more_headers, *resuming(after)],
                then=then,
                acknowledge=self.acknowledge if self.acknowledges else None,
            )
        self.links.append(opened)
        assert not ok or opened.status == 200, opened.status
        return opened

    async def connect_and_start(self) -> tuple[Link, str]:
        """Open a link and start a stream; the link, when the first update has come, and the stream's id."""
        link = await self.connect()
        await self.start()
        opened = await link.expect("open")
        await link.expect("props")
        return link, opened["stream"]

    async def close(self) -> None:
        """Close the links."""
        for link in self.links:
            await link.close()
