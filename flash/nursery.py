"""A page's life on the server: the channel, one trio nursery that every stream of the page runs in.

    app's nursery ── channel (one per page) ── streams (one task each)
                        ▲
                        └── link: attached, reads the outboxes of several channels, owns nothing

A channel is a task of the app's nursery, so no stream belongs to a request that may go away. It opens with the
page's first start, or its first link. Without a link it goes on for `start_timeout` seconds at first, and for
`reconnect_grace` seconds when the link is lost, in which the page may come back and continue from the last event that
it has applied. A page that has a link but acknowledges nothing is given up after `stall_timeout`: see
`streams.liveness`. Closing cancels every stream with one reason and then waits for them: the nursery guarantees
that nothing survives the page. The scopes of the streams are shielded, so even a cancellation of the app's nursery
ends them with a reason.

User code can reach the nursery: it is the `parent_nursery` of a stream's task. It may start a task there that fails, or
cancel the nursery: the streams go on. When they are over, such tasks are cancelled, and the channel does not wait for
one that does not yield to that.
"""

from __future__ import annotations

import contextvars
import logging
import secrets
import sys
from collections.abc import Awaitable, Callable, Hashable, Iterator
from functools import cached_property

import trio

from ._trio import is_cancelled_from_outside
from .cancel_scopes import EndReason, StreamScope
from .errors import RequestRefused
from .streams.limits import Limits, Load, PageLimits, StreamInfo
from .streams.link import Attachment, Link
from .streams.liveness import Liveness
from .streams.outbox import Outbox
from .streams.page_view import PageView, info_of
from .streams.runs import MOST_WAITING, Runs, Waiting
from .streams.spec import StreamSpec
from .streams.stream import TASK_NAME, Stream
from .user_code.containment import contain, contain_failure, log_cancelled_nursery
from .wire import MistakeEvent, Refused

_log = logging.getLogger("flash.streams")

_NOTHING: frozenset[tuple[str, str]] = frozenset()
"""The mistakes that most pages were shown: none. One object for all pages."""

REMEMBERED_STARTS = 64
"""How many starts of a page are remembered by their names."""

REMEMBERED_REVOKED = 100
"""How many of the streams of a page that were revoked are remembered."""

START_NAME_LENGTH = 64
"""How many characters of the name of a start are remembered."""


