"""Runs one source: one run of a shared generator, while somebody follows it and for `linger` longer.

That is a feed with certain arguments, or an event callback whose streams are shared. What differs between the two is in
its `SourceSpec`: how what the generator yields becomes what followers are given, and what a new one is given first.

    app's nursery ── the source's task: its nursery, and its deadlines
                        ├─ the generator's task: steps it, and gives each value to every follower
                        └─ the thread of a plain generator

The generator has a task of its own: see `source_generator`. User code that reaches for the nursery of that task finds
the source's own, and cannot reach another source. Only `cancel` ends a source: when it has lingered long enough, when
somebody has stopped it, or when the server stops.

The source's task wakes at the deadline of the present state: the end of lingering, and of clean-up. The states are in
`states`.
"""

from __future__ import annotations

import contextvars
import logging
import math
import secrets
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from ..streams.limits import Limits
from ..user_code.cleanup import UNWIND_TIMEOUT
from ..user_code.containment import contain, log_failure, watch_despite_cancel
from ..user_code.failures import sentence_of
from .failures import unavailable
from .fan_out import AT_A_TIME, give_to_many
from .following import SourceFollower
from .listing import FeedInfo, SharedStreamInfo
from .memory import NOTHING, Memory
from .source_generator import SourceGenerator
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
        full: the followers whose buffers are full, and for which it waits.
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
        self.full: set[object] = set()
        self._end: Callable[[], BaseException] | None = None
        self._release: Callable[[], None] | None = None
        self._room: trio.Event | None = None
        self._waiting_since: float | None = None
        self._nursery: trio.Nursery | None = None
        self._generator = SourceGenerator(spec, self._name, limits, self)
        self._alarm = trio.CancelScope()
        self._alarm_at = math.inf

    @property
    def is_live(self) -> bool:
        """Its generator runs, and was not cancelled."""
        return self._lifecycle.is_live

    @property
    def can_be_followed(self) -> bool:
        """It is live, or kept."""
        return self._lifecycle.is_live or self.is_kept

    @property
    def is_kept(self) -> bool:
        """Its generator is over, and it is there for its state and its end."""
        return self._lifecycle.state is SourceState.KEPT

    @property
    def has_finished(self) -> bool:
        """Its generator has come to its end, or has failed, and was not cancelled before."""
        return self._end is not None

    @property
    def is_unwinding(self) -> bool:
        """It was cancelled, and makes room when it has cleaned up."""
        return self._lifecycle.state is SourceState.UNWINDING

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
        return self._generator.generator

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
            can_be_joined=self.can_be_followed and self.memory.refusal is None,
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
            failures=self._generator.failures,
            waiting=None if self._waiting_since is None else now - self._waiting_since,
            followers=tuple(sorted((follower.info for follower in self._followers), key=lambda info: -info.behind)),
        )

    def add(self, follower: SourceFollower) -> None:
        """Take in a follower. The source can be followed, or has finished: then the follower gets its state and end."""
        if self._end is not None:
            follower.begin(self, self.memory.given())
            follower.end(self._end)
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
            self.full.add(follower)

    def has_room(self, follower: SourceFollower) -> None:
        self.full.discard(follower)
        if self._room is not None and not self.full:
            self._room.set()

    def cancel(self) -> None:
        """End the source: it has lingered long enough, was stopped, or the server stops. Only the first call counts."""
        if not self.can_be_followed:
            return
        was_kept = self.is_kept
        self._lifecycle.advance(Trigger.CANCELLED)
        self._let_go()
        if was_kept:
            self._set_alarm(-math.inf)
            self._free_key()
            return
        name = self._name
        kind = self.spec.kind
        self._end_followers(lambda: unavailable(kind, f"{name} is over: the server stops."), at_once=True)
        self._generator.cancel()
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
            self.spawn(contextvars.copy_context(), self._generator.run, f"{TASK_NAME}{self.spec.name}")
            try:
                await watch_despite_cancel(nursery, self._watch, _log, self._name, "It goes on")
            finally:
                # It is over already, unless this task was cancelled: then the server is going down.
                self.cancel()
                with trio.CancelScope(shield=True):
                    await self._watch()
                # The tasks that are left were started by user code.
                nursery.cancel_scope.cancel()

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
        if self._generator.deadline.shields:
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

    # What its generator needs: see `GeneratorHost`.

    def spawn(self, context: contextvars.Context, function: Callable[[], Awaitable[object]], name: str, /) -> None:
        nursery = self._nursery
        assert nursery is not None
        # start_soon copies the context that it is called in.
        context.run(lambda: nursery.start_soon(contain, _log, f"The task {name!r} failed.", function, name=name))

    async def publish(self, value: object, /) -> bool:
        # There is nobody to be given anything in clean-up, under a shield, which may yield, too.
        if not self._lifecycle.is_live or (given := self.memory.take(value)) is NOTHING:
            return False
        self.values += 1
        if len(self._followers) <= AT_A_TIME:
            for follower in self.followers:
                follower.put(given)
            return False
        await give_to_many(self.followers, given, self._followers)
        return True

    async def wait_for_followers(self) -> None:
        self._waiting_since = trio.current_time()
        try:
            while self.full:
                self._room = trio.Event()
                await self._room.wait()
        finally:
            self._room = self._waiting_since = None

    def generator_over(self, error: BaseException | None, /) -> None:
        """The generator is over: end the followers, and let others start, unless its end is kept."""
        end = StopAsyncIteration if error is None else partial(self.spec.failure, self._name, error)
        if self._lifecycle.is_live:
            self._end = end
        if self.spec.keeps_end and self._lifecycle.state is SourceState.LINGERING:
            self._lifecycle.advance(Trigger.END_KEPT)
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
            followers = f"{len(self._followers)} follower{'s' if len(self._followers) > 1 else ''}"
            traced = None if self.spec.kind == "feed" else error
            message = "%s failed, and with it %s: %s"
            log_failure(_log, traced, message, self._name, followers, sentence_of(error), level=logging.WARNING)
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
        self.full.clear()
        if self._room is not None:
            self._room.set()
