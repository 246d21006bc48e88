"""A page's life on the server: the channel, one trio nursery that every stream of the page runs in.

    app's nursery ── channel (one per page) ── streams (one task each)
                        ▲
                        └── connection: attached, reads the outbox, owns nothing

A channel is a task of the app's nursery, so no stream belongs to a request that may go away. It opens with the
page's first connection. When that is lost the channel lives on for a grace, in which the page may come back and
take up where it was; a page that is connected but confirms nothing has a time of its own. Closing cancels every
stream with one reason and then waits for them: the nursery is the proof that nothing survives the page. The
streams' scopes are shielded, so that even the cancellation of the app's nursery reaches them as an end with a reason.

The user's code can reach the nursery: it is the `parent_nursery` of a stream's task. A task that is started there may
fail, or the nursery may be cancelled: the streams go on. When they are over, such tasks are cancelled, and the channel
does not wait for one that withstands that.

Nothing here knows of HTTP, Dash or Quart.
"""

from __future__ import annotations

import contextvars
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import inf

import trio

from ._trio import is_cancelled_from_outside
from .cancel_scopes import EndReason, ScopeRegistry
from .errors import RequestRefused
from .streams import pauses
from .streams.limits import Limits, Load, PageLimits, StreamInfo
from .streams.link import Link
from .streams.outbox import Outbox
from .streams.spec import StreamSpec
from .streams.stream import TASK_NAME, Stream
from .user_code.containment import contain

_log = logging.getLogger("flash.streams")

_NOTHING: frozenset[tuple[str, str]] = frozenset()
"""The mistakes that most pages were told of; one for all pages."""

STARTS = 64
"""How many starts of a page are remembered by their names. A name has as many characters at the most."""

DOUBT = 0.1
"""Seconds between two looks at a page that is overdue, and has not taken all that it was sent."""

DOUBTS = 10
"""After how many such looks the page is given up."""

