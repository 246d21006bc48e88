"""What a page gives a test to look at: its components, and the runs of event callbacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import trio

from .component_ids import ComponentId, key_of
from .page_streams import End, PageStream
from .virtual_time import VirtualTime
from .work_outside import where


class Component:
    """A component of a page: `component.prop` is the value of a property, as JSON; None if it has none.

    `component.props` is a dict of all of them.
    """

    def __init__(
        self, component_id: ComponentId, props: Mapping[str, Any], unknown: Mapping[tuple[str, str], str]
    ) -> None:
        """
        Args:
            component_id: its id.
            props: its properties.
            unknown: of all components, what of their properties nothing is known, by key and name, and why.
        """
        self._id = component_id
        self._props = props
        self._unknown = unknown

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if (reason := self._unknown.get((key_of(self._id), name))) is not None:
            raise AssertionError(reason)
        return self._props if name == "props" else self._props.get(name)

    def __repr__(self) -> str:
        return f"<{key_of(self._id)}: {dict(self._props)!r}>"


class Run:
    """One run of an event callback, which the page has started.

    Attributes:
        callback: the name of the event callback.
    """

    def __init__(self, stream: PageStream, time: VirtualTime, check: Callable[[], None]) -> None:
        """
        Args:
            stream: the run.
            time: the clock.
            check: raises what has failed in the page.
        """
        self.callback: str = stream.callback
        self._stream = stream
        self._time = time
        self._check = check

    @property
    def ended(self) -> End | None:
        """How it has ended; None while it runs."""
        return self._stream.ended

    async def end(self, timeout: float = 60) -> End:  # noqa: ASYNC109 - these seconds are virtual
        """Let time pass until the run has ended.

        Args:
            timeout: virtual seconds that it may take.

        Raises:
            AssertionError: it has not ended by then.
        """
        deadline = trio.current_time() + timeout
        await self._time.settle()
        while self._stream.ended is None and await self._time.step(deadline):
            self._check()
        self._check()
        if self._stream.ended is None:
            raise AssertionError(f"{self.callback!r} has not ended within {timeout:g} s: {where(self.callback)}.")
        return self._stream.ended

    def __repr__(self) -> str:
        return f"<run of {self.callback!r}: {'running' if self.ended is None else self.ended.reason}>"
