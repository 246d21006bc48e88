"""Holds the channels of all pages of a server process, by page.

A page's first start or first link opens its channel, as a task of the app's nursery; later links and requests find it
here. Here it is also checked that a request comes from the browser that opened the page: a page belongs to that one.

Nothing here knows of HTTP, Dash or Quart.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Generator, Hashable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import trio

from .cancel_scopes import EndReason
from .errors import RequestRefused
from .nursery import Channel
from .streams.limits import Limits, Load, PageLimits, StreamInfo
from .streams.link import Link
from .streams.revoked import RevokedStreams
from .streams.stream import Stream
from .wire import Standing


class Holding(Protocol):
    """Whether this process is the one that has the channels of a browser, where there are several processes."""

    def enter(self, secret: str) -> None:
        """A channel of the browser with this secret is opened. Raises RequestRefused where it must not be."""
        ...

    def leave(self, secret: str) -> None:
        """Such a channel is over."""
        ...

    def has_come(self, page: str) -> None:
        """A page that has proved to be this one opens its channel here. If another process has one, it is to end."""
        ...


@dataclass(eq=False, slots=True)
class StartUnderWay:
    """A request that starts a stream, from before it is known whose it is until the stream is there.

    Attributes:
        revocations: what `Channels.revoke` was called with meanwhile.
    """

    revocations: list[tuple[Callable[[StreamInfo], bool], str]] = field(
        default_factory=list[tuple[Callable[[StreamInfo], bool], str]]
    )

    def started(self, channel: Channel, stream: Stream) -> None:
        """The stream is there. If it is one of those that were to end, it ends, and its generator never begins."""
        for fits, why in self.revocations:
            if fits(channel.describe(stream)):
                channel.revoke(stream, why)


@dataclass(slots=True)
class Channels:
    """The channels of one server, by page.

    Attributes:
        limits: what bounds each stream.
        page_limits: what bounds each page.
        load: what they hold together, and how much they may.
        closing: the server stops; nothing is opened or started any more.
        holding: is told which browsers have channels here; None where there is one process.
        revoked: which streams were revoked of pages that have no channel here.
    """

    limits: Limits = field(default_factory=Limits)
    page_limits: PageLimits = field(default_factory=PageLimits)
    load: Load = field(default_factory=Load)
    closing: bool = False
    holding: Holding | None = None
    revoked: RevokedStreams = field(default_factory=RevokedStreams)
    _open: dict[str, Channel] = field(default_factory=lambda: dict[str, Channel]())
    _all: set[Channel] = field(default_factory=lambda: set[Channel]())
    _starts: set[StartUnderWay] = field(default_factory=lambda: set[StartUnderWay]())
    # The channels whose tasks are being started, by page.
    _opening: dict[str, trio.Event] = field(default_factory=lambda: dict[str, trio.Event]())

    async def connect(self, nursery: trio.Nursery, link: Link, browser: str, standing: Standing) -> Channel:
        """Have a link read the page's channel, and open the channel as a task of `nursery` if need be.

        Args:
            nursery: the app's.
            link: goes on where the page stands: after the last event that has reached it, or that it has acknowledged.
            browser: the secret of the browser that asks.
            standing: the page, and how far it says that it has come. If it says that it has an event which was not
                sent, its streams end with `disconnected` and it gets a new channel.

        Raises:
            RequestRefused: another browser has the page, it has a newer link, or the server stops.
        """
        while True:
            channel = await self.open(nursery, standing.page, browser)
            if channel.attach(link, standing.order, standing.life, standing.number) is not None:
                return channel
            channel.close(EndReason.DISCONNECTED)

    async def open(self, nursery: trio.Nursery, page: str, browser: str, *, proven: bool = False) -> Channel:
        """The page's channel, opened as a task of `nursery` if the page has none that is not closing. See `find`.

        Raises:
            RequestRefused: another browser has the page, there are too many pages, or the server stops.
        """
        while True:
            channel = self.admit(page, browser, proven=proven)
            if channel is None:
                break
            if channel.open:
                return channel
            await self._opening[page].wait()
        channel = Channel(page, browser, self.limits, self.page_limits, self.load)
        channel.revoked = self.revoked.page_came(page)
        # Before its task starts: a request that comes meanwhile must find it.
        self._enter(channel)
        if proven and self.holding is not None:
            # Its browser's cookie may be another one than when the page began, and so its holder.
            self.holding.has_come(page)
        opening = self._opening[page] = trio.Event()
        try:
            # Whoever asks first may be cancelled; others have found the channel by then. This takes no time.
            with trio.CancelScope(shield=True):
                await nursery.start(channel.run, self._over)
        except BaseException:
            self._leave(channel)
            raise
        finally:
            opening.set()
            if self._opening.get(page) is opening:
                del self._opening[page]
        if self.closing:
            channel.close(EndReason.SHUTDOWN)
        return channel

    def admit(self, page: str, browser: str, order: int | None = None, *, proven: bool = False) -> Channel | None:
        """The page's channel, if it has one that is not closing; raise RequestRefused if it cannot get one.

        Args:
            page: its token.
            browser: the secret of the browser that asks.
            order: of the link that asks, see `Standing.order`; None if no link does.
            proven: see `find`.
        """
        if self.closing:
            raise RequestRefused(503, "The server is stopping.")
        channel = self.find(page, browser, proven=proven)
        if channel is not None and not channel.closing:
            if order is not None:
                channel.check_order(order)
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
        """Return a ticket, with which a browser that has another secret than the page's may take over the page, once.

        It stays the same until it is spent: a page that asks by a request and over the control websocket goes by the
        answer that comes first, and the ticket of that answer is to count whichever was asked for first.

        Only for a request that has proved to be the page's own. None if the page has no channel: its link needs none.
        """
        channel = self._open.get(page)
        if channel is None:
            return None
        if channel.ticket is None:
            channel.ticket = secrets.token_urlsafe(24)
        return channel.ticket

    def spend_ticket(self, page: str, browser: str, tickets: Iterable[str]) -> None:
        """Let the page belong to this browser from now on, if one of the tickets is the one that was issued for it."""
        channel = self._open.get(page)
        if channel is None or channel.ticket is None:
            return
        issued = channel.ticket.encode()
        if any(hmac.compare_digest(issued, ticket.encode()) for ticket in tickets):
            self._count(browser)
            self._uncount(channel.browser)
            channel.browser, channel.ticket = browser, None

    async def shut_down(self) -> None:
        """Open nothing more, end every stream with `shutdown`, and return when all channels are over."""
        self.closing = True
        over = [channel.finished for channel in self._all]
        for channel in list(self._all):
            channel.close(EndReason.SHUTDOWN)
        for finished in over:
            await finished.wait()

    def has_gone(self, page: str) -> None:
        """A page has its channel in another process now: end the one that it has here."""
        channel = self._open.get(page)
        if channel is not None:
            channel.close(EndReason.DISCONNECTED)

    def callbacks(self) -> list[str]:
        """The names of the event callbacks that have streams; may be asked from any thread."""
        return sorted({name for channel in list(self._all) for name in channel.callbacks()})

    def streams(self) -> list[StreamInfo]:
        """Every stream of the server, oldest first."""
        return sorted((info for channel in self._all for info in channel.streams()), key=lambda info: -info.age)

    def revocable(self) -> list[StreamInfo]:
        """Every stream of the server, and those that wait for the end of another run of their key."""
        return [channel.describe(stream) for channel in self._all for stream in channel.revocable()]

    def revoke(self, fits: Callable[[StreamInfo], bool], why: str) -> int:
        """End those of `revocable()` that fit, with the reason `revoked`. Returns how many ran, and end only now.

        Streams whose starts are under way end as soon as they are there.

        Args:
            fits: says whether a stream is to end. If it raises, none does.
            why: what the app's code says of it, for the log and the exception.
        """
        streams = [(channel, stream) for channel in self._all for stream in channel.revocable()]
        chosen = [(channel, stream) for channel, stream in streams if fits(channel.describe(stream))]
        for start in self._starts:
            start.revocations.append((fits, why))
        return sum(channel.revoke(stream, why) for channel, stream in chosen)

    def stop_others(self, stopped: Channel, source_key: Hashable, condition: str, value: object) -> None:
        """A condition that ends the streams of all pages that follow a source is not met any more in one of them.

        Args:
            stopped: the page in which it is not met. It knows itself which of its own starts that stops.
            source_key: of the source.
            condition: the property.
            value: of the property.
        """
        for channel in list(self._all):
            if channel is not stopped:
                channel.stop(source_key, condition, value)

    @contextmanager
    def start_under_way(self) -> Generator[StartUnderWay]:
        """Notes for the time of the block that a stream is being started."""
        start = StartUnderWay()
        self._starts.add(start)
        try:
            yield start
        finally:
            self._starts.remove(start)

    def pages(self) -> list[Channel]:
        """The channels that there are, those that are closing included."""
        return list(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def _over(self, channel: Channel) -> None:
        self._leave(channel)
        channel.finished.set()

    def _enter(self, channel: Channel) -> None:
        self._count(channel.browser)
        self._open[channel.page] = channel
        self._all.add(channel)

    def _leave(self, channel: Channel) -> None:
        if channel not in self._all:
            return
        self._all.discard(channel)
        self.revoked.page_left(channel.page, channel.revoked)
        self._uncount(channel.browser)
        if self._open.get(channel.page) is channel:
            del self._open[channel.page]

    def _count(self, browser: str) -> None:
        """Note that a browser has one more channel."""
        if self.holding is not None:
            self.holding.enter(browser)
        self.load.pages[browser] += 1

    def _uncount(self, browser: str) -> None:
        """Note that a browser has one channel less."""
        if self.holding is not None:
            self.holding.leave(browser)
        self.load.pages[browser] -= 1
        if not self.load.pages[browser]:
            del self.load.pages[browser]
