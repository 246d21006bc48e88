"""The layout of a page: its components, found by id, and the values of their properties.

The layout is what the server sends, as JSON: a component is an object with `props`, `type` and `namespace`. Which
properties may have components in them, Dash's components say themselves.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from dash.development.base_component import ComponentRegistry

from .component_ids import ComponentId, Matched, fill_in, has_many, is_among, key_of, parse_id
from .patches import is_patch, patched

Props = dict[str, Any]


def is_component(value: object) -> bool:
    """Whether a value is a component, as JSON."""
    return isinstance(value, dict) and {"props", "type", "namespace"} <= cast("dict[str, Any]", value).keys()


def components_in(value: Any) -> Iterator[dict[str, Any]]:
    """The components that a value has in it, itself included, parents first."""
    if is_component(value):
        yield value
        for name in names_of_slots(value):
            if name in value["props"]:
                yield from components_in(value["props"][name])
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from components_in(item)
    elif isinstance(value, dict):
        for item in cast("dict[str, Any]", value).values():
            yield from components_in(item)


def names_of_slots(component: Mapping[str, Any]) -> list[str]:
    """The properties of a component that may have components in them."""
    known: Any = ComponentRegistry.children_props
    paths = known.get(component["namespace"], {}).get(component["type"], [])
    return list(dict.fromkeys(["children", *(str(path).split(".")[0].split("[")[0].split("{")[0] for path in paths)]))


class Layout:
    """The components of a page.

    Attributes:
        root: the layout as the server has sent it, changed since.
        components: those that have an id, by the key of the id.
        unknown: why nothing is known of a property, by key and name: a clientside callback would have set it.
    """

    def __init__(self, root: Any) -> None:
        self.root = root
        self.components: dict[str, dict[str, Any]] = {}
        self.unknown: dict[tuple[str, str], str] = {}
        self._index()

    def __contains__(self, component_id: ComponentId) -> bool:
        return key_of(component_id) in self.components

    def props(self, component_id: ComponentId) -> Props | None:
        """The properties of a component; None if it is not in the layout."""
        component = self.components.get(key_of(component_id))
        return None if component is None else component["props"]

    def of_type(self, namespace: str, *types: str) -> list[dict[str, Any]]:
        """The components of one of these types that have an id."""
        return [
            component
            for component in self.components.values()
            if component["namespace"] == namespace and component["type"] in types
        ]

    def resolve(self, pattern: ComponentId, matched: Matched) -> list[ComponentId]:
        """The components that an id stands for, its MATCHes filled in: one at the most, unless it has ALL."""
        if not has_many(pattern):
            filled = fill_in(pattern, matched)
            return [filled] if filled in self else []
        wanted = fill_in(pattern, matched)
        return [found for key in self.components if is_among(wanted, found := parse_id(key), matched)]

    def set(self, component_id: ComponentId, props: Mapping[str, Any]) -> bool:
        """Set properties of a component that is there, with patches applied; says whether components came or went.

        Raises:
            AssertionError: a `Patch` was sent for a property that has no value.
        """
        component = self.components[key_of(component_id)]
        current: Props = component["props"]
        slots = names_of_slots(component)
        changes_layout = False
        for name, given in props.items():
            if is_patch(given):
                if name not in current:
                    raise AssertionError(f"A Patch was sent for {name!r} of {component_id!r}, which has no value yet.")
                value = patched(current[name], given)
            else:
                value = copy.deepcopy(given)
            if name in slots:
                changes_layout = changes_layout or any(
                    any(True for _ in components_in(each)) for each in (value, current.get(name))
                )
            current[name] = value
            self.unknown.pop((key_of(component_id), name), None)
        if changes_layout:
            self._index()
        return changes_layout

    def ancestors(self, component_id: ComponentId) -> list[ComponentId]:
        """The HTML elements around a component that have an id and count clicks, innermost first."""
        key = key_of(component_id)
        return [
            component["props"]["id"]
            for each, component in reversed(self.components.items())
            if each != key
            and component["namespace"] == "dash_html_components"
            and not component["props"].get("disable_n_clicks")
            and key in self.keys_inside(component["props"]["id"], names_of_slots(component))
        ]

    def keys_inside(self, component_id: ComponentId, names: Iterable[str]) -> list[str]:
        """The components that have an id and are in these properties of a component."""
        component = self.components[key_of(component_id)]
        slots = set(names) & set(names_of_slots(component))
        values = [component["props"].get(name) for name in names_of_slots(component) if name in slots]
        return [key_of(inner["props"]["id"]) for inner in components_in(values) if inner["props"].get("id") is not None]

    def _index(self) -> None:
        self.components = {
            key_of(component["props"]["id"]): component
            for component in components_in(self.root)
            if component["props"].get("id") is not None
        }
