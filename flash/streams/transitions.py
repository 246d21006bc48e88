"""Looks up in a table of transitions which state follows, and raises where the table has none.

The tables are in `states`, for streams, and in `shared.states`, for the sources of feeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

S = TypeVar("S", bound=StrEnum)
T = TypeVar("T", bound=StrEnum)


class InvalidTransition(RuntimeError):
    """A trigger has come that the table does not allow in the present state: a bug in Flash."""


def state_after(table: Mapping[S, Mapping[T, S]], state: S, trigger: T, subject: str) -> S:
    """The state that `trigger` leads to from `state`.

    Args:
        table: for each state the triggers that it can take, and where each leads.
        state: the present one.
        trigger: what has happened.
        subject: what has these states, such as "stream"; for the message.

    Raises:
        InvalidTransition: the table has no such transition.
    """
    try:
        return table[state][trigger]
    except KeyError:
        raise InvalidTransition(f"A {subject} that is {state!s} cannot take the trigger {trigger!s}.") from None
