"""Makes functions that are written for asyncio into functions that Trio can run: `on_asyncio`.

A coroutine function becomes one that waits for an asyncio task. An async generator function becomes an async generator
function like any other: whatever steps the generator, such as a stream, need not know that it runs on asyncio.

The asyncio generator is stepped in one asyncio task for its whole life, as `asyncio.timeout`, task groups and much of
what is built on them require. Between two steps that task waits for the next step. A cancellation that reaches it
there, the stream's or that of an `asyncio.timeout` around the `yield`, is raised at the `yield`.

asyncio raises a cancellation once, and clean-up may await after that. Clean-up that takes longer than `cleanup_timeout`
is cancelled a second time.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, overload

import trio
from outcome import Error, acapture

from ..callbacks.request import CALLBACK_REQUEST
from ..errors import AsyncioCancelled, FlashError
from ..event_callbacks import EventCallback
from ..options import DEFAULTS
from ..user_code.functions import name_of
from .thread import Report, Result, asyncio_thread

P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger("flash.asyncio")

CLEANUP_TIMEOUT = DEFAULTS.cleanup_timeout
"""Seconds that clean-up may take outside any callback, where there is no app with a `cleanup_timeout=`."""

CLOSE_ATTEMPTS = 3
"""How often a generator may answer GeneratorExit with another `yield`."""


@overload
def on_asyncio(function: Callable[P, AsyncIterator[R]]) -> Callable[P, AsyncGenerator[R, None]]: ...
@overload
def on_asyncio(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]: ...
def on_asyncio(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a coroutine function or async generator function that is written for asyncio run on Trio.

    It goes below `@callback` or `@event_callback`, and around an `on_error`. All decorated functions share one asyncio
    event loop, in a thread beside the server's. `ctx` and `set_props` work in them. When the stream or the request is
    cancelled, so is the asyncio task, and its clean-up is waited for. Called from asyncio, a decorated function does
    what it does without the decorator.

    Raises:
        FlashError: it is something else than a coroutine function or an async generator function.
    """
    name = name_of(function)
    if isinstance(function, EventCallback):
        raise FlashError(f"{name!r} is an event callback already: write @on_asyncio below its decorator.")
    if inspect.isasyncgenfunction(function):
        return _bridge_generator(function, name)
    if inspect.iscoroutinefunction(function):
        return _bridge_coroutine(function, name)
    raise FlashError(
        f"{name!r} is neither a coroutine function nor an async generator function: @on_asyncio is for `async def`. "
        "Plain functions and generators run in threads, and need nothing."
    )


