"""Runs one source: one run of a shared generator, while somebody follows it and for `linger` longer.

That is a feed with certain arguments, or an event callback whose streams are shared. What differs between the two is in
its `SourceSpec`: how what the generator yields becomes what followers are given, and what a new one is given first.

    app's nursery ── the source's task: its nursery, and its deadlines
                        ├─ the generator's task: steps it, and gives each value to every follower
                        └─ the thread of a plain generator

The generator runs, and unwinds, in a task of its own and in a fresh context: it belongs to no page and no request.
Its cancel scope is shielded, so only `cancel` ends it: when it has lingered long enough, or when the server stops.
`yield` is a checkpoint inside the generator, as in a stream: see `streams.stream`. User code that reaches for the
nursery of its task finds the source's own, and cannot reach another source.

While a value is given to many followers, other tasks may run: see `fan_out`. The generator stands at its `yield` then.

The source's task wakes at the deadline of the present state: the end of lingering, and of clean-up. The states are in
`states`.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import math
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from inspect import isawaitable

import trio

from .._trio import is_cancelled
from ..errors import FeedUnavailable, FlashError
from ..streams.fairness import FairShare
from ..streams.generators import Steps, close_for_good, steps_of
from ..streams.limits import Limits
from ..streams.thread import StreamThread
from ..user_code.backoff import Backoff
from ..user_code.cleanup import CURRENT_DEADLINE, UNWIND_TIMEOUT, Deadline, report_cut
from ..user_code.containment import contain, log_failure, watch_despite_cancel
from ..user_code.failures import read_end, sentence_of
from ..user_code.inner_generators import InnerGenerators
from .failures import note_missing_page
from .fan_out import AT_A_TIME, give_to_many
from .following import SourceFollower
from .listing import FeedInfo, SharedStreamInfo
from .memory import NOTHING, Memory
from .source_spec import SourceSpec
from .states import LISTED_AS, Lifecycle, SourceState, Trigger

_log = logging.getLogger("flash.feeds")

TASK_NAME = "source of "
"""What the name of the task of a source's generator begins with; the feed and its arguments follow."""


