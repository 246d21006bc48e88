"""The table of a stream's states: it is complete, it is all used, and nothing else happens."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

import pytest
import trio

from flash import EndReason
from flash.streams.states import (
    CAUSES,
    LISTED_AS,
    MEANINGS,
    TRANSITIONS,
    Lifecycle,
    StreamState,
    Trigger,
)
from flash.streams.transitions import InvalidTransition
from tests.contract.pretend_page import CLEANUP_TIMEOUT, PretendPage, on_mock_clock

clock = on_mock_clock

TERMINAL = {StreamState.ENDED, StreamState.DISCARDED}

Row = tuple[StreamState, Trigger, StreamState]

ROWS: set[Row] = {(state, trigger, after) for state, row in TRANSITIONS.items() for trigger, after in row.items()}


def test_every_state_and_every_trigger_is_in_the_table_and_has_its_sentence() -> None:
    assert set(TRANSITIONS) == set(MEANINGS) == set(LISTED_AS) == set(StreamState)
    assert {trigger for _, trigger, _ in ROWS} == set(CAUSES) == set(Trigger)
    assert set(LISTED_AS.values()) == {"waiting", "running", "ending", "stuck"}


def test_every_state_can_be_reached_and_only_the_terminal_ones_have_no_exit() -> None:
    reached = {Lifecycle().state}
    while more := {after for state, _, after in ROWS if state in reached} - reached:
        reached |= more
    assert reached == set(StreamState)
    assert {state for state, row in TRANSITIONS.items() if not row} == TERMINAL


def test_a_terminal_state_can_be_reached_from_every_other() -> None:
    ending = set(TERMINAL)
    while more := {state for state, _, after in ROWS if after in ending} - ending:
        ending |= more
    assert ending == set(StreamState)


@pytest.mark.parametrize("state", StreamState)
def test_a_trigger_without_a_row_raises_and_changes_nothing(state: StreamState) -> None:
    for trigger in Trigger:
        if trigger not in TRANSITIONS[state]:
            lifecycle = Lifecycle()
            lifecycle.state = state
            with pytest.raises(InvalidTransition, match=f"{state}.*{trigger}"):
                lifecycle.advance(trigger)
            assert lifecycle.state is state


async def test_streams_go_through_every_row_of_the_table(page: PretendPage, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[Row] = set()
    advance = Lifecycle.advance

    def record(lifecycle: Lifecycle, trigger: Trigger) -> StreamState:
        before = advance(lifecycle, trigger)
        seen.add((before, trigger, lifecycle.state))
        return before

    monkeypatch.setattr(Lifecycle, "advance", record)

    async def short() -> AsyncGenerator[int, None]:
        yield 1

    def holds_on(seconds: float) -> Callable[[], AsyncGenerator[int, None]]:
        """Makes a generator whose clean-up takes so long, under a shield."""

        async def generator() -> AsyncGenerator[int, None]:
            try:
                yield 1
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(seconds)

        return generator

    async def slow_handler(error: BaseException) -> None:
        await trio.sleep(2)

    page.start(short)
    await page.settle()
    # Of two that wait for the end of the first, the older is discarded.
    page.start(holds_on(1))
    await page.settle()
    older, newer = page.start(short), page.start(short)
    await trio.sleep(2)
    assert [stream.overran for stream in (older, newer)] == [False, False]
    # Clean-up that returns long after its deadline, and one that does while `on_error` runs.
    for seconds, on_error in ((CLEANUP_TIMEOUT + 5, None), (CLEANUP_TIMEOUT + 1, slow_handler)):
        stream = page.start(holds_on(seconds), on_error=on_error)
        await page.settle()
        stream.scope.cancel(EndReason.CANCELLED)
        await trio.sleep(CLEANUP_TIMEOUT + 10)
        await page.settle()
        assert stream.overran
    assert page.channels.streams() == []
    assert seen == ROWS
