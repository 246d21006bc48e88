"""Defines the states of a source and the transitions between them: everything that is possible stands in one table.

A source runs while somebody follows it, and for a while longer. A trigger that has no row in `TRANSITIONS` for the
present state is a bug in Flash, and `Lifecycle.advance` raises. That a source waits before its generator is started
again, after a failure, is not part of its state: it is followed then as before.

`docs/states.md` shows the table; `python -m tools.draw_source_states` writes it.
"""

from __future__ import annotations

from enum import StrEnum

from ..streams.transitions import state_after


class SourceState(StrEnum):
    """How far a source has come. `MEANINGS` has a sentence for each."""

    FOLLOWED = "followed"
    LINGERING = "lingering"
    KEPT = "kept"
    UNWINDING = "unwinding"
    STUCK = "stuck"
    OVER = "over"


class Trigger(StrEnum):
    """What moves a source on. `CAUSES` has a sentence for each."""

    ALL_LEFT = "all left"
    JOINED = "joined"
    CANCELLED = "cancelled"
    GENERATOR_OVER = "generator over"
    END_KEPT = "end kept"
    DEADLINE_PASSED = "deadline passed"


MEANINGS: dict[SourceState, str] = {
    SourceState.FOLLOWED: "It has followers, who get what the generator yields.",
    SourceState.LINGERING: "Its last follower has left; it goes on for `linger` seconds, and may be followed again.",
    SourceState.KEPT: "The generator is over, of a shared stream: who follows it now gets its state and its end.",
    SourceState.UNWINDING: "It was cancelled; the generator cleans up, within `cleanup_timeout`. New followers wait.",
    SourceState.STUCK: "Clean-up has overrun its deadline. A new follower starts another source of the same arguments.",
    SourceState.OVER: "The generator is over, and nothing of it is left.",
}

CAUSES: dict[Trigger, str] = {
    Trigger.ALL_LEFT: "The last follower has left.",
    Trigger.JOINED: "Somebody follows it again.",
    Trigger.CANCELLED: "It has lingered for `linger` seconds, somebody has stopped it, or the server stops.",
    Trigger.GENERATOR_OVER: "The generator has returned, or was closed, or has raised and is not started again.",
    Trigger.END_KEPT: "The same, but nobody follows it, and it is kept until it has lingered.",
    Trigger.DEADLINE_PASSED: "`cleanup_timeout` is over since the cancellation.",
}

TRANSITIONS: dict[SourceState, dict[Trigger, SourceState]] = {
    SourceState.FOLLOWED: {
        Trigger.ALL_LEFT: SourceState.LINGERING,
        Trigger.CANCELLED: SourceState.UNWINDING,
        Trigger.GENERATOR_OVER: SourceState.OVER,
    },
    SourceState.LINGERING: {
        Trigger.JOINED: SourceState.FOLLOWED,
        Trigger.CANCELLED: SourceState.UNWINDING,
        Trigger.GENERATOR_OVER: SourceState.OVER,
        Trigger.END_KEPT: SourceState.KEPT,
    },
    SourceState.KEPT: {Trigger.CANCELLED: SourceState.OVER},
    SourceState.UNWINDING: {
        Trigger.GENERATOR_OVER: SourceState.OVER,
        Trigger.DEADLINE_PASSED: SourceState.STUCK,
    },
    SourceState.STUCK: {Trigger.GENERATOR_OVER: SourceState.OVER},
    SourceState.OVER: {},
}

LISTED_AS: dict[SourceState, str] = {
    SourceState.FOLLOWED: "running",
    SourceState.LINGERING: "lingering",
    SourceState.KEPT: "kept",
    SourceState.UNWINDING: "ending",
    SourceState.STUCK: "stuck",
    SourceState.OVER: "ending",
}
"""What `app.feeds()` and `app.shared_streams()` say of a source."""


class Lifecycle:
    """The state of one source, which begins with its first follower.

    Attributes:
        state: how far the source has come.
    """

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: SourceState = SourceState.FOLLOWED

    def advance(self, trigger: Trigger) -> SourceState:
        """Move on to the state that `trigger` leads to. Returns the state before.

        Raises:
            InvalidTransition: the table has no such transition.
        """
        before = self.state
        self.state = state_after(TRANSITIONS, before, trigger, "source")
        return before

    @property
    def is_live(self) -> bool:
        """The generator runs, and what it yields reaches who follows the source."""
        return self.state is SourceState.FOLLOWED or self.state is SourceState.LINGERING