class Source:
    """One run of a shared generator.

    Attributes:
        id: names it in `app.shared_streams()`, and the streams that follow it in `app.streams()`.
        spec: what it runs.
        memory: what it has for those who join late.
        key_is_free: set when another source of the same arguments may start.
        values: how many it has yielded.
    """

    def __init__(self, spec: SourceSpec, limits: Limits, over: Callable[[Source], None]) -> None:
        """
        Args:
            spec: what it is to run.
            limits: bounds its clean-up and its thread.
            over: is called when another source of the same arguments may start, and when the generator is over.
        """
        self.id: str = secrets.token_hex(4)
        self.spec = spec
        self.key_is_free: trio.Event = trio.Event()
        self._limits = limits
        self._over = over
        self._name = f"the {spec.kind} {spec.name}"
        self._lifecycle = Lifecycle()
        self._started = trio.current_time()
        self.values: int = 0
        self.memory: Memory = spec.memory()
        self._followers: dict[SourceFollower, None] = {}
        self._full: set[SourceFollower] = set()
        self._kept_end: Callable[[], BaseException] = StopAsyncIteration
        self._release: Callable[[], None] | None = None
        self._room: trio.Event | None = None
        self._waiting_since: float | None = None
        self._nursery: trio.Nursery | None = None
        self._scope = trio.CancelScope(shield=True)
        self._deadline = Deadline(f"the {spec.kind}", spec.name, limits.cleanup_timeout)
        self._alarm = trio.CancelScope()
        self._alarm_at = math.inf
        retry = spec.options.retry
        self._backoff: Backoff | None = None if retry is None else Backoff(retry, spec.options.retries)
        self._share = FairShare()
        self._steps: Steps | None = None
        self._thread: StreamThread | None = None
        if spec.is_plain:
            self._own_thread()

    @property
    def is_live(self) -> bool:
        """It can be followed."""
        return self._lifecycle.is_live or self.is_kept

    @property
    def is_kept(self) -> bool:
        """Its generator is over, and it is there for its state and its end."""
        return self._lifecycle.state is SourceState.KEPT

    @property
    def is_over(self) -> bool:
        """Nothing of it is left."""
        return self._lifecycle.state is SourceState.OVER

    @property
    def followers(self) -> tuple[SourceFollower, ...]:
        """Who follows it."""
        return tuple(self._followers)

    @property
    def generator(self) -> object:
        """What it runs; None before and after."""
        return None if self._steps is None else self._steps.generator

    @property
    def shared_stream_info(self) -> SharedStreamInfo:
        """What `app.shared_streams()` lists."""
        return SharedStreamInfo(
            id=self.id,
            source=self.spec.name,
            state=LISTED_AS[self._lifecycle.state],
            age=trio.current_time() - self._started,
            updates=self.values,
            followers=len(self._followers),
            can_be_joined=self.is_live and self.memory.refusal is None,
        )

    @property
    def info(self) -> FeedInfo:
        """What `app.feeds()` lists."""
        now = trio.current_time()
        return FeedInfo(
            feed=self.spec.name,
            state=LISTED_AS[self._lifecycle.state],
            age=now - self._started,
            values=self.values,
            failures=0 if self._backoff is None else self._backoff.failures,
            waiting=None if self._waiting_since is None else now - self._waiting_since,
            followers=tuple(sorted((follower.info for follower in self._followers), key=lambda info: -info.behind)),
        )

    def add(self, follower: SourceFollower) -> None:
        """Take in a follower. The source is live."""
        if self.is_kept:
            follower.begin(self, self.memory.given())
            follower.end(self._kept_end)
            return
        if self._lifecycle.state is SourceState.LINGERING:
            self._lifecycle.advance(Trigger.JOINED)
            self._set_alarm(math.inf)
            self._let_go()
        self._followers[follower] = None
        follower.begin(self, self.memory.given())

    def leave(self, follower: SourceFollower, linger: float | None = None) -> None:
        """A follower takes nothing any more. Without effect for one that has left.

        Args:
            follower: the one that leaves.
            linger: seconds for which the source goes on if it is the last one; None for those of the options.
        """
        if follower not in self._followers:
            return
        del self._followers[follower]
        self.has_room(follower)
        if not self._followers and self._lifecycle.is_live:
            self._lifecycle.advance(Trigger.ALL_LEFT)
            linger = self.spec.options.linger if linger is None else linger
            if linger:
                self._release = follower.hold()
                self._set_alarm(trio.current_time() + linger)
            else:
                self.cancel()

    def is_full(self, follower: SourceFollower) -> None:
        if self.spec.options.overflow == "wait":
            self._full.add(follower)

    def has_room(self, follower: SourceFollower) -> None:
        self._full.discard(follower)
        if self._room is not None and not self._full:
            self._room.set()

    def cancel(self) -> None:
        """End the source: it has lingered long enough, was stopped, or the server stops. Only the first call counts."""
        if not self.is_live:
            return
        was_kept = self.is_kept
        self._lifecycle.advance(Trigger.CANCELLED)
        self._let_go()
        if was_kept:
            self._set_alarm(-math.inf)
            self._free_key()
            return
        name = self._name
        self._end_followers(lambda: FeedUnavailable(f"{name} is over: the server stops."), at_once=True)
        self._deadline.begin()
        self._scope.cancel()
        if self._thread is not None:
            self._thread.cancel()
        self._set_alarm(trio.current_time() + self._limits.cleanup_timeout)

    def _let_go(self) -> None:
        """The source does not linger any more."""
        release, self._release = self._release, None
        if release is not None:
            release()

    # The source's task

    async def run(self) -> None:
        """The source's task. It is over when the generator is."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._spawn(contextvars.copy_context(), self._run_generator, f"{TASK_NAME}{self.spec.name}")
            try:
                await watch_despite_cancel(nursery, self._watch, _log, self._name, "It goes on")
            finally:
                # It is over already, unless this task was cancelled: then the server is going down.
                self.cancel()
                with trio.CancelScope(shield=True):
                    await self._watch()
                # The tasks that are left were started by user code.
                nursery.cancel_scope.cancel()

    def _spawn(self, context: contextvars.Context, function: Callable[[], Awaitable[object]], name: str, /) -> None:
        nursery = self._nursery
        assert nursery is not None
        # start_soon copies the context that it is called in.
        context.run(lambda: nursery.start_soon(contain, _log, f"The task {name!r} failed.", function, name=name))

    async def _watch(self) -> None:
        """Do what is due at the deadline of each state; return when the generator is over."""
        while not self.is_over:
            with trio.CancelScope(deadline=self._alarm_at) as self._alarm:
                await trio.sleep_forever()
            if self._alarm_at > trio.current_time():
                # Set for another time since, or the generator is over.
                continue
            if self._lifecycle.state is SourceState.LINGERING or self.is_kept:
                self.cancel()
            elif self._lifecycle.state is SourceState.UNWINDING:
                await self._overrun()

    def _set_alarm(self, at: float) -> None:
        self._alarm_at = self._alarm.deadline = at

    async def _overrun(self) -> None:
        """The time for clean-up is over."""
        if self._deadline.shields:
            # `cleanup()` is cut at this very moment, and the generator unwinds.
            with trio.move_on_after(UNWIND_TIMEOUT):
                await self.key_is_free.wait()
        if self._lifecycle.state is SourceState.UNWINDING:
            self._lifecycle.advance(Trigger.DEADLINE_PASSED)
            self._set_alarm(math.inf)
            _log.error(
                "The clean-up of %s has overrun cleanup_timeout (%g s): it waits under a shield, or in a thread, and "
                "cannot be cut. It counts as stuck until it returns, and another one may start beside it.",
                self._name,
                self._limits.cleanup_timeout,
            )
            self._free_key()

    def _free_key(self) -> None:
        self._over(self)
        self.key_is_free.set()

    # The generator's task

    # A Ctrl-C is never raised in here: see `containment`.
    @trio.lowlevel.enable_ki_protection
    async def _run_generator(self) -> None:
        """The generator's task. Nothing that the generator raises leaves it."""
        CURRENT_DEADLINE.set(self._deadline)
        error: BaseException | None = None
        try:
            with self._scope:
                error = await self._run_and_retry()
        except BaseException as caught:
            # Raised in the clean-up after a cancellation. Kept even if `read_end` raises.
            error = caught
            error = read_end(caught, self._name, self.spec.finishes, cancelled=True)
        finally:
            if self._thread is not None:
                self._thread.end()
            self._finish(error)

    async def _run_and_retry(self) -> BaseException | None:
        """Run the generator, again and again if it fails and is to be retried; return its last failure."""
        while True:
            error = await self._run_once()
            pause = None if error is None or self._backoff is None else self._backoff.pause()
            if pause is None:
                return error
            log_failure(
                _log, error, "%s failed; it is started again in %g s.", self._name, pause, level=logging.WARNING
            )
            del error
            await trio.sleep(pause)

    async def _run_once(self) -> BaseException | None:
        """Run the generator to its end; return its failure. Raises what a cancelled one raises."""
        try:
            async with InnerGenerators(self._name) as inner:
                try:
                    await self._drive(inner)
                finally:
                    if self._steps is not None:
                        await close_for_good(self._steps, self._name)
        except BaseException as error:
            if not self._lifecycle.is_live:
                report_cut(error, self._deadline)
                raise
            failure = read_end(error, self._name, self.spec.finishes, cancelled=False)
            if failure is not None:
                note_missing_page(failure, self.spec.kind)
            return failure
        finally:
            self._steps = None
        return None

    async def _drive(self, inner: InnerGenerators) -> None:
        """Step the generator to its end."""
        await trio.lowlevel.checkpoint_if_cancelled()
        made = self.spec.generator()
        # A decorator that is `async def` gives the generator when it has been awaited.
        steps = self._steps = steps_of(await made if isawaitable(made) else made, self._own_thread)
        share, task = self._share, trio.lowlevel.current_task()
        must_end = False
        try:
            value = await steps.next()
            while True:
                if must_end:
                    _log.error(
                        "%s went on yielding after it was cancelled; it is closed. Let trio.Cancelled and "
                        "GeneratorExit pass: use `finally`, not a bare `except`, for clean-up.",
                        self._name,
                    )
                    return
                try:
                    if inner.left or self._full or share.is_used_up(steps):
                        await self._pause(inner)
                    elif is_cancelled(task):
                        # The source, or a scope that the user opened.
                        await trio.lowlevel.checkpoint_if_cancelled()
                    await self._publish(value)
                except trio.Cancelled as cancelled:
                    must_end = not self._lifecycle.is_live
                    value = await steps.throw(cancelled)
                except FlashError as refusal:
                    # Raised where the user can see it, at the yield. Whatever comes of that, the source has failed.
                    with contextlib.suppress(StopAsyncIteration, *self.spec.finishes):
                        await steps.throw(refusal)
                    raise
                else:
                    # Do not keep it: the next value may come much later.
                    value = None
                    value = await steps.next()
        except (StopAsyncIteration, *self.spec.finishes):
            pass

    def _own_thread(self) -> StreamThread:
        """The thread of a plain generator. It is made here for a generator that `spec` did not say was plain."""
        if self._thread is None:
            self._thread = StreamThread(self._limits.threads, self._spawn, self.spec.name)
        return self._thread

    async def _pause(self, inner: InnerGenerators) -> None:
        """The checkpoint at the `yield`: raise a pending cancellation, let other tasks run, wait for followers."""
        if inner.left:
            await inner.close_left()
        await trio.lowlevel.checkpoint()
        if self._full:
            self._waiting_since = trio.current_time()
            try:
                while self._full:
                    self._room = trio.Event()
                    await self._room.wait()
            finally:
                self._room = self._waiting_since = None
            # A cancellation in the same tick has ended the followers, which made the room.
            await trio.lowlevel.checkpoint_if_cancelled()
        self._share.begin()

    async def _publish(self, value: object) -> None:
        """Give a value to every follower. There is none any more in clean-up, under a shield, which may yield, too."""
        if not self._lifecycle.is_live or (given := self.memory.take(value)) is NOTHING:
            return
        self.values += 1
        if self._backoff is not None:
            self._backoff.failures = 0
        if len(self._followers) <= AT_A_TIME:
            for follower in self.followers:
                follower.put(given)
        else:
            await give_to_many(self.followers, given, self._followers)
            self._share.begin()

    def _finish(self, error: BaseException | None) -> None:
        """The generator is over: end the followers, and let others start, unless its end is kept."""
        end = StopAsyncIteration if error is None else partial(self.spec.failure, self._name, error)
        if self.spec.keeps_end and self._lifecycle.state is SourceState.LINGERING:
            self._lifecycle.advance(Trigger.END_KEPT)
            self._kept_end = end
            if error is not None:
                log_failure(_log, error, "%s failed while nobody followed it.", self._name, level=logging.WARNING)
            return
        before = self._lifecycle.advance(Trigger.GENERATOR_OVER)
        self._let_go()
        if before is SourceState.STUCK:
            _log.warning("The clean-up of %s has returned after all.", self._name)
        if error is None:
            self._end_followers(end)
        elif before is SourceState.FOLLOWED:
            # The followers of a feed raise it with its traceback, and most likely log it; streams log their end only.
            count, sentence = len(self._followers), sentence_of(error)
            traced = None if self.spec.kind == "feed" else error
            message = "%s failed, and %d followers with it: %s"
            log_failure(_log, traced, message, self._name, count, sentence, level=logging.WARNING)
            self._end_followers(end)
        else:
            log_failure(_log, error, "%s failed, with no follower to be told.", self._name)
        self._set_alarm(-math.inf)
        self._free_key()

    def _end_followers(self, exception: Callable[[], BaseException], *, at_once: bool = False) -> None:
        """No follower gets another value: each raises an exception of its own that `exception` makes."""
        followers, self._followers = self._followers, {}
        for follower in followers:
            follower.end(exception, at_once=at_once)
        self._full.clear()
        if self._room is not None:
            self._room.set()
