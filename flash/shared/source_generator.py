"""Runs the generator of a source: steps it to its end, and starts it again where it fails and is to be retried.

    the source's task
       └─ the generator's task: next value ── publish ── wait for followers whose buffers are full ── next value
             └─ the thread of a plain generator

The generator runs, and unwinds, in a task of its own and in a fresh context: it belongs to no page and no request.
Its cancel scope is shielded, so only `cancel` ends it. `yield` is a checkpoint inside the generator, as in a stream:
see `streams.stream`. While a value is given to many followers, other tasks may run, and the generator stands at its
`yield`.

What becomes of the values, and what follows from the end, is the business of the source: its `GeneratorHost`.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Protocol

import trio

from .._trio import is_cancelled
from ..errors import FlashError
from ..streams.fairness import FairShare
from ..streams.generators import Steps, close_for_good, steps_of
from ..streams.limits import Limits
from ..streams.thread import StreamThread
from ..user_code.backoff import Backoff
from ..user_code.cleanup import CURRENT_DEADLINE, Deadline, report_cut
from ..user_code.containment import log_failure
from ..user_code.failures import read_end
from ..user_code.inner_generators import InnerGenerators
from .failures import note_missing_page
from .source_spec import SourceSpec

_log = logging.getLogger("flash.feeds")


class GeneratorHost(Protocol):
    """What the generator needs of its source.

    Attributes:
        full: the followers whose buffers are full, and for which the generator waits at its `yield`.
    """

    full: set[object]

    @property
    def is_live(self) -> bool:
        """The source was not cancelled."""
        ...

    def spawn(self, context: contextvars.Context, function: Callable[[], Awaitable[object]], name: str, /) -> None:
        """Run a task in the nursery of the source."""
        ...

    async def publish(self, value: object, /) -> bool:
        """Give a value to every follower. Says whether other tasks may have run meanwhile."""
        ...

    async def wait_for_followers(self) -> None:
        """Return when no follower is full; at once if none is."""
        ...

    def generator_over(self, error: BaseException | None, /) -> None:
        """The generator is over, and is not started again; `error` is what it has raised."""
        ...


class SourceGenerator:
    """The generator of one source.

    Attributes:
        failures: how often in a row it has raised, and is to be started again.
        deadline: of its clean-up.
    """

    def __init__(self, spec: SourceSpec, name: str, limits: Limits, host: GeneratorHost) -> None:
        """
        Args:
            spec: what the source runs.
            name: of the source, for messages.
            limits: bounds its clean-up and its thread.
            host: the source.
        """
        self.deadline = Deadline(f"the {spec.kind}", spec.name, limits.cleanup_timeout)
        self._spec = spec
        self._name = name
        self._limits = limits
        self._host = host
        self._scope = trio.CancelScope(shield=True)
        retry = spec.options.retry
        self._backoff: Backoff | None = None if retry is None else Backoff(retry, spec.options.retries)
        self._share = FairShare()
        self._steps: Steps | None = None
        self._thread: StreamThread | None = None
        if spec.is_plain:
            self._own_thread()

    @property
    def generator(self) -> object:
        """The user's generator; None before and after."""
        return None if self._steps is None else self._steps.generator

    @property
    def failures(self) -> int:
        return 0 if self._backoff is None else self._backoff.failures

    def cancel(self) -> None:
        """Have the generator unwind, within `cleanup_timeout`."""
        self.deadline.begin()
        self._scope.cancel()
        if self._thread is not None:
            self._thread.cancel()

    # A Ctrl-C is never raised in here: see `containment`.
    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """The generator's task. Nothing that the generator raises leaves it."""
        CURRENT_DEADLINE.set(self.deadline)
        error: BaseException | None = None
        try:
            with self._scope:
                error = await self._run_and_retry()
        except BaseException as caught:
            # Raised in the clean-up after a cancellation. Kept even if `read_end` raises.
            error = caught
            error = read_end(caught, self._name, self._spec.finishes, cancelled=True)
        finally:
            if self._thread is not None:
                self._thread.end()
            self._host.generator_over(error)

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
            if not self._host.is_live:
                report_cut(error, self.deadline)
                raise
            failure = read_end(error, self._name, self._spec.finishes, cancelled=False)
            if failure is not None:
                note_missing_page(failure, self._spec.kind)
            return failure
        finally:
            self._steps = None
        return None

    async def _drive(self, inner: InnerGenerators) -> None:
        """Step the generator to its end."""
        await trio.lowlevel.checkpoint_if_cancelled()
        made = self._spec.generator()
        # A decorator that is `async def` gives the generator when it has been awaited.
        steps = self._steps = steps_of(await made if isawaitable(made) else made, self._own_thread)
        share, task, host = self._share, trio.lowlevel.current_task(), self._host
        must_end = False
        try:
            value = await anext(steps.iterator)
            while True:
                if must_end:
                    _log.error(
                        "%s went on yielding after it was cancelled; it is closed. Let trio.Cancelled and "
                        "GeneratorExit pass: use `finally`, not a bare `except`, for clean-up.",
                        self._name,
                    )
                    return
                try:
                    if inner.left or host.full or share.is_used_up():
                        await self._pause(inner)
                    elif is_cancelled(task):
                        # The source, or a scope that the user opened.
                        await trio.lowlevel.checkpoint_if_cancelled()
                    if self._backoff is not None:
                        self._backoff.failures = 0
                    if await host.publish(value):
                        share.begin()
                except trio.Cancelled as cancelled:
                    must_end = not host.is_live
                    value = await steps.throw(cancelled)
                except FlashError as refusal:
                    # Raised where the user can see it, at the yield. Whatever comes of that, the source has failed.
                    with contextlib.suppress(StopAsyncIteration, *self._spec.finishes):
                        await steps.throw(refusal)
                    raise
                else:
                    # Do not keep it: the next value may come much later.
                    value = None
                    value = await anext(steps.iterator)
        except (StopAsyncIteration, *self._spec.finishes):
            pass

    def _own_thread(self) -> StreamThread:
        """The thread of a plain generator. It is made here for a generator that `spec` did not say was plain."""
        if self._thread is None:
            self._thread = StreamThread(self._limits.threads, self._host.spawn, self._spec.name)
        return self._thread

    async def _pause(self, inner: InnerGenerators) -> None:
        """The checkpoint at the `yield`: raise a pending cancellation, let other tasks run, wait for followers."""
        if inner.left:
            await inner.close_left()
        await trio.lowlevel.checkpoint()
        if self._host.full:
            await self._host.wait_for_followers()
            # A cancellation in the same tick has ended the followers, which made the room.
            await trio.lowlevel.checkpoint_if_cancelled()
        self._share.begin()
