"""The functions of `flash.testing`: those of `flash.testing.trio`, called in a thread in which Trio runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from ..app import Flash
from . import page as async_page, runs as async_runs
from .cancellation import check_in
from .page_streams import End
from .runs import Component
from .steps import begin, collect_in, end
from .trio_thread import TrioThread


class Run:
    """One run of an event callback, which the page has started."""

    def __init__(self, run: async_runs.Run, thread: TrioThread) -> None:
        self._run = run
        self._thread = thread

    @property
    def callback(self) -> str:
        """The name of the event callback."""
        return self._run.callback

    @property
    def ended(self) -> End | None:
        """How it has ended; None while it runs."""
        return self._run.ended

    def end(self, timeout: float = 60) -> End:
        """Let time pass until the run has ended, and return how.

        Args:
            timeout: virtual seconds that it may take.

        Raises:
            AssertionError: it has not ended by then.
        """
        return self._thread.call(self._run.end, timeout)

    def __repr__(self) -> str:
        return repr(self._run)


class Page:
    """One load of an app in one tab of a browser."""

    def __init__(self, page: async_page.Page, thread: TrioThread) -> None:
        self._page = page
        self._thread = thread

    def __getitem__(self, component_id: object) -> Component:
        """A component, by its id: a string, a dict, a component or an event callback, for the status of its streams.

        Raises:
            AssertionError: the layout has none with that id.
        """
        return self._page[component_id]

    def __contains__(self, component_id: object) -> bool:
        return component_id in self._page

    @property
    def ids(self) -> list[str]:
        """The ids of the components in the layout, those that are objects as the strings that Dash makes of them."""
        return self._page.ids

    @property
    def mistakes(self) -> list[str]:
        """Sentences on what the app does wrong without an exception, as updating components that are not there."""
        return self._page.mistakes

    def click(self, component_id: object) -> Any:
        """Click on a component: count its `n_clicks` up, and those of the HTML elements around it; follow a `dcc.Link`.

        What needs no time has happened on return: plain callbacks have run, and streams have begun.

        Returns:
            The `Run` of the stream that this has started; a list if there are several; None if there is none.

        Raises:
            AssertionError: there is no such component, it is disabled, or a callback has failed.
        """
        return self._runs(self._thread.call(self._page.click, component_id))

    def set(self, component_id: object, **props: Any) -> Any:
        """Set properties of a component, as a user does who types, chooses or moves something; as `click` otherwise."""
        return self._runs(self._thread.call(partial(self._page.set, component_id, **props)))

    def visit(self, path: str) -> Any:
        """Go to another path of the app without loading it anew, as a `dcc.Link` does; returns what `click` returns."""
        return self._runs(self._thread.call(self._page.visit, path))

    def elapse(self, seconds: float) -> None:
        """Let so many virtual seconds pass. What is due at the end of them has happened on return."""
        self._thread.call(self._page.elapse, seconds)

    def open_page(self, path: str = "/", *, new_browser: bool = False) -> Page:
        """Open another page of the app, in another tab of this browser, or in another browser.

        It is closed with this one, if not before.
        """
        return Page(self._thread.call(partial(self._page.open_page, path, new_browser=new_browser)), self._thread)

    def stall(self) -> None:
        """Stop reading and acknowledging what the server sends, like a page that hangs, until `resume`."""
        self._thread.call(self._page.stall)

    def resume(self) -> None:
        """Read again after `stall`."""
        self._thread.call(self._page.resume)

    def cut(self, seconds: float) -> None:
        """Cut the page's link, and return `seconds` later, when it has opened another one."""
        self._thread.call(self._page.cut, seconds)

    def server_lost(self) -> None:
        """Lose the server without a word from it, and all that it holds; another one answers from now on.

        On return the page has a link to that one. Streams with `restart=True` start again a quarter of a second later.
        """
        self._thread.call(self._page.server_lost)

    def reload(self) -> None:
        """Load the page anew, at the same address."""
        self._thread.call(self._page.reload)

    def close(self) -> None:
        """Close the tab."""
        self._thread.call(self._page.close)

    def _runs(self, runs: async_runs.Run | list[async_runs.Run] | None) -> Run | list[Run] | None:
        if isinstance(runs, list):
            return [Run(run, self._thread) for run in runs]
        return None if runs is None else Run(runs, self._thread)


@contextmanager
def open_page(
    app: Flash, path: str = "/", *, stand_ins: Mapping[str, Callable[..., Any]] | None = None
) -> Generator[Page]:
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
    thread = TrioThread()
    try:
        page = thread.call(begin, thread.nursery, thread.time, app, path, stand_ins or {})
        try:
            yield Page(page, thread)
        except BaseException as error:
            # What the block has raised matters more than what came of that.
            with contextlib.suppress(AssertionError):
                thread.call(end, page, thread.time, thread.nursery)
            raise error from error.__cause__
        thread.call(end, page, thread.time, thread.nursery)
    finally:
        thread.end()


def collect(callback: object, *args: Any, seconds: float, **keywords: Any) -> list[dict[str, dict[str, Any]]]:
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
    thread = TrioThread()
    try:
        return thread.call(collect_in, thread.nursery, thread.time, callback, args, keywords, seconds)
    finally:
        thread.end()


def check_cancellation(
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
    thread = TrioThread()
    try:
        thread.call(check_in, thread.nursery, thread.time, callback, args, keywords, seconds, left)
    finally:
        thread.end()