def _bridge_coroutine(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(function)
    async def run(*args: Any, **kwargs: Any) -> Any:
        begin = functools.partial(function, *args, **kwargs)
        return await (_run(begin, name) if trio.lowlevel.in_trio_task() else begin())

    return run


def _bridge_generator(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(function)
    async def generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        begin = functools.partial(function, *args, **kwargs)
        if not trio.lowlevel.in_trio_task():
            async with contextlib.aclosing(begin()) as values:
                async for value in values:
                    yield value
            return
        driver = _Driver(begin, name)
        step: Callable[[], Coroutine[Any, Any, Any]] = driver.next
        while True:
            try:
                value = await step()
            except StopAsyncIteration:
                return
            try:
                yield value
            except trio.Cancelled as cancelled:
                step = functools.partial(driver.cancel, cancelled)
            except GeneratorExit:
                await driver.close()
                raise
            except BaseException as error:
                step = functools.partial(driver.throw, error)
            else:
                step = driver.next

    return generator


def _cleanup_timeout() -> float:
    asked = CALLBACK_REQUEST.get()
    return CLEANUP_TIMEOUT if asked is None else asked.settings.channels.limits.cleanup_timeout


async def _run(begin: Callable[[], Coroutine[Any, Any, Any]], name: str) -> Any:
    """Run a coroutine in a task of asyncio's, and return what it returns."""
    thread, timeout, context = asyncio_thread(), _cleanup_timeout(), contextvars.copy_context()
    task: asyncio.Task[None] | None = None
    # The result of a task that is cancelled before it has begun.
    result: Result = Error(asyncio.CancelledError())

    async def run() -> None:
        nonlocal result
        # Its exception goes to the caller, and so asyncio's loop is not to log it.
        result = await acapture(begin)

    def start(answer: Report) -> None:
        nonlocal task
        task = thread.loop.create_task(run(), name=name, context=context)
        task.add_done_callback(lambda _: answer(result))

    def cancel() -> None:
        if task is not None and task.cancel():
            cut = thread.loop.call_later(timeout, task.cancel)
            task.add_done_callback(lambda _: cut.cancel())

    await trio.lowlevel.checkpoint_if_cancelled()
    return await thread.ask(name, start, cancel)


@dataclass(eq=False, slots=True)
class _Step:
    """One step of the generator, which Trio's side asks for and asyncio's side answers.

    Attributes:
        thrown: the exception to raise at its `yield`; None to go on, and for a cancellation.
        cancels: whether to cancel its task.
        answer: takes what the generator yields or raises; set once the step has come to the loop's thread.
    """

    thrown: BaseException | None = None
    cancels: bool = False
    answer: Report | None = None


class _Driver:
    """Steps an asyncio generator in one task of asyncio's.

    `next`, `throw`, `cancel` and `close` are for Trio, one at a time; they return what the generator yields next, and
    raise what it raises. The rest happens in the loop's thread.
    """

    def __init__(self, begin: Callable[[], AsyncGenerator[Any, None]], name: str) -> None:
        self._begin = begin
        self._name = name
        self._thread = asyncio_thread()
        self._timeout = _cleanup_timeout()
        self._context = contextvars.copy_context()
        self._task: asyncio.Task[None] | None = None
        self._step: _Step | None = None
        self._step_came: asyncio.Future[None] | None = None
        # What the generator has yielded or raised, until a step takes it.
        self._outcome: Result | None = None
        # The task was cancelled since the step came.
        self._cancelled = False
        self._given_up = False
        self._cut: asyncio.TimerHandle | None = None

    async def next(self) -> Any:
        return await self._ask(_Step())

    async def throw(self, error: BaseException) -> Any:
        return await self._ask(_Step(error))

    async def cancel(self, cancelled: trio.Cancelled) -> Any:
        """Cancel the generator at its `yield`; `cancelled` is raised if that is what ends it."""
        try:
            with trio.CancelScope(shield=True):
                return await self._ask(_Step(cancels=True))
        except AsyncioCancelled:
            raise cancelled from None

    async def close(self) -> None:
        """Close the generator at its `yield`, so that nothing of it is left to the garbage collector."""
        with trio.CancelScope(shield=True), contextlib.suppress(StopAsyncIteration, GeneratorExit, AsyncioCancelled):
            for _ in range(CLOSE_ATTEMPTS):
                await self._ask(_Step(GeneratorExit()))
            _log.error("%r yields whatever is raised in it and cannot be closed; it is given up.", self._name)
            self._given_up = True
            await self._ask(_Step(cancels=True))

    async def _ask(self, step: _Step) -> Any:
        take, cancel = functools.partial(self._take, step), functools.partial(self._cancel, step)
        return await self._thread.ask(self._name, take, cancel)

    # In the loop's thread

    def _take(self, step: _Step, answer: Report) -> None:
        step.answer = answer
        self._step = step
        self._cancelled = False
        if self._task is None:
            self._task = self._thread.loop.create_task(self._main(), name=self._name, context=self._context)
            self._task.add_done_callback(self._over)
        elif self._task.done():
            self._over(self._task)
        elif step.cancels:
            self._cancel(step)
        else:
            if isinstance(step.thrown, GeneratorExit):
                self._cut_later(self._task)
            if self._step_came is not None and not self._step_came.done():
                self._step_came.set_result(None)

    def _cancel(self, step: _Step) -> None:
        """Cancel the generator's task for this step, unless the step has been answered in the meantime."""
        if self._step is step and self._task is not None:
            self._cancelled = True
            self._task.cancel()
            self._cut_later(self._task)

    def _cut_later(self, task: asyncio.Task[None]) -> None:
        if self._cut is None:
            self._cut = self._thread.loop.call_later(self._timeout, task.cancel)

    async def _main(self) -> None:
        """The generator's task. It ends with the generator; `_outcome` is then what that raised last."""
        try:
            generator = self._begin()
        except BaseException as error:
            self._outcome = Error(error)
            return
        while not isinstance(self._outcome, Error):
            step = self._step
            assert step is not None
            if step.thrown is not None:
                self._outcome = await acapture(generator.athrow, step.thrown)
            elif self._outcome is None:
                self._outcome = await acapture(generator.__anext__)
            if self._cancelled:
                await self._meet_cancellation(generator)
            if isinstance(self._outcome, Error):
                return
            self._reply(self._outcome)
            self._outcome = None
            await self._wait_at_yield(generator)

    async def _meet_cancellation(self, generator: AsyncGenerator[Any, None]) -> None:
        """Raise a cancellation at the `yield` if the step that it was meant for was over before it came."""
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError as cancelled:
            if not isinstance(self._outcome, Error):
                self._outcome = await acapture(generator.athrow, cancelled)

    async def _wait_at_yield(self, generator: AsyncGenerator[Any, None]) -> None:
        """Wait for the next step. A cancellation, whoever it is from, is raised at the `yield`."""
        while self._step is None and not isinstance(self._outcome, Error):
            self._step_came = self._thread.loop.create_future()
            try:
                await self._step_came
            except asyncio.CancelledError as cancelled:
                given_up = Error(asyncio.CancelledError())
                self._outcome = given_up if self._given_up else await acapture(generator.athrow, cancelled)
        self._step_came = None

    def _over(self, task: asyncio.Task[None]) -> None:
        """The task is over: answer the step with what ended it, and every later step with StopAsyncIteration."""
        if self._step is not None:
            outcome, self._outcome = self._outcome, Error(StopAsyncIteration())
            self._reply(outcome if isinstance(outcome, Error) else Error(asyncio.CancelledError()))

    def _reply(self, result: Result) -> None:
        step, self._step = self._step, None
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None
        assert step is not None
        assert step.answer is not None
        step.answer(result)
