"""Has a page that is loaded, or was cut off, follow the sources that still run: of callbacks with `resume=True`.

It does in Python what `flash/client/resume.js` does in a browser.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import trio

from ..wire import RESUME_FIELD
from .component_ids import has_many
from .page_streams import CHECK_DELAY, PageStreams
from .renderer import Renderer


class Resuming:
    """What one page does to follow the sources that still run.

    It asks for the source of each event callback whose Inputs and States are there, once the page is idle; again when
    they have gone and come back, and when it has lost its stream and has a link again.
    """

    def __init__(
        self,
        renderer: Renderer,
        streams: PageStreams,
        nursery: trio.Nursery,
        start: Callable[[dict[str, Any]], None],
    ) -> None:
        """
        Args:
            renderer: of the page.
            streams: of the page.
            nursery: for tasks of the page.
            start: sends the request of a start.
        """
        self._renderer = renderer
        self._streams = streams
        self._nursery = nursery
        self._start = start
        # The hidden components of the event callbacks with `resume=True`, and those of them that were asked for.
        self._resumable: list[str] = []
        self._asked: set[str] = set()
        self._is_check_due = False

    def begin(self) -> None:
        """The page has its layout."""
        components = self._renderer.layout.components
        self._resumable = [key for key, each in components.items() if each["props"].get("resumes")]
        self.changed()

    def ask(self, callbacks: Collection[str]) -> None:
        """The page has lost its streams of these event callbacks, and has a link again: ask once more."""
        if not self._asked.isdisjoint(callbacks):
            self._asked.difference_update(callbacks)
            self.changed()

    def changed(self) -> None:
        """Properties have been set, components have come or gone, or a callback is over: look soon, once for many."""
        if self._resumable and not self._is_check_due:
            self._is_check_due = True
            self._nursery.start_soon(self._check)

    async def _check(self) -> None:
        await trio.sleep(CHECK_DELAY)
        self._is_check_due = False
        if not self._renderer.is_idle:
            return
        for key in self._resumable:
            body = self._question_for(key)
            if body is None:
                self._asked.discard(key)
            elif key not in self._asked:
                self._asked.add(key)
                if not self._streams.has_of(key):
                    self._start(body)

    def _question_for(self, key: str) -> dict[str, Any] | None:
        """The request that asks for the source of an event callback; None if an Input or a State of it is not there."""
        layout = self._renderer.layout
        for callback in self._renderer.callbacks:
            # The Input that every event callback has, and that is never there: see `flash/event_callbacks.py`.
            if any(dependency.id == f"{key}-never" for dependency in callback.inputs):
                break
        else:
            return None
        for dependency in (*callback.inputs, *callback.states):
            if not (dependency.is_optional or has_many(dependency.id) or dependency.id in layout):
                return None
        return {**callback.request(layout, {}, []), RESUME_FIELD: True}
