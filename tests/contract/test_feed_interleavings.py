"""Random interleavings of everything that can happen to feeds, and the table of the states of their sources.

Each example is a list of moves over a few keys. The generators do what they are told; whatever the order, there is one
run for each key, each follower gets what is yielded while it follows, in order, and nothing is left.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from types import AsyncGeneratorType
from typing import Any, cast

import pytest
import trio
import trio.testing
from hypothesis import given, settings, strategies as st

from flash import Feed, FeedFailed, FeedOverrun, FeedUnavailable, feed
from flash.cancel_scopes import EndReason
from flash.shared.options import FeedOptions
from flash.shared.sources import Sources, feeds
from flash.shared.states import (
    CAUSES,
    LISTED_AS,
    MEANINGS,
    TRANSITIONS,
    Lifecycle,
    SourceState,
    Trigger,
)
from flash.streams.transitions import InvalidTransition
from tests.contract.pretend_app import CLEANUP_TIMEOUT, Reader, follow, served_app
from tests.contract.pretend_sharing import SharedCallback, open_page, say

KEYS = ("a", "b")
CLEANUP = 0.25

Move = tuple[Any, ...]
Row = tuple[SourceState, Trigger, SourceState]

moves = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.sampled_from(KEYS), st.sampled_from([0.0, 0.0, 1.0, 3.0])),
        st.tuples(st.just("leave"), st.integers(0, 9)),
        st.tuples(st.just("say"), st.sampled_from(KEYS), st.integers(1, 6)),
        st.tuples(st.just("tell"), st.sampled_from(KEYS), st.sampled_from(["fail", "fail", "return", "swallow"])),
        st.tuples(st.just("sleep"), st.sampled_from([CLEANUP / 2, 1.0, 2.5, 10.0])),
        st.tuples(st.just("settle")),
    ),
    max_size=40,
)

options = st.builds(
    FeedOptions,
    linger=st.sampled_from([0, 0, 2]),
    buffer=st.sampled_from([2, 4]),
    overflow=st.sampled_from(["newest", "wait", "fail"]),
    keep=st.sampled_from([0, 1, 2]),
    retry=st.sampled_from([None, 1.0]),
    retries=st.sampled_from([1, None]),
)


@dataclass
class Told:
    """What the generators of one key are told, and what became of them.

    Attributes:
        orders: what they have still to do.
        ordered: set when there is more.
        count: how many values they have yielded.
        open: how many of them run.
        generators: all that there were.
        ends: how many values had been yielded when a generator returned or raised.
    """

    orders: list[str] = field(default_factory=list[str])
    ordered: trio.Event = field(default_factory=trio.Event)
    count: int = 0
    open: int = 0
    generators: list[Any] = field(default_factory=list[Any])
    ends: set[int] = field(default_factory=set[int])

    def tell(self, *orders: str) -> None:
        self.orders += orders
        self.ordered.set()

    async def obey(self) -> AsyncGenerator[int, None]:
        self.open += 1
        assert self.open == 1, "two runs of one key"
        try:
            while True:
                while not self.orders:
                    self.ordered = trio.Event()
                    await self.ordered.wait()
                order = self.orders.pop(0)
                if order in ("fail", "return"):
                    self.ends.add(self.count)
                if order == "fail":
                    raise ValueError("told to fail")
                if order == "return":
                    return
                self.count += 1
                if order == "say":
                    yield self.count
                else:
                    try:
                        yield self.count
                        await trio.sleep(1)
                    except trio.Cancelled:
                        yield self.count
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(CLEANUP)
            self.open -= 1


@dataclass
class Play:
    """Makes the moves of one example."""

    nursery: trio.Nursery
    options: FeedOptions
    told: dict[str, Told] = field(default_factory=lambda: {key: Told() for key in KEYS})
    readers: list[Reader] = field(default_factory=list[Reader])
    keys: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        def orders(key: str) -> AsyncGenerator[int, None]:
            told = self.told[key]
            told.generators.append(told.obey())
            return told.generators[-1]

        chosen = self.options
        self.feed: Feed[[str], int] = feed(
            linger=chosen.linger,
            buffer=chosen.buffer,
            overflow=chosen.overflow,
            keep=chosen.keep,
            retry=chosen.retry,
            retries=chosen.retries,
        )(_as_generator_function(orders))

    async def make(self, move: Move) -> None:
        kind = move[0]
        if kind == "join":
            reader = Reader(self.feed(move[1]), pause=move[2])
            self.readers.append(reader)
            self.keys.append(move[1])
            self.nursery.start_soon(reader.run)
        elif kind == "leave":
            following: list[trio.CancelScope] = [reader.scope for reader in self.readers if not reader.over]
            if following:
                following[int(move[1]) % len(following)].cancel()
        elif kind == "say":
            self.told[move[1]].tell(*["say"] * move[2])
        elif kind == "tell":
            self.told[move[1]].tell(move[2])
        elif kind == "sleep":
            await trio.sleep(move[1])
        else:
            await trio.testing.wait_all_tasks_blocked()
            self.check_now()

    def check_now(self) -> None:
        """What holds whenever every task is blocked."""
        listed = feeds()
        assert len({info.feed for info in listed}) == len(listed)
        following = [reader for reader in self.readers if reader.joined and not reader.over]
        assert sum(len(info.followers) for info in listed) <= len(following)
        for info in listed:
            assert info.state in ("running", "lingering", "ending")
            assert (info.state == "running") == bool(info.followers)
            for follower in info.followers:
                assert follower.behind <= self.options.buffer
                assert not follower.dropped or self.options.overflow == "newest"


def _as_generator_function(function: Any) -> Any:
    """Have a function that returns a generator count as a generator function, as a decorator does."""

    async def generator(key: str) -> AsyncGenerator[int, None]:
        yield 0

    function.__wrapped__ = generator
    return function


def check(play: Play) -> None:
    """The contract, of every follower of the example."""
    failures: list[BaseException] = []
    for reader, key in zip(play.readers, play.keys, strict=True):
        assert reader.over
        assert reader.got == sorted(set(reader.got)), "in order, and nothing twice"
        if reader.got and play.options.overflow != "newest":
            assert reader.got == list(range(reader.got[0], reader.got[-1] + 1)), "no gap"
        if reader.got and (reader.completed or isinstance(reader.failure, FeedFailed)):
            assert reader.got[-1] in play.told[key].ends, "all that was yielded before the end"
        if reader.failure is not None:
            assert not reader.completed
            failures.append(reader.failure)
            assert isinstance(reader.failure, FeedFailed | FeedOverrun | FeedUnavailable)
            assert not isinstance(reader.failure, FeedOverrun) or play.options.overflow == "fail"
            assert not isinstance(reader.failure, FeedFailed) or isinstance(reader.failure.__cause__, ValueError)
        else:
            assert reader.completed or reader.scope.cancelled_caught
    assert len(set(map(id, failures))) == len(failures)
    for told in play.told.values():
        assert told.open == 0
        for generator in told.generators:
            assert cast("AsyncGeneratorType[int, None]", generator).ag_frame is None


async def perform(example: list[Move], chosen: FeedOptions) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with trio.open_nursery() as nursery, served_app() as app:
        play = Play(nursery, chosen)
        for move in example:
            await play.make(move)
        await app.shut_down()
    await trio.testing.wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    check(play)


@given(moves, options)
@settings(max_examples=300, deadline=None)
def test_whatever_happens_in_whatever_order_every_follower_gets_its_values(
    example: list[Move], chosen: FeedOptions
) -> None:
    trio.run(perform, example, chosen, clock=trio.testing.MockClock(autojump_threshold=0))


ROWS: set[Row] = {(state, trigger, after) for state, row in TRANSITIONS.items() for trigger, after in row.items()}


def test_every_state_and_every_trigger_is_in_the_table_and_has_its_sentence() -> None:
    assert set(TRANSITIONS) == set(MEANINGS) == set(LISTED_AS) == set(SourceState)
    assert {trigger for _, trigger, _ in ROWS} == set(CAUSES) == set(Trigger)
    assert set(LISTED_AS.values()) == {"running", "lingering", "kept", "ending", "stuck"}


def test_every_state_can_be_reached_and_only_the_last_one_has_no_exit() -> None:
    reached = {Lifecycle().state}
    while more := {after for state, _, after in ROWS if state in reached} - reached:
        reached |= more
    assert reached == set(SourceState)
    assert [state for state, row in TRANSITIONS.items() if not row] == [SourceState.OVER]


@pytest.mark.parametrize("state", SourceState)
def test_a_trigger_without_a_row_raises_and_changes_nothing(state: SourceState) -> None:
    for trigger in Trigger:
        if trigger not in TRANSITIONS[state]:
            lifecycle = Lifecycle()
            lifecycle.state = state
            with pytest.raises(InvalidTransition, match=f"{state}.*{trigger}"):
                lifecycle.advance(trigger)
            assert lifecycle.state is state


def test_sources_go_through_every_row_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[Row] = set()
    advance = Lifecycle.advance

    def record(lifecycle: Lifecycle, trigger: Trigger) -> SourceState:
        before = advance(lifecycle, trigger)
        seen.add((before, trigger, lifecycle.state))
        return before

    monkeypatch.setattr(Lifecycle, "advance", record)

    async def function(clean_up: float) -> AsyncGenerator[object, None]:
        try:
            await trio.sleep(5)
            yield say(1)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(clean_up)

    source = feed(linger=1)(function)

    async def follow_them(nursery: trio.Nursery, app: Sources) -> None:
        reader = await follow(nursery, source(0))
        await reader.leave()
        await follow(nursery, source(0))
        await trio.sleep(10)
        # One that ends while it lingers, and two whose clean-up is slow.
        reader = await follow(nursery, source(0))
        await trio.sleep(4.5)
        await reader.leave()
        await trio.sleep(10)
        for clean_up in (1, 2 * CLEANUP_TIMEOUT):
            await (await follow(nursery, source(clean_up))).leave()
        await trio.sleep(20)
        # Of a shared stream, the end of one that lingers is kept.
        page = await open_page(nursery)
        SharedCallback(lambda: function(0), app, linger=10).start(page)
        await trio.sleep(1)
        page.link.channel.close(EndReason.DISCONNECTED)
        await trio.sleep(20)
        await follow(nursery, source(0))
        await app.shut_down()

    async def run() -> None:
        async with trio.open_nursery() as nursery, served_app() as app:
            await follow_them(nursery, app)

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    assert seen == ROWS
