"""Runs what an app does while it is served and no page asks for: the functions under `@app.background`.

    lifespan ── start-up ── a task for each ── end of the streams ── the tasks are cancelled ── the sources of feeds end

A function that raises is started again, after pauses that double, unless it was declared otherwise. One that is given
up is logged, and stops the server if it is essential: then the process exits with a failure, so that whoever watches it
starts it again.

With several workers each of them runs the function, unless that is for one of the machine: then its task waits, in
every worker, until the supervisor chooses that worker. See `workers.chosen_worker`.
"""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from typing import Any, Literal, NamedTuple, TypeVar, overload

import trio

from .._trio import is_cancelled
from ..errors import FlashError, InvalidOption
from ..user_code.backoff import LONGEST_PAUSE, Backoff
from ..user_code.cleanup import CURRENT_DEADLINE, UNWIND_TIMEOUT, Deadline, report_cut
from ..user_code.containment import log_failure
from ..user_code.failures import read_failure
from ..user_code.functions import name_of, takes
from ..user_code.inner_generators import InnerGenerators

_log = logging.getLogger("flash.server")

Function = Callable[[], Awaitable[object]]

F = TypeVar("F", bound=Function)

Restart = Literal["on_failure", "never"]
Once = Literal["worker", "machine"]

FIRST_PAUSE = 1.0
"""Seconds after which a function that has raised is started again, at first."""

RETRIES = 10
"""After how many failures in a row it is given up. One that ran for `LONGEST_PAUSE` seconds begins a new row."""


class _Declaration(NamedTuple):
    """A function under `@app.background`.

    Attributes:
        function: the user's.
        restart: whether it is started again when it raises.
        essential: whether the server stops when it is given up.
        once: whether each worker runs it, or one of the machine.
    """

    function: Function
    restart: Restart
    essential: bool
    once: Once


@dataclass(eq=False, slots=True)
class _Task:
    """The task of such a function.

    Attributes:
        function: the user's.
        restart: whether it is started again when it raises.
        essential: whether the server stops when it is given up.
        chosen: what the task waits for before it begins; None for nothing.
        deadline: of its clean-up.
        scope: ends the task.
        over: set when the task is over.
        running: the task runs.
    """

    function: Function
    restart: Restart
    essential: bool
    chosen: trio.Event | None
    deadline: Deadline
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    over: trio.Event = field(default_factory=trio.Event)
    running: bool = False

    @property
    def name(self) -> str:
        return f"The background task {name_of(self.function)!r}"


