"""The async form of `flash.testing`, for tests that run on Trio with a `trio.testing.MockClock`.

    async def test_one_line(mock_clock):                    # a fixture of pytest-trio
        async with flash.testing.trio.open_page(app) as page:
            run = await page.click("start")
            await page.elapse(10.2)

While a page is open, only `elapse`, `cut` and `Run.end` move the clock. A clock that jumps by itself
(`autojump_clock`) does not do so then, because it would run past deadlines while a thread works.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio

from ..app import Flash
from .cancellation import check_in
from .page import Page
from .page_streams import End
from .runs import Component, Run
from .steps import begin, collect_in, end
from .virtual_time import VirtualTime, single

__all__ = ["Component", "End", "Page", "Run", "check_cancellation", "collect", "open_page"]


@asynccontextmanager
async def open_page(
    app: Flash, path: str = "/", *, stand_ins: Mapping[str, Callable[..., Any]] | None = None
) -> AsyncGenerator[Page]:
    """Serve an app in memory, and open a page of it in a browser of its own.

    At the end the page is closed and the app shut down.

    Args:
        app: the app.
        path: where the page is opened, with a query if it has one.
        stand_ins: functions to call in the place of clientside callbacks and of those with `background=True`, by an
            Output of the callback, as `"id.property"`. They are given the values of its Inputs and States, and return
            what it would. Of what a clientside callback without one would set nothing is known, and needing that fails.

    Raises:
        AssertionError: the app does not start; at the end, something of it still runs.
    """
    async with _nursery_in_virtual_time() as (nursery, time):
        page = await begin(nursery, time, app, path, stand_ins or {})
        try:
            yield page
        finally:
            with trio.CancelScope(shield=True):
                await end(page, time, nursery)


async def collect(callback: object, *args: Any, seconds: float, **keywords: Any) -> list[dict[str, dict[str, Any]]]:
    """The updates of one stream in its first `seconds`, those at exactly that time included.

    Args:
        callback: the event callback, or the generator under `@callback`.
        args: the values of its Inputs and States.
        seconds: virtual ones.
        keywords: the same, for a callback that takes them by name, and what the Inputs of `watch=` have.

    Returns:
        For each update a dict by component id, as the string that Dash makes of it, with the props as yielded.

    Raises:
        AssertionError: the generator has failed, or does not end when its page is closed.
    """
    async with _nursery_in_virtual_time() as (nursery, time):
        return await collect_in(nursery, time, callback, args, keywords, seconds)


async def check_cancellation(
    callback: object, *args: Any, seconds: float, left: Callable[[], object] | None = None, **keywords: Any
) -> None:
    """Check that a stream cleans up after itself, wherever and however it is ended.

    One run after the other is ended at its first, second, ... checkpoint, which is wherever it waits and each `yield`,
    and at each of them in every way in which a stream can end. So the effort grows with the square of the number of
    checkpoints that come in `seconds`: choose few.

    Args:
        callback: the event callback, or the generator under `@callback`.
        args: the values of its Inputs and States.
        seconds: virtual ones, up to which a run is followed if it is not ended before.
        left: returns what must be empty afterwards, in the app's own terms: open devices, temporary files, locks.
        keywords: the values of Inputs and States, for a callback that takes them by name.

    Raises:
        AssertionError: clean-up was cut, has failed or does not end, or something is left: a task, a thread, a
            generator, or what `left` returns. It names the callback, the way of ending and the line of the first case.
    """
    async with _nursery_in_virtual_time() as (nursery, time):
        await check_in(nursery, time, callback, args, keywords, seconds, left)


@asynccontextmanager
async def _nursery_in_virtual_time() -> AsyncGenerator[tuple[trio.Nursery, VirtualTime]]:
    """A nursery for what is tested, and the clock of the test, which meanwhile does not jump by itself."""
    time = VirtualTime.of_run()
    try:
        with time.held():
            async with trio.open_nursery() as nursery:
                try:
                    yield nursery, time
                finally:
                    # What still waits under a shield gets to its end, if only time is missing for that.
                    time.release()
                    nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # What a test raises in its block, or what is wrong at the end, is to reach the test as it is.
        failure = single(group)
        raise failure from failure.__cause__
