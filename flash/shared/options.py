"""Defines the options of `@feed`, and checks their values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import InvalidFeed
from ..options import COUNT, FINITE_SECONDS, SECONDS_OR_ZERO, Constraint, OrNone, Range

Overflow = Literal["newest", "wait", "fail"]

OVERFLOWS: tuple[Overflow, ...] = ("newest", "wait", "fail")

COUNT_OR_ZERO = Range("an integer, at least 0", (int,), 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedOptions:
    """The options of one feed.

    Attributes:
        linger: seconds for which a source goes on without followers.
        buffer: how many values may wait for each follower.
        overflow: what happens when they are as many.
        keep: how many of the last values a new follower is given.
        retry: seconds until a generator that has raised is started again, at first; None if it is not.
        retries: how often in a row; None for any number.

    Raises:
        InvalidFeed: a value cannot be used.
    """

    linger: float = 0
    buffer: int = 100
    overflow: Overflow = "newest"
    keep: int = 0
    retry: float | None = None
    retries: int | None = 10

    def __post_init__(self) -> None:
        _check("linger", SECONDS_OR_ZERO, self.linger)
        _check("buffer", COUNT, self.buffer)
        _check("keep", COUNT_OR_ZERO, self.keep)
        if self.retry is not None:
            _check("retry", FINITE_SECONDS, self.retry)
        _check("retries", OrNone(COUNT), self.retries)
        if self.overflow not in OVERFLOWS:
            raise InvalidFeed(f'overflow= of @feed is to be "newest", "wait" or "fail", got {self.overflow!r}.')
        if self.keep > self.buffer:
            raise InvalidFeed(
                f"keep= of @feed ({self.keep}) is to be at most buffer= ({self.buffer}): a new follower is given so "
                "many values at once, and has to have room for them."
            )


def _check(name: str, constraint: Constraint, value: object) -> None:
    if not constraint.allow(value):
        raise InvalidFeed(f"{name}= of @feed is to be {constraint.description}, got {value!r}.")
