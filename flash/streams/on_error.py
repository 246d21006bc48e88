"""Runs the user's `on_error`, once for each stream that does not complete, until the deadline of the stream's clean-up.

The handler runs in a task of its own, so that one that does not return by the deadline can be cut and the stream's
`end` is sent all the same. What the handler returns, and what it gives to `set_props`, goes into that `end`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from inspect import isawaitable, iscoroutinefunction

import trio

from ..user_code.cleanup import CURRENT_DEADLINE, UNWIND_TIMEOUT, Deadline
from ..user_code.containment import log_failure
from ..user_code.failures import read_failure
from ..user_code.inner_generators import InnerGenerators
from .limits import Limits
from .spec import StreamSpec
from .thread import Spawn, StreamThread

_log = logging.getLogger("flash.streams")

Handler = Callable[[BaseException], object]


class ErrorHandling:
    """One call of one `on_error`.

    Attributes:
        handled: it returned, so the exception that it was given needs no further report.
        failure: what it raised, if it did.
    """

    def __init__(self, spec: StreamSpec, handler: Handler, limits: Limits, thread: StreamThread | None) -> None:
        self._spec = spec
        self._handler = handler
        self._limits = limits
        self._thread = thread
        self.handled: bool = False
        self.failure: BaseException | None = None
        self._props: list[bytes] = []
        self._done = trio.Event()
        self._scope = trio.CancelScope(shield=True)

    def add(self, update: object) -> None:
        """Add an update that the handler has returned or given to `set_props`."""
        self._props.append(self._spec.encode(update) or b"")

    async def run(self, error: BaseException, left: float, spawn: Spawn) -> bytes:
        """Call the handler with `error`; return the updates that it gave before the deadline, as pairs in JSON.

        Args:
            error: the user's exception, or a `StreamCancelled`.
            left: seconds until the deadline; if it has passed, the handler gets all of `cleanup_timeout`.
            spawn: starts the handler's task.
        """
        limits, name = self._limits, self._spec.callback
        at = trio.current_time() + (left if left > 0 else limits.cleanup_timeout)
        deadline = Deadline("on_error of the event callback", name, limits.cleanup_timeout, at)
        spawn(self._spec.context, lambda: self._handle(error, deadline), f"on_error of {name}")
        with trio.move_on_at(at):
            await self._done.wait()
        if not self._done.is_set():
            self._scope.cancel()
            _log.error(
                "on_error of %s did not return within cleanup_timeout (%g s); it is cut.",
                self._spec.name,
                limits.cleanup_timeout,
            )
            with trio.move_on_after(UNWIND_TIMEOUT):
                await self._done.wait()
        return b",".join(filter(None, self._props))

    async def _handle(self, error: BaseException, deadline: Deadline) -> None:
        CURRENT_DEADLINE.set(deadline)
        try:
            with self._scope:
                async with InnerGenerators(f"on_error of {self._spec.name}"):
                    result = await self._call(error)
                if result is not None:
                    self.add(result)
            self.handled = not self._scope.cancelled_caught
        except self._spec.finishes:
            self.handled = True
        except BaseException as caught:
            failure = read_failure(caught, self._spec.finishes)
            if isinstance(failure, self._spec.finishes):
                self.handled = True
                return
            self.failure = failure
            log_failure(_log, failure, "on_error of %s raised.", self._spec.name)
        finally:
            self._done.set()

    async def _call(self, error: BaseException) -> object:
        """Call a handler that may be async; a plain one runs in a thread, which goes on when the call is cut.

        That is the thread of the stream, if it has one that is idle: a step that is stuck keeps it busy.
        """
        if iscoroutinefunction(self._handler):
            return await self._handler(error)
        if self._thread is not None and self._thread.idle:
            result = await self._thread.run(partial(self._handler, error), shielded=True, abandon=True)
        else:
            threads = self._limits.handlers
            result = await trio.to_thread.run_sync(self._handler, error, abandon_on_cancel=True, limiter=threads)
        return await result if isawaitable(result) else result
