"""The requests that Dash's renderer sends for callbacks, event callbacks included, made without a browser.

    callbacks = Callbacks(dependencies)                      # the JSON of `_dash-dependencies`
    body = callbacks.request("go", values={"go": {"n_clicks": 1}, **identity.props})    # a click

Does not import pytest, which the benchmarks do without.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

ComponentId = str | dict[str, Any]

Values = Mapping[str, Mapping[str, Any]]
"""Properties of the components that are in the layout, by the component's key."""


class Callbacks:
    """Dash's list of an app's callbacks, and the requests that its renderer sends for them."""

    def __init__(self, dependencies: list[dict[str, Any]]) -> None:
        self.dependencies = dependencies

    def request(
        self, component_id: ComponentId, prop: str = "n_clicks", *, values: Values, callback: str = ""
    ) -> dict[str, Any]:
        """The body of the request for the one callback that has an Input which has changed.

        Args:
            component_id: of the component; for MATCH and ALL the id of the one that has changed.
            prop: the property that has changed.
            values: of the Inputs and States; a component without any is not in the layout.
            callback: part of the callback's output or of its Inputs' ids, to tell callbacks on one Input apart.
        """
        found = [
            (dependency, matched)
            for dependency in self.dependencies
            for entry in dependency["inputs"]
            if entry["property"] == prop
            and (matched := _match(pattern_of(entry["id"]), component_id)) is not None
            and callback in " ".join([dependency["output"], *(entry["id"] for entry in dependency["inputs"])])
        ]
        assert len(found) == 1, f"{len(found)} callbacks have the Input {component_id!r}.{prop}"
        dependency, matched = found[0]
        return request_of(dependency, f"{key_of(component_id)}.{prop}", values, matched)


def request_of(
    dependency: Mapping[str, Any], changed: str, values: Values, matched: Mapping[str, Any]
) -> dict[str, Any]:
    """The body of a callback's request.

    Args:
        dependency: the callback, as `_dash-dependencies` has it.
        changed: the key and the property of the Input that has changed.
        values: of the Inputs and States.
        matched: what its MATCHes stand for.
    """
    body = {
        "output": dependency["output"],
        "inputs": [_entry(entry, values, matched) for entry in dependency["inputs"]],
        "state": [_entry(entry, values, matched) for entry in dependency.get("state", [])],
        "changedPropIds": [changed],
    }
    if not dependency.get("no_output"):
        body["outputs"] = _outputs(dependency["output"])
    return body


def components_of(layout: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The components of a layout that have an id: their types and props."""
    if isinstance(layout, list):
        for child in cast("list[Any]", layout):
            yield from components_of(child)
    elif isinstance(layout, dict) and "props" in layout:
        props = cast("dict[str, Any]", layout["props"])
        if "id" in props:
            yield f"{layout['namespace']}.{layout['type']}", props
        yield from components_of(props.get("children"))


def key_of(component_id: ComponentId) -> str:
    """A component's id as Dash writes it in `changedPropIds`."""
    if isinstance(component_id, str):
        return component_id
    return json.dumps(component_id, sort_keys=True, separators=(",", ":"))


def pattern_of(written: str) -> ComponentId:
    """The id that a dependency has, or a key: a string, or an object in which `["MATCH"]` is a wildcard."""
    return cast("dict[str, Any]", json.loads(written)) if written.startswith("{") else written


def fill_in(pattern: ComponentId, matched: Mapping[str, Any]) -> ComponentId:
    """The id that a pattern stands for, with what its MATCHes stand for."""
    if isinstance(pattern, str):
        return pattern
    return {name: matched.get(name, value) if value == ["MATCH"] else value for name, value in pattern.items()}


def _entry(entry: Mapping[str, Any], values: Values, matched: Mapping[str, Any]) -> Any:
    """What the renderer sends for one Input or State."""
    prop = entry["property"]
    component_id = fill_in(pattern_of(entry["id"]), matched)
    if isinstance(component_id, dict) and any(isinstance(value, list) for value in component_id.values()):
        ids = [found for key in values if _match(component_id, found := pattern_of(key)) is not None]
        return [{"id": found, "property": prop, "value": values[key_of(found)].get(prop)} for found in ids]
    props = values.get(key_of(component_id))
    if props is None:
        # This is how the renderer says that a component is not in the layout.
        return dict(entry)
    return {"id": component_id, "property": prop, "value": props.get(prop)}


def _match(pattern: ComponentId, component_id: ComponentId) -> dict[str, Any] | None:
    """What the wildcards of `pattern` stand for in `component_id`; None if that is another component."""
    if isinstance(pattern, str) or isinstance(component_id, str):
        return {} if pattern == component_id else None
    if pattern.keys() != component_id.keys():
        return None
    for name, value in pattern.items():
        if not isinstance(value, list) and value != component_id[name]:
            return None
    return {name: component_id[name] for name, value in pattern.items() if value == ["MATCH"]}


def _outputs(output: str) -> Any:
    """The `outputs` of a request, from the name of its callback."""
    if output.startswith(".."):
        return [_outputs(part) for part in output.strip(".").split("...")]
    component_id, _, prop = output.rpartition(".")
    return {"id": component_id, "property": prop.partition("@")[0]}
