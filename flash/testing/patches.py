"""Applies a `Patch` to the value of a property, as Dash's renderer does."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, cast

_MARK = "__dash_patch_update"


def is_patch(value: object) -> bool:
    """Whether a value from the server is a `Patch`."""
    return isinstance(value, Mapping) and _MARK in cast("Mapping[str, Any]", value)


def patched(value: Any, patch: Mapping[str, Any]) -> Any:
    """The value that a patch makes of another one, which stays as it is."""
    result = copy.deepcopy(value)
    for operation in patch["operations"]:
        result = _apply(result, operation["operation"], operation["location"], operation["params"])
    return result


def _apply(value: Any, operation: str, location: Sequence[Any], params: Mapping[str, Any]) -> Any:
    """`value` with an operation applied to what is at a location in it."""
    if operation in ("Assign", "Delete") and len(location) == 1:
        target: Any = {} if value is None else value
        key = _key(target, location[0])
        if operation == "Delete":
            del target[key]
        else:
            target[key] = params["value"]
        return target
    if location:
        inside: Any = {} if value is None else value
        key = _key(inside, location[0])
        try:
            current: Any = inside[key]
        except (KeyError, IndexError):
            current = None
        inside[key] = _apply(current, operation, location[1:], params)
        return inside
    return _operate(operation, value, params)


def _key(target: Any, key: Any) -> Any:
    return int(key) if isinstance(target, list) else key


def _remove(items: list[Any], value: Any) -> list[Any]:
    return [*items[: items.index(value)], *items[items.index(value) + 1 :]] if value in items else items


def _operate(operation: str, value: Any, params: Mapping[str, Any]) -> Any:
    """What an operation makes of a value."""
    given: Any = params.get("value")
    items = cast("list[Any]", value or [])
    result: Any
    match operation:
        case "Assign":
            result = given
        case "Merge":
            result = {**cast("dict[str, Any]", value or {}), **given}
        case "Extend":
            result = [*items, *given]
        case "Append":
            result = [*items, given]
        case "Prepend":
            result = [given, *items]
        case "Insert":
            at = params["index"]
            result = [*items[:at], given, *items[at:]]
        case "Remove":
            result = _remove(items, given)
        case "Clear":
            result = [] if isinstance(value, list) else {}
        case "Reverse":
            result = items[::-1]
        case "Add":
            result = value + given
        case "Sub":
            result = value - given
        case "Mul":
            result = value * given
        case "Div":
            result = value / given
        case _:
            raise AssertionError(f"The page knows no operation {operation!r} of a Patch.")
    return result