class BackgroundWork:
    """`app.background`: a decorator, and the tasks of what it stands over."""

    def __init__(self, cleanup_timeout: float) -> None:
        """`cleanup_timeout`: seconds that a task has to clean up at the shutdown."""
        self._cleanup_timeout = cleanup_timeout
        self._declared: list[_Declaration] = []
        self._tasks: list[_Task] = []

    @overload
    def __call__(self, function: F, /) -> F: ...
    @overload
    def __call__(
        self, /, *, restart: Restart = "on_failure", essential: bool = False, once: Once = "worker"
    ) -> Callable[[F], F]: ...
    def __call__(
        self,
        function: Any = None,
        /,
        *,
        restart: Restart = "on_failure",
        essential: bool = False,
        once: Once = "worker",
    ) -> Any:
        """Have an async function run while the app is served, in a task of its own.

            @app.background
            async def watch_the_price():
                async for _ in every(10):
                    latest["price"] = await ask_for_the_price()

        It starts when the functions under `before_serving` have returned, and is cancelled at the shutdown when the
        streams have ended; its clean-up has `cleanup_timeout`. When it returns it is over.

        Args:
            function: takes no arguments.
            restart: `"on_failure"` starts it again when it raises, after a second, and after twice as long with each
                failure, up to a minute; after ten failures in a row it is given up. `"never"` gives it up at the first.
            essential: whether the server stops, with a failure, when it is given up.
            once: `"worker"` has every worker run it, `"machine"` one of those that `flash run --workers` has started:
                their supervisor chooses it, and another one when that has ended. A process that no supervisor has
                started runs it in either case.

        Raises:
            InvalidOption: one of these cannot be used.
        """
        if restart not in ("on_failure", "never"):
            raise InvalidOption(f'restart= of app.background is to be "on_failure" or "never", got {restart!r}.')

        if once not in ("worker", "machine"):
            raise InvalidOption(f'once= of app.background is to be "worker" or "machine", got {once!r}.')

        def declare(declared: Function) -> Function:
            if not iscoroutinefunction(declared) or not takes(declared):
                raise InvalidOption(
                    f"app.background stands over an `async def` without arguments, got {declared!r}. Blocking code "
                    "goes into `await trio.to_thread.run_sync(...)` in it."
                )
            self._declared.append(_Declaration(declared, restart, bool(essential), once))
            return declared

        return declare if function is None else declare(function)

    def start(
        self, nursery: trio.Nursery, stop: Callable[[BaseException], None], chosen: trio.Event | None = None
    ) -> None:
        """Start the tasks.

        Args:
            nursery: the server's.
            stop: is called with the exception for which an essential one was given up; stops the server, or raises.
            chosen: is set when this process is the one of its machine that runs what one of them is to; None if it has
                no others beside it.
        """
        for each in self._declared:
            deadline = Deadline("the background task", name_of(each.function), self._cleanup_timeout)
            waits_for = chosen if each.once == "machine" else None
            task = _Task(each.function, each.restart, each.essential, waits_for, deadline, running=True)
            self._tasks.append(task)
            # In a context of its own: the server's lifespan is no affair of the user's.
            contextvars.Context().run(_spawn, nursery, task, stop)

    async def shut_down(self) -> None:
        """End the tasks, and return when they are over; soon after `cleanup_timeout` at the latest, with an error."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.deadline.begin()
            task.scope.cancel()
        # What is under `cleanup()` is cut at the end of that time, and unwinds.
        with trio.move_on_after(self._cleanup_timeout + UNWIND_TIMEOUT):
            for task in tasks:
                await task.over.wait()
        stuck = [task for task in tasks if task.running]
        for task in stuck:
            _log.error(
                "%s has not ended within cleanup_timeout (%g s): it waits under a shield, or in a thread, and cannot "
                "be cut.",
                task.name,
                self._cleanup_timeout,
            )
        self._tasks = stuck

    def names(self) -> list[str]:
        """The functions that run; may be asked from any thread."""
        return [name_of(task.function) for task in list(self._tasks) if task.running]


def _spawn(nursery: trio.Nursery, task: _Task, stop: Callable[[BaseException], None]) -> None:
    nursery.start_soon(_run, task, stop, name=f"background task {name_of(task.function)}")


@trio.lowlevel.enable_ki_protection
async def _run(task: _Task, stop: Callable[[BaseException], None]) -> None:
    CURRENT_DEADLINE.set(task.deadline)
    failure: BaseException | None = None
    try:
        with task.scope:
            if task.chosen is not None:
                await task.chosen.wait()
            failure = await _run_and_restart(task)
    except trio.Cancelled:
        # The server's nursery was cancelled.
        raise
    except BaseException as error:
        log_failure(_log, error, "%s raised in its clean-up.", task.name)
    finally:
        task.running = False
        task.over.set()
    if failure is None:
        return
    consequence = " It is essential: the server stops." if task.essential else ""
    log_failure(_log, failure, "%s failed, and is not started again.%s", task.name, consequence)
    if task.essential:
        stopped = FlashError(f"{task.name} failed, and is essential: the server stops.")
        stopped.__cause__ = failure
        stop(stopped)


async def _run_and_restart(task: _Task) -> BaseException | None:
    """Run the function, again and again if it raises and is to be restarted; return its last failure."""
    backoff = Backoff(FIRST_PAUSE, RETRIES)
    while True:
        began = trio.current_time()
        failure = await _run_once(task)
        if trio.current_time() - began >= LONGEST_PAUSE:
            backoff.failures = 0
        pause = None if failure is None or task.restart == "never" else backoff.pause()
        if pause is None:
            return failure
        log_failure(_log, failure, "%s failed; it is started again in %g s.", task.name, pause, level=logging.WARNING)
        del failure
        await trio.sleep(pause)


async def _run_once(task: _Task) -> BaseException | None:
    """Run the function; return what it raises. Raises what it raises once its task was cancelled."""
    try:
        async with InnerGenerators(f"the background task {name_of(task.function)!r}"):
            await task.function()
    except BaseException as error:
        if is_cancelled(trio.lowlevel.current_task()):
            report_cut(error, task.deadline)
            raise
        return read_failure(error)
    return None
