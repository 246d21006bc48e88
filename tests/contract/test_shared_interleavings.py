"""Random interleavings of everything that can happen to shared streams.

Each example is a list of moves over a few pages and keys. The generators do what they are told; whatever the order,
there is one run for each key, each page shows what a page shows that has followed from the start, each stream opens
once and ends once, and nothing is left.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, cast

import trio
import trio.testing
from hypothesis import given, settings, strategies as st

from flash.cancel_scopes import EndReason
from flash.props import Update, encode_pairs
from flash.shared.sources import Sources
from flash.streams.stream import Stream
from tests.contract.pretend_app import served_app
from tests.contract.pretend_page import PretendPage, reasons
from tests.contract.pretend_sharing import KINDS, SharedCallback, Shown, Told, a_kind_of_update, open_page

KEYS = ("a", "b")
LINGER = 3

Move = tuple[Any, ...]

moves = st.lists(
    st.one_of(
        st.tuples(st.just("start"), st.integers(0, 3), st.sampled_from(KEYS), st.booleans()),
        st.tuples(
            st.just("cancel"),
            st.integers(0, 9),
            st.sampled_from(
                [
                    (EndReason.CANCELLED, "stop.n_clicks"),
                    (EndReason.CANCELLED, "layout"),
                    (EndReason.TIMED_OUT, None),
                ]
            ),
        ),
        st.tuples(st.just("lose"), st.integers(0, 3)),
        st.tuples(st.just("say"), st.sampled_from(KEYS), st.lists(st.sampled_from(KINDS), min_size=1, max_size=6)),
        st.tuples(st.just("tell"), st.sampled_from(KEYS), st.sampled_from(["fail", "end"])),
        st.tuples(st.just("read"), st.integers(0, 3)),
        st.tuples(st.just("sleep"), st.sampled_from([0.5, LINGER / 2, 2 * LINGER])),
        st.tuples(st.just("settle")),
    ),
    max_size=40,
)


class Recorded(Told):
    """One that keeps what a page shows that has followed from the start, after each update of each run."""

    def __init__(self, clean_up: float) -> None:
        super().__init__(clean_up)
        self.shown = Shown()
        self.snapshots: set[str] = {_frozen(self.shown)}

    async def __call__(self) -> AsyncGenerator[Any, None]:
        self.shown = Shown()
        generator = super().__call__()
        try:
            async for update in generator:
                assert isinstance(update, Update)
                self.shown.apply(json.loads(b"[%b]" % encode_pairs(update.pairs)))
                self.snapshots.add(_frozen(self.shown))
                yield update
        finally:
            await generator.aclose()


@dataclass
class Play:
    """Makes the moves of one example."""

    nursery: trio.Nursery
    app: Sources
    stops_all: bool
    linger: float
    told: dict[str, Recorded]
    pages: dict[int, PretendPage] = field(default_factory=dict[int, PretendPage])
    streams: list[tuple[PretendPage, str, Stream]] = field(default_factory=list[tuple[PretendPage, str, Stream]])
    all_pages: list[PretendPage] = field(default_factory=list[PretendPage])
    count: int = 0

    def __post_init__(self) -> None:
        self.shared = {
            key: SharedCallback(told, self.app, self.linger, self.stops_all) for key, told in self.told.items()
        }

    async def make(self, move: Move) -> None:
        kind = move[0]
        if kind == "start":
            page = await self.page(move[1])
            stream = self.shared[move[2]].start(page, move[2], key_of_stream=move[2], starts_anew=move[3])
            self.streams.append((page, move[2], stream))
        elif kind == "cancel":
            running = self.running()
            if running:
                _, _, stream = running[int(move[1]) % len(running)]
                stream.scope.cancel(*move[2])
        elif kind == "lose":
            if (page := self.pages.pop(move[1], None)) is not None:
                page.read()
                page.link.channel.close(EndReason.DISCONNECTED)
        elif kind == "say":
            for update in move[2]:
                self.count += 1
                self.told[move[1]].tell(a_kind_of_update(update, self.count))
        elif kind == "tell":
            self.told[move[1]].tell(ValueError("told to fail") if move[2] == "fail" else "end")
        elif kind == "read":
            read(await self.page(move[1]))
        elif kind == "sleep":
            await trio.sleep(move[1])
        else:
            await trio.testing.wait_all_tasks_blocked()
            self.check_now()

    def running(self) -> list[tuple[PretendPage, str, Stream]]:
        """The streams that have opened and were not cancelled."""
        return [
            (page, key, stream)
            for page, key, stream in self.streams
            if stream.state == "running" and page.link.channel.scope_of(stream.id) is not None
        ]

    async def page(self, number: int) -> PretendPage:
        """The page of this number; two of them buffer little, and so are slow until they read."""
        if number not in self.pages:
            page = await open_page(self.nursery, f"page {self.count}", updates=3 if number < 2 else 1_000)
            self.pages[number] = page
            self.all_pages.append(page)
        return self.pages[number]

    def check_now(self) -> None:
        """What holds whenever every task is blocked."""
        infos = self.app.shared_stream_infos()
        following = self.running()
        ids = {info.id for info in infos if info.state == "running"}
        assert {stream.source for _, _, stream in following if stream.source} <= ids
        for info in infos:
            assert (info.state == "running") == bool(info.followers)
        for page in self.pages.values():
            read(page)
        for page, key, stream in following:
            if stream.source is not None and stream.source in ids and page in self.pages.values():
                assert shown_by(page, stream) == self.told[key].shown


def _frozen(shown: Shown) -> str:
    return json.dumps(shown.layout)


def read(page: PretendPage) -> None:
    """Have the page take and acknowledge everything, also what was held back."""
    channel = page.link.channel
    while page.read():
        channel.acknowledge(channel.life, page.number)


def shown_by(page: PretendPage, stream: Stream) -> Shown:
    """What a page shows that has applied what it has of a stream."""
    shown = Shown()
    log: list[Any] = page.log(stream)
    shown.apply([(entry[0], entry[1]) for entry in log if not isinstance(entry, str | tuple)])
    return shown


def check(play: Play) -> None:
    """The contract, of every stream of the example."""
    for page, key, stream in play.streams:
        log: list[Any] = page.log(stream)
        assert log.count("open") <= 1
        ends = [str(cast("Any", entry)[0]) for entry in log if isinstance(entry, tuple)]
        assert len(ends) <= 1
        if log:
            assert log[0] == "open"
            assert not ends or isinstance(log[-1], tuple)
        assert _frozen(shown_by(page, stream)) in play.told[key].snapshots, "no gap, nothing twice, in order"
        if ends == ["completed"]:
            assert stream.source is not None
    for told in play.told.values():
        assert told.open == 0
    for shared in play.shared.values():
        assert shared.held == 0
    for page in play.all_pages:
        assert set(reasons(page.seen)) <= set(EndReason)
        assert page.channels.streams() == []


async def perform(example: list[Move], stops_all: bool, linger: float, clean_up: float) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with trio.open_nursery() as nursery, served_app() as app:
        play = Play(nursery, app, stops_all, linger, {key: Recorded(clean_up) for key in KEYS})
        for move in example:
            await play.make(move)
        for page in play.all_pages:
            read(page)
            await page.channels.shut_down()
            page.read()
        await app.shut_down()
    await trio.testing.wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    check(play)


@given(moves, st.booleans(), st.sampled_from([0, LINGER, LINGER]), st.sampled_from([0, 0.25]))
@settings(max_examples=300, deadline=None)
def test_whatever_happens_in_whatever_order_every_page_shows_what_its_run_has_said(
    example: list[Move], stops_all: bool, linger: float, clean_up: float
) -> None:
    clock = trio.testing.MockClock(autojump_threshold=0)
    trio.run(perform, example, stops_all, linger, clean_up, clock=clock)
