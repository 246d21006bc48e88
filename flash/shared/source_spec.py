"""Describes what a source is to run: a feed with certain arguments, or an event callback whose streams are shared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .failures import Kind, failure_of_feed
from .memory import Memory
from .options import FeedOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """What a source is to run, and how.

    Attributes:
        name: of what it runs, and the arguments, such as `prices('KELP')`.
        generator: makes the user's generator, or an awaitable that gives it.
        is_plain: whether the generator is a plain one, and so needs a thread.
        options: of the feed; of an event callback only `linger` counts.
        memory: makes what turns values into what followers are given, and knows what a new one is given first.
        kind: what messages call it.
        failure: given the name of the source and what its generator raised, makes the exception of one follower.
        finishes: types of exceptions that end the generator without a failure.
        keeps_end: one that ends while it lingers can be followed until `linger` is over, for its state and its end.
        browser: the secret of the browser that starts it; None if no browser is to be held responsible.
    """

    name: str
    generator: Callable[[], object]
    is_plain: bool
    options: FeedOptions
    memory: Callable[[], Memory]
    kind: Kind = "feed"
    failure: Callable[[str, BaseException], BaseException] = failure_of_feed
    finishes: tuple[type[Exception], ...] = ()
    keeps_end: bool = False
    browser: str | None = None
