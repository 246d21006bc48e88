"""Holds the channels of all pages of a server process, by page.

A page's first link opens its channel, as a task of the app's nursery; later links and requests find it here. Here it is
also checked that a request comes from the browser that opened the page: a page belongs to that one.

Nothing here knows of HTTP, Dash or Quart.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import trio

from .cancel_scopes import EndReason
from .errors import RequestRefused
from .nursery import Channel
from .streams import pauses
from .streams.limits import Limits, Load, PageLimits, StreamInfo
from .streams.link import Link
from .user_code.containment import contain

_log = logging.getLogger("flash.streams")


class Holding(Protocol):
    """Whether this process is the one that has the channels of a browser, where there are several processes."""

    def enter(self, secret: str) -> None:
        """A channel of the browser with this secret is opened. Raises RequestRefused where it must not be."""
        ...

    def leave(self, secret: str) -> None:
        """Such a channel is over."""
        ...


@dataclass(slots=True)
class Channels:
    """The channels of one server, by page.

    Attributes:
        limits: what bounds each stream.
        page_limits: what bounds each page.
        load: what they hold together, and how much they may.
        closing: the server stops; nothing is opened or started any more.
        holding: is told which browsers have channels here; None where there is one process.
    """

    limits: Limits = field(default_factory=Limits)
    page_limits: PageLimits = field(default_factory=PageLimits)
    load: Load = field(default_factory=Load)
    closing: bool = False
    holding: Holding | None = None
    _open: dict[str, Channel] = field(default_factory=lambda: dict[str, Channel]())
    _all: set[Channel] = field(default_factory=lambda: set[Channel]())
    _awaited: dict[str, trio.lowlevel.ParkingLot] = field(default_factory=lambda: dict[str, trio.lowlevel.ParkingLot]())

    async def connect(
        self, nursery: trio.Nursery, page: str, browser: str, life: str | None = None, number: int = 0
    ) -> Link[Channel]:
        """Attach a link to the page's channel, and open the channel as a task of `nursery` if need be.

        `life` and `number` say up to which event the page has come. If it cannot go on from there without a gap,
        its streams end with `disconnected` and it gets a new channel, whose `life` tells it so.

        Raises:
            RequestRefused: another browser has the page, or the server stops.
        """
        channel = self.admit(page, browser)
        if channel is not None:
            link = channel.attach(life, number)
            if link is not None:
                return link
            channel.close(EndReason.DISCONNECTED)
        channel = Channel(page, browser, self.limits, self.page_limits, self.load)
        # Before its task starts: a request that comes meanwhile must find it.
        self._enter(channel)
        try:
            await nursery.start(self._run, channel)
        except BaseException:
            self._leave(channel)
            raise
        if self.closing:
            channel.close(EndReason.SHUTDOWN)
        link = channel.attach(channel.life, 0)
        assert link is not None
        if (awaited := self._awaited.get(page)) is not None:
            awaited.unpark_all()
        return link

    def admit(self, page: str, browser: str) -> Channel | None:
        """The page's channel, if it has one that is not closing; raise RequestRefused if it cannot get one."""
        if self.closing:
            raise RequestRefused(503, "The server is stopping.")
        channel = self.find(page, browser)
        if channel is not None and not channel.closing:
            return channel
        self.load.check_page(browser)
        return None

    def find(self, page: str, browser: str, *, proven: bool = False) -> Channel | None:
        """The page's channel, if it has one.

        Args:
            page: its token.
            browser: the secret of the browser that asks.
            proven: the request is known to be the page's own, whatever the browser's secret was when it opened.

        Raises:
            RequestRefused: it was opened by another browser.
        """
        channel = self._open.get(page)
        if channel is not None and not proven and not hmac.compare_digest(channel.browser.encode(), browser.encode()):
            raise RequestRefused(403, "This page was opened by another browser.")
        return channel

    def issue_ticket(self, page: str) -> str | None:
        """Return a ticket, with which a browser that has another secret than the page's may open one link of the page.

        Only for a request that has proved to be the page's own. None if the page has no channel: its link needs none.
        """
        channel = self._open.get(page)
        if channel is None:
            return None
        channel.ticket = secrets.token_urlsafe(24)
        return channel.ticket

    def spend_ticket(self, page: str, ticket: str | None) -> str | None:
        """The secret of the browser that has opened the page; None if `ticket` is not the one that was issued last."""
        channel = self._open.get(page)
        if channel is None or not ticket or not hmac.compare_digest((channel.ticket or "").encode(), ticket.encode()):
            return None
        channel.ticket = None
        return channel.browser

    async def wait_for(self, page: str, browser: str, start_timeout: float, *, proven: bool = False) -> Channel | None:
        """The page's channel; None if it does not open within `start_timeout` seconds. See `find`.

        Raises:
            RequestRefused: it was opened by another browser, or the server stops.
        """
        deadline = trio.current_time() + start_timeout
        while True:
            if self.closing:
                raise RequestRefused(503, "The server is stopping.")
            channel = self.find(page, browser, proven=proven)
            if channel is not None and channel.open and not channel.closing:
                return channel
            lot = self._awaited.setdefault(page, trio.lowlevel.ParkingLot())
            with trio.CancelScope(deadline=deadline) as scope:
                try:
                    await lot.park()
                finally:
                    if not lot and self._awaited.get(page) is lot:
                        del self._awaited[page]
            if scope.cancelled_caught:
                if not pauses.slept_past(deadline):
                    return None
                deadline = trio.current_time() + pauses.RESUME_TIMEOUT

    async def shut_down(self) -> None:
        """Open nothing more, end every stream with `shutdown`, and return when all channels are over."""
        self.closing = True
        for lot in list(self._awaited.values()):
            lot.unpark_all()
        over = [channel.finished for channel in self._all]
        for channel in list(self._all):
            channel.close(EndReason.SHUTDOWN)
        for finished in over:
            await finished.wait()

    def callbacks(self) -> list[str]:
        """The names of the event callbacks that have streams; may be asked from any thread."""
        return sorted({name for channel in list(self._all) for name in channel.callbacks()})

    def streams(self) -> list[StreamInfo]:
        """Every stream of the server, oldest first."""
        return sorted((info for channel in self._all for info in channel.streams()), key=lambda info: -info.age)

    def __len__(self) -> int:
        return len(self._all)

    async def _run(self, channel: Channel, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        def over() -> None:
            self._leave(channel)
            channel.finished.set()

        # An exception must not reach the app's nursery, which holds the other pages, too.
        await contain(
            _log,
            "What was started in the nursery of a page's streams, and is not one of them, has failed.",
            partial(channel.run, over, task_status),
        )

    def _enter(self, channel: Channel) -> None:
        if self.holding is not None:
            self.holding.enter(channel.browser)
        self._open[channel.page] = channel
        self._all.add(channel)
        self.load.pages[channel.browser] += 1

    def _leave(self, channel: Channel) -> None:
        if channel not in self._all:
            return
        if self.holding is not None:
            self.holding.leave(channel.browser)
        self._all.discard(channel)
        self.load.pages[channel.browser] -= 1
        if not self.load.pages[channel.browser]:
            del self.load.pages[channel.browser]
        if self._open.get(channel.page) is channel:
            del self._open[channel.page]
