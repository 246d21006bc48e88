"""Runs the ASGI lifespan of a server: its start, its end, and the nursery that it holds open in between.

    lifespan ── app.server.nursery ── channels, one for each page
                                   ├─ the app's background work, and sources of feeds
                                   └─ the user's background tasks

The failure of a background task is logged and ends nothing else. If the nursery ends before the shutdown, because the
app's code has cancelled it or corrupted its scopes, no stream can run any more. The process must not live on then, for
nobody would start it again: the streams are ended in order, and the server stops with a failure.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

import quart_trio
import trio

from .._hypercorn import lifespan_failure
from .._hypercorn_patches import adopt
from .._quart import while_serving_generators
from .._trio import is_cancelled
from ..asgi.client_log import ClientWarnings
from ..user_code.containment import contain, log_failure, split_cancellation
from ..user_code.failures import sentence_of
from ..user_code.inner_generators import InnerGenerators
from ..workers.this_worker import this_worker
from .current_run import APPS, Run, StreamingApp, current_run
from .shutdown import end_streams
from .without_supervisor import OtherProcesses, find_others

_log = logging.getLogger("flash.server")
_warnings = ClientWarnings(_log)

END_TIMEOUT = 1.0
"""Seconds that connections have to send the last events of their streams before a failed server closes them."""


class _StartedStatus:
    """The `task_status` of a background task, which records whether the task has started."""

    def __init__(self, status: trio.TaskStatus[Any]) -> None:
        self._status = status
        self.has_started = False

    def started(self, value: Any = None) -> None:
        self.has_started = True
        self._status.started(value)


class BackgroundTasks:
    """`app.server.nursery`: Trio's nursery, except that a task that fails ends only itself.

    Attributes:
        for_channels: that nursery itself, for tasks that contain their failures themselves. There is one for each page.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self.for_channels: trio.Nursery = nursery
        self._nursery = nursery

    def __getattr__(self, name: str) -> Any:
        return getattr(self._nursery, name)

    def start_soon(self, async_fn: Callable[..., Awaitable[object]], *args: Any, name: object = None) -> None:
        """Start a task. An exception of the task is logged."""
        self._nursery.start_soon(_in_background, functools.partial(async_fn, *args), name or async_fn, name=name)

    async def start(self, async_fn: Callable[..., Awaitable[object]], *args: Any, name: object = None) -> Any:
        """Start a task, and wait until it has called `task_status.started()`.

        An exception before that is raised here; a later one is logged.
        """

        async def run(task_status: trio.TaskStatus[Any]) -> None:
            status, early = _StartedStatus(task_status), list[BaseException]()

            async def begin() -> None:
                try:
                    await async_fn(*args, task_status=status)
                except trio.Cancelled:
                    raise
                except BaseException as error:
                    if status.has_started:
                        raise
                    early.append(error)

            await _in_background(begin, name or async_fn)
            if early:
                raise early[0]

        return await self._nursery.start(run, name=name or async_fn)


async def _in_background(function: Callable[[], Awaitable[object]], name: object) -> None:
    named = getattr(name, "__qualname__", None) or str(name)

    async def run() -> None:
        async with InnerGenerators(f"the background task {named!r}"):
            await function()

    message = (
        f"The background task {named!r} of app.server.nursery failed and is over; the server and its streams go on. "
        "If it is to go on too, catch in it what it may raise, and try again."
    )
    await contain(_log, message, run)


