"""The one place that touches names of Trio's that are not its to promise.

`tests/test_private_names.py` fails with the name when an upgrade drops it.
"""
# pyright: reportPrivateUsage=false

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, cast

import trio
from trio import _threads


def is_cancelled(task: trio.lowlevel.Task) -> bool:
    """Whether the next checkpoint of a task raises Cancelled.

    What Trio has in public for it, `await checkpoint_if_cancelled()` and `current_effective_deadline() == -inf`, takes
    0.4 us, where this takes a tenth of that: at each `yield` that is an eighth of all there is to do.
    """
    return task._cancel_status.effectively_cancelled


def forget_cancellation() -> None:
    """In a thread of `to_thread.run_sync`: let `from_thread.check_cancelled` not raise for what was before.

    Trio keeps that a cancellation has reached the thread's task, even when that has come under a shield since.
    """
    _threads.PARENT_TASK_DATA.cancel_register[0] = None


def is_cancelled_from_outside(scope: trio.CancelScope) -> bool:
    """Whether what surrounds an entered scope is cancelled, too."""
    status = scope._cancel_status
    return status is not None and status.parent_cancellation_is_visible_to_us


def is_over(task: trio.lowlevel.Task) -> bool:
    """Whether a task has exited."""
    return cast("Any", task._cancel_status) is None


def let_go_of_killed_workers() -> None:
    """Make Trio forget those of its idle threads that were killed.

    The fixtures of `dash.testing` raise SystemExit in every thread that came up since a server started. An idle worker
    notices when it is given a job, which is then never done: so each is given one that nobody waits for.
    """
    idle = sum(thread.name.startswith("Trio thread") for thread in threading.enumerate())
    given = threading.Event()
    for _ in range(idle):
        trio.lowlevel.start_thread_soon(given.wait, lambda result: None)
    given.set()


@dataclass(frozen=True, slots=True)
class OpenScopes:
    """The cancel scopes and nurseries that a task is in, as they were at one moment.

    Attributes:
        innermost: stands for the cancel scope that was entered last; None if the task was in none of its own. What is
            around a task is no part of it: `nursery.start` moves it to another nursery.
        nurseries: how many nurseries of the task's were open.
    """

    innermost: Any
    nurseries: int

    @classmethod
    def of(cls, task: trio.lowlevel.Task) -> OpenScopes:
        status = task._cancel_status
        return cls(None if status is _around(task) else status, len(task._child_nurseries))

    def since(self, task: trio.lowlevel.Task) -> list[trio.CancelScope]:
        """The scopes that the task has entered since and not left, those of nurseries included, innermost first."""
        scopes: list[trio.CancelScope] = []
        status, outermost = task._cancel_status, self.innermost or _around(task)
        while status is not None and status is not outermost:
            scopes.append(status._scope)
            status = status.parent
        # A nursery may be open whose scope is not.
        nurseries = [nursery.cancel_scope for nursery in task._child_nurseries[self.nurseries :]]
        return scopes + [scope for scope in reversed(nurseries) if scope not in scopes]


async def leave_scopes(before: OpenScopes) -> list[BaseException]:
    """Leave what the current task has entered since `before` and not left: nobody else will.

    The tasks of such nurseries are cancelled and awaited. Returns what they raised.
    """
    task = trio.lowlevel.current_task()
    failures: list[BaseException] = []
    while len(task._child_nurseries) > before.nurseries:
        nursery = task._child_nurseries[-1]
        nursery.cancel_scope.cancel()
        _leave_up_to(task, nursery.cancel_scope._cancel_status)
        failure = nursery.cancel_scope._close(await nursery._nested_child_finished(None))
        if isinstance(failure, BaseExceptionGroup):
            # They were cancelled by what is being left.
            failure = cast("BaseExceptionGroup[BaseException]", failure).split(trio.Cancelled)[1]
        if failure is not None:
            failures.append(failure)
    _leave_up_to(task, before.innermost or _around(task))
    return failures


def _around(task: trio.lowlevel.Task) -> Any:
    """Stands for the scope of the nursery that a task is in; None for the first one of all."""
    return None if task.parent_nursery is None else task.parent_nursery.cancel_scope._cancel_status


def _leave_up_to(task: trio.lowlevel.Task, status: Any) -> None:
    """Leave the scopes within the one that `status` stands for."""
    while task._cancel_status is not status and status is not None and status.encloses(task._cancel_status):
        task._cancel_status._scope._close(None)
