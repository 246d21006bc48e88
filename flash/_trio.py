"""Typed access to the private names of Trio that Flash uses.

`tests/private_names/test_trio.py` fails with the name when an upgrade drops one.
"""
# pyright: reportPrivateUsage=false

from __future__ import annotations

import os
import threading
from typing import Any, NamedTuple, cast

import trio
from trio import _threads


def is_cancelled(task: trio.lowlevel.Task) -> bool:
    """Whether the next checkpoint of a task raises Cancelled.

    Trio's public ways, `await checkpoint_if_cancelled()` and `current_effective_deadline() == -inf`, take 0.4 us. This
    takes a tenth of that, and the difference is an eighth of the time that each `yield` takes.
    """
    return task._cancel_status.effectively_cancelled


def forget_cancellation() -> None:
    """In a thread of `to_thread.run_sync`: forget earlier cancellations, so that `check_cancelled` does not raise.

    Trio remembers that a cancellation has reached the thread's task, even if the task has entered a shield since.
    """
    _threads.PARENT_TASK_DATA.cancel_register[0] = None


def is_cancelled_from_outside(scope: trio.CancelScope) -> bool:
    """Whether a scope that encloses an entered scope, and is not shielded from it, is cancelled."""
    status = scope._cancel_status
    return status is not None and status.parent_cancellation_is_visible_to_us


class TlsWriter:
    """Writes to a TLS stream without waiting, as far as its socket takes what that comes to, encrypted.

    `SSLStream.send_all` takes three locks and two checkpoints, and Hypercorn's way to it as much: a small write costs
    three times as much that way.
    """

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self._stream = stream
        self._socket = stream.transport_stream.socket

    @property
    def busy(self) -> bool:
        """Whether something encrypted is being sent, or is to be sent first."""
        stream = self._stream
        return stream._inner_send_lock.locked() or stream._delayed_outgoing is not None

    def write(self, data: bytes) -> bool:
        """Encrypt bytes and write them without blocking. Not to be called while the writer is `busy`.

        Returns:
            Whether the socket has taken all. If not, `flush` sends the rest, and so does whatever sends next.

        Raises:
            ssl.SSLError: the connection takes none of the bytes: it was closed, or is broken.
        """
        stream = self._stream
        stream._ssl_object.write(data)
        encrypted = stream._outgoing.read()
        try:
            written = os.write(self._socket.fileno(), encrypted)
        except OSError:
            # The socket's buffer is full, or the connection is lost, which the next one to send finds out.
            written = 0
        if written == len(encrypted):
            return True
        # The stream had nothing else to send, and sends this before all else.
        stream._outgoing.write(encrypted[written:])
        return False

    async def flush(self) -> None:
        """Wait until the socket has taken what was encrypted. The caller is the only one that sends."""
        await self._stream._retry(_do_nothing)


def _do_nothing() -> None:
    """An operation on a TLS stream after which Trio sends what has been encrypted."""


def is_over(task: trio.lowlevel.Task) -> bool:
    """Whether a task has exited."""
    return cast("Any", task._cancel_status) is None


def forget_killed_threads() -> None:
    """Make Trio forget those of its idle threads that were killed.

    The fixtures of `dash.testing` raise SystemExit in every thread that has started since their server. An idle worker
    raises it when it gets its next job, which is then never done. So each worker gets a job that nobody waits for.
    """
    idle = sum(thread.name.startswith("Trio thread") for thread in threading.enumerate())
    jobs_started = threading.Event()
    for _ in range(idle):
        trio.lowlevel.start_thread_soon(jobs_started.wait, lambda result: None)
    jobs_started.set()


class OpenScopes(NamedTuple):
    """The cancel scopes and nurseries that a task was in at one moment.

    Attributes:
        innermost: stands for the cancel scope that the task entered last; None if the task was in none of its own. The
            nursery around a task does not count, because `nursery.start` moves the task to another one.
        nurseries: how many nurseries the task had open.
    """

    innermost: Any
    nurseries: int

    @classmethod
    def of(cls, task: trio.lowlevel.Task) -> OpenScopes:
        status = task._cancel_status
        return cls(None if status is _around(task) else status, len(task._child_nurseries))

    def are_those_of(self, task: trio.lowlevel.Task) -> bool:
        """Whether the task is in the same scopes and nurseries now."""
        status = task._cancel_status
        if len(task._child_nurseries) != self.nurseries:
            return False
        return status is self.innermost or (self.innermost is None and status is _around(task))

    def since(self, task: trio.lowlevel.Task) -> list[trio.CancelScope]:
        """The scopes, those of nurseries included, that the task has entered since and not left, innermost first."""
        scopes: list[trio.CancelScope] = []
        status, outermost = task._cancel_status, self.innermost or _around(task)
        while status is not None and status is not outermost:
            scopes.append(status._scope)
            status = status.parent
        # The task may have left the scope of a nursery that is still open.
        nurseries = [nursery.cancel_scope for nursery in task._child_nurseries[self.nurseries :]]
        return scopes + [scope for scope in reversed(nurseries) if scope not in scopes]


async def leave_scopes(before: OpenScopes) -> list[BaseException]:
    """Leave the scopes and nurseries that the current task has entered since `before` and not left.

    The tasks of such nurseries are cancelled and awaited. Returns their exceptions.
    """
    task = trio.lowlevel.current_task()
    failures: list[BaseException] = []
    while len(task._child_nurseries) > before.nurseries:
        nursery = task._child_nurseries[-1]
        nursery.cancel_scope.cancel()
        _leave_up_to(task, nursery.cancel_scope._cancel_status)
        failure = nursery.cancel_scope._close(await nursery._nested_child_finished(None))
        if isinstance(failure, BaseExceptionGroup):
            # The nursery's own scope has cancelled them.
            failure = cast("BaseExceptionGroup[BaseException]", failure).split(trio.Cancelled)[1]
        if failure is not None:
            failures.append(failure)
    _leave_up_to(task, before.innermost or _around(task))
    return failures


def _around(task: trio.lowlevel.Task) -> Any:
    """Stands for the scope of the nursery that a task is in; None for the first one of all."""
    return None if task.parent_nursery is None else task.parent_nursery.cancel_scope._cancel_status


def _leave_up_to(task: trio.lowlevel.Task, status: Any) -> None:
    """Leave the scopes inside the one that `status` stands for."""
    while task._cancel_status is not status and status is not None and status.encloses(task._cancel_status):
        task._cancel_status._scope._close(None)
