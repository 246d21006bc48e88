"""Updates that wait as they are, and are encoded together: the page is sent the same as if each was encoded alone."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings, strategies as st

from flash import EndReason, stream_props
from flash.props import LIGHT_UPDATES, LightUpdate, encode_pairs
from flash.streams import fairness
from flash.streams.events import LightUpdates
from tests.contract.pretend_page import LIGHT, LightInt, OpenPage, PretendPage, on_mock_clock

clock = on_mock_clock

BURST = 40


@pytest.fixture
async def roomy(open_page: OpenPage) -> PretendPage:
    """A page whose streams buffer more updates than are sent one by one."""
    return await open_page(updates=BURST, size=100_000)


async def burst() -> AsyncGenerator[int, None]:
    for number in range(BURST - 1):
        yield LightInt(number)
    await trio.sleep(1)
    yield LightInt(BURST)


async def test_they_come_in_the_order_yielded_in_few_events(
    roomy: PretendPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However long the processor has something else to do, the burst is not interrupted.
    monkeypatch.setattr(fairness, "SHARE", 60)
    stream = roomy.start(burst, light=LIGHT)
    await roomy.read_to_end()
    assert roomy.log(stream) == ["open", *range(BURST - 1), BURST, ("completed", ["off"])]
    assert sum(name == "props" for name, _ in roomy.seen) < 12


async def test_they_are_encoded_when_they_are_taken_and_not_before(roomy: PretendPage) -> None:
    calls: list[int] = []

    def encode(pairs: list[Any]) -> bytes:
        calls.append(len(pairs))
        return LIGHT.encode(pairs)

    stream = roomy.start(burst, light=LightUpdates(LightInt, encode))
    await trio.testing.wait_all_tasks_blocked()
    assert stream.buffer.updates == BURST - 1
    assert calls == []
    roomy.read()
    assert len(calls) == 1
    assert stream.buffer.updates == stream.buffer.bytes == 0


async def test_others_keep_their_place_among_them(roomy: PretendPage) -> None:
    async def mixed() -> AsyncGenerator[int | str, None]:
        for number in range(BURST - 1):
            yield "heavy" if number % 7 == 0 else LightInt(number)

    stream = roomy.start(mixed, light=LIGHT)
    await roomy.read_to_end()
    expected = ["heavy" if number % 7 == 0 else number for number in range(BURST - 1)]
    assert roomy.log(stream) == ["open", *expected, ("completed", ["off"])]


async def test_those_that_set_props_sends_keep_their_place_among_them(roomy: PretendPage) -> None:
    async def pushing() -> AsyncGenerator[int, None]:
        for number in range(BURST - 1):
            if number % 5 == 0:
                stream.push(number)
            else:
                yield LightInt(number)

    stream = roomy.start(pushing, light=LIGHT)
    await roomy.read_to_end()
    assert roomy.log(stream) == ["open", *range(BURST - 1), ("completed", ["off"])]


async def test_they_count_for_the_bounds_while_they_wait(open_page: OpenPage) -> None:
    page = await open_page(updates=1_000, size=600)

    async def endless() -> AsyncGenerator[int, None]:
        number = 0
        while True:
            yield LightInt(number)
            number += 1

    stream = page.start(endless, light=LIGHT)
    await trio.testing.wait_all_tasks_blocked()
    assert 600 <= stream.buffer.bytes < 600 + LightInt.size
    stream.scope.cancel(EndReason.CANCELLED)
    await page.settle()
    assert page.log(stream) == ["open", ("cancelled", ["reset", "off"])]
    assert stream.buffer.updates == stream.buffer.bytes == 0


async def test_an_event_takes_in_no_more_of_them_than_of_others(open_page: OpenPage) -> None:
    # An event holds an eighth of the window at most, so that one is small beside it.
    page = await open_page(updates=1_000, size=100_000, window=1_600)

    async def many() -> AsyncGenerator[int, None]:
        for number in range(200):
            yield LightInt(number)

    stream = page.start(many, light=LIGHT)
    await trio.testing.wait_all_tasks_blocked()
    sizes: list[int] = []
    while stream.state == "running" or page.link.channel.outbox.has_more():
        for name, data in page.read():
            if name == "props":
                sizes.append(len(json.dumps(data["props"])))
        page.link.channel.acknowledge(page.link.channel.life, page.number)
        await trio.testing.wait_all_tasks_blocked()
    assert page.log(stream)[1:-1] == list(range(200))
    assert max(sizes) <= 1_600 // 8 + LightInt.size


values = st.one_of(
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(st.characters(), max_size=300),
    st.just("\ud800"),
    st.lists(st.integers()),
    st.dictionaries(st.text(), st.integers()),
)

updates = st.lists(
    st.tuples(st.text(min_size=1), st.dictionaries(st.text(min_size=1, max_size=9), values, max_size=3)), max_size=9
)


@given(updates)
@settings(max_examples=200, deadline=None)
def test_several_are_encoded_together_as_each_would_be_by_itself(given_updates: list[tuple[str, Any]]) -> None:
    made = [stream_props(component_id, props) for component_id, props in given_updates]
    light = [update.pairs for update in made if type(update) is LightUpdate]
    together = LIGHT_UPDATES.encode([pair for pairs in light for pair in pairs])
    one_by_one = b",".join(encode_pairs(pairs) for pairs in light)
    assert json.loads(b"[%b]" % together) == json.loads(b"[%b]" % one_by_one)


@pytest.mark.parametrize(
    "props",
    [{}, {"data": [1]}, {"data": {"a": 1}}, {"data": 1 << 64}, {"data": "x" * 1_000}, {"data": bytearray(b"x")}],
    ids=["none", "list", "dict", "large number", "long text", "what JSON has not"],
)
def test_an_update_that_may_change_or_be_refused_is_not_one_of_them(props: Any) -> None:
    assert type(stream_props("out", props)) is not LightUpdate
