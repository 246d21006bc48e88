"""Closes async generators that the user's code iterates and leaves open, in the task that iterated them.

    async def prices():                       @event_callback(Input("go", "n_clicks"))
        async with open_websocket(...):       async def show(n_clicks):
            while True:                           async for price in prices():
                yield ...                             yield stream_props(...)

When `show` is over, by a cancellation at its `yield` say, nobody closes `prices`: `async for` does not. Python leaves
it to the event loop, and Trio closes it in a task of its own. But a nursery, such as the one in a websocket, and a
cancel scope must be left in the task that entered them: in another one this ends tasks that have nothing to do with
it, and may end Trio itself.

So async generators are closed in the task that iterated them. While the user's code runs within `InnerGenerators`,
those that it leaves open are noted, and closed there: at a stream's next `yield`, or at the end. A warning names a
generator that held a nursery or a cancel scope open, because its code is wrong: nothing closes it at the moment when it
is left, and until it is closed its scope counts for its caller.

In other tasks, such as those that the user's code starts, a generator that may hold a scope is closed when its task is
over.
"""

from __future__ import annotations

import gc
import itertools
import logging
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import AsyncGeneratorType, BuiltinMethodType, FunctionType, MethodType, ModuleType, TracebackType
from typing import Any, TypeAlias, cast

import trio

from .._trio import OpenScopes, is_over, leave_scopes
from .failures import without_exit

_log = logging.getLogger("flash.streams")

AsyncGenerator: TypeAlias = "AsyncGeneratorType[Any, Any]"

SWEEP = 64
"""How many generators are noted before those that are gone are looked for, and forgotten."""

MANAGER_PARTS = 1_000
"""How many objects that a context manager refers to are searched for the scope that it has entered."""

_numbers = itertools.count()

_inside: dict[trio.lowlevel.Task, InnerGenerators] = {}
"""The tasks in which the user's code runs within `InnerGenerators`."""


@dataclass(eq=False, slots=True)
class _Known:
    """An async generator that was iterated for the first time.

    Attributes:
        generator: a weak reference to the generator.
        task: a weak reference to the task that iterated it.
        before: the scopes that this task was in at that time.
        inside: closes it in that task if it is left open; None if nothing does.
        number: the higher, the later the generator was first iterated.
    """

    generator: weakref.ref[AsyncGenerator]
    task: weakref.ref[trio.lowlevel.Task]
    before: OpenScopes
    inside: InnerGenerators | None
    number: int


