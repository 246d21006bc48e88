"""Random interleavings of everything that can happen to the streams of a page.

Each example is a list of moves over a few keys. The generators do what they are told; whatever the order, the
contract must hold: one `open`, the updates in order, one `end`, nothing after it, one `on_error`, one `finally`,
and nothing left of tasks, scopes and generators.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from types import AsyncGeneratorType
from typing import Any

import trio
import trio.testing
from hypothesis import example as also, given, settings, strategies as st

from flash import EndReason, RequestRefused, StreamCancelled
from flash.channels import Channels
from flash.streams.buffer import Bounds
from flash.streams.limits import Limits, PageLimits
from flash.streams.spec import StreamSpec
from flash.streams.stream import Stream
from flash.streams.thread import StreamThreads
from tests.contract.pretend_page import (
    BROWSER,
    CLEANUP_TIMEOUT,
    LIGHT,
    PAGE,
    LightInt,
    PageLink,
    connect,
    encode,
    is_met,
)

KEYS = ("a", "b", "c")
ORDERS = ("yield", "burst", "push", "wait", "timed", "return", "fail", "clumsy", "swallow")
UPDATES = (3, 12)
"""How many updates the streams of an example buffer: a burst of two more waits, and one of twelve waits unencoded."""

TIMEOUT = 7.0
RECONNECT_GRACE = 3.0
WINDOW = 400

CONDITION = is_met("tab.value", "here")

Move = tuple[Any, ...]

moves = st.lists(
    st.one_of(
        st.tuples(st.just("start"), st.sampled_from(KEYS), st.booleans(), st.booleans()),
        st.tuples(st.just("tell"), st.sampled_from(KEYS), st.sampled_from(["yield", "burst", "push", "wait", "timed"])),
        st.tuples(st.just("tell"), st.sampled_from(KEYS), st.sampled_from(["return", "fail", "clumsy", "swallow"])),
        st.tuples(st.just("cancel"), st.sampled_from(KEYS)),
        st.tuples(st.just("keep"), st.sampled_from(KEYS)),
        st.tuples(st.just("read"), st.integers(1, 200)),
        st.tuples(st.just("sleep"), st.sampled_from([0.5, 2.0, CLEANUP_TIMEOUT + 1])),
        st.tuples(st.just("reconnect"), st.integers(0, 200)),
        st.tuples(st.just("away"), st.sampled_from([0.0, RECONNECT_GRACE / 2, RECONNECT_GRACE + 1])),
        st.tuples(st.just("acknowledge")),
    ),
    max_size=40,
)


@dataclass
class Run:
    """One start, and all that became of it."""

    spec: StreamSpec | None = None
    stream: Stream | None = None
    orders: list[str] = field(default_factory=list[str])
    ordered: trio.Event = field(default_factory=trio.Event)
    yielded: list[int] = field(default_factory=list[int])
    generator: AsyncGenerator[int, None] | None = None
    began: int = 0
    finallies: int = 0
    errors: list[BaseException] = field(default_factory=list[BaseException])

    def tell(self, order: str) -> None:
        self.orders.append(order)
        self.ordered.set()

    async def obey(self) -> AsyncGenerator[Any, None]:
        self.began += 1
        count = 0

        def update() -> LightInt:
            nonlocal count
            count += 1
            self.yielded.append(count)
            return LightInt(count)

        try:
            while True:
                while not self.orders:
                    self.ordered = trio.Event()
                    await self.ordered.wait()
                order = self.orders.pop(0)
                if order == "yield":
                    yield update()
                elif order == "burst":
                    assert self.stream is not None
                    for _ in range(self.stream.buffer.bounds.updates + 2):
                        yield update()
                elif order == "push":
                    assert self.stream is not None
                    self.stream.push(update())
                elif order == "wait":
                    await trio.sleep(1)
                elif order == "timed":
                    with trio.move_on_after(1) as scope:
                        yield update()
                    if scope.cancelled_caught:
                        self.yielded.pop()
                elif order == "return":
                    return
                elif order == "fail":
                    raise ValueError("told to fail")
                elif order == "clumsy":
                    yield object()
                else:
                    try:
                        yield update()
                        await trio.sleep(1)
                    except trio.Cancelled:
                        yield update()
        finally:
            self.finallies += 1
            with trio.CancelScope(shield=True):
                await trio.sleep(0.25)

    def make(self) -> AsyncGenerator[Any, None]:
        self.generator = self.obey()
        return self.generator

    async def on_error(self, error: BaseException) -> str:
        self.errors.append(error)
        await trio.sleep(0.25)
        return "said"


@dataclass
class Play:
    """Makes the moves of one example."""

    channels: Channels
    link: PageLink
    nursery: trio.Nursery
    runs: list[Run] = field(default_factory=list[Run])
    seen: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])
    applied: int = 0

    async def make(self, move: Move) -> None:
        kind = move[0]
        if kind == "start":
            self.start(*move[1:])
        elif kind == "tell":
            for run in self.of(move[1]):
                run.tell(move[2])
        elif kind == "cancel":
            self.change(move[1], "elsewhere")
        elif kind == "keep":
            self.change(move[1], "here")
        elif kind == "read":
            self.read(move[1])
        elif kind == "sleep":
            await trio.sleep(move[1])
        elif kind == "acknowledge":
            assert self.link.channel.acknowledge(self.link.channel.life, self.applied)
        elif kind == "reconnect":
            # What is on its way when a connection is cut is lost.
            self.link.channel.outbox.take(move[1])
            await self.connect()
        else:
            self.link.channel.outbox.take(50)
            self.link.detach()
            await trio.sleep(move[1])
            await self.connect()
        await trio.testing.wait_all_tasks_blocked()

    async def connect(self) -> None:
        older = self.link
        life = older.channel.life
        self.link = await connect(self.channels, self.nursery, PAGE, BROWSER, life, self.applied)
        older.detach()
        if self.link.channel.life != life:
            # The page's own doing: everything that ran is over for it.
            self.applied = 0

    def start(self, key: str, with_timeout: bool, with_on_error: bool) -> None:
        run = Run()
        run.spec = StreamSpec(
            callback="test",
            key=key,
            generator=run.make,
            encode=encode,
            light=LIGHT,
            opening=b'"callback":"test"',
            resets=b'"reset"',
            off=b'"off"',
            conditions=[CONDITION],
            on_error=run.on_error if with_on_error else None,
            timeout=TIMEOUT if with_timeout else None,
        )
        try:
            run.stream = self.link.channel.start(run.spec)
        except RequestRefused:
            return
        self.runs.append(run)

    def change(self, key: str, value: str) -> None:
        """What a cancel request does: it names a stream that has opened."""
        for run in self.of(key):
            assert run.stream is not None
            scope = self.link.channel.scope_of(run.stream.id)
            if scope is not None:
                scope.change(0, value)

    def of(self, key: str) -> list[Run]:
        return [run for run in self.runs if run.spec is not None and run.spec.key == key][-1:]

    def read(self, at_most: int) -> None:
        for event in self.link.channel.outbox.take(at_most):
            assert event.number > self.applied
            self.applied = event.number
            self.seen.append((event.name, json.loads(event.data)))


def check(play: Play, last: EndReason) -> None:
    """The contract, of every stream of the example."""
    for run in play.runs:
        assert run.stream is not None
        mine = [(name, data) for name, data in play.seen if data["stream"] == run.stream.id]
        names = [name for name, _ in mine]
        gone = last is EndReason.DISCONNECTED or not run.stream.id.startswith(play.link.channel.life)
        if gone and "end" not in names:
            assert names in ([], ["open", *["props"] * (len(names) - 1)])
        elif not names:
            # Its place was taken before its turn came, or the page went first.
            assert run.began == run.finallies == 0
            assert run.errors == []
            continue
        else:
            assert names[0] == "open"
            assert names[-1] == "end"
            assert names.count("open") == names.count("end") == 1
        updates = [update for name, data in mine if name == "props" for update in data["props"]]
        assert updates == sorted(set(updates))
        assert set(updates) <= set(run.yielded)
        assert run.finallies == run.began <= 1
        if names and names[-1] == "end":
            check_end(run, mine[-1][1], updates)
        if not gone:
            # When a page goes, what waits for it is dropped, and of a stream that is over nobody counts it any more.
            assert run.stream.buffer.updates == run.stream.buffer.bytes == 0
        if isinstance(run.generator, AsyncGeneratorType):
            assert run.generator.ag_frame is None


def check_end(run: Run, end: dict[str, Any], updates: list[int]) -> None:
    assert run.spec is not None
    assert run.stream is not None
    reason = EndReason(end["reason"])
    assert run.stream.scope.reason in (reason, None)
    if reason is EndReason.COMPLETED:
        assert end["props"] == ["off"]
        assert run.errors == []
    elif run.spec.on_error is None:
        assert end["props"] == ["reset", "off"]
    else:
        assert end["props"] == ["said", "reset", "off"]
        assert len(run.errors) == 1
        if reason is EndReason.FAILED:
            assert not isinstance(run.errors[0], StreamCancelled)
        else:
            assert isinstance(run.errors[0], StreamCancelled)
            assert run.errors[0].reason is reason
    if reason is EndReason.COMPLETED:
        # What was yielded has arrived, whole.
        assert updates == run.yielded


async def perform(example: list[Move], last: EndReason, updates: int) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with trio.open_nursery() as nursery:
        limits = Limits(Bounds(updates=updates), CLEANUP_TIMEOUT, StreamThreads(1))
        channels = Channels(limits, PageLimits(len(KEYS), window=WINDOW, reconnect_grace=RECONNECT_GRACE))
        play = Play(channels, await connect(channels, nursery, PAGE, BROWSER), nursery)
        for move in example:
            await play.make(move)
        if last is EndReason.DISCONNECTED:
            play.link.detach()
            await play.link.channel.finished.wait()
        else:
            async with trio.open_nursery() as reader:
                reader.start_soon(channels.shut_down)
                await trio.testing.wait_all_tasks_blocked()
            while not play.link.channel.outbox.exhausted:
                play.read(10**9)
                play.link.channel.acknowledge(play.link.channel.life, play.applied)
        assert len(channels) == len(list(play.link.channel.streams())) == 0
    await trio.testing.wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    check(play, last)


@given(moves, st.sampled_from([EndReason.DISCONNECTED, EndReason.SHUTDOWN]), st.sampled_from(UPDATES))
@also(
    [("start", "c", False, False), ("tell", "c", "yield"), ("tell", "c", "return"), ("away", RECONNECT_GRACE + 1)],
    EndReason.SHUTDOWN,
    3,
)
@settings(max_examples=400, deadline=None)
def test_whatever_happens_in_whatever_order_every_stream_keeps_its_contract(
    example: list[Move], last: EndReason, updates: int
) -> None:
    trio.run(perform, example, last, updates, clock=trio.testing.MockClock(autojump_threshold=0))