class FlashLifespan:
    """The ASGI lifespan of a QuartTrio with one or several Flash apps."""

    def __init__(self, app: quart_trio.QuartTrio, scope: Any) -> None:
        self._server = app
        self._state: dict[str, Any] | None = scope.get("state")
        self._others: OtherProcesses | None = None
        self._apps: list[StreamingApp] = app.extensions[APPS]
        self._stopping = False
        self._nursery: trio.Nursery | None = None

    async def __call__(self, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        adopt(receive, _report_failed_connection)
        run = current_run()
        run.apps += self._apps
        # The apps may have been served before, and closed.
        self._set_closing(False)
        for app in self._apps:
            app.sources.begin()
        failure: BaseException | None = None
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._server.nursery = cast("trio.Nursery", BackgroundTasks(nursery))
                await self._live(receive, send)
        except BaseException as error:
            if self._stopping or _is_cancellation(error):
                raise
            failure = error
        finally:
            self._set_closing(True)
            self._end_others()
            for app in self._apps:
                app.sources.end()
                run.apps.remove(app)
        if not self._stopping:
            await self._fail(run, failure, receive, send)

    def _set_closing(self, closing: bool) -> None:
        for app in self._apps:
            app.channels.closing = app.websockets.closing = app.controls.closing = closing

    async def _live(self, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        while not self._stopping:
            try:
                event = await receive()
            except trio.Cancelled:
                await self._leave_while_serving()
                continue
            if event["type"] == "lifespan.startup":
                await self._start(send)
            elif event["type"] == "lifespan.shutdown":
                await self._stop(send)

    async def _start(self, send: Callable[[Any], Awaitable[None]]) -> None:
        assert self._nursery is not None
        try:
            self._others = await find_others(self._server, self._state)
            if self._others is not None:
                await self._nursery.start(self._others.run)
            await self._server.startup()
            if self._others is not None:
                await self._others.take_part()
        except BaseException as error:
            if _is_cancellation(error):
                raise
            self._stopping = True
            self._end_others()
            current_run().failure = error
            message = str(error.code) if isinstance(error, SystemExit) else sentence_of(error)
            await send({"type": "lifespan.startup.failed", "message": message})
        else:
            worker = this_worker()
            for app in self._apps:
                app.background.start(self._nursery, _stop_server, None if worker is None else worker.chosen)
            await send({"type": "lifespan.startup.complete"})

    async def _stop(self, send: Callable[[Any], Awaitable[None]]) -> None:
        self._stopping = True
        if self._others is not None:
            await self._others.stop()
        # Hypercorn without Flash sends this message when its requests are over; pages without a connection may be left.
        with trio.move_on_after(3 * max(app.channels.limits.cleanup_timeout for app in self._apps)):
            await end_streams(self._apps)
        if self._others is not None:
            await self._others.leave()
            self._end_others()
        try:
            await self._server.shutdown()
        except BaseException as error:
            if _is_cancellation(error):
                raise
            await send({"type": "lifespan.shutdown.failed", "message": sentence_of(error)})
        else:
            await send({"type": "lifespan.shutdown.complete"})

    def _end_others(self) -> None:
        """Undo what has joined this process to others, if anything has."""
        if self._others is not None:
            self._others.end()
            self._others = None

    async def _leave_while_serving(self) -> None:
        """Leave the cancelled nursery or scope that a `while_serving` function holds open, and serve on without it.

        Raises:
            Cancelled: something else has cancelled the lifespan.
        """
        task = trio.lowlevel.current_task()
        generators = while_serving_generators(self._server)
        while generators and is_cancelled(task):
            generator = generators.pop()
            name = getattr(generator, "__qualname__", "?")
            try:
                await trio.lowlevel.checkpoint_if_cancelled()
            except trio.Cancelled as cancelled:
                try:
                    await generator.athrow(cancelled)
                except trio.Cancelled:
                    pass
                except StopAsyncIteration:
                    _log.error("What %r (while_serving) holds open was cancelled; the server goes on without it.", name)
                except BaseException as error:
                    message = "What %r (while_serving) holds open has failed; the server goes on without it."
                    log_failure(_log, error, message, name)
        await trio.lowlevel.checkpoint_if_cancelled()

    async def _fail(
        self,
        run: Run,
        error: BaseException | None,
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        """Stop the server with a failure, because its nursery has ended, and every stream with it."""
        message = "The nursery of the server (app.server.nursery) is over, and nobody has asked the server to stop."
        log_failure(_log, error, f"{message} Its streams have ended, and it stops.", level=logging.CRITICAL)
        if run.stop is None:
            await trio.sleep(END_TIMEOUT)
            raise lifespan_failure(message)
        run.failure = error or RuntimeError(message)
        run.stop()
        while (await receive())["type"] != "lifespan.shutdown":
            pass
        await send({"type": "lifespan.shutdown.complete"})


def _stop_server(failure: BaseException) -> None:
    """Stop the server with a failure: in order, or, if Flash has not started it, by raising the failure."""
    run = current_run()
    if run.stop is None:
        raise failure
    run.failure = failure
    run.stop()


def _report_failed_connection(kind: str, error: BaseException) -> None:
    _warnings.warn(kind, "A connection failed, and was closed", error=error)


def _is_cancellation(error: BaseException) -> bool:
    """Whether an exception only cancels the lifespan, and is no failure."""
    return split_cancellation(error)[1] is None
