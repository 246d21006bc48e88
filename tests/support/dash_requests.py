"""The requests that Dash's renderer sends for callbacks, event callbacks included, made without a browser.

    callbacks = Callbacks(dependencies)                      # the JSON of `_dash-dependencies`
    body = callbacks.request("go", values={"go": {"n_clicks": 1}, **identity.props})    # a click

Does not import pytest, which the benchmarks do without.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from flash.testing.component_ids import ComponentId, fill_in, is_pattern, key_of, match, parse_id

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
            and (matched := match(parse_id(entry["id"]), component_id)) is not None
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


def _entry(entry: Mapping[str, Any], values: Values, matched: Mapping[str, Any]) -> Any:
    """What the renderer sends for one Input or State."""
    prop = entry["property"]
    component_id = fill_in(parse_id(entry["id"]), matched)
    if is_pattern(component_id):
        ids = [found for key in values if match(component_id, found := parse_id(key)) is not None]
        return [{"id": found, "property": prop, "value": values[key_of(found)].get(prop)} for found in ids]
    props = values.get(key_of(component_id))
    if props is None:
        # This is how the renderer says that a component is not in the layout.
        return dict(entry)
    return {"id": component_id, "property": prop, "value": props.get(prop)}


def _outputs(output: str) -> Any:
    """The `outputs` of a request, from the name of its callback."""
    if output.startswith(".."):
        return [_outputs(part) for part in output.strip(".").split("...")]
    component_id, _, prop = output.rpartition(".")
    return {"id": component_id, "property": prop.partition("@")[0]}