class InnerGenerators:
    """Closes, in the task that enters it, the async generators that are left open within it.

    Attributes:
        left: the generators that were left open, and are not closed yet.
        known: all generators that were iterated within, by their `id`, but for `own`.
        own: a generator that who enters closes himself; None if there is none.
    """

    __slots__ = ("_before", "_name", "_outer", "_task", "known", "left", "own")

    def __init__(self, name: str) -> None:
        """`name`: what the warning calls the code that runs within, such as "the event callback 'show'"."""
        self.left: list[tuple[AsyncGenerator, _Known]] = []
        # Made for the first one: most streams have none.
        self.known: dict[int, _Known] | None = None
        self.own: AsyncGenerator | None = None
        self._name = name

    async def __aenter__(self) -> InnerGenerators:
        _Hooks.install()
        self._task = task = trio.lowlevel.current_task()
        self._before = OpenScopes.of(task)
        self._outer = _inside.get(task)
        _inside[task] = self
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        failures: list[BaseException] = []
        try:
            while (self.left or self.known or self._unbalanced) and (generator := self._next()) is not None:
                await self._close(generator, failures)
            if self._unbalanced:
                _log.warning(
                    "%s has entered a nursery or a cancel scope by hand (`__enter__`, `__aenter__`) and not left it; "
                    "what runs in it is cancelled. Use `with` or `async with`, or an exit stack that is left.",
                    self._name[:1].upper() + self._name[1:],
                )
                failures += await leave_scopes(self._before)
        finally:
            if self._outer is None:
                del _inside[self._task]
            else:
                _inside[self._task] = self._outer
            for key, known in (self.known or {}).items():
                _Hooks.forget(key, known)
            self.known = None
            self.own = None
        _raise(failures)

    async def close_left(self) -> None:
        """Close the generators that were left, as far as that is possible now.

        A generator that holds a scope open is closed when that scope is the innermost one, since Trio's scopes are left
        in the reverse of the order in which they were entered.

        Raises what the generators raise, such as the failure of a task that one of them has started.
        """
        failures: list[BaseException] = []
        while True:
            scopes = self._before.since(self._task)
            for pair in self.left:
                held = [scope for scope in scopes if holds(pair[0], scope)]
                if not held or held[0] is scopes[0]:
                    self.left.remove(pair)
                    await self._close(pair[0], failures)
                    break
            else:
                return _raise(failures)

    @property
    def _unbalanced(self) -> bool:
        """Whether the task is in other scopes than it was when it entered."""
        return not self._before.are_those_of(self._task)

    def _next(self) -> AsyncGenerator | None:
        """The generator to be closed next, when the code that ran within is over; None if there is none."""
        scopes = self._before.since(self._task)
        left = [generator for generator, _ in sorted(self.left, key=lambda pair: -pair[1].number)]
        chosen = next((each for each in left if not any(holds(each, scope) for scope in scopes)), None)
        if chosen is None and scopes:
            # The innermost scope may be held by a generator to which something still refers.
            kept = [known.generator() for known in (self.known or {}).values()]
            suspended = [
                each for each in kept if each is not None and each.ag_frame is not None and not each.ag_running
            ]
            chosen = next((each for each in (*left, *suspended) if holds(each, scopes[0])), left[0] if left else None)
        self.left = [pair for pair in self.left if pair[0] is not chosen]
        if (known := self.forget(id(chosen))) is not None:
            _Hooks.forget(id(chosen), known)
        return chosen

    def forget(self, key: int) -> _Known | None:
        """Let go the generator of this `id`; return what is known of it."""
        return None if self.known is None else self.known.pop(key, None)

    async def _close(self, generator: AsyncGenerator, failures: list[BaseException]) -> None:
        before, frame = OpenScopes.of(self._task), generator.ag_frame
        code, line = generator.ag_code, None if frame is None else frame.f_lineno
        del frame
        try:
            await close(generator)
        except BaseException as failure:
            failures.append(failure)
        if OpenScopes.of(self._task) != before:
            _log.warning(
                "%s iterates the async generator %r (%s, line %d) and has left it open at its yield in line %s, with a "
                "nursery or a cancel scope around that yield. It is closed now; until then its scope has counted for "
                "all that its caller does. Close it where it is left: `async with contextlib.aclosing(%s(...)) as "
                "values:` around the `async for`; or open the nursery outside of it.",
                self._name[:1].upper() + self._name[1:],
                generator.__qualname__,
                code.co_filename,
                code.co_firstlineno,
                line,
                generator.__name__,
            )


async def close(generator: AsyncGenerator) -> None:
    """Close an async generator. A nursery around its `yield` raises the GeneratorExit in a group: that is dropped."""
    try:
        await generator.aclose()
    except BaseExceptionGroup as group:
        failure = without_exit(group)
        if failure is not None:
            raise failure from None


def holds(generator: AsyncGenerator, scope: trio.CancelScope) -> bool:
    """Whether a generator that stands at a `yield` is in the block of a `with` by which it has entered the scope."""
    return any(
        isinstance(part, MethodType | BuiltinMethodType)
        and part.__name__ in ("__exit__", "__aexit__")
        and _leads_to(part.__self__, scope)
        for part in gc.get_referents(generator)
    )


def _leads_to(manager: object, scope: trio.CancelScope) -> bool:
    """Whether a context manager is the scope, or refers to it."""
    waiting, seen = [manager], {id(manager)}
    while waiting and len(seen) < MANAGER_PARTS:
        part = waiting.pop()
        if part is scope:
            return True
        if isinstance(part, trio.CancelScope):
            # Another scope, which refers to all scopes around it.
            continue
        for other in gc.get_referents(part):
            # A nursery refers to its task, and the task to everything.
            if id(other) not in seen and not isinstance(other, type | ModuleType | FunctionType | trio.Nursery):
                seen.add(id(other))
                waiting.append(other)
    return False


def _raise(failures: list[BaseException]) -> None:
    """Raise the failures, several as a group; a cancellation only if there is nothing else."""
    raised = [failure for failure in failures if not isinstance(failure, trio.Cancelled)] or failures[:1]
    if len(raised) > 1:
        raise BaseExceptionGroup("async generators failed when they were closed", raised)
    if raised:
        raise raised[0]