class Channel:
    """One page on the server.

    Attributes:
        page: the page's token.
        browser: the secret of the browser that opened the page; requests from another one are refused.
        outbox: what the page has still to be sent.
        life: names this channel among those that the page has had.
        closing: no stream starts any more.
        link_order: of the newest link of the page: see `Standing.order`.
        revoked: the ids of those of the page's streams that were revoked last, in this life and those before it.
        ticket: gives the page to a browser that has another secret; None if none was issued, or it was spent.
    """

    def __init__(self, page: str, browser: str, limits: Limits, page_limits: PageLimits, load: Load) -> None:
        self.page = page
        self.browser = browser
        self.revoked: tuple[str, ...] = ()
        self.ticket: str | None = None
        self.link_order: int = 0
        self._load = load
        # Ids must not repeat when a page comes back to a new channel, where an old cancel may still arrive.
        self.life: str = secrets.token_hex(4)
        self.outbox: Outbox = Outbox(page_limits.window)
        self.closing: bool = False
        self._limits = limits
        self._page_limits = page_limits
        self._runs: dict[str, Runs] = {}
        self._streams: dict[str, Stream] = {}
        self._liveness = Liveness(self.outbox, page_limits)
        self._start_names = ""  # in lines: as many strings would take three times as much memory
        self._nursery: trio.Nursery | None = None
        self._count = 0
        self._reported: frozenset[tuple[str, str]] = _NOTHING
        self._tasks = 0
        self._idle: trio.Event | None = None

    @cached_property
    def finished(self) -> trio.Event:
        """Set when every stream and its tasks are over. Made on first use, which is rare: it costs memory."""
        return trio.Event()

    @property
    def open(self) -> bool:
        """Its task runs: streams can be started."""
        return self._nursery is not None

    # A Ctrl-C is never raised in here: see `containment`. It is one coroutine: each takes a quarter of a KiB.
    @trio.lowlevel.enable_ki_protection
    async def run(
        self, over: Callable[[Channel], None], task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """The channel's task: runs until `close` and the end of every stream, then calls `over`, maybe twice."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                # It refers to the nursery that `start` has opened to wait in.
                del task_status
                try:
                    is_gone = None
                    try:
                        is_gone = await self._liveness.wait_until_gone()
                    except trio.Cancelled:
                        if is_cancelled_from_outside(nursery.cancel_scope):
                            raise
                    if is_gone is None:
                        log_cancelled_nursery(_log, "a page's streams", "The streams go on")
                        with trio.CancelScope(shield=True):
                            is_gone = await self._liveness.wait_until_gone()
                    if is_gone:
                        self._give_up()
                finally:
                    # Closed already, unless this task was cancelled: then the server is going down.
                    self.close(EndReason.SHUTDOWN)
                    with trio.CancelScope(shield=True):
                        if self._tasks:
                            self._idle = trio.Event()
                            await self._idle.wait()
                    # The tasks that are left were started by user code.
                    nursery.cancel_scope.cancel()
                    self.outbox.close()
                    over(self)
        except BaseException as error:
            # It must not reach the app's nursery, which holds the other pages, too.
            contain_failure(
                _log, "What was started in the nursery of a page's streams, and is not one of them, has failed.", error
            )
        finally:
            self.outbox.close()
            over(self)

    def check_order(self, order: int) -> None:
        """Raise RequestRefused if the page has had a link that was opened later than one with this order."""
        if order < self.link_order:
            raise RequestRefused(409, "This page has a newer connection.")

    def attach(self, link: Link, order: int, life: str | None, number: int) -> Attachment | None:
        """Have a link read the channel from now on. The link before, if there is one, is told that it does not.

        Args:
            link: the new link.
            order: its place among the links for the page.
            life: of the last event that has reached the page; None if none has.
            number: of that event. If it is of another life, the page has had none of this one.

        Returns:
            None if the page says that it has an event which was not sent.

        Raises:
            RequestRefused: the page has a link that was opened later.
        """
        self.check_order(order)
        attachment = link.attach(self)
        if not self.outbox.rewind(number if life == self.life else 0, attachment):
            link.attachments.remove(attachment)
            return None
        self.link_order = order
        before = self._liveness.attachment
        if before is not None:
            before.end(RequestRefused(409, "Another connection has taken over this page."))
        self._liveness.attached(attachment)
        return attachment

    def detach(self, attachment: Attachment, reason: EndReason) -> None:
        """The link is gone. With `disconnected` the page may come back within `reconnect_grace`; else close."""
        if attachment is not self._liveness.attachment:
            return
        self.outbox.lose_reader()
        self._liveness.detached()
        # A page that was never sent anything has nothing to come back for, and must not take another page's place.
        is_empty = self._count == 0 and self.outbox.unacknowledged == 0 and self.outbox.control_bytes == 0
        if reason is not EndReason.DISCONNECTED or self._page_limits.reconnect_grace == 0 or is_empty:
            self.close(reason)

    def pinged(self) -> None:
        """The page is being asked for an acknowledgement."""
        self._liveness.asked()

    @property
    def confirmed_at(self) -> float:
        """When the page last acknowledged something, on Trio's clock."""
        return self._liveness.confirmed_at

    def acknowledge(self, life: str, number: int) -> bool:
        """The page has applied the events up to `number`; says whether that can be."""
        if life != self.life or not self.outbox.acknowledge(number):
            return False
        self._liveness.confirmed()
        return True

    def close(self, reason: EndReason) -> None:
        """End every stream with `reason` and start no other. The channel ends with them. Only the first call counts."""
        if self.closing:
            return
        self.closing = True
        for stream in self._waiting():
            stream.discard()
        for runs in self._runs.values():
            runs.waiting = ()
        if reason is EndReason.DISCONNECTED:
            self.outbox.discard()
        for runs in list(self._runs.values()):
            runs.current.scope.cancel(reason)
        self._liveness.end()

    def start(self, spec: StreamSpec) -> Stream:
        """Start a stream, or let it wait: for the end of the run that it supersedes, or for its turn.

        Raises:
            RequestRefused: the page has gone, has too many streams, or does not read what it is sent.
        """
        if self.closing:
            raise RequestRefused(409, f"{spec.callback!r} was not started: the page is being closed.")
        runs = self._runs.get(spec.key)
        if len(self._streams) - (runs is not None) >= self._page_limits.streams:
            raise RequestRefused(
                429,
                f"{spec.callback!r} was not started: the page runs {len(self._streams)} streams already. "
                "Let some end first, or raise streams_per_page= of Flash(...).",
            )
        superseding_own = runs is not None and runs.current.spec.user == spec.user
        self._load.check_stream(spec.callback, spec.user, superseding_own=superseding_own)
        if spec.is_plain:
            self._limits.threads.check(spec.callback, superseding=runs is not None)
        if runs is not None and spec.waits_its_turn and len(runs.waiting) >= MOST_WAITING:
            raise RequestRefused(
                429,
                f"{spec.callback!r} was not started: {MOST_WAITING} starts wait their turn already. Let one run first.",
            )
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
        if runs is None:
            self._launch(stream)
        elif spec.waits_its_turn:
            runs.waiting = (*runs.waiting, Waiting(stream))
        else:
            for waiting in runs.waiting:
                waiting.stream.discard()
            runs.waiting = (Waiting(stream),)
            runs.current.scope.cancel(EndReason.SUPERSEDED)
        return stream

    def running(self, key: str) -> Stream | None:
        """The stream of this key that has opened, and not sent its `end`; None if there is none."""
        runs = self._runs.get(key)
        return None if runs is None else runs.current

    def scope_of(self, stream_id: str) -> StreamScope | None:
        """The scope of a stream that has opened, and not sent its `end`; None if there is none of that id."""
        stream = self._streams.get(stream_id)
        return stream.scope if stream is not None and self.running(stream.spec.key) is stream else None

    def change(self, stream_id: str, index: int | str, value: object, number: int | None = None) -> None:
        """A property that a stream depends on has changed: see `StreamScope.change`. Starts that wait for it note it.

        Raises:
            IndexError: the stream depends on no such property.
        """
        scope = self.scope_of(stream_id)
        if scope is None:
            return
        scope.change(index, value, number)
        if isinstance(index, int):
            for waiting in self._runs[self._streams[stream_id].spec.key].waiting:
                waiting.note(index, value, number)

    def stop(self, source_key: Hashable, condition: str, value: object) -> None:
        """A condition is not met any more in another page that follows the source of this key, which it ends for all.

        The stream that follows the source is cancelled. Starts that wait for its end, or are to follow that source,
        will not open.
        """
        for runs in list(self._runs.values()):
            follows = runs.current.spec.source_key == source_key
            for waiting in runs.waiting:
                if follows or waiting.stream.spec.source_key == source_key:
                    self._drop(runs, waiting.stream, waiting.stopped_elsewhere(condition))
            if follows:
                runs.current.scope.cancel(EndReason.CANCELLED, condition, value)

    def _drop(self, runs: Runs, stream: Stream, refusal: Refused) -> None:
        """A start that waits will not open; tell the page."""
        runs.waiting = tuple(waiting for waiting in runs.waiting if waiting.stream is not stream)
        stream.discard()
        self.refuse(refusal)

    def _values_size(self) -> int:
        """Bytes of memory that the values take with which the page's streams were started."""
        return sum(stream.spec.values_size for stream in self.revocable())

    def _waiting(self) -> list[Stream]:
        return [waiting.stream for runs in self._runs.values() for waiting in runs.waiting]

    def takes(self, start: str) -> bool:
        """Remember the name of a start; say whether it is new. Only the last `REMEMBERED_STARTS` are remembered."""
        start, names = repr(start[:START_NAME_LENGTH]), self._start_names.split("\n")  # a client may send any text
        if start in names:
            return False
        self._start_names = "\n".join([*names[1 - REMEMBERED_STARTS :], start])
        return True

    def callbacks(self) -> list[str]:
        """The names of the event callbacks that have streams; may be asked from any thread."""
        return [stream.spec.callback for stream in list(self._streams.values())]

    def refuse(self, refusal: Refused) -> None:
        """Send the page the event `refused`, unless too much waits for it already."""
        if self.outbox.control_bytes < self._limits.buffer.bytes:
            self.outbox.put(refusal.event, refusal.encode())

    def report(self, callback: str, kind: str, message: str) -> None:
        """Show a mistake of the app's code in the page's dev tools, unless one of its kind was shown before."""
        if (callback, kind) not in self._reported and not self.outbox.exhausted:
            self._reported = self._reported | {(callback, kind)}
            self.outbox.put(MistakeEvent.event, MistakeEvent(callback, message).encode())

    def has_had(self, stream_id: str) -> bool:
        """Whether a stream of this channel was ever called so."""
        life, _, number = stream_id.partition("-")
        return life == self.life and number.isdecimal() and len(number) < 19 and 0 < int(number) <= self._count

    def streams(self) -> Iterator[StreamInfo]:
        """The streams whose tasks run, those that are stuck included."""
        return map(self.describe, self._streams.values())

    def describe(self, stream: Stream) -> StreamInfo:
        """What `app.streams()` says of a stream of this page."""
        self.outbox.settle()
        return info_of(stream, self.page)

    def look(self) -> PageView:
        """What the inspector shows of the page."""
        return PageView(
            browser=self.browser,
            page=self.page[:8],
            is_linked=self._liveness.attachment is not None,
            unacknowledged=self.outbox.unacknowledged,
            streams=list(self._streams.values()),
            tasks=[] if self._nursery is None else list(self._nursery.child_tasks),
        )

    def revocable(self) -> list[Stream]:
        """The streams whose tasks run, and those that wait for the end of another run of their key."""
        return [*self._streams.values(), *self._waiting()]

    def revoke(self, stream: Stream, why: str) -> bool:
        """End one of them, with the reason `revoked`; one that waits will not open. Says whether one that ran ends now.

        Args:
            stream: one of `revocable()`.
            why: what the app's code says of it, for the log and the exception.
        """
        runs = self._runs.get(stream.spec.key)
        if runs is None or all(waiting.stream is not stream for waiting in runs.waiting):
            if not stream.scope.cancel(EndReason.REVOKED, why=why):
                return False
            self.revoked = (*self.revoked[1 - REMEMBERED_REVOKED :], stream.id)
            return True
        message = f"{stream.spec.callback!r} was not started: the app has ended it while it waited."
        self._drop(runs, stream, stream.spec.refused(message, str(EndReason.REVOKED)))
        _log.info("%s: %s before it was started%s", stream.spec.label, EndReason.REVOKED, why and f": {why}")
        return False

    # What streams need of their host: see `StreamHost`.

    def spawn(self, context: contextvars.Context, function: Callable[[], Awaitable[object]], name: str, /) -> None:
        async def run() -> None:
            try:
                await contain(_log, f"The task {name!r} failed: the page's other streams go on.", function)
            finally:
                self._task_ended()

        self._start_task(context, run, name)

    def _start_task(self, context: contextvars.Context, function: Callable[[], Awaitable[object]], name: str) -> None:
        """Start a task, which calls `_task_ended` in the end, and which nothing that is raised leaves."""
        nursery = self._nursery
        assert nursery is not None
        self._tasks += 1
        # start_soon copies the context that it is called in. Most tasks of a name exist many times over.
        context.run(lambda: nursery.start_soon(function, name=sys.intern(name)))

    def _task_ended(self) -> None:
        self._tasks -= 1
        if self._idle is not None and not self._tasks:
            self._idle.set()

    def ended(self, stream_id: str, key: str) -> None:
        waiting = self._runs.pop(key).waiting
        while waiting:
            first, *waiting = waiting
            refusal = first.refusal()
            if refusal is None:
                self._launch(first.stream, tuple(waiting))
                return
            first.stream.discard()
            self.refuse(refusal)

    def task_over(self, stream_id: str) -> None:
        self._load.ended(self._streams.pop(stream_id).spec.user)
        self._task_ended()

    def _give_up(self) -> None:
        """The page is gone: close the channel."""
        if not self._liveness.had_link and self._count:
            _log.warning(
                "The streams of the page %s… end: it has opened no connection to this process within start_timeout "
                "(%g s). The page or the server may have been too slow: then raise start_timeout. Or several "
                "processes serve the app, and do not know each other: then serve with `flash run --workers N`, or "
                "have them share a Redis (see 'Workers' in the documents on deployment).",
                self.page[:8],
                self._page_limits.start_timeout,
            )
        _log.info("The page %s… is gone: %s.", self.page[:8], "lost" if self._liveness.was_lost else "stalled")
        self.close(EndReason.DISCONNECTED)

    def _launch(self, stream: Stream, waiting: tuple[Waiting, ...] = ()) -> None:
        self._runs[stream.spec.key] = Runs(stream, waiting)
        self._streams[stream.id] = stream
        self._load.began(stream.spec.user)
        stream.open()
        self._start_task(stream.spec.context, stream.run, f"{TASK_NAME}{stream.spec.callback}")
