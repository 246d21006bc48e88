"""Ids of components: strings and objects, as Dash's renderer writes and matches them.

In what the server sends, a wildcard is a list of its name: `{"index": ["MATCH"], "type": "out"}`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeAlias, cast

from ..dash_json import to_json
from ..event_callbacks import EventCallback

ComponentId: TypeAlias = str | dict[str, Any]
Matched: TypeAlias = Mapping[str, Any]

MATCH, ALL, ALLSMALLER = ["MATCH"], ["ALL"], ["ALLSMALLER"]


def key_of(component_id: ComponentId) -> str:
    """An id as Dash writes it where it needs a string."""
    if isinstance(component_id, str):
        return component_id
    return json.dumps(component_id, sort_keys=True, separators=(",", ":"))


def parse_id(written: str) -> ComponentId:
    """The id that a dependency names, or a key."""
    return cast("dict[str, Any]", json.loads(written)) if written.startswith("{") else written


def id_of(given: object) -> ComponentId:
    """The id that a test means: an id, a component, or an event callback, which stands for its hidden component."""
    component = given.stream if isinstance(given, EventCallback) else given
    component_id: object = getattr(component, "id", component)
    if isinstance(component_id, str):
        return component_id
    if isinstance(component_id, Mapping):
        return cast("dict[str, Any]", json.loads(to_json(dict(cast("Mapping[str, Any]", component_id)))))
    raise AssertionError(f"A component is named by its id, got {given!r}.")


def is_pattern(component_id: ComponentId) -> bool:
    """Whether an id has a wildcard."""
    return isinstance(component_id, dict) and any(isinstance(value, list) for value in component_id.values())


def has_many(component_id: ComponentId) -> bool:
    """Whether an id stands for a list of components."""
    return isinstance(component_id, dict) and any(value in (ALL, ALLSMALLER) for value in component_id.values())


def match(pattern: ComponentId, component_id: ComponentId) -> dict[str, Any] | None:
    """The values that the MATCHes of `pattern` stand for in `component_id`; None if that is another component."""
    if isinstance(pattern, str) or isinstance(component_id, str):
        return {} if pattern == component_id else None
    if pattern.keys() != component_id.keys():
        return None
    for name, value in pattern.items():
        if not isinstance(value, list) and value != component_id[name]:
            return None
    return {name: component_id[name] for name, value in pattern.items() if value == MATCH}


def fill_in(pattern: ComponentId, matched: Matched) -> ComponentId:
    """An id with each MATCH replaced by what it has matched."""
    if isinstance(pattern, str):
        return pattern
    return {name: matched.get(name, value) if value == MATCH else value for name, value in pattern.items()}


def is_among(pattern: ComponentId, component_id: ComponentId, matched: Matched) -> bool:
    """Whether a component is one of those that a pattern, its MATCHes filled in, stands for."""
    if match(pattern, component_id) is None:
        return False
    if isinstance(pattern, dict) and isinstance(component_id, dict):
        return all(
            component_id[name] < matched[name]
            for name, value in pattern.items()
            if value == ALLSMALLER and name in matched
        )
    return True
