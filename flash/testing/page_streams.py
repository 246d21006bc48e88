"""The streams of a page, as the page sees them: their conditions, their status, and their known-good state.

It does in Python what `flash/client/streams.js` and `presence.js` do in a browser.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

from ..cancel_scopes import LAYOUT, EndReason
from .component_ids import ComponentId, has_many, is_pattern, key_of, match, parse_id
from .renderer import Renderer

CHECK_DELAY = 0.05
"""Seconds from a change of the layout to the look at which streams have lost their components, and between two such."""

MAX_COMPONENTS = 500
"""The number of components that are remembered of a stream."""

INSERT_TIMEOUT = 1.0
"""Seconds that callbacks may take to insert a stream's components again."""

RESTART_PAUSE = 0.25
"""Seconds from a new link to the restart of streams: in the middle of the half second in which a page does it."""


@dataclass(frozen=True)
class End:
    """How a stream has ended.

    Attributes:
        reason: `completed`, `failed`, `cancelled`, `superseded`, `timed_out`, `disconnected`, `shutdown` or `revoked`.
        error: what the page is told of a failure; None if it is told nothing.
    """

    reason: str
    error: str | None = None


@dataclass(eq=False)
class PageStream:
    """One stream.

    Attributes:
        id: names it on the wire.
        callback: the name of its event callback.
        opening: what `open` has brought.
        ended: how it has ended; None while it runs.
        components: those that it was started from, and has updated; None if it does not depend on any.
    """

    id: str
    callback: str
    opening: dict[str, Any]
    ended: End | None = None
    components: list[ComponentId] | None = None
    was_present: bool = False
    absent_since: float | None = None
    conditions: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


