"""Runs one stream: steps the user's generator, sends what it yields, and ends the stream, once and always the same way.

    open ── updates, in the order yielded ── end

A stream is one task. It steps the user's generator inside one cancel scope, encodes what is yielded, and puts it
into the page's outbox. When the generator is over, whatever the reason, `_finish` ends the stream, once and in
this order: `on_error`, the `end` event, leaving the registry.

*`yield` is a checkpoint inside the generator.* The generator stands at its `yield` while Flash waits for room in
the buffer, and a cancel scope that the user opened around the `yield` belongs to this task. So a `Cancelled`
that surfaces in Flash's wait is thrown into the generator, where the scope that it belongs to can catch it
(PEP 789 describes what happens otherwise).

*Clean-up has a deadline.* From the cancellation on, a second task, a timer, gives the generator `cleanup_timeout` to
unwind. It cannot cut a `finally` under the user's own shield, nor a thread. At the deadline it finishes the stream for
the page instead, and logs which callback has overrun; the stream counts as stuck until its clean-up returns. What
clean-up awaits without a shield is cut: see `user_code.cleanup`. The states of all this are in `states`.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from inspect import isawaitable
from types import AsyncGeneratorType

import trio

from .. import wire
from .._trio import is_cancelled
from ..cancel_scopes import EndReason, StreamScope
from ..errors import BufferOverrun, FlashError
from ..user_code.cleanup import CURRENT_DEADLINE, UNWIND_TIMEOUT, Deadline, report_cut
from ..user_code.containment import contain_failure, log_failure
from ..user_code.failures import read_end, sentence_of
from ..user_code.inner_generators import InnerGenerators
from . import mistakes
from .buffer import StreamBuffer
from .ending import describe, log_end
from .events import PropUpdate
from .fairness import FairShare
from .generators import Steps, close_for_good, steps_of
from .host import StreamHost
from .limits import Limits
from .observer import StreamEnd
from .on_error import ErrorHandling
from .shared_updates import SharedUpdates
from .spec import StreamSpec
from .states import LISTED_AS, Lifecycle, StreamState, Trigger
from .thread import StreamThread

_log = logging.getLogger("flash.streams")

TASK_NAME = "stream of "
"""What the name of a stream's task begins with; the name of its event callback follows."""