class _Hooks:
    """Python's hooks for async generators: called when one is first iterated, and when one is dropped that is not over.

    They replace Trio's hooks, and call them, for the rest of a run of Trio. At its end Trio restores the hooks from
    before the run.
    """

    def __init__(self) -> None:
        first_iterated, finalize = sys.get_asyncgen_hooks()
        assert first_iterated is not None
        assert finalize is not None
        self._first_iterated: Callable[[AsyncGenerator], None] = first_iterated
        self._finalize: Callable[[AsyncGenerator], None] = finalize
        self._token = trio.lowlevel.current_trio_token()
        self._known: dict[int, _Known] = {}
        self._swept_at = SWEEP
        self._waiting: dict[trio.lowlevel.Task, list[AsyncGenerator]] = {}

    @classmethod
    def installed(cls) -> _Hooks | None:
        hooks = getattr(sys.get_asyncgen_hooks().firstiter, "__self__", None)
        return hooks if isinstance(hooks, cls) else None

    @classmethod
    def install(cls) -> None:
        """Install them, unless they are."""
        if cls.installed() is None:
            hooks = cls()
            sys.set_asyncgen_hooks(cast("Any", hooks.first_iterated), cast("Any", hooks.dropped))

    @classmethod
    def forget(cls, key: int, known: _Known) -> None:
        hooks = cls.installed()
        if hooks is not None and hooks._known.get(key) is known:
            del hooks._known[key]

    def first_iterated(self, generator: AsyncGenerator) -> None:
        key = id(generator)
        try:
            task = trio.lowlevel.current_task()
        except RuntimeError:
            # No task iterates it. A generator that had the same id, and is gone, may still be known.
            self._known.pop(key, None)
            self._first_iterated(generator)
            return
        inside = _inside.get(task)
        if inside is not None and inside.own is generator:
            # Trio would keep it in a set, to close it in the end: its stream does that.
            self._known.pop(key, None)
            return
        self._first_iterated(generator)
        known = _Known(weakref.ref(generator), weakref.ref(task), OpenScopes.of(task), inside, next(_numbers))
        self._known[key] = known
        if inside is not None:
            inside.forget(key)
            if inside.known is None:
                inside.known = {}
            inside.known[key] = known
        if len(self._known) > self._swept_at:
            self._sweep()

    def dropped(self, generator: AsyncGenerator) -> None:
        """May be called in any thread, by the garbage collector."""
        known = self._known.pop(id(generator), None)
        task = None if known is None else known.task()
        if known is not None and known.inside is not None:
            known.inside.forget(id(generator))
            known.inside.left.append((generator, known))
        elif known is not None and task is not None and not is_over(task) and OpenScopes.of(task) != known.before:
            # It may hold a scope of that task, and must not be closed in another task while that one runs.
            self._token.run_sync_soon(self._close_after, task, generator)
        else:
            self._finalize(generator)

    def _close_after(self, task: trio.lowlevel.Task, generator: AsyncGenerator) -> None:
        if is_over(task):
            self._finalize(generator)
            return
        if not self._waiting:
            trio.lowlevel.add_instrument(_Exits(self._task_exited))
        self._waiting.setdefault(task, []).append(generator)

    def _task_exited(self, task: trio.lowlevel.Task) -> bool:
        """Give Trio the generators that have waited for the task. Returns whether others wait for other tasks."""
        for generator in self._waiting.pop(task, ()):
            self._finalize(generator)
        return bool(self._waiting)

    def _sweep(self) -> None:
        """Forget the generators that are gone: Python calls no hook for one that was over."""
        for key, known in list(self._known.items()):
            if known.generator() is None:
                del self._known[key]
                if known.inside is not None and (known.inside.known or {}).get(key) is known:
                    known.inside.forget(key)
        self._swept_at = 2 * len(self._known) + SWEEP


class _Exits(trio.abc.Instrument):
    """Calls `tell` with each task that exits, until it returns False."""

    def __init__(self, tell: Callable[[Any], bool]) -> None:
        self._tell = tell

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        if not self._tell(task):
            trio.lowlevel.remove_instrument(cast("Any", self))
