"""Defines the states of a stream and the transitions between them: everything that is possible stands in one table.

At its end a stream does two things, and they may overlap. Its *generator* unwinds, which user code may delay. And the
stream *finishes*: it runs `on_error` and sends its one `end` event. Normally the second follows the first. But when
clean-up overruns its deadline, the stream finishes while the generator is still unwinding, and the generator is over
only later, or never. The state tells these cases apart. Whatever depends on how far a stream has come asks for it: may
the stream still send, which task finishes it, what does `app.streams()` say of it.

A trigger that has no row in `TRANSITIONS` for the present state is a bug in Flash, and `Lifecycle.advance` raises. Why
a stream ended is not part of its state: that is its `EndReason`, see `cancel_scopes`.

`docs/states.md` shows the table; `python -m tools.draw_states` writes it.
"""

from __future__ import annotations

from enum import StrEnum

from .transitions import state_after


class StreamState(StrEnum):
    """How far a stream has come. `MEANINGS` has a sentence for each."""

    WAITING = "waiting"
    RUNNING = "running"
    UNWINDING = "unwinding"
    OVERDUE = "overdue"
    FINISHING = "finishing"
    STUCK = "stuck"
    ENDED = "ended"
    DISCARDED = "discarded"


class Trigger(StrEnum):
    """What moves a stream on. `CAUSES` has a sentence for each."""

    OPENED = "opened"
    REPLACED = "replaced"
    CANCELLED = "cancelled"
    GENERATOR_OVER = "generator over"
    DEADLINE_PASSED = "deadline passed"
    END_SENT = "end sent"


MEANINGS: dict[StreamState, str] = {
    StreamState.WAITING: "An earlier run of the same key has not ended yet.",
    StreamState.RUNNING: "The generator runs, and what it yields is sent.",
    StreamState.UNWINDING: "The stream was cancelled; the generator cleans up, within `cleanup_timeout`.",
    StreamState.OVERDUE: "Clean-up has overrun its deadline: `on_error` runs beside it.",
    StreamState.FINISHING: "The generator is over; `on_error` runs, unless the stream completed.",
    StreamState.STUCK: "`end` was sent, but clean-up has still not returned.",
    StreamState.ENDED: "`end` was sent, and the generator is over.",
    StreamState.DISCARDED: "The stream never opened.",
}

CAUSES: dict[Trigger, str] = {
    Trigger.OPENED: "No other run of its key is left: `open` is sent.",
    Trigger.REPLACED: "A newer run waits in its place, the page was closed, `app.end_streams` has ended it, or a "
    "condition was not met when its turn came.",
    Trigger.CANCELLED: "Its cancel scope was cancelled, for whatever reason.",
    Trigger.GENERATOR_OVER: "The generator has returned or raised, or was given up.",
    Trigger.DEADLINE_PASSED: "`cleanup_timeout` is over since the cancellation.",
    Trigger.END_SENT: "`on_error` has returned or was cut, and `end` was put into the outbox.",
}

TRANSITIONS: dict[StreamState, dict[Trigger, StreamState]] = {
    StreamState.WAITING: {Trigger.OPENED: StreamState.RUNNING, Trigger.REPLACED: StreamState.DISCARDED},
    StreamState.RUNNING: {Trigger.CANCELLED: StreamState.UNWINDING, Trigger.GENERATOR_OVER: StreamState.FINISHING},
    StreamState.UNWINDING: {
        Trigger.GENERATOR_OVER: StreamState.FINISHING,
        Trigger.DEADLINE_PASSED: StreamState.OVERDUE,
    },
    StreamState.OVERDUE: {Trigger.GENERATOR_OVER: StreamState.FINISHING, Trigger.END_SENT: StreamState.STUCK},
    StreamState.FINISHING: {Trigger.END_SENT: StreamState.ENDED},
    StreamState.STUCK: {Trigger.GENERATOR_OVER: StreamState.ENDED},
    StreamState.ENDED: {},
    StreamState.DISCARDED: {},
}

LISTED_AS: dict[StreamState, str] = {
    StreamState.WAITING: "waiting",
    StreamState.RUNNING: "running",
    StreamState.UNWINDING: "ending",
    StreamState.OVERDUE: "stuck",
    StreamState.FINISHING: "ending",
    StreamState.STUCK: "stuck",
    StreamState.ENDED: "ending",
    StreamState.DISCARDED: "ending",
}
"""The `state` of a stream in its `StreamInfo`. `app.streams()` lists none that waits, nor any that never opened."""


class Lifecycle:
    """The state of one stream.

    Attributes:
        state: how far the stream has come.
    """

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: StreamState = StreamState.WAITING

    def advance(self, trigger: Trigger) -> StreamState:
        """Move on to the state that `trigger` leads to. Returns the state before.

        Raises:
            InvalidTransition: the table has no such transition.
        """
        before = self.state
        self.state = state_after(TRANSITIONS, before, trigger, "stream")
        return before

    @property
    def is_running(self) -> bool:
        """What the generator yields is sent."""
        return self.state is StreamState.RUNNING

    @property
    def has_sent_end(self) -> bool:
        """The page was told that the stream is over."""
        return self.state is StreamState.ENDED or self.state is StreamState.STUCK
