"""Turns the values that a streaming callback yields into props of its Outputs.

A value is what a Dash callback with these Outputs may return: one value per Output, in their shape, `no_update`
for those that stay as they are. Dash's own code turns it into props; what comes out is an update like any other.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .._dash import output_props
from ..errors import InvalidUpdate
from ..props import Pair, parse_id


class Outputs(NamedTuple):
    """The Outputs that a streaming callback was declared with.

    Attributes:
        name: the callback's, for messages.
        grouping: as written: one Output, or a list, tuple or dict of them.
        flat: all of them.
    """

    name: str
    grouping: Any
    flat: list[Any]

    def pairs(self, value: object, resolved: Any) -> list[Pair]:
        """The ids and props that `value` stands for; `resolved` says which components the Outputs are.

        Raises:
            InvalidUpdate: the value does not have the shape of the Outputs.
        """
        try:
            props = output_props(value, self.grouping, resolved, self.name)
        except Exception as error:
            raise InvalidUpdate(
                f"The streaming callback {self.name!r} gave a value that does not fit its Outputs: {error}"
            ) from error
        return [(parse_id(component_id), changed) for component_id, changed in props.items()]