class Stream:
    """One run of one event callback.

    Attributes:
        id: names the stream on the wire.
        spec: what it runs.
        scope: its cancel scope and reason.
        overran: its clean-up did not return by its deadline; it may have since.
        buffer: counts its updates that wait for the page, and those that were sent.
        started: when it opened, on Trio's clock.
        task: its task; None before that begins and once it is over.
        share: says when its yields let other tasks run.
        waiting_since: when its generator began to wait for room in the buffer; None if it does not.
        source: the id of the source that it follows; None if it follows none.
    """

    def __init__(self, stream_id: str, spec: StreamSpec, host: StreamHost, limits: Limits) -> None:
        self.id = stream_id
        self.spec = spec
        self.scope: StreamScope = StreamScope(spec.conditions, self, spec.watched)
        self.overran: bool = False
        self.buffer: StreamBuffer = StreamBuffer(limits.buffer, wire.props_head(stream_id), spec.light)
        self.started: float = trio.current_time()
        self.waiting_since: float | None = None
        self.source: str | None = None
        self.task: trio.lowlevel.Task | None = None
        self._lifecycle = Lifecycle()
        self._host = host
        self._limits = limits
        self._encode = spec.encode if spec.encode_by_prop is None else spec.encode_by_prop
        self._steps: Steps | None = None
        self._thread: StreamThread | None = None
        # One string for all streams of an event callback, instead of one each.
        self._inner = InnerGenerators(sys.intern(spec.name))
        self._sent_first = False
        self._end_sent: trio.Event | None = None
        self._cancelled_at: float | None = None
        self._deadline = Deadline("the event callback", spec.callback, limits.cleanup_timeout)
        spec.context.run(CURRENT_DEADLINE.set, self._deadline)
        self._timers: tuple[trio.CancelScope, ...] = ()
        self._handling: ErrorHandling | None = None
        self.share: FairShare = FairShare()

    @property
    def state(self) -> str:
        """What `app.streams()` says of it: `running`, `ending` or `stuck`."""
        return LISTED_AS[self._lifecycle.state]

    @property
    def generator(self) -> object | None:
        """The user's generator, to be looked at only; None before it is made."""
        return None if self._steps is None else self._steps.generator

    def open(self) -> None:
        """Tell the page that the stream starts."""
        self._lifecycle.advance(Trigger.OPENED)
        self.started = trio.current_time()
        self._host.outbox.put(wire.Open.event, wire.encode_for(self.id, self.spec.take_opening()))
        self._limits.observer.started(self)
        if self.spec.is_plain:
            self._thread = StreamThread(self._limits.threads, self._host.spawn, self.spec.callback)
        if self.spec.timeout is not None:
            self._after(self.spec.timeout, self._time_out)

    def discard(self) -> None:
        """Note that the stream, which waits, will never open."""
        self._lifecycle.advance(Trigger.REPLACED)

    # A Ctrl-C is never raised in here: see `containment`.
    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """The stream's task. Nothing that the generator or `on_error` raises leaves it."""
        error: BaseException | None = None
        self.task = trio.lowlevel.current_task()
        # Not a `contain` around it: each coroutine that waits takes a quarter of a KiB of every stream.
        try:
            try:
                with self.scope.cancel_scope:
                    try:
                        async with self._inner:
                            try:
                                await self._drive()
                            finally:
                                await self._close()
                    except BaseException as unwound:
                        if self.scope.reason is not None:
                            report_cut(unwound, self._deadline)
                        raise
            except BaseException as caught:
                # Kept even if `read_end` raises: the stream has failed.
                error = caught
                error = read_end(caught, self.spec.name, self.spec.finishes, self.scope.reason is not None)
            finally:
                await self._generator_over(error)
        except BaseException as failure:
            name = TASK_NAME + self.spec.callback
            contain_failure(_log, f"The task {name!r} failed: the page's other streams go on.", failure)

    async def _generator_over(self, error: BaseException | None) -> None:
        """The last part of the task: finish the stream, unless that was done at the deadline, and leave the page."""
        self.scope.close()
        before = self._lifecycle.advance(Trigger.GENERATOR_OVER)
        self._limits.observer.unwound(self)
        for timer in self._timers:
            timer.cancel()
        try:
            with trio.CancelScope(shield=True):
                if before is StreamState.RUNNING or before is StreamState.UNWINDING:
                    await self._finish(error)
                else:
                    # The timer's task has begun to finish the stream, at the deadline.
                    await self._wait_for_end()
        finally:
            if self._thread is not None:
                self._thread.end()
            self.task = None
            self._host.task_over(self.id)
        if self.overran:
            _log.warning("The clean-up of %s has returned after all.", self.spec.name)

    def push(self, value: object, unwinding: bool = False) -> None:
        """Send an update at once, from inside the generator (that is what `set_props` does in a stream).

        Args:
            value: the update.
            unwinding: whether the caller is cleaning up after a cancellation.

        Raises:
            BufferOverrun: the buffer holds twice its bound; a `yield` would have waited.
        """
        if self._handling is not None:
            self._handling.add(value)
        elif self._lifecycle.is_running:
            if self.buffer.full(times=2):
                bounds = self._limits.buffer
                raise BufferOverrun(
                    f"{self.spec.name} called set_props until twice its buffer ({bounds.updates} updates or "
                    f"{bounds.bytes} bytes) was full without coming to a yield. Yield now and then "
                    "(`yield stream_props(...)` waits until the page has caught up), or raise stream_buffer_updates= "
                    "or stream_buffer_bytes= of Flash(...)."
                )
            # Not written directly: the bound decides how far a loop without a `yield` gets, not the socket.
            self._put(self._encode(value))
        elif self._lifecycle.has_sent_end:
            self._report(mistakes.updated_after_end(self.spec.name, self.scope.reason))
        elif unwinding:
            self._report(mistakes.updated_in_cleanup(self.spec.name, "called set_props"))

    def shared_updates(self) -> SharedUpdates:
        """Where a source puts its updates for this stream, which follows it."""
        conflates = self.spec.encode_by_prop is not None
        outbox = self._host.outbox
        return SharedUpdates(self._lifecycle, outbox, self.buffer, self._note_first, conflates=conflates)

    # The generator: (a) and (b) of the teardown in docs/streams.md

    async def _drive(self) -> None:
        """Step the generator to its end."""
        await trio.lowlevel.checkpoint_if_cancelled()
        made = self.spec.take_generator()()
        if isawaitable(made):
            # A decorator that is `async def` gives the generator when it has been awaited.
            made = await made
        self._steps = steps_of(made, self._own_thread)
        # The stream closes it, whatever becomes of it.
        self._inner.own = made if isinstance(made, AsyncGeneratorType) else None
        made = None
        steps, inner, share, task = self._steps, self._inner, self.share, trio.lowlevel.current_task()
        # In local variables, as a stream that is ahead of its page needs them half a million times a second.
        buffer, iterator, perf_counter = self.buffer, steps.iterator, time.perf_counter
        outbox = self._host.outbox
        most_updates, most_bytes = buffer.bounds.updates, buffer.bounds.bytes
        must_end = False
        try:
            value = await anext(iterator)
            while True:
                if must_end:
                    _log.error(
                        "%s went on yielding after it was cancelled (%s); it is closed. Let trio.Cancelled and "
                        "GeneratorExit pass: use `finally`, not a bare `except`, for clean-up.",
                        self.spec.name,
                        self.scope.reason,
                    )
                    return
                try:
                    # Most yields need no switch of tasks.
                    if (
                        (perf_counter() > share.until and share.is_used_up())
                        or buffer.updates >= most_updates
                        or buffer.bytes >= most_bytes
                        or inner.left
                    ):
                        await self._pause()
                    elif is_cancelled(task):
                        # The stream, or a scope that the user opened.
                        await trio.lowlevel.checkpoint_if_cancelled()
                    if buffer.tail is None or not buffer.gather(value):
                        value = self._encode(value)
                        if type(value) is bytes and value and self._sent_first:
                            # Not by `_put`: most updates of most apps come by here.
                            if not outbox.send_update(value, buffer):
                                outbox.put_update(value, buffer)
                        else:
                            self._put(value, may_send_now=True)
                except trio.Cancelled as cancelled:
                    must_end = self.scope.reason is not None
                    value = await steps.throw(cancelled)
                except FlashError as refusal:
                    # Raised where the user can see it, at the yield. Whatever comes of that, the stream has failed.
                    with contextlib.suppress(StopAsyncIteration, *self.spec.finishes):
                        await steps.throw(refusal)
                    raise
                else:
                    # Do not keep it: the next update may come much later.
                    value = None
                    value = await anext(iterator)
        except (StopAsyncIteration, *self.spec.finishes):
            pass

    def _own_thread(self) -> StreamThread:
        """The thread of a plain generator. It is made here for a generator that `spec` did not say was plain."""
        if self._thread is None:
            self._limits.threads.check(self.spec.callback)
            self._thread = StreamThread(self._limits.threads, self._host.spawn, self.spec.callback)
        return self._thread

    async def _pause(self) -> None:
        """The checkpoint at the `yield`: raise a pending cancellation, let other tasks run, wait for room."""
        if self._inner.left:
            await self._inner.close_left()
        await trio.lowlevel.checkpoint()
        self.share.begin()
        if self.buffer.full():
            began = self.waiting_since = trio.current_time()
            try:
                await self.buffer.wait_for_room()
            finally:
                self.waiting_since = None
                self._limits.observer.waited(self, trio.current_time() - began)
            # A cancellation in the same tick has dropped what was buffered, which made the room: put nothing after it.
            await trio.lowlevel.checkpoint_if_cancelled()
            self.share.begin()

    def _put(self, encoded: bytes | Iterable[PropUpdate] | None, may_send_now: bool = False) -> None:
        """Put an update into the outbox: as bytes, or property by property; None is a mistake, and put nowhere."""
        if encoded is None:
            self._report(mistakes.yielded_none(self.spec.name))
        elif encoded:
            if not self._sent_first:
                self._note_first()
            outbox = self._host.outbox
            if not isinstance(encoded, bytes):
                outbox.put_by_prop(encoded, self.buffer)
            elif not may_send_now or not outbox.send_update(encoded, self.buffer):
                outbox.put_update(encoded, self.buffer)

    def _note_first(self) -> None:
        self._sent_first = True
        self._limits.observer.sent_first(self, trio.current_time() - self.started)

    def _encode_nothing(self, value: object) -> bytes:
        """The encoder of a stream that was cancelled, whose clean-up may still come to a `yield` under a shield."""
        self._report(mistakes.updated_in_cleanup(self.spec.name, "yielded"))
        return b""

    def _report(self, mistake: mistakes.Mistake) -> None:
        """Log a mistake, and show it in the page's dev tools."""
        self.spec.mistakes.log_once(*mistake)
        if self.spec.shows_mistakes:
            self._host.report(self.spec.callback, mistake.kind, mistake.sentence)

    async def _close(self) -> None:
        if self._steps is not None:
            await close_for_good(self._steps, self.spec.name)

    def cancelled(self) -> None:
        """Begin the clean-up: the stream's scope has just been cancelled."""
        self._lifecycle.advance(Trigger.CANCELLED)
        self._host.outbox.drop(self.buffer)
        self._cancelled_at = trio.current_time()
        assert self.scope.reason is not None
        self._limits.observer.cancelled(self, self.scope.reason)
        self._deadline.begin()
        self._encode = self._encode_nothing
        if self._thread is not None:
            self._thread.cancel()
        self._after(self._limits.cleanup_timeout, self._overrun)

    async def _time_out(self) -> None:
        self.scope.cancel(EndReason.TIMED_OUT)

    async def _overrun(self) -> None:
        if self._lifecycle.state is not StreamState.UNWINDING:
            # The generator got over in this very tick.
            return
        self._lifecycle.advance(Trigger.DEADLINE_PASSED)
        self.overran = True
        _log.error(
            "The clean-up of %s (%s) has overrun cleanup_timeout (%g s): it waits under a shield, or in a thread, "
            "and cannot be cut. The page is told that the stream is over; it counts as stuck until it returns.",
            self.spec.name,
            self.scope.reason,
            self._limits.cleanup_timeout,
        )
        await self._finish(None)

    def _after(self, seconds: float, then: Callable[[], Awaitable[object]]) -> None:
        """Call `then` after so many seconds, unless the generator is over by then."""
        timer = trio.CancelScope(shield=True)
        self._timers = (*self._timers, timer)

        async def wait() -> None:
            with timer:
                await trio.sleep(seconds)
                if self._deadline.shields:
                    # `cleanup()` is cut at this very moment, and the generator unwinds.
                    await trio.sleep(UNWIND_TIMEOUT)
            if not timer.cancelled_caught:
                with trio.CancelScope(shield=True):
                    await then()

        self._host.spawn(contextvars.Context(), wait, f"timer of {self.spec.callback}")

    # The end: (c), (d) and (e)

    async def _finish(self, error: BaseException | None) -> None:
        """Run `on_error`, send `end`, and leave the registry: once for every stream."""
        reason = self.scope.reason or (EndReason.FAILED if error is not None else EndReason.COMPLETED)
        exception = error
        if self.scope.reason is not None:
            exception = self.scope.exception()
            if error is not None:
                exception.__cause__ = error
                log_failure(_log, error, "The clean-up of %s (%s) raised.", self.spec.name, reason)
        last_props, handled = b"", False
        if exception is not None and self.spec.on_error is not None:
            self._handling = ErrorHandling(self.spec, self.spec.on_error, self._limits, self._thread)
            # Seconds until the deadline: negative after an overrun, and after a failure, which sets no deadline. Then
            # `on_error` gets the whole timeout.
            left = (self._cancelled_at or 0.0) + self._limits.cleanup_timeout - trio.current_time()
            last_props = await self._handling.run(exception, left, self._host.spawn)
            handled = self._handling.handled
            if self._handling.failure is not None and self.spec.shows_mistakes:
                sentence = f"on_error of {self.spec.name} raised {sentence_of(self._handling.failure)}."
                self._host.report(self.spec.callback, "on_error", sentence)
            self._handling = None
        buffer, cancelled = self.buffer, self._cancelled_at
        self._host.outbox.flush(buffer)
        seconds = trio.current_time() - self.started
        updates = buffer.sent_updates + buffer.updates
        log_end(self.spec, reason, self.scope.why, seconds, updates, error, handled)
        if self.scope.failure is not None:
            self._report(mistakes.failed_predicate(self.spec.name, self.scope.condition, self.scope.failure))
        props = [last_props, b"" if exception is None else self.spec.resets, self.spec.off]
        described = describe(self.spec, exception) if reason is EndReason.FAILED and exception is not None else b"null"
        end = wire.End(reason, wire.array(*props), described, handled and reason is EndReason.FAILED)
        self._host.outbox.put(end.event, end.encode_for(self.id))
        since_cancel = None if cancelled is None else trio.current_time() - cancelled
        size = buffer.sent_bytes + buffer.bytes
        self._limits.observer.ended(self, StreamEnd(reason, updates, size, since_cancel, error))
        self._host.ended(self.id, self.spec.key)
        self._lifecycle.advance(Trigger.END_SENT)
        if self._end_sent is not None:
            self._end_sent.set()

    async def _wait_for_end(self) -> None:
        """Return when `end` was sent: after an overrun, the timer's task does that."""
        if not self._lifecycle.has_sent_end:
            self._end_sent = trio.Event()
            await self._end_sent.wait()
