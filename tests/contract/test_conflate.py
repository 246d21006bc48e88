"""Streams that conflate: the page gets the newest there is, however slow it is, and all that adds up."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

import trio
import trio.testing

from flash.streams.events import PropUpdate
from flash.streams.stream import Stream
from tests.contract.pretend_page import BROWSER, PAGE, OpenPage, PretendPage, connect, on_mock_clock

clock = on_mock_clock

Value = tuple[str, Any]


def prop_updates(value: Value) -> list[PropUpdate]:
    """An update is a property and its value here; those that are called `add` add up."""
    name, content = value
    return [PropUpdate(name, name != "add", json.dumps([name, content]).encode())]


def conflating(page: PretendPage, generator: Callable[[], object], **options: Any) -> Stream:
    return page.start(generator, encode_by_prop=prop_updates, **options)


def acknowledge(page: PretendPage) -> None:
    channel = page.link.channel
    assert channel.acknowledge(channel.life, page.number)


def updates(events: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    return [update for name, data in events if name == "props" for update in data["props"]]


class Ticker:
    """A generator that yields what it is told to."""

    def __init__(self) -> None:
        self.send, self._receive = trio.open_memory_channel[Value](1_000_000)

    def tell(self, *values: Value) -> None:
        for value in values:
            self.send.send_nowait(value)

    async def __call__(self) -> AsyncGenerator[Value, None]:
        async with self._receive:
            async for value in self._receive:
                yield value


async def test_while_the_page_has_not_confirmed_the_newest_value_takes_the_place_of_older_ones(
    open_page: OpenPage,
) -> None:
    page, ticker = await open_page(), Ticker()
    conflating(page, ticker)
    ticker.tell(("price", 0))
    assert updates(await page.settle()) == [["price", 0]]
    # More than the buffer holds: nothing waits for that.
    ticker.tell(*[("price", number) for number in range(1, 1_000)], ("volume", 7), ("price", 1_000))
    assert await page.settle() == []
    acknowledge(page)
    assert updates(await page.settle()) == [["volume", 7], ["price", 1_000]]
    acknowledge(page)
    assert await page.settle() == []
    ticker.tell(("price", 1_001))
    assert updates(await page.settle()) == [["price", 1_001]]


async def test_what_adds_up_is_never_replaced_and_keeps_its_place(open_page: OpenPage) -> None:
    page, ticker = await open_page(updates=100), Ticker()
    conflating(page, ticker)
    ticker.tell(("price", 0))
    await page.settle()
    ticker.tell(("price", 1), ("add", "a"), ("add", "b"), ("price", 2), ("add", "c"))
    await page.settle()
    acknowledge(page)
    assert updates(await page.settle()) == [["add", "a"], ["add", "b"], ["price", 2], ["add", "c"]]


async def test_what_adds_up_makes_the_generator_wait_when_the_buffer_is_full(open_page: OpenPage) -> None:
    page, ticker = await open_page(updates=3), Ticker()
    stream = conflating(page, ticker)
    ticker.tell(("price", 0))
    await page.settle()
    ticker.tell(*[("add", number) for number in range(10)])
    await trio.testing.wait_all_tasks_blocked()
    assert stream.waiting_since is not None
    seen: list[Any] = []
    while len(seen) < 10:
        acknowledge(page)
        news = updates(await page.settle())
        assert 0 < len(news) <= 3
        seen += news
    assert seen == [["add", number] for number in range(10)]


async def test_the_newest_value_comes_before_the_end(open_page: OpenPage) -> None:
    page, ticker = await open_page(), Ticker()
    stream = conflating(page, ticker)
    ticker.tell(("price", 0))
    await page.settle()
    ticker.tell(("price", 1), ("price", 2))
    await ticker.send.aclose()
    await page.settle()
    assert page.log(stream) == ["open", ["price", 0], ["price", 2], ("completed", ["off"])]


async def test_a_cancellation_drops_what_waits(open_page: OpenPage) -> None:
    page, ticker = await open_page(), Ticker()
    stream = conflating(page, ticker, timeout=1)
    ticker.tell(("price", 0))
    await page.settle()
    ticker.tell(("price", 1))
    await trio.sleep(2)
    await page.settle()
    assert page.log(stream) == ["open", ["price", 0], ("timed_out", ["reset", "off"])]
    assert stream.buffer.updates == stream.buffer.bytes == 0


async def test_what_was_on_its_way_when_the_connection_was_cut_comes_again_and_the_newest_behind_it(
    open_page: OpenPage, nursery: trio.Nursery
) -> None:
    page, ticker = await open_page(reconnect_grace=10), Ticker()
    conflating(page, ticker)
    await page.settle()
    at = page.number
    ticker.tell(("price", 0))
    await page.settle()
    page.link.detach()
    ticker.tell(("price", 1), ("price", 2))
    await trio.testing.wait_all_tasks_blocked()
    life = page.link.channel.life
    page.link = await connect(page.channels, nursery, PAGE, BROWSER, life, at)
    assert updates(await page.settle()) == [["price", 0]]
    acknowledge(page)
    assert updates(await page.settle()) == [["price", 2]]


async def test_two_streams_do_not_wait_for_each_other(open_page: OpenPage) -> None:
    page, ticker, other = await open_page(), Ticker(), Ticker()
    conflating(page, ticker)
    conflating(page, other, key="other")
    ticker.tell(("price", 0))
    await page.settle()
    other.tell(("news", "first"))
    assert updates(await page.settle()) == [["news", "first"]]
