"""One request to start a stream, as Dash's renderer sends it: what is in it, and what the page is told of it.

Behind the Inputs and States of the user stand Flash's own: the properties of conditions, those that are watched, and
the names of the page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from .. import wire
from ..props import resolve_id, wire_id
from .declaration import Declaration, match_keys
from .request import CallbackRequest
from .start_conditions import is_missing


class StartDependencies(NamedTuple):
    """What the renderer sends with a start: the user's dependencies, and Flash's own behind them."""

    inputs: list[Any]
    states: list[Any]

    def again(self, request: Mapping[str, Any], matched: Mapping[str, Any]) -> wire.Again:
        """The start that `request` was, for the page to fill in and send again."""
        return {
            "output": request["output"],
            "outputs": request.get("outputs", []),
            "inputs": [where(dependency, matched) for dependency in self.inputs],
            "state": [where(dependency, matched) for dependency in self.states],
        }


class StartRequest(NamedTuple):
    """One request to start a stream, checked for its form.

    Attributes:
        callback_request: the request, as Flash has it.
        dash_context: the same, as Dash has it: its callback context.
        page: the token of the page that sends it.
        browser: the secret of the browser that sends it.
        is_proven: it has the page's secret, too.
        values: of the user's Inputs and States.
        condition_entries: what the renderer says of the properties of the conditions.
        condition_values: their values.
        watched_values: the values of the watched properties, in the order of `Declaration.watched_states`.
        matched: the values that MATCH has matched, by the keys of ids.
        resumes: it is to follow a source that still runs, and to start none.
    """

    callback_request: CallbackRequest
    dash_context: Any
    page: str
    browser: str
    is_proven: bool
    values: list[Any]
    condition_entries: Sequence[Any]
    condition_values: Sequence[Any]
    watched_values: Sequence[Any]
    matched: Mapping[str, Any]
    resumes: bool

    @property
    def by_user(self) -> bool:
        """An Input has changed; else the page was loaded, or starts again what its server has lost."""
        return bool(self.dash_context.triggered_inputs)

    @property
    def match(self) -> str | None:
        """`matched` as JSON; None if there is none."""
        return json.dumps(self.matched, sort_keys=True, separators=(",", ":")) if self.matched else None


def where(dependency: Any, matched: Mapping[str, Any]) -> wire.Dependency:
    """Where the page finds the value of a dependency, and whether it may be missing."""
    return {
        "id": wire_id(resolve_id(dependency.component_id, matched)),
        "property": dependency.component_property,
        "optional": dependency.allow_optional,
    }


def matched_values(declaration: Declaration, request: Any) -> dict[str, Any]:
    """The values that MATCH has matched, from the ids in the request."""
    matched: dict[str, Any] = {}
    sources = [*zip(declaration.inputs, request.inputs_list, strict=False)]
    if declaration.outputs is not None:
        resolved = request.outputs_list
        entries = (
            cast("list[Any]", resolved) if isinstance(declaration.outputs.grouping, list | tuple | dict) else [resolved]
        )
        sources += zip(declaration.outputs.flat, entries, strict=False)
    for dependency, entry in sources:
        for key in match_keys(dependency.component_id):
            actual = cast("object", entry[0] if isinstance(entry, list) and entry else entry)
            component_id = cast("dict[str, object]", actual).get("id") if isinstance(actual, dict) else None
            if isinstance(component_id, dict):
                matched[key] = cast("dict[str, object]", component_id).get(key)
    return matched


def components_of(declaration: Declaration, inputs: Sequence[Any], matched: Mapping[str, Any]) -> list[Any]:
    """The components of the layout that a stream was started from, and those of its Outputs."""
    there = [
        dependency
        for dependency, entry in zip(declaration.inputs, inputs, strict=False)
        if entry and not is_missing(entry)
    ]
    outputs = () if declaration.outputs is None else declaration.outputs.flat
    return [wire_id(resolve_id(dependency.component_id, matched)) for dependency in (*there, *outputs)]


def describe_conditions(declaration: Declaration, request: StartRequest) -> list[wire.ReportedProperty]:
    """What the page needs to watch the conditions: where they are, and what they were when the stream was started."""
    conditions = zip(
        declaration.cancel_states,
        declaration.conditions,
        request.condition_entries,
        request.condition_values,
        strict=True,
    )
    return [
        {
            "id": wire_id(resolve_id(state.component_id, request.matched)),
            "property": state.component_property,
            "value": value,
            "missing": is_missing(entry),
            "exempt": not condition.checked_at_start,
            "watched": False,
        }
        for state, condition, entry, value in conditions
    ]


def describe_watched(declaration: Declaration, request: StartRequest) -> list[wire.ReportedProperty]:
    """The same for the properties of `watch=`. One whose component is not there has the value None, as in a State."""
    states = zip(declaration.watched_states.values(), request.watched_values, strict=True)
    return [
        {
            "id": wire_id(resolve_id(state.component_id, request.matched)),
            "property": state.component_property,
            "value": value,
            "missing": False,
            "exempt": False,
            "watched": True,
        }
        for state, value in states
    ]
