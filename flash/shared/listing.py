"""Defines what `app.feeds()` and `app.shared_streams()` list: the sources that run, and who follows them."""

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


@dataclass(frozen=True, slots=True)
class SharedStreamInfo:
    """The source of shared streams that the server process runs, as `app.shared_streams()` lists it.

    Attributes:
        id: what `StreamInfo.source` has for each stream that follows it.
        source: the event callback, and the values that it was called with, such as `live('KELP')`.
        state: `running`, `lingering` (no page follows it), `kept` (its generator is over while it lingers; a page that
            comes back in time has its state and its end), `ending` (clean-up runs) or `stuck` (clean-up has overrun its
            deadline).
        age: seconds since it started.
        updates: how many updates it has yielded.
        followers: how many streams follow it.
        can_be_joined: False if what adds up has grown too large to be given to a page that joins.
    """

    id: str
    source: str
    state: str
    age: float
    updates: int
    followers: int
    can_be_joined: bool
