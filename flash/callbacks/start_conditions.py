"""Checks the conditions of an event callback when it is started: while one is not met, its stream does not start.

To the user this looks like a button that does nothing, so the page shows why. And a condition that has never been met
when somebody wanted to start the stream may have been written the wrong way round: as what ends the stream, not as what
lets it go on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..cancel_scopes import Condition, json_equal
from ..streams.mistakes import Mistakes
from ..user_code.failures import sentence_of
from .declaration import Declaration

_log = logging.getLogger("flash.streams")

LONGEST_VALUE = 80
"""The most characters of a value that a message quotes."""


class NotMet(NamedTuple):
    """Why a stream does not start.

    Attributes:
        message: for whoever looks at the page.
        mistake: for who wrote the app; None if there seems to be none.
        kind: of the mistake.
    """

    message: str
    mistake: str | None
    kind: str


class StartConditions:
    """The conditions of one event callback, as they were found at its starts."""

    def __init__(self, declaration: Declaration, mistakes: Mistakes) -> None:
        self._declaration = declaration
        self._mistakes = mistakes
        self._triggers = {str(dependency) for dependency in declaration.inputs}
        self._ever_met: set[int] = set()

    def first_not_met(self, entries: Sequence[Any], values: Sequence[object], *, by_user: bool) -> NotMet | None:
        """Why the stream does not start; None if it may.

        Args:
            entries: what the renderer says of the conditions' properties.
            values: their values.
            by_user: whether an Input has changed, and not the page been loaded.
        """
        conditions = self._declaration.conditions
        for index, (condition, entry, value) in enumerate(zip(conditions, entries, values, strict=True)):
            if not condition.checked_at_start or is_missing(entry):
                continue
            failures: list[BaseException] = []
            if condition.is_met(value, failures.append):
                self._ever_met.add(index)
            else:
                return self._not_met(index, condition, value, failures, by_user)
        return None

    def not_met_at_turn(self, at_start: Sequence[object], changed: Mapping[int, object]) -> str | None:
        """Why a start that has waited its turn does not run; None if it may.

        Args:
            at_start: the values of the conditions when it was started.
            changed: the newest values of those that the page has reported since, by their places. Places behind the
                last condition are of watched properties.
        """
        for index, value in sorted(changed.items()):
            if index >= len(self._declaration.conditions) or json_equal(value, at_start[index]):
                continue
            condition = self._declaration.conditions[index]
            failures: list[BaseException] = []
            if condition.is_met(value, failures.append):
                continue
            if failures:
                return self._not_met(index, condition, value, failures, by_user=False).message
            return (
                f"{self._declaration.name!r} was not started: its condition on {condition.label} is not met any more, "
                "now that its turn has come."
            )
        return None

    def _not_met(
        self, index: int, condition: Condition, value: object, failures: Iterable[BaseException], by_user: bool
    ) -> NotMet:
        name, label = self._declaration.name, condition.label
        message = f"{name!r} was not started: its condition on {label} is not met."
        for failure in failures:
            mistake = (
                f"The predicate of the condition on {label} raised {sentence_of(failure)}: {name!r} was not started, "
                "for that counts as not met. Let it return True or False for every value, None included."
            )
            self._mistakes.log_once(f"predicate {label}", mistake, failure)
            return NotMet(message, mistake, f"predicate {label}")
        shown = _shortened(value)
        wanted = "what its function wants" if condition.desired is None else condition.desired
        _log.info("%s It is %s, not %s.", message, shown, wanted)
        if not by_user or index in self._ever_met or label in self._triggers:
            return NotMet(message, None, "")
        remedy = "let the function return the opposite"
        if condition.desired is not None:
            state = self._declaration.cancel_states[index]
            where = f"Input({state.component_id!r}, {state.component_property!r})"
            remedy = f"write ({where}, lambda value: value != {condition.desired})"
        mistake = (
            f"{message} It is {shown}, not {wanted}, and has never been that when a stream was to be started. A "
            f"condition of cancel= says when the stream may go on; if this one is to say when it ends, {remedy}."
        )
        self._mistakes.log_once(f"inverted {label}", mistake)
        return NotMet(message, mistake, f"inverted {label}")


def is_missing(entry: Any) -> bool:
    """Whether a State's component is not in the layout: the renderer then sends its description instead."""
    return isinstance(entry, dict) and "allow_optional" in entry


def _shortened(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."
