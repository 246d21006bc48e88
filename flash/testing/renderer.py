"""Calls a page's callbacks, in the order in which Dash's renderer does, and applies what they return.

    a property has changed ── request ──▶ calls that wait ── none of their Inputs is about to change ──▶ calls that run
              ▲                                                                                              │
              └───────────────────────────── properties that they return ◀──────────────────────────────────┘

A call waits as long as another one may still change one of its Inputs. When a callback is called again while it runs,
the result of the run before is dropped. Callbacks that the layout brings, at first or in what another one returns, are
called without a change; such a call is left out if those before it have changed none of its Inputs.

Clientside callbacks are not called: there is no JavaScript here.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable as Function, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

from .component_ids import ComponentId, Matched, has_many, key_of, match, parse_id
from .dependencies import Callback
from .layout import Layout

Properties = set[tuple[str, str]]


@dataclass
class Group:
    """Calls that the layout has brought together: which properties they may change, and which they have changed."""

    possible: Properties = field(default_factory=set[tuple[str, str]])
    changed: Properties = field(default_factory=set[tuple[str, str]])


@dataclass(eq=False)
class Call:
    """One call of a callback.

    Attributes:
        callback: that is called.
        matched: what its MATCHes stand for.
        changed: the Inputs that have changed, as keys and names with a dot between.
        predecessors: the callbacks whose results have led to it.
        group: the calls that the layout has brought with it; None if a change has led to it.
        is_stale: the callback was called again meanwhile.
    """

    callback: Callback
    matched: Matched
    changed: dict[str, None] = field(default_factory=dict[str, None])
    predecessors: tuple[str, ...] = ()
    group: Group | None = None
    is_stale: bool = False

    @property
    def key(self) -> str:
        return f"{self.callback.output} {json.dumps(self.matched, sort_keys=True)}"


class Renderer:
    """The callbacks of one page.

    Attributes:
        layout: of the page.
        callbacks: those that it calls.
        failures: what callbacks have raised, and not been reported.
    """

    def __init__(
        self,
        layout: Layout,
        specs: Iterable[Mapping[str, Any]],
        send: Function[[Callback, dict[str, Any]], Awaitable[dict[str, Any] | None]],
        nursery: trio.Nursery,
        changed: Function[[], None],
        is_called: Function[[Callback], bool],
    ) -> None:
        """
        Args:
            layout: see above.
            specs: the app's callbacks, as JSON.
            send: sends the request that calls a callback; returns what it answers, None for nothing.
            nursery: in which calls run.
            changed: is called when properties have been set, and when a call is over.
            is_called: whether a callback can be called; of what another one would change nothing is known any more.
        """
        self.layout = layout
        self.failures: list[AssertionError] = []
        self.callbacks = [*map(Callback, specs)]
        self._is_called = is_called
        self._send = send
        self._nursery = nursery
        self._changed = changed
        self._waiting: dict[str, Call] = {}
        self._running: dict[str, Call] = {}

    @property
    def is_idle(self) -> bool:
        """Whether no callback runs, nor is to run."""
        return not self._waiting and not self._running

    def begin(self) -> None:
        """Request what is to be called when the page is loaded; `run` starts it."""
        group = Group()
        for callback in self.callbacks:
            if callback.prevents_initial_call:
                continue
            for matched in self._initial_instances(callback, list(self.layout.components)):
                self._add(Call(callback, matched, group=group))
        self._close(group)

    def set(
        self,
        component_id: ComponentId,
        props: Mapping[str, Any],
        *,
        brings_callbacks: bool = False,
        own: str | None = None,
    ) -> bool:
        """Set properties of a component, and call what has them as Inputs; says whether it is in the layout.

        Args:
            component_id: of the component.
            props: the properties; values may be patches.
            brings_callbacks: components that come are given their initial callbacks. Dash's `set_props` does not.
            own: the Outputs of the callback that has sent them, which is not called because of its own result.
        """
        if component_id not in self.layout:
            return False
        self._apply(component_id, props, () if own is None else (own,), brings_callbacks)
        self.run()
        return True

    def set_at_once(self, values: Iterable[tuple[ComponentId, Mapping[str, Any]]]) -> None:
        """Set properties of several components, and then call what has them as Inputs."""
        for component_id, props in values:
            self._apply(component_id, props, (), brings=False)
        self.run()

    def run(self) -> None:
        """Start the calls that need not wait."""
        while (call := self._next()) is not None:
            del self._waiting[call.key]
            if not self._is_left_out(call):
                self._start(call)

    # What is called

    def _initial_instances(self, callback: Callback, keys: Sequence[str]) -> list[Matched]:
        """What MATCH stands for in the calls of a callback when these components come."""
        found: dict[str, Matched] = {}
        for dependency in callback.outputs or callback.inputs:
            for key in keys:
                for matched in callback.instances_for(self.layout, dependency, parse_id(key)):
                    found[json.dumps(matched, sort_keys=True)] = matched
        return list(found.values())

    def _observers(self, component_id: ComponentId, prop: str, predecessors: tuple[str, ...]) -> None:
        """Request the calls for which a property is an Input."""
        changed = f"{key_of(component_id)}.{prop}"
        for callback in self.callbacks:
            for dependency in callback.inputs:
                if dependency.prop == prop:
                    for matched in callback.instances_for(self.layout, dependency, component_id):
                        self._add(Call(callback, matched, {changed: None}, predecessors))

    def _add(self, call: Call) -> None:
        if call.callback.output in call.predecessors:
            return
        if (running := self._running.pop(call.key, None)) is not None:
            running.is_stale = True
        there = self._waiting.pop(call.key, None)
        if there is not None:
            call.changed = {**there.changed, **call.changed}
            call.predecessors = tuple(dict.fromkeys((*there.predecessors, *call.predecessors)))
            call.group = call.group if not call.changed else None
        self._waiting[call.key] = call

    def _next(self) -> Call | None:
        """A call none of whose Inputs another one may still change; one of a circle if there is none."""
        for key, call in list(self._waiting.items()):
            if not call.callback.can_be_called(self.layout, call.matched):
                del self._waiting[key]
        outstanding = {
            call.key: call.callback.outputs_in(self.layout, call.matched)
            for call in (*self._waiting.values(), *self._running.values())
        }
        for call in self._waiting.values():
            own = outstanding[call.key]
            inputs = call.callback.inputs_in(self.layout, call.matched) - own
            if not any(inputs & outputs for key, outputs in outstanding.items() if key != call.key):
                return call
        return None if self._running else next(iter(self._waiting.values()), None)

    def _is_left_out(self, call: Call) -> bool:
        """Whether the calls that the layout has brought before it were to change its Inputs, and have changed none."""
        if call.group is None or not call.callback.inputs:
            return False
        inputs = call.callback.inputs_in(self.layout, call.matched)
        many = all(has_many(dependency.id) for dependency in call.callback.inputs)
        return bool(inputs) and inputs <= call.group.possible and not inputs & call.group.changed and not many

    def _close(self, group: Group) -> None:
        """All calls of a group are there: note what they may change."""
        for call in self._waiting.values():
            if call.group is group:
                group.possible |= call.callback.outputs_in(self.layout, call.matched)

    # One call

    def _start(self, call: Call) -> None:
        if not self._is_called(call.callback):
            self._leave_out(call)
            return
        if (reason := self._unknown_of(call)) is not None:
            self.failures.append(AssertionError(f"{call.callback.output!r} is to be called, but {reason}"))
            return
        self._running[call.key] = call
        body = call.callback.request(self.layout, call.matched, list(call.changed))
        self._side_update(call, "running")
        self._nursery.start_soon(self._call, call, body)

    async def _call(self, call: Call, body: dict[str, Any]) -> None:
        answer: dict[str, Any] | None = None
        try:
            answer = await self._send(call.callback, body)
        except AssertionError as failure:
            self.failures.append(failure)
        if self._running.get(call.key) is call:
            del self._running[call.key]
        self._side_update(call, "runningOff")
        if answer is not None:
            for written, props in answer.get("sideUpdate", {}).items():
                self.set(parse_id(written), props)
            if not call.is_stale:
                self._apply_result(call, answer.get("response", {}))
        self.run()
        self._changed()

    def _leave_out(self, call: Call) -> None:
        """Note that nothing is known of what a clientside callback would change, and call what depends on that."""
        changed = call.callback.outputs_in(self.layout, call.matched)
        for key, prop in changed:
            self.layout.unknown[key, prop] = (
                f"{key}.{prop} is an Output of a clientside callback, which is JavaScript, and a page of flash.testing "
                f"runs none. Give open_page a function of Python in its place, "
                f"stand_ins={{{f'{key}.{prop}'!r}: function}}, or set the value: page.set({key!r}, {prop}=...)."
            )
        if call.group is not None:
            call.group.changed |= changed
        for key, prop in changed:
            self._observers(parse_id(key), prop, (*call.predecessors, call.callback.output))
        self._changed()

    def _unknown_of(self, call: Call) -> str | None:
        """Why the values that a call needs are not known; None if they are."""
        needed = call.callback.inputs_in(self.layout, call.matched) | call.callback.states_in(self.layout, call.matched)
        return next((self.layout.unknown[each] for each in needed if each in self.layout.unknown), None)

    def _side_update(self, call: Call, which: str) -> None:
        """Set what `running=` of a plain callback has for the time in which it runs, or for afterwards."""
        running: Mapping[str, Any] = call.callback.spec.get("running") or {}
        for written, value in running.get(which, {}).items():
            component_id, _, prop = written.rpartition(".")
            for found in self.layout.resolve(parse_id(component_id), call.matched):
                self.set(found, {prop: value})

    def _apply_result(self, call: Call, result: Mapping[str, Mapping[str, Any]]) -> None:
        predecessors = (*call.predecessors, call.callback.output)
        for written, props in result.items():
            component_id = parse_id(written)
            if component_id in self.layout:
                self._apply(component_id, props, predecessors, True)
                if call.group is not None:
                    call.group.changed |= {(key_of(component_id), prop) for prop in props}

    def _apply(
        self, component_id: ComponentId, props: Mapping[str, Any], predecessors: tuple[str, ...], brings: bool
    ) -> None:
        before = set(self.layout.components)
        try:
            changes_layout = self.layout.set(component_id, props)
        except AssertionError as failure:
            self.failures.append(failure)
            return
        for prop in props:
            self._observers(component_id, prop, predecessors)
        if changes_layout:
            after = set(self.layout.components)
            if brings:
                self._bring(self.layout.keys_inside(component_id, props), before - after, predecessors)
        self._changed()

    def _bring(self, came: Sequence[str], gone: Iterable[str], predecessors: tuple[str, ...]) -> None:
        """Components have come and gone: request the calls that this means."""
        group, keys = Group(), set(came)
        for callback in self.callbacks:
            if not callback.prevents_initial_call and callback.outputs:
                for matched in self._initial_instances(callback, came):
                    self._add(Call(callback, matched, predecessors=predecessors, group=group))
            for dependency in callback.inputs:
                for key in came:
                    for matched in callback.instances_for(self.layout, dependency, parse_id(key)):
                        outputs = {each for each, _ in callback.outputs_in(self.layout, matched)}
                        if not outputs <= keys:
                            changed = {f"{key}.{dependency.prop}": None}
                            self._add(Call(callback, matched, changed, predecessors))
                for key in gone:
                    if has_many(dependency.id) and match(dependency.id, parse_id(key)) is not None:
                        for matched in callback.instances_for(self.layout, dependency, parse_id(key)):
                            if callback.outputs_in(self.layout, matched):
                                self._add(Call(callback, matched, predecessors=predecessors))
        self._close(group)
