"""What becomes of a start while its key runs, if it does not supersede the run before: it waits its turn."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from functools import partial
from typing import Any

import pytest
import trio
from hypothesis import given, settings, strategies as st

from flash import EndReason
from flash.cancel_scopes import LAYOUT, Condition
from flash.channels import Channels
from flash.errors import RequestRefused
from flash.streams.limits import Limits, Load, PageLimits, ServerLimits
from flash.streams.runs import MOST_WAITING
from flash.streams.stream import Stream
from flash.wire import Refused
from tests.contract.pretend_page import (
    BROWSER,
    PAGE,
    OpenPage,
    PretendPage,
    connect,
    endless,
    is_met,
    on_mock_clock,
)

clock = on_mock_clock

GOOD = "a"
CONDITION = is_met("tab.value", GOOD)


def turn(changed: Mapping[int, object]) -> str | None:
    return None if changed.get(0, GOOD) == GOOD else f"tab.value is {changed[0]}"


def queue(page: PretendPage, generator: Any = endless, **options: Any) -> Stream:
    options = {"conditions": (CONDITION,), "check_at_turn": turn, "refused": partial(Refused, "cb", None)} | options
    return page.start(generator, waits_its_turn=True, **options)


async def second() -> AsyncGenerator[int, None]:
    """A run of a second."""
    yield 0
    await trio.sleep(1)


def logs(page: PretendPage, *streams: Stream) -> list[Any]:
    """The first and the last of what the page has seen of each stream; None of one that it has seen nothing of."""
    seen = [page.log(stream) for stream in streams]
    return [(log[0], log[-1][0]) if len(log) > 1 else None for log in seen]


def refusals(page: PretendPage) -> list[tuple[str, str]]:
    return [(data["message"], data["status"]) for name, data in page.seen if name == "refused"]


async def test_starts_wait_their_turn_and_end_nothing(page: PretendPage) -> None:
    streams = [queue(page, second) for _ in range(3)]
    await page.settle()
    assert [info.id for info in page.channels.streams()] == [streams[0].id]
    await trio.sleep(5)
    page.read()
    assert logs(page, *streams) == [("open", "completed")] * 3
    assert [name for name, _ in page.seen if name != "props"] == ["open", "end"] * 3


@pytest.mark.parametrize("reason", [EndReason.CANCELLED, EndReason.TIMED_OUT, EndReason.FAILED])
async def test_the_next_runs_whatever_has_ended_the_one_before(page: PretendPage, reason: EndReason) -> None:
    async def failing() -> AsyncGenerator[int, None]:
        yield 0
        await trio.sleep(1)
        raise ValueError

    first = queue(page, failing if reason is EndReason.FAILED else endless)
    after = queue(page, second)
    await page.settle()
    if reason is not EndReason.FAILED:
        first.scope.cancel(reason)
    await trio.sleep(3)
    page.read()
    assert logs(page, first, after) == [("open", str(reason)), ("open", "completed")]


async def test_no_more_than_ten_wait(page: PretendPage) -> None:
    first, *waiting = [queue(page) for _ in range(MOST_WAITING + 1)]
    with pytest.raises(RequestRefused, match="'test' was not started: 10 starts wait their turn already") as caught:
        queue(page)
    assert caught.value.status == 429
    first.scope.cancel(EndReason.CANCELLED)
    await page.settle()
    assert page.log(waiting[0])[0] == "open"
    queue(page)


async def test_those_that_wait_of_a_page_that_is_gone_never_run(page: PretendPage) -> None:
    streams = [queue(page) for _ in range(3)]
    await page.settle()
    page.link.channel.close(EndReason.DISCONNECTED)
    await page.settle()
    assert page.channels.streams() == []
    assert [stream.started_generator for stream in map(Probe, streams)] == [True, False, False]


class Probe:
    """Whether the generator of a stream was made."""

    def __init__(self, stream: Stream) -> None:
        self.started_generator = stream._steps is not None  # pyright: ignore[reportPrivateUsage]


async def test_a_change_that_ends_the_run_before_keeps_those_that_wait_from_running(page: PretendPage) -> None:
    streams = [queue(page) for _ in range(3)]
    await page.settle()
    page.link.channel.change(streams[0].id, 0, "b", 1)
    late = queue(page)
    await page.settle()
    assert logs(page, *streams) == [("open", "cancelled"), None, None]
    assert refusals(page) == [("tab.value is b", "idle")] * 2
    assert page.log(late)[0] == "open", "it was started with the value as it is now"


async def test_only_the_newest_change_counts_when_the_turn_has_come(page: PretendPage) -> None:
    async def stubborn() -> AsyncGenerator[int, None]:
        try:
            yield 0
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)

    first, after = queue(page, stubborn), queue(page, second)
    await page.settle()
    change = partial(page.link.channel.change, first.id, 0)
    change("b", 5)
    await trio.sleep(1)
    # The run before is unwinding. The tab is left and shown again, and an older message is late.
    change(GOOD, 7)
    change("c", 6)
    page.link.channel.change(first.id, LAYOUT, None, 8)
    await trio.sleep(4)
    page.read()
    assert logs(page, first, after) == [("open", "cancelled"), ("open", "completed")]
    assert refusals(page) == []


async def test_a_change_without_a_number_always_counts(page: PretendPage) -> None:
    first, after = queue(page, conditions=(Condition("any", bool, counts=False),)), queue(page)
    page.link.channel.change(first.id, 0, GOOD, 9)
    page.link.channel.change(first.id, 0, "b", None)
    first.scope.cancel(EndReason.TIMED_OUT)
    await page.settle()
    assert page.log(after) == []
    assert refusals(page) == [("tab.value is b", "idle")]


async def test_a_change_of_a_stream_that_is_over_or_of_no_condition_is_nothing_to_those_that_run(
    page: PretendPage,
) -> None:
    first, after = queue(page, second), queue(page)
    await trio.sleep(2)
    page.link.channel.change(first.id, 0, "b", 1)
    with pytest.raises(IndexError):
        page.link.channel.change(after.id, 7, "b", 1)
    await page.settle()
    assert page.log(after)[-1] != ("cancelled", ["reset", "off"])
    assert after.state == "running"


async def test_those_that_wait_can_be_revoked_one_by_one(page: PretendPage) -> None:
    streams = [queue(page, second, user=user) for user in ("ada", "eve", "ada", "eve")]
    await page.settle()
    assert page.channels.revoke(lambda info: info.user == "ada", "") == 1
    await trio.sleep(5)
    page.read()
    assert logs(page, *streams) == [("open", "revoked"), ("open", "completed"), None, ("open", "completed")]
    assert refusals(page) == [("'test' was not started: the app has ended it while it waited.", "revoked")]


async def test_those_that_wait_count_with_their_values_and_not_as_streams(open_page: OpenPage) -> None:
    page = await open_page(streams=1, values=25)
    page.channels.load.limits = ServerLimits(streams=2, streams_per_user=1)
    streams = [queue(page, second, user="ada", values_size=10) for _ in range(2)]
    with pytest.raises(RequestRefused, match="too large"):
        queue(page, values_size=10)
    await trio.sleep(3)
    page.read()
    assert logs(page, *streams) == [("open", "completed")] * 2


# Random interleavings

moves = st.lists(
    st.one_of(
        st.tuples(st.just("start"), st.sampled_from(["ada", "eve"])),
        st.tuples(st.just("change"), st.sampled_from([GOOD, GOOD, "b"])),
        st.tuples(st.just("sleep"), st.sampled_from([0.1, 0.6, 1.0])),
        st.tuples(st.just("cancel"), st.just("")),
        st.tuples(st.just("revoke"), st.sampled_from(["ada", "eve"])),
    ),
    max_size=40,
)


async def slow() -> AsyncGenerator[int, None]:
    """A run of a second, which takes half a second to unwind."""
    try:
        yield 0
        await trio.sleep(1)
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.5)


@settings(max_examples=150, deadline=None)
@given(moves, st.booleans())
def test_every_start_runs_in_its_turn_or_is_refused_and_one_runs_at_a_time(
    program: list[tuple[str, Any]], closes: bool
) -> None:
    async def run() -> None:
        async with trio.open_nursery() as nursery:
            channels = Channels(Limits(), PageLimits(reconnect_grace=0), Load())
            page = PretendPage(channels, await connect(channels, nursery, PAGE, BROWSER))
            channel = page.link.channel
            streams: list[Stream] = []
            # The newest value that was reported while a start waited, and those that were revoked.
            newest: dict[str, str] = {}
            revoked: set[str] = set()
            for number, (move, argument) in enumerate(program):
                current = next((each for each in streams if channel.scope_of(each.id) is not None), None)
                waiting = [info for info in channels.revocable() if info.state == "waiting"]
                assert len(waiting) <= MOST_WAITING
                if move == "start":
                    try:
                        streams.append(queue(page, slow, user=argument))
                    except RequestRefused:
                        assert len(waiting) == MOST_WAITING
                elif move == "change" and current is not None:
                    channel.change(current.id, 0, argument, number)
                    newest |= {info.id: argument for info in waiting}
                elif move == "cancel" and current is not None:
                    current.scope.cancel(EndReason.TIMED_OUT)
                elif move == "revoke":
                    revoked |= {info.id for info in waiting if info.user == argument}
                    channels.revoke(lambda info, user=argument: info.user == user, "")
                elif move == "sleep":
                    await trio.sleep(argument)
                    page.read()
            if closes:
                channel.close(EndReason.SHUTDOWN)
            else:
                await trio.sleep(30)
            page.read()
            await channels.shut_down()
            page.read()
            events = [(name, data["stream"]) for name, data in page.seen if name in ("open", "end")]
            opened = [stream for name, stream in events if name == "open"]
            assert events == [(name, stream) for stream in opened for name in ("open", "end")], "one at a time"
            assert opened == [stream.id for stream in streams if stream.id in opened], "in the order of the starts"
            states = {stream.id: stream.state for stream in streams}
            assert set(states.values()) <= {"ending"}, "nothing is left"
            told = [status for _, status in refusals(page)]
            not_met = {each for each, value in newest.items() if value != GOOD} - revoked
            assert not (set(opened) & (not_met | revoked)), "none opens that is not to"
            assert told.count("revoked") == len(revoked)
            if not closes:
                assert set(opened) | not_met | revoked == {stream.id for stream in streams}, "none is forgotten"
                assert told.count("idle") == len(not_met)
            nursery.cancel_scope.cancel()

    on_mock_clock(run)
