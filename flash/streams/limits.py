"""Defines the limits of streams, pages and a server process, and counts what the process holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import trio

from ..errors import RequestRefused
from ..options import DEFAULTS, FlashOptions
from .buffer import Bounds
from .observer import Observer
from .thread import StreamThreads


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds the streams of a server.

    Attributes:
        buffer: how much may wait per stream.
        cleanup_timeout: seconds for unwinding a generator and for `on_error` together.
        threads: how many streams of plain generators run at a time: each has a thread.
        handlers: how many plain `on_error`s run at a time in threads of Trio's; apart from `threads`, so that
            generators that block keep no `on_error` from running.
        observer: is called at each step in the life of a stream.
    """

    buffer: Bounds = field(default_factory=Bounds)
    cleanup_timeout: float = DEFAULTS.cleanup_timeout
    threads: StreamThreads = field(default_factory=StreamThreads)
    handlers: trio.CapacityLimiter = field(default_factory=lambda: trio.CapacityLimiter(40))
    observer: Observer = field(default_factory=Observer)

    @classmethod
    def of(cls, options: FlashOptions, observer: Observer) -> Limits:
        """Those that the options of an app say."""
        return cls(
            buffer=Bounds(options.stream_buffer_bytes, options.stream_buffer_updates),
            cleanup_timeout=options.cleanup_timeout,
            threads=StreamThreads(options.stream_threads),
            observer=observer,
        )


class ServerLimits(NamedTuple):
    """What bounds a server process.

    Attributes:
        pages: how many it may hold.
        pages_per_browser: how many of them may be of one browser.
        streams: how many it may hold.
        streams_per_user: how many of them may be of one user; None for no limit.
    """

    pages: int = DEFAULTS.pages_per_server
    pages_per_browser: int = DEFAULTS.pages_per_browser
    streams: int = DEFAULTS.streams_per_server
    streams_per_user: int | None = DEFAULTS.streams_per_user

    @classmethod
    def of(cls, options: FlashOptions) -> ServerLimits:
        """Those that the options of an app say."""
        return cls(
            pages=options.pages_per_server,
            pages_per_browser=options.pages_per_browser,
            streams=options.streams_per_server,
            streams_per_user=options.streams_per_user,
        )


class PageLimits(NamedTuple):
    """What bounds a page.

    Attributes:
        streams: how many it may have at a time.
        window: bytes that may have been sent to it and not been acknowledged.
        reconnect_grace: seconds for which it may be without a link once it has had one; 0 ends its streams at once.
        start_timeout: seconds for which its first streams may run before it has a link.
        stall_timeout: seconds for which it may leave what was sent to it, or a ping, unacknowledged.
        ping_interval: seconds between pings, by which its link asks it for an acknowledgement.
        values: bytes of memory that the values with which its streams were started may take, about.
    """

    streams: int = DEFAULTS.streams_per_page
    window: int = DEFAULTS.window
    reconnect_grace: float = DEFAULTS.reconnect_grace
    start_timeout: float = DEFAULTS.start_timeout
    stall_timeout: float = DEFAULTS.effective_stall_timeout
    ping_interval: float = DEFAULTS.ping_interval
    values: int = DEFAULTS.values_per_page

    @classmethod
    def of(cls, options: FlashOptions) -> PageLimits:
        """Those that the options of an app say."""
        return cls(
            streams=options.streams_per_page,
            window=options.window,
            reconnect_grace=options.reconnect_grace,
            start_timeout=options.start_timeout,
            stall_timeout=options.effective_stall_timeout,
            ping_interval=options.ping_interval,
            values=options.values_per_page,
        )


@dataclass(slots=True)
class Load:
    """What a server process holds, and how much it may.

    Attributes:
        limits: how much it may.
        streams: how many streams run.
        pages: how many pages each browser has.
        users: how many streams each user has.
    """

    limits: ServerLimits = field(default_factory=ServerLimits)
    streams: int = 0
    pages: Counter[str] = field(default_factory=Counter[str])
    users: Counter[str] = field(default_factory=Counter[str])

    def began(self, user: str | None) -> None:
        """A stream of this user, or of nobody, runs."""
        self.streams += 1
        if user is not None:
            self.users[user] += 1

    def ended(self, user: str | None) -> None:
        """A stream of this user, or of nobody, is over."""
        self.streams -= 1
        if user is not None:
            self.users[user] -= 1
            if not self.users[user]:
                del self.users[user]

    def check_stream(self, callback: str, user: str | None, *, superseding_own: bool) -> None:
        """Raise RequestRefused if another stream would be one too many.

        Args:
            callback: the name of its event callback.
            user: whose it would be; None for nobody.
            superseding_own: it takes the place of one of the same user.
        """
        if self.streams >= self.limits.streams:
            raise RequestRefused(503, f"{callback!r} was not started: the server holds as many streams as it may.")
        most = self.limits.streams_per_user
        if user is not None and most is not None and self.users[user] - superseding_own >= most:
            raise RequestRefused(
                429,
                f"{callback!r} was not started: {self.users[user]} streams of this user run already in this server "
                "process. Let some end first, or raise streams_per_user= of Flash(...).",
            )

    def check_page(self, browser: str) -> None:
        """Raise RequestRefused if another page of `browser` would be one too many."""
        if self.pages.total() >= self.limits.pages:
            raise RequestRefused(503, "The server holds as many pages as it may. Try again later.")
        if self.pages[browser] >= self.limits.pages_per_browser:
            raise RequestRefused(429, f"This browser has {self.pages[browser]} pages open already: close some.")


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One stream that the server holds, as `app.streams()` lists it.

    Attributes:
        id: its name on the wire and in `cancel` requests.
        callback: the name of the event callback.
        key: what it is a run of: the callback and the values that MATCH matched.
        page: the first characters of its page's token, enough to tell pages apart.
        state: `running`, `ending` (clean-up runs) or `stuck` (clean-up has overrun its deadline).
        age: seconds since it started.
        updates: how many updates were sent to the page.
        buffered: how many updates wait to be sent.
        waiting: seconds for which the generator has waited for room in the buffer; None if it does not.
        user: whose it is, as `identify=` of the app has said when it was started; None if it has not.
        source: the id of the source that it follows, as `app.shared_streams()` has it; None if it runs by itself.
    """

    id: str
    callback: str
    key: str
    page: str
    state: str
    age: float
    updates: int
    buffered: int
    waiting: float | None
    user: str | None = None
    source: str | None = None
