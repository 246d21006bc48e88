"""The steps that both forms of `flash.testing` take, in a nursery that each of them holds in its own way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import trio

from ..app import Flash
from .browser_profile import Browser
from .page import Page
from .served_app import ServedApp
from .single_stream import SingleStream
from .stand_ins import StandIns
from .virtual_time import VirtualTime


async def begin(
    nursery: trio.Nursery, time: VirtualTime, app: Flash, path: str, stand_ins: Mapping[str, Callable[..., Any]]
) -> Page:
    """Serve an app, and open a page of it."""
    served = ServedApp(app, nursery)
    await time.run(served.start, "The start of the app")
    page = Page(Browser(served), time, nursery, StandIns(stand_ins))
    try:
        await page.load(path)
    except BaseException:
        with trio.CancelScope(shield=True):
            await end(page, time, nursery)
        raise
    return page


async def end(page: Page, time: VirtualTime, nursery: trio.Nursery) -> None:
    """Close all pages, shut the app down, and see to it that nothing of it runs any more.

    Raises:
        AssertionError: something runs.
    """
    served = page.browser.served
    for each in page.pages:
        await each.close()
    timeout = served.shutdown_timeout
    nursery.start_soon(served.stop)
    deadline = trio.current_time() + timeout
    while not served.is_over and await time.step(deadline):
        pass
    if not served.is_over:
        raise AssertionError(f"The app has not ended {timeout:g} s after its page was closed: {served.running()}.")
    if served.failure is not None:
        raise AssertionError(f"The app has failed when it was shut down: {served.failure}")


async def collect_in(
    nursery: trio.Nursery,
    time: VirtualTime,
    callback: object,
    args: Sequence[Any],
    keywords: Mapping[str, Any],
    seconds: float,
) -> list[dict[str, dict[str, Any]]]:
    """`collect`, in a nursery."""
    stream = await SingleStream.prepare(nursery, callback, args, keywords)
    stream.start()
    await time.advance(seconds)
    updates = list(stream.updates)
    await stream.finish(time)
    if stream.failure is not None:
        raise stream.explain_failure()
    return updates