class PageStreams:
    """The streams of one page.

    Attributes:
        started: every stream that has opened, in that order.
        mistakes: sentences on what the app's code does wrong without an exception, as the dev tools show them.
    """

    def __init__(
        self,
        renderer: Renderer,
        nursery: trio.Nursery,
        cancel: Callable[[str, int | str, Any], None],
        start: Callable[[dict[str, Any]], None],
    ) -> None:
        """
        Args:
            renderer: of the page.
            nursery: for tasks of the page.
            cancel: tells the server that the property of a condition of a stream has a new value.
            start: sends the request of a start.
        """
        self.started: list[PageStream] = []
        self.mistakes: list[str] = []
        self._renderer = renderer
        self._nursery = nursery
        self._cancel = cancel
        self._start = start
        self._running: dict[str, PageStream] = {}
        self._to_start_again: dict[str, PageStream] = {}
        self._lost: dict[str, PageStream] = {}
        self._lost_callbacks: set[str] = set()
        self._is_check_due = False

    def has_of(self, callback_id: str) -> bool:
        """Whether a stream of an event callback runs, which is named by its hidden component."""
        return any(stream.opening["callback_id"] == callback_id for stream in self._running.values())

    def open(self, opening: dict[str, Any]) -> None:
        """`open`: a stream runs."""
        component = self._renderer.layout.props(opening["callback_id"]) or {}
        name = str(component.get("name") or opening["callback_id"])
        stream = PageStream(opening["stream"], name, opening, conditions=opening["conditions"])
        if opening["components"] is not None:
            stream.components = list(opening["components"])
            stream.was_present = bool(stream.components)
        self._running[stream.id] = stream
        self.started.append(stream)
        self._to_start_again.pop(_key(opening), None)
        self._show_status(opening, "running", None)
        self._apply(stream, opening["props"])
        self._check_conditions(stream)
        self._check_soon()

    def update(self, stream_id: str, pairs: Sequence[Any]) -> None:
        """`props`: a stream has sent updates."""
        stream = self._running.get(stream_id)
        if stream is not None:
            self._apply(stream, pairs)

    def end(self, ending: Mapping[str, Any]) -> None:
        """`end`: a stream is over."""
        stream = self._running.pop(ending["stream"], None)
        if stream is None:
            return
        if ending["reason"] == EndReason.SHUTDOWN and stream.opening["again"]:
            self._to_start_again[_key(stream.opening)] = stream
        self._apply(stream, ending["props"])
        error = ending["error"] and ending["error"]["message"]
        stream.ended = End(ending["reason"], error)
        self._show_status(stream.opening, ending["reason"], error)

    def refuse(self, refusal: Mapping[str, Any]) -> None:
        """`refused`: a stream was not started."""
        runs = any(_key(stream.opening) == _key(refusal) for stream in self._running.values())
        self._show_status(refusal, "running" if runs else refusal.get("status") or "failed", refusal["message"])

    def lose_all(self, revoked: Collection[str] = ()) -> None:
        """The server is lost: set what the streams have named for this case.

        Args:
            revoked: the ids of those, or of some lost before, that have ended with `revoked`.
        """
        lost, self._running = list(self._running.values()), {}
        for stream in lost:
            self._lost[stream.id] = stream
            self._apply(stream, stream.opening["reset"])
            if stream.id not in revoked:
                if stream.opening["again"]:
                    self._to_start_again[_key(stream.opening)] = stream
                else:
                    self._lost_callbacks.add(stream.opening["callback_id"])
                stream.ended = End(EndReason.DISCONNECTED)
                self._show_status(stream.opening, EndReason.DISCONNECTED, None)
        for stream in [self._lost[each] for each in revoked if each in self._lost]:
            self._to_start_again.pop(_key(stream.opening), None)
            self._lost_callbacks.discard(stream.opening["callback_id"])
            stream.ended = End(EndReason.REVOKED)
            self._show_status(stream.opening, EndReason.REVOKED, None)

    def forget_lost(self) -> Collection[str]:
        """The server has said which of the streams that were lost it had revoked.

        Returns:
            The event callbacks of the others that are not started again, by their hidden components.
        """
        callbacks, self._lost_callbacks = self._lost_callbacks, set()
        self._lost.clear()
        return callbacks

    def leave(self) -> None:
        """The page is being left: its streams end, and nobody sees that."""
        for stream in self._running.values():
            stream.ended = End(EndReason.DISCONNECTED)
        self._running.clear()
        self._to_start_again.clear()

    def resume(self) -> None:
        """A server answers: start the streams again that are to outlive theirs."""
        for stream in self._to_start_again.values():
            self._nursery.start_soon(self._start_again, stream)

    def changed(self) -> None:
        """Properties have been set, or components have come or gone."""
        for stream in list(self._running.values()):
            self._check_conditions(stream)
        self._check_soon()

    async def _start_again(self, stream: PageStream) -> None:
        await trio.sleep(RESTART_PAUSE)
        if self._to_start_again.pop(_key(stream.opening), None) is None:
            return
        again = stream.opening["again"]
        inputs, states = ([self._value_of(entry) for entry in again[name]] for name in ("inputs", "state"))
        if None not in (*inputs, *states):
            named = {"output": again["output"], "outputs": again["outputs"]}
            self._start({**named, "inputs": inputs, "state": states, "changedPropIds": []})

    def _value_of(self, dependency: Mapping[str, Any]) -> Any:
        layout, component_id, prop = self._renderer.layout, dependency["id"], dependency["property"]
        entries: list[dict[str, Any]] = [
            {"id": found, "property": prop, "value": (layout.props(found) or {}).get(prop)}
            for found in layout.resolve(component_id, {})
        ]
        if is_pattern(component_id):
            return entries
        if entries:
            return entries[0]
        missing = {"id": component_id, "property": prop, "allow_optional": True, "value": None}
        return missing if dependency["optional"] else None

    def _apply(self, stream: PageStream, pairs: Sequence[Any]) -> None:
        """Set what a stream has sent, and remember the components."""
        for component_id, props in pairs:
            components = self._renderer.layout.resolve(component_id, {})
            known = stream.components
            if known is not None and len(known) < MAX_COMPONENTS and component_id not in known:
                known.append(component_id)
            if not components and not is_pattern(component_id):
                self.mistakes.append(f"{stream.callback!r} has updated {component_id!r}, which is not in the layout.")
            for found in components:
                self._renderer.set(found, props, brings_callbacks=True, own=stream.opening["output"])

    def _show_status(self, of: Mapping[str, Any], status: str, error: str | None) -> None:
        props: dict[str, Any] = {"status": status, "error": error}
        if of["match"] is not None:
            component = self._renderer.layout.props(of["callback_id"]) or {}
            props["statuses"] = {**(component.get("statuses") or {}), of["match"]: dict(props)}
        self._renderer.set(of["callback_id"], props)

    # Conditions

    def _check_conditions(self, stream: PageStream) -> None:
        """Report each condition, and each watched property, that has changed since the last check."""
        for index, condition in enumerate(stream.conditions):
            is_there, value = self._read(condition)
            # A watched property is None without its component, as in a State.
            is_there = is_there or condition["watched"]
            was_there, before = not condition["missing"], condition["value"]
            if is_there == was_there and (not is_there or _same(value, before)):
                continue
            condition["missing"], condition["value"] = not is_there, value
            if condition["exempt"] and not (is_there and was_there):
                continue
            self._cancel(stream.id, index, value)

    def _read(self, condition: Mapping[str, Any]) -> tuple[bool, Any]:
        layout = self._renderer.layout
        found = layout.resolve(condition["id"], {})
        values = [(layout.props(each) or {}).get(condition["property"]) for each in found]
        for each in found:
            if (reason := layout.unknown.get((key_of(each), condition["property"]))) is not None:
                self._renderer.failures.append(AssertionError(f"A stream has a condition on it: {reason}"))
        if has_many(condition["id"]):
            return True, values
        return bool(values), values[0] if values else None

    # Components that leave the layout

    def _check_soon(self) -> None:
        if not self._is_check_due and any(stream.components is not None for stream in self._running.values()):
            self._is_check_due = True
            self._nursery.start_soon(self._check_components)

    async def _check_components(self) -> None:
        """Find the streams that have lost all their components: as soon as no callback could insert them again."""
        await trio.sleep(CHECK_DELAY)
        self._is_check_due = False
        some_absent = False
        for stream in list(self._running.values()):
            now = trio.current_time()
            if stream.components is None:
                continue
            if any(self._is_present(component_id) for component_id in stream.components):
                stream.was_present, stream.absent_since = True, None
            elif stream.was_present and stream.absent_since is None:
                stream.absent_since, some_absent = now, True
            elif stream.absent_since is not None:
                if self._renderer.is_idle or now - stream.absent_since > INSERT_TIMEOUT:
                    stream.components, stream.opening["again"] = None, None
                    self._cancel(stream.id, LAYOUT, None)
                else:
                    some_absent = True
        if some_absent:
            self._check_soon()

    def _is_present(self, component_id: ComponentId) -> bool:
        if not is_pattern(component_id):
            return component_id in self._renderer.layout
        return any(match(component_id, parse_id(key)) is not None for key in self._renderer.layout.components)


def _key(of: Mapping[str, Any]) -> str:
    return f"{of['callback_id']} {of['match']}"


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
