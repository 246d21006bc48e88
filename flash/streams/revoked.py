"""Remembers, for pages that are away, which of their streams were revoked.

A page whose link is cut for longer than `reconnect_grace` loses its channel, and what that had still to send, an `end`
with `revoked` included. When the page is back, in a new life, `hello` names those streams: else the page would take
them for lost with its server, and start those with `restart=True` again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

KEPT_FOR = 3600.0
"""Seconds for which the streams of a page are remembered."""

KEPT_PAGES = 10_000
"""The streams of how many pages are remembered: beyond that, those that came first are forgotten."""


class RevokedStreams:
    """The ids of revoked streams, by the tokens of their pages.

    Attributes:
        tell: tells other server processes of a page and its streams: it may come back to one of them. None if there
            are none.
    """

    def __init__(self) -> None:
        self.tell: Callable[[str, Sequence[str]], None] | None = None
        self._pages: dict[str, tuple[float, tuple[str, ...]]] = {}

    def page_left(self, page: str, streams: Sequence[str]) -> None:
        """The channel of a page is over, in which these streams were revoked."""
        if streams:
            self.remember(page, streams)
            if self.tell is not None:
                self.tell(page, streams)

    def remember(self, page: str, streams: Sequence[str]) -> None:
        """These streams of a page were revoked, here or in another process."""
        self._pages.pop(page, None)
        self._pages[page] = trio.current_time() + KEPT_FOR, tuple(streams)
        if len(self._pages) > KEPT_PAGES:
            del self._pages[next(iter(self._pages))]

    def page_came(self, page: str) -> tuple[str, ...]:
        """The page has a channel again: what is remembered of it, which its channel has to remember now."""
        expires, streams = self._pages.pop(page, (0.0, ()))
        return streams if trio.current_time() < expires else ()
