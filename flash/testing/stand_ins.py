"""Python functions that a test has called in the place of what a page of the kit cannot call.

That is clientside callbacks, which are JavaScript, and callbacks with `background=True`, which run in other processes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import dash

from ..dash_json import to_json
from .component_ids import key_of
from .dependencies import Callback
from .work_outside import place_of_failure


class StandIns:
    """The functions of one test, by the Outputs whose callbacks they stand in for."""

    def __init__(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        """
        Args:
            functions: by an Output of the callback, as `id.property`.
        """
        self._functions = functions

    def check(self, callbacks: Iterable[Callback]) -> None:
        """See to it that there is a callback for each function.

        Raises:
            AssertionError: there is none, or it is one that a page can call.
        """
        there = [name for each in callbacks if each.is_clientside or each.is_background for name in _names(each)]
        for name in self._functions:
            if name not in there:
                known = ", ".join(map(repr, there)) or "none"
                raise AssertionError(
                    f"stand_ins names {name!r}, which is no Output of a clientside or a background callback. Those of "
                    f"the app are: {known}."
                )

    def function_for(self, callback: Callback) -> Callable[..., Any] | None:
        """The function that stands in for a callback; None if there is none."""
        return next((self._functions[name] for name in _names(callback) if name in self._functions), None)


def answer_of(function: Callable[..., Any], callback: Callback, body: Mapping[str, Any]) -> dict[str, Any] | None:
    """Call a function in the place of a callback; what the app would answer, None for nothing.

    Args:
        function: is given the values of the Inputs and the States, as the callback would be.
        callback: the callback.
        body: of the request that would call it.

    Raises:
        AssertionError: the function has failed.
    """
    try:
        result = function(*(_value(entry) for entry in (*body["inputs"], *body["state"])))
        results = _pairs(callback, body, result)
    except dash.exceptions.PreventUpdate:
        return None
    except Exception as error:
        place = place_of_failure(error)
        raise AssertionError(f"What stands in for {callback.output!r} failed at {place}: {error!r}") from error
    props: dict[str, dict[str, Any]] = {}
    for named, value in results:
        if value is not dash.no_update:
            props.setdefault(key_of(named["id"]), {})[named["property"].partition("@")[0]] = value
    return json.loads(to_json({"response": props}))


def _pairs(callback: Callback, body: Mapping[str, Any], result: Any) -> list[tuple[Mapping[str, Any], Any]]:
    """Each Output, and the value for it."""
    if not callback.outputs:
        return []
    outputs, values = (body["outputs"], list(result)) if callback.is_multi else ([body["outputs"]], [result])
    pairs: list[tuple[Mapping[str, Any], Any]] = []
    for output, value in zip(outputs, values, strict=True):
        # An Output with ALL is a list of components, and has a list of values.
        many = isinstance(output, list)
        pairs += zip(cast("list[Any]", output), value, strict=True) if many else [(output, value)]
    return pairs


def _value(entry: Any) -> Any:
    if isinstance(entry, list):
        return [_value(each) for each in cast("list[Any]", entry)]
    return entry.get("value")


def _names(callback: Callback) -> list[str]:
    return [f"{key_of(output.id)}.{output.prop}" for output in callback.outputs]
