"""The callbacks of an app as its pages know them, and the requests by which pages call them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .component_ids import ALL, ALLSMALLER, MATCH, ComponentId, Matched, fill_in, has_many, key_of, match, parse_id
from .layout import Layout


@dataclass(frozen=True)
class Dependency:
    """An Input, a State or an Output.

    Attributes:
        id: of the component, maybe with wildcards.
        prop: the property of it.
        is_optional: the component may be missing.
    """

    id: ComponentId
    prop: str
    is_optional: bool = False

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> Dependency:
        """Take it from the JSON of `_dash-dependencies`."""
        return cls(parse_id(entry["id"]), entry["property"], bool(entry.get("allow_optional")))

    @classmethod
    def read_output(cls, written: str) -> Dependency:
        """Take an Output from the name of its callback."""
        component_id, _, prop = written.rpartition(".")
        return cls(parse_id(component_id), prop.partition("@")[0])

    @property
    def matches(self) -> set[str]:
        """The names in its id whose values are MATCH."""
        return {name for name, value in self.id.items() if value == MATCH} if isinstance(self.id, dict) else set()


class Callback:
    """One callback of an app.

    Attributes:
        output: by which Dash names it.
        inputs: its Inputs.
        states: its States.
        outputs: its Outputs.
        spec: its JSON.
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.spec = spec
        self.output: str = spec["output"]
        self.inputs = [Dependency.read(entry) for entry in spec["inputs"]]
        self.states = [Dependency.read(entry) for entry in spec.get("state", [])]
        self.outputs = [] if spec.get("no_output") else [Dependency.read_output(each) for each in self._output_names()]

    @property
    def is_clientside(self) -> bool:
        return self.spec.get("clientside_function") is not None

    @property
    def is_background(self) -> bool:
        return self.spec.get("background") is not None

    @property
    def prevents_initial_call(self) -> bool:
        return bool(self.spec.get("prevent_initial_call"))

    @property
    def is_multi(self) -> bool:
        """Whether it has a list of Outputs."""
        return self.output.startswith("..")

    def instances_for(self, layout: Layout, dependency: Dependency, component_id: ComponentId) -> Iterator[Matched]:
        """What its MATCHes stand for, when `component_id` is one that `dependency` may mean."""
        matched = match(dependency.id, component_id)
        if matched is None:
            return
        anchors = self.outputs or self.inputs
        missing: set[str] = {name for anchor in anchors for name in anchor.matches} - matched.keys()
        if not missing:
            yield matched
            return
        # The Input has no MATCH, and the Outputs have: one call for each that is there.
        anchor = max(anchors, key=lambda each: len(each.matches))
        for key in list(layout.components):
            if (found := match(anchor.id, parse_id(key))) is not None:
                yield found

    def outputs_in(self, layout: Layout, matched: Matched) -> set[tuple[str, str]]:
        """The properties of components that it may change: keys and names."""
        return _properties(layout, self.outputs, matched)

    def inputs_in(self, layout: Layout, matched: Matched) -> set[tuple[str, str]]:
        """The properties of components that are its Inputs: keys and names."""
        return _properties(layout, self.inputs, matched)

    def states_in(self, layout: Layout, matched: Matched) -> set[tuple[str, str]]:
        """The properties of components that are its States: keys and names."""
        return _properties(layout, self.states, matched)

    def can_be_called(self, layout: Layout, matched: Matched) -> bool:
        """Whether every component is there that it cannot do without."""
        return all(
            dependency.is_optional or has_many(dependency.id) or layout.resolve(dependency.id, matched)
            for dependency in (*self.inputs, *self.states, *self.outputs)
        )

    def request(self, layout: Layout, matched: Matched, changed: list[str]) -> dict[str, Any]:
        """The body of the request that calls it.

        Args:
            layout: has the values.
            matched: what its MATCHes stand for.
            changed: the Inputs that have changed, as keys and names with a dot between.
        """
        body: dict[str, Any] = {
            "output": self.output,
            "inputs": [_with_value(layout, dependency, matched) for dependency in self.inputs],
            "changedPropIds": changed,
            "state": [_with_value(layout, dependency, matched) for dependency in self.states],
        }
        if not self.spec.get("no_output"):
            outputs = [
                _named(layout, dependency, matched, written)
                for dependency, written in zip(self.outputs, self._output_names(), strict=True)
            ]
            body["outputs"] = outputs if self.is_multi else outputs[0]
        return body

    def _output_names(self) -> list[str]:
        return self.output[2:-2].split("...") if self.output.startswith("..") else [self.output]


def _properties(layout: Layout, dependencies: list[Dependency], matched: Matched) -> set[tuple[str, str]]:
    return {
        (key_of(found), dependency.prop)
        for dependency in dependencies
        for found in layout.resolve(dependency.id, matched)
    }


def _with_value(layout: Layout, dependency: Dependency, matched: Matched) -> Any:
    entries: list[dict[str, Any]] = []
    for found in layout.resolve(dependency.id, matched):
        entry: dict[str, Any] = {"id": found, "property": dependency.prop}
        props = layout.props(found) or {}
        if dependency.prop in props:
            entry["value"] = props[dependency.prop]
        entries.append(entry)
    if has_many(dependency.id):
        return entries
    if entries:
        return entries[0]
    # This is how the renderer says that a component is not in the layout.
    return {"id": key_of(dependency.id), "property": dependency.prop, "allow_optional": True, "value": None}


def _named(layout: Layout, dependency: Dependency, matched: Matched, written: str) -> Any:
    prop = written.rpartition(".")[2]
    entries = [{"id": found, "property": prop} for found in layout.resolve(dependency.id, matched)]
    if isinstance(dependency.id, dict) and any(value in (ALL, ALLSMALLER) for value in dependency.id.values()):
        return entries
    return entries[0] if entries else {"id": fill_in(dependency.id, matched), "property": prop}
