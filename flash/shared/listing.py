"""Defines what `app.feeds()` lists: the sources that run, and who follows them."""

from __future__ import annotations

from dataclasses import dataclass


def without_arguments(feed: str) -> str:
    """The feed of which `FeedInfo.feed` is one source: `prices`, of `prices('KELP')`."""
    return feed.partition("(")[0]


@dataclass(frozen=True, slots=True)
class FollowerInfo:
    """One follower of a source, as `app.feeds()` lists it.

    Attributes:
        task: the name of the task that follows, such as `stream of live`.
        behind: how many values wait for it.
        dropped: how many values it has missed, because its buffer was full.
    """

    task: str
    behind: int
    dropped: int


@dataclass(frozen=True, slots=True)
class FeedInfo:
    """One source that the server process runs, as `app.feeds()` lists it.

    Attributes:
        feed: the feed and its arguments, such as `prices('KELP')`.
        state: `running`, `lingering` (nobody follows it), `ending` (clean-up runs) or `stuck` (clean-up has overrun its
            deadline).
        age: seconds since it started.
        values: how many it has yielded.
        failures: how often in a row it has raised, and is to be started again.
        waiting: seconds for which it has waited for followers with `overflow="wait"`; None if it does not.
        followers: who follows it, those that are behind most first.
    """

    feed: str
    state: str
    age: float
    values: int
    failures: int
    waiting: float | None
    followers: tuple[FollowerInfo, ...]
