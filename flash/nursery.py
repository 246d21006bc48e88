"""A page's life on the server: the channel, one trio nursery that every stream of the page runs in.

    app's nursery ── channel (one per page) ── streams (one task each)
                        ▲
                        └── connection: attached, reads the outbox, owns nothing

A channel is a task of the app's nursery, so no stream belongs to a request that may go away. It opens with the
page's first connection and closes when its connection does. Closing cancels every stream with one reason and then
waits for them: the nursery is the proof that nothing survives the page. The streams' scopes are shielded, so that
even the cancellation of the app's nursery reaches them as an end with a reason.

Nothing here knows of HTTP, Dash or Quart.
"""

from __future__ import annotations

import contextvars
import hmac
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import trio

from .buffer import Event, Outbox
from .cancel_scopes import EndReason, ScopeRegistry
from .errors import RequestRefused
from .stream import Limits, Stream, StreamSpec

_log = logging.getLogger("flash.streams")


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
    """

    id: str
    callback: str
    key: str
    page: str
    state: str
    age: float
    updates: int
    buffered: int


class Connection:
    """One reader of a channel's outbox.

    Attributes:
        channel: what it is attached to.
        replaced: a newer connection has taken its place.
    """

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.replaced = False

    async def receive(self, at_most: int) -> list[Event]:
        """Return the events that wait, up to `at_most` bytes of them; wait for one if there is none.

        Returns nothing when the channel has closed, or when this connection was replaced.
        """
        outbox = self.channel.outbox
        while not self.replaced:
            events = outbox.take(at_most)
            if events or outbox.closed:
                return events
            await outbox.wait()
        return []

    def detach(self, reason: EndReason = EndReason.DISCONNECTED) -> None:
        """The connection is gone; so is the page, unless another connection has taken over."""
        if not self.replaced:
            self.channel.close(reason)


@dataclass(slots=True)
class _Slot:
    """The runs of one key: the one that has opened, and the one that waits for its end."""

    current: Stream
    waiting: Stream | None = None


class Channel:
    """One page on the server.

    Attributes:
        page: the page's token.
        browser: the secret of the browser that opened the page; requests from another one are refused.
        outbox: what the page has still to be sent.
        scopes: the scopes of the streams that have opened and not ended.
        closing: no stream starts any more.
        finished: the channel's task is over, and with it every stream.
    """

    def __init__(self, page: str, browser: str, limits: Limits, max_streams: int) -> None:
        self.page = page
        self.browser = browser
        self.outbox = Outbox()
        self.scopes = ScopeRegistry()
        self.closing = False
        self.finished = trio.Event()
        self._limits = limits
        self._max_streams = max_streams
        self._slots: dict[str, _Slot] = {}
        self._streams: dict[str, Stream] = {}
        self._connection: Connection | None = None
        self._close = trio.Event()
        self._nursery: trio.Nursery | None = None
        # Ids must not repeat when a page comes back to a new channel, where an old cancel may still arrive.
        self._life = secrets.token_hex(4)
        self._count = 0

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The channel's task: until `close`, and until every stream is over."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                try:
                    await self._close.wait()
                finally:
                    # If this is cancelled, the server does not stand any more.
                    self.close(EndReason.SHUTDOWN)
        finally:
            self.outbox.close()

    def attach(self) -> Connection:
        """Take over the outbox; a connection that had it is replaced."""
        if self._connection is not None:
            self._connection.replaced = True
            self.outbox.nudge()
        self._connection = Connection(self)
        return self._connection

    def close(self, reason: EndReason) -> None:
        """End every stream with `reason`, start no other, and be over when they are. Only the first call counts."""
        if self.closing:
            return
        self.closing = True
        for slot in self._slots.values():
            slot.waiting = None
        if reason is EndReason.DISCONNECTED:
            self.outbox.discard()
        self.scopes.cancel_all(reason)
        self._close.set()

    def start(self, spec: StreamSpec) -> Stream:
        """Start a stream, or let it wait for the end of the run that it supersedes.

        Raises:
            RequestRefused: the page has gone, has too many streams, or does not read what it is sent.
        """
        if self.closing:
            raise RequestRefused(409, f"{spec.callback!r} was not started: the page is being closed.")
        slot = self._slots.get(spec.key)
        if len(self._streams) - (slot is not None) >= self._max_streams:
            raise RequestRefused(
                429,
                f"{spec.callback!r} was not started: the page runs {len(self._streams)} streams already. "
                "Let some end first, or raise streams_per_page= of Flash(...).",
            )
        if self.outbox.unread >= self._limits.buffer.bytes:
            raise RequestRefused(429, f"{spec.callback!r} was not started: the page does not read what it is sent.")
        self._count += 1
        stream = Stream(f"{self._life}-{self._count}", spec, self, self._limits)
        if slot is None:
            self._launch(stream)
        else:
            slot.waiting = stream
            slot.current.scope.cancel(EndReason.SUPERSEDED)
        return stream

    def streams(self) -> Iterator[StreamInfo]:
        """The streams whose tasks run, those that are stuck included."""
        now = trio.current_time()
        for stream in self._streams.values():
            gauge = stream.gauge
            yield StreamInfo(
                id=stream.id,
                callback=stream.spec.callback,
                key=stream.spec.key,
                page=self.page[:8],
                state=stream.state,
                age=now - stream.started,
                updates=gauge.sent_updates,
                buffered=gauge.updates,
            )

    # What streams ask of their host.

    def spawn(self, context: contextvars.Context, function: Callable[[], Awaitable[object]]) -> None:
        assert self._nursery is not None
        # start_soon copies the context that it is called in.
        context.run(self._nursery.start_soon, function)

    def ended(self, stream: Stream) -> None:
        self.scopes.remove(stream.id)
        waiting = self._slots.pop(stream.spec.key).waiting
        if waiting is not None:
            self._launch(waiting)

    def over(self, stream: Stream) -> None:
        del self._streams[stream.id]

    def _launch(self, stream: Stream) -> None:
        self._slots[stream.spec.key] = _Slot(stream)
        self._streams[stream.id] = stream
        self.scopes.add(stream.id, stream.scope)
        stream.open()
        self.spawn(stream.spec.context, stream.run)


@dataclass(slots=True)
class Channels:
    """The channels of one server, by page.

    Attributes:
        limits: what bounds each stream.
        max_streams: how many streams a page may have.
        closing: the server stops; nothing is opened or started any more.
    """

    limits: Limits = field(default_factory=Limits)
    max_streams: int = 100
    closing: bool = False
    _open: dict[str, Channel] = field(default_factory=lambda: dict[str, Channel]())
    _all: set[Channel] = field(default_factory=lambda: set[Channel]())
    _awaited: dict[str, trio.lowlevel.ParkingLot] = field(default_factory=lambda: dict[str, trio.lowlevel.ParkingLot]())

    async def connect(self, nursery: trio.Nursery, page: str, browser: str) -> Connection:
        """Attach a connection to the page's channel, and open that as a task of `nursery` if need be.

        Raises:
            RequestRefused: another browser has the page, or the server stops.
        """
        if self.closing:
            raise RequestRefused(503, "The server is stopping.")
        channel = self.find(page, browser)
        if channel is None or channel.closing:
            channel = Channel(page, browser, self.limits, self.max_streams)
            await nursery.start(self._run, channel)
            if (awaited := self._awaited.get(page)) is not None:
                awaited.unpark_all()
        return channel.attach()

    def find(self, page: str, browser: str) -> Channel | None:
        """The page's channel, if it has one.

        Raises:
            RequestRefused: it was opened by another browser.
        """
        channel = self._open.get(page)
        if channel is not None and not hmac.compare_digest(channel.browser.encode(), browser.encode()):
            raise RequestRefused(403, "This page was opened by another browser.")
        return channel

    async def wait_for(self, page: str, browser: str, patience: float) -> Channel | None:
        """The page's channel; None if it does not open within `patience` seconds."""
        deadline = trio.current_time() + patience
        while True:
            channel = self.find(page, browser)
            if channel is not None and not channel.closing:
                return channel
            lot = self._awaited.setdefault(page, trio.lowlevel.ParkingLot())
            with trio.CancelScope(deadline=deadline) as scope:
                try:
                    await lot.park()
                finally:
                    if not lot:
                        self._awaited.pop(page, None)
            if scope.cancelled_caught:
                return None

    async def shut_down(self) -> None:
        """Open nothing more, end every stream with `shutdown`, and return when all channels are over."""
        self.closing = True
        over = [channel.finished for channel in self._all]
        for channel in list(self._all):
            channel.close(EndReason.SHUTDOWN)
        for finished in over:
            await finished.wait()

    def streams(self) -> list[StreamInfo]:
        """Every stream of the server, oldest first."""
        return sorted((info for channel in self._all for info in channel.streams()), key=lambda info: -info.age)

    def __len__(self) -> int:
        return len(self._all)

    async def _run(self, channel: Channel, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self._open[channel.page] = channel
        self._all.add(channel)
        try:
            await channel.run(task_status)
        finally:
            self._all.discard(channel)
            if self._open.get(channel.page) is channel:
                del self._open[channel.page]
            channel.finished.set()