PATIENCE = 10
"""A page that takes what it is sent, but acknowledges nothing, is given up after so many times `stall_timeout`.

That is if it has been sent less than what it is asked to acknowledge; else it is given up after one.
"""


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
        life: names this channel among those that the page has had.
        closing: no stream starts any more.
        ticket: opens one link from a browser that has another secret; None if none was issued, or it was spent.
    """

    def __init__(self, page: str, browser: str, limits: Limits, page_limits: PageLimits, load: Load) -> None:
        self.page = page
        self.browser = browser
        self.ticket: str | None = None
        self._load = load
        # Ids must not repeat when a page comes back to a new channel, where an old cancel may still arrive.
        self.life = secrets.token_hex(4)
        self.outbox = Outbox(page_limits.window)
        self.scopes = ScopeRegistry()
        self.closing = False
        self._limits = limits
        self._page_limits = page_limits
        self._slots: dict[str, _Slot] = {}
        self._streams: dict[str, Stream] = {}
        self._link: Link[Channel] | None = None
        self._lost_at: float | None = None
        self._doubts = 0
        self._taken: tuple[str, ...] = ()
        self._wake = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._count = 0
        self._reported: frozenset[tuple[str, str]] = _NOTHING
        self._tasks = 0
        self._idle: trio.Event | None = None

    @cached_property
    def finished(self) -> trio.Event:
        """Set when every stream is over, and what belongs to it. Made when somebody asks, which few do."""
        return trio.Event()

    @property
    def open(self) -> bool:
        """Its task runs: streams can be started."""
        return self._nursery is not None

    async def run(
        self, over: Callable[[], None], task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """The channel's task: until `close`, and until every stream is over, of which it tells by `over()`."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                try:
                    await self._watch_on(nursery)
                finally:
                    # If this is cancelled, the server does not stand any more.
                    self.close(EndReason.SHUTDOWN)
                    with trio.CancelScope(shield=True):
                        await self._wait_for_own_tasks()
                    # What is left was started by somebody else.
                    nursery.cancel_scope.cancel()
                    self.outbox.close()
                    over()
        finally:
            self.outbox.close()
            over()

    def attach(self, life: str | None, number: int) -> Link[Channel] | None:
        """Take over the outbox for a page that has applied the events of `life` up to `number`.

        A connection that had it is replaced. None if the page cannot go on from there without a gap.
        """
        if (life is not None and life != self.life) or not self.outbox.rewind(number):
            return None
        if self._link is not None:
            self._link.replaced = True
        self.outbox.wake()
        self._lost_at = None
        self._link = Link(self)
        self.reschedule()
        return self._link

    def detach(self, link: Link[Channel], reason: EndReason) -> None:
        """The link is gone. With `disconnected` the page may come back within `reconnect_grace`; else close."""
        if link is not self._link:
            return
        self._link = None
        # A page that never had anything here has nothing to come back for: it would hold a place that others need.
        is_empty = self._count == 0 and self.outbox.unacknowledged == 0 and self.outbox.control_bytes == 0
        if reason is not EndReason.DISCONNECTED or self._page_limits.reconnect_grace == 0 or is_empty:
            self.close(reason)
        else:
            self._lost_at = trio.current_time()
            self.reschedule()

    def acknowledge(self, life: str, number: int) -> bool:
        """The page has applied the events up to `number`; says whether that can be."""
        return life == self.life and self.outbox.acknowledge(number)

    def close(self, reason: EndReason) -> None:
        """End every stream with `reason`, start no other, and be over when they are. Only the first call counts."""
        if self.closing:
            return
        self.closing = True
        for slot in self._slots.values():
            if slot.waiting is not None:
                slot.waiting.discard()
                slot.waiting = None
        if reason is EndReason.DISCONNECTED:
            self.outbox.discard()
        self.scopes.cancel_all(reason)
        self._wake.set()

    def start(self, spec: StreamSpec) -> Stream:
        """Start a stream, or let it wait for the end of the run that it supersedes.

        Raises:
            RequestRefused: the page has gone, has too many streams, or does not read what it is sent.
        """
        if self.closing:
            raise RequestRefused(409, f"{spec.callback!r} was not started: the page is being closed.")
        slot = self._slots.get(spec.key)
        if len(self._streams) - (slot is not None) >= self._page_limits.streams:
            raise RequestRefused(
                429,
                f"{spec.callback!r} was not started: the page runs {len(self._streams)} streams already. "
                "Let some end first, or raise streams_per_page= of Flash(...).",
            )
        if self._load.streams >= self._load.limits.streams:
            raise RequestRefused(503, f"{spec.callback!r} was not started: the server holds as many streams as it may.")
        if spec.is_plain:
            self._limits.threads.check(spec.callback, superseding=slot is not None)
        if self.outbox.control_bytes >= self._limits.buffer.bytes:
            raise RequestRefused(429, f"{spec.callback!r} was not started: the page does not read what it is sent.")
        if spec.values_size and spec.values_size + self._values_size() > self._page_limits.values:
            raise RequestRefused(
                413,
                f"{spec.callback!r} was not started: its Inputs and States are too large, beside what the page's "
                "streams have already. Send less, or raise values_per_page= of Flash(...).",
            )
        self._count += 1
        stream = Stream(f"{self.life}-{self._count}", spec, self, self._limits)
        if slot is None:
            self._launch(stream)
        else:
            if slot.waiting is not None:
                slot.waiting.discard()
            slot.waiting = stream
            slot.current.scope.cancel(EndReason.SUPERSEDED)
        return stream

    def _values_size(self) -> int:
        """Bytes of memory that the values take with which the page's streams were started."""
        waiting = [slot.waiting for slot in self._slots.values() if slot.waiting is not None]
        return sum(stream.spec.values_size for stream in (*self._streams.values(), *waiting))

    def takes(self, start: str) -> bool:
        """Whether a start of this name has not been taken yet; it has been now. Of many, the last are remembered."""
        start = start[:STARTS]
        if start in self._taken:
            return False
        self._taken = (*self._taken[1 - STARTS :], start)
        return True

    def callbacks(self) -> list[str]:
        """The names of the event callbacks that have streams; may be asked from any thread."""
        return [stream.spec.callback for stream in list(self._streams.values())]

    def refuse(self, refusal: bytes) -> None:
        """Tell the page of a start that was refused, unless it does not read what it is told."""
        if self.outbox.control_bytes < self._limits.buffer.bytes:
            self.outbox.put("refused", refusal)

    def report(self, callback: str, kind: str, message: str) -> None:
        """Show a mistake of the app's code in the page's dev tools, unless one of its kind was."""
        if (callback, kind) not in self._reported and not self.outbox.exhausted:
            self._reported = self._reported | {(callback, kind)}
            self.outbox.put("mistake", json.dumps({"callback": callback, "message": message}).encode())

    def has_had(self, stream_id: str) -> bool:
        """Whether a stream of this channel was ever called so."""
        life, _, number = stream_id.partition("-")
        return life == self.life and number.isdecimal() and len(number) < 19 and 0 < int(number) <= self._count

    def streams(self) -> Iterator[StreamInfo]:
        """The streams whose tasks run, those that are stuck included."""
        now = trio.current_time()
        for stream in self._streams.values():
            buffer = stream.buffer
            yield StreamInfo(
                id=stream.id,
                callback=stream.spec.callback,
                key=stream.spec.key,
                page=self.page[:8],
                state=stream.state,
                age=now - stream.started,
                updates=buffer.sent_updates,
                buffered=buffer.updates,
                waiting=None if stream.waiting_since is None else now - stream.waiting_since,
            )

    # What streams ask of their host.

    def spawn(self, context: contextvars.Context, function: Callable[[], Awaitable[object]], name: str, /) -> None:
        nursery = self._nursery
        assert nursery is not None
        self._tasks += 1
        # start_soon copies the context that it is called in.
        context.run(lambda: nursery.start_soon(self._run, function, name, name=name))

    async def _run(self, function: Callable[[], Awaitable[object]], name: str) -> None:
        """A task of a stream."""
        try:
            await contain(_log, f"The task {name!r} failed: the page's other streams go on.", function)
        finally:
            self._tasks -= 1
            if self._idle is not None and not self._tasks:
                self._idle.set()

    async def _wait_for_own_tasks(self) -> None:
        if self._tasks:
            self._idle = trio.Event()
            await self._idle.wait()

    def ended(self, stream: Stream) -> None:
        self.scopes.remove(stream.id)
        waiting = self._slots.pop(stream.spec.key).waiting
        if waiting is not None:
            self._launch(waiting)

    def over(self, stream: Stream) -> None:
        del self._streams[stream.id]
        self._load.streams -= 1

    def reschedule(self) -> None:
        """Compute again when the page is to be given up or pinged: something has happened that may change it."""
        self._wake.set()

    async def _watch_on(self, nursery: trio.Nursery) -> None:
        """Watch, even if the streams' nursery is cancelled: the user's code has done that, to whatever end."""
        try:
            return await self._watch()
        except trio.Cancelled:
            if is_cancelled_from_outside(nursery.cancel_scope):
                raise
        # Not while that is being handled: whatever is cancelled from there would have it for its context.
        _log.error(
            "The nursery of a page's streams was cancelled, by code that has reached for it (`parent_nursery`), or "
            "because a task failed that was started there. The streams go on. Start tasks in a nursery of your own."
        )
        with trio.CancelScope(shield=True):
            await self._watch()
        return None

    async def _watch(self) -> None:
        """Return when the channel is to close: it was closed, or the page's time is up. Meanwhile, see to the pings.

        One timer for each page, not one for each wait: it looks when the earliest of what it knew of is due.
        """
        look_at, reprieve = inf, -inf
        while not self.closing:
            now = trio.current_time()
            if pauses.slept_past(look_at):
                # What the page has said meanwhile is yet to be read.
                reprieve = now + pauses.REPRIEVE
            due = self.outbox.progress_at + self._page_limits.stall_timeout
            if self._lost_at is not None:
                due = self._lost_at + self._page_limits.reconnect_grace
            elif self.outbox.unacknowledged == 0:
                due = now + self._page_limits.stall_timeout
            due = max(due, reprieve)
            if due <= now:
                due = now + self._excuse(now)
            if due <= now:
                _log.info("The page %s… is gone: %s.", self.page[:8], "stalled" if self._lost_at is None else "lost")
                return self.close(EndReason.DISCONNECTED)
            link = self._link
            if link is not None and not link.ping_due:
                ping_at = link.pinged_at + self._page_limits.ping_interval
                if ping_at <= now:
                    link.ping_due = True
                    self.outbox.wake()
                due = min(due, max(ping_at, now))
            look_at = due
            with trio.move_on_at(due):
                await self._wake.wait()
                self._wake = trio.Event()
        return None

    def _excuse(self, now: float) -> float:
        """How long a page is still waited for that has confirmed nothing in its time; 0 if it is to be given up.

        If nothing lies between it and the server, what it was sent has arrived there although it does not say so: its
        script does not get to run, or its requests do not get through.
        """
        peer = None if self._link is None else self._link.peer
        if peer is None:
            return 0
        if not peer.has_taken_all():
            # Something may have been sent just now.
            self._doubts += 1
            return DOUBT if self._doubts < DOUBTS else 0
        self._doubts = 0
        patience = PATIENCE * self._page_limits.stall_timeout
        is_still = self.outbox.needs_no_acknowledgement and now < self.outbox.progress_at + patience
        return DOUBTS * DOUBT if peer.is_asking() or is_still else 0

    def _launch(self, stream: Stream) -> None:
        self._slots[stream.spec.key] = _Slot(stream)
        self._streams[stream.id] = stream
        self._load.streams += 1
        self.scopes.add(stream.id, stream.scope)
        stream.open()
        self.spawn(stream.spec.context, stream.run, f"{TASK_NAME}{stream.spec.callback}")
