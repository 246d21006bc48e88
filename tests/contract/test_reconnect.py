"""A page that comes back, one that does not, and one that confirms nothing."""

from __future__ import annotations

import gc
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import trio
import trio.testing

from flash import EndReason, RequestRefused
from flash.channels import Channels
from flash.streams.limits import Load, ServerLimits
from tests.contract.pretend_page import BROWSER, PAGE, OpenPage, PretendPage, connect, on_mock_clock

clock = on_mock_clock

RECONNECT_GRACE = 5.0


async def ticking() -> AsyncGenerator[int, None]:
    count = 0
    while True:
        yield count
        count += 1
        await trio.sleep(1)


async def come_back(page: PretendPage, nursery: trio.Nursery, number: int) -> None:
    life = page.link.channel.life
    page.link = await connect(page.channels, nursery, PAGE, BROWSER, life, number)


async def test_a_page_that_comes_back_gets_what_it_has_not_had(open_page: OpenPage, nursery: trio.Nursery) -> None:
    page = await open_page(updates=100, reconnect_grace=RECONNECT_GRACE)
    stream = page.start(ticking)
    await trio.sleep(2.5)
    page.read()
    applied = page.number
    await trio.sleep(1)
    page.link.channel.outbox.take(10**9)  # on its way when the link is cut
    page.link.detach()
    await trio.sleep(RECONNECT_GRACE - 1)
    await come_back(page, nursery, applied)
    page.read()
    assert page.log(stream) == ["open", *range(8)]
    assert stream.state == "running"


async def test_the_streams_of_a_page_that_does_not_come_back_end_after_the_grace(open_page: OpenPage) -> None:
    page = await open_page(reconnect_grace=RECONNECT_GRACE)
    given: list[Any] = []

    async def on_error(error: Any) -> None:
        given.append((error.reason, trio.current_time()))

    page.start(ticking, on_error=on_error)
    await trio.testing.wait_all_tasks_blocked()
    lost = trio.current_time()
    page.link.detach()
    await page.link.channel.finished.wait()
    assert given == [("disconnected", lost + RECONNECT_GRACE)]


async def test_without_a_grace_they_end_at_once(open_page: OpenPage) -> None:
    page = await open_page(reconnect_grace=0)
    page.start(ticking)
    lost = trio.current_time()
    page.link.detach()
    await page.link.channel.finished.wait()
    assert trio.current_time() == lost


async def test_generators_wait_at_their_yield_while_the_page_is_away(
    open_page: OpenPage, nursery: trio.Nursery
) -> None:
    page = await open_page(updates=3, reconnect_grace=60)
    stream = page.start(ticking)
    page.link.detach()
    await trio.sleep(30)
    assert stream.buffer.updates == 3
    [info] = page.channels.streams()
    assert info.waiting is not None
    assert info.waiting > 20
    await come_back(page, nursery, 0)
    await page.settle()
    await page.settle()
    assert page.log(stream) == ["open", 0, 1, 2, 3]


async def test_a_page_stands_where_it_has_acknowledged_if_it_says_less(
    open_page: OpenPage, nursery: trio.Nursery
) -> None:
    page = await open_page(updates=100, reconnect_grace=RECONNECT_GRACE)
    stream = page.start(ticking)
    await trio.sleep(3.5)
    page.read()
    channel = page.link.channel
    assert channel.acknowledge(channel.life, page.number - 1)
    await come_back(page, nursery, 0)
    assert page.link.channel is channel
    assert [event.number for event in channel.outbox.take(10**9)] == [page.number]
    assert stream.state == "running"


async def test_a_page_that_says_it_has_what_was_not_sent_gets_a_new_life(
    open_page: OpenPage, nursery: trio.Nursery
) -> None:
    page = await open_page(reconnect_grace=RECONNECT_GRACE)
    old = page.start(ticking)
    await page.settle()
    channel = page.link.channel
    await come_back(page, nursery, page.number + 1)
    assert page.link.channel.life != channel.life
    await channel.finished.wait()
    assert old.scope.reason == "disconnected"


async def test_a_page_of_another_life_gets_this_one_from_its_beginning(
    open_page: OpenPage, nursery: trio.Nursery
) -> None:
    page = await open_page(updates=100, reconnect_grace=RECONNECT_GRACE)
    stream = page.start(ticking)
    await trio.sleep(2.5)
    page.link.channel.outbox.take(10**9)
    channel = page.link.channel
    page.link = await connect(page.channels, nursery, PAGE, BROWSER, "another", 7)
    assert page.link.channel is channel
    page.read()
    assert page.log(stream) == ["open", 0, 1, 2]


async def test_what_is_not_acknowledged_is_bounded_and_what_is_is_forgotten(open_page: OpenPage) -> None:
    page = await open_page(updates=10**6, size=10**6, window=500)

    async def many() -> AsyncGenerator[str, None]:
        for number in range(40):
            yield f"{number:050}"

    stream = page.start(many)
    channel = page.link.channel
    sent = 0
    while stream.state == "running" or not page.seen or page.seen[-1][0] != "end":
        await page.settle()
        assert channel.outbox.unacknowledged <= 500
        assert await page.settle() == []
        assert page.number > sent
        sent = page.number
        assert channel.acknowledge(channel.life, sent)
        assert channel.outbox.unacknowledged == 0
    assert [int(update) for update in page.log(stream)[1:-1]] == list(range(40))


async def test_an_event_larger_than_the_window_is_sent_alone(open_page: OpenPage) -> None:
    page = await open_page(size=10**6, window=100)

    async def large() -> AsyncGenerator[str, None]:
        yield "x" * 1_000
        yield "y"

    page.start(large)
    channel = page.link.channel
    seen: list[str] = []
    while "end" not in seen:
        await trio.testing.wait_all_tasks_blocked()
        seen += [name for name, _ in page.read()]
        channel.acknowledge(channel.life, page.number)
    assert seen == ["open", "props", "props", "end"]


async def test_acknowledging_what_was_not_sent_is_refused(page: PretendPage) -> None:
    page.start(ticking)
    await page.settle()
    channel = page.link.channel
    assert not channel.acknowledge(channel.life, page.number + 1)
    assert not channel.acknowledge("another", 1)
    assert channel.acknowledge(channel.life, page.number)
    assert channel.acknowledge(channel.life, 1)
    assert channel.outbox.acknowledged == page.number


async def test_a_page_that_confirms_nothing_is_given_up(open_page: OpenPage) -> None:
    page = await open_page(stall_timeout=60)
    stream = page.start(ticking)
    await page.settle()
    began = trio.current_time()
    await page.link.channel.finished.wait()
    assert 60 <= trio.current_time() - began <= 120
    assert stream.scope.reason == "disconnected"


async def test_a_page_that_confirms_is_not_given_up(open_page: OpenPage) -> None:
    page = await open_page(stall_timeout=60)
    stream = page.start(ticking)
    channel = page.link.channel
    for _ in range(10):
        await trio.sleep(50)
        while await page.settle():
            channel.acknowledge(channel.life, page.number)
    assert stream.state == "running"


async def test_a_page_that_has_nothing_to_confirm_is_not_given_up(open_page: OpenPage) -> None:
    page = await open_page(stall_timeout=60)
    await trio.sleep(1_000)
    assert not page.link.channel.closing


async def test_a_browser_has_a_limited_number_of_pages(nursery: trio.Nursery) -> None:
    channels = Channels(load=Load(ServerLimits(pages=3, pages_per_browser=2)))
    links = [await connect(channels, nursery, f"page-{number}", "one") for number in range(2)]
    with pytest.raises(RequestRefused, match="2 pages open already") as refusal:
        channels.admit("page-3", "one")
    assert refusal.value.status == 429
    links.append(await connect(channels, nursery, "page-4", "two"))
    with pytest.raises(RequestRefused, match="as many pages as it may") as refusal:
        await connect(channels, nursery, "page-5", "three")
    assert refusal.value.status == 503
    links.pop().channel.close(EndReason.DISCONNECTED)
    await channels.shut_down()
    assert channels.load.pages == {}


async def test_a_server_has_a_limited_number_of_streams(nursery: trio.Nursery) -> None:
    channels = Channels(load=Load(ServerLimits(streams=1)))
    page = PretendPage(channels, await connect(channels, nursery, PAGE, BROWSER))
    page.start(ticking)
    with pytest.raises(RequestRefused, match="as many streams as it may") as refusal:
        page.start(ticking, key="another")
    assert refusal.value.status == 503
    await channels.shut_down()
    assert channels.load.streams == 0


async def test_a_large_event_does_not_wait_for_an_acknowledgement_that_nobody_asked_for(open_page: OpenPage) -> None:
    page = await open_page(size=10**6, window=1_000)

    async def large() -> AsyncGenerator[str, None]:
        yield "x" * 400
        yield "y" * 700

    page.start(large)
    assert [name for name, _ in await page.settle()] == ["open", "props", "props"]


async def test_acknowledgements_of_what_is_to_be_sent_again_count(open_page: OpenPage, nursery: trio.Nursery) -> None:
    page = await open_page(updates=100, reconnect_grace=RECONNECT_GRACE)
    stream = page.start(ticking)
    await trio.sleep(3.5)
    page.read()
    await come_back(page, nursery, 2)
    channel = page.link.channel
    assert channel.acknowledge(channel.life, 3)
    await come_back(page, nursery, 4)
    assert page.link.channel is channel
    assert [event.number for event in channel.outbox.take(10**9)] == [5]
    assert stream.state == "running"


async def test_what_was_sent_comes_again_from_where_the_page_stands(open_page: OpenPage, nursery: trio.Nursery) -> None:
    page = await open_page(updates=100, reconnect_grace=RECONNECT_GRACE)
    other = page.start(ticking, key="other")
    await trio.sleep(2.5)
    stream = page.start(ticking)
    for _ in range(3):
        page.read()
        await trio.sleep(1)
    other.scope.cancel(EndReason.CANCELLED)
    for _ in range(20):
        await trio.sleep(1)
        page.read()
    channel, last, newest = page.link.channel, page.number, page.log(stream)[-1]
    assert page.log(stream) == ["open", *range(newest + 1)]
    assert channel.acknowledge(channel.life, last - 15)
    for missing in (10, 4, 1):
        await come_back(page, nursery, last - missing)
        assert page.link.channel is channel
        again = channel.outbox.take(10**9)
        assert [event.number for event in again] == [*range(last + 1 - missing, last + 1)]
        resent = [json.loads(event.data) for event in again]
        assert resent == [{"stream": stream.id, "props": [newest + 1 - back]} for back in range(missing, 0, -1)]
    assert channel.outbox.unacknowledged > 0
    assert channel.acknowledge(channel.life, last)
    assert channel.outbox.unacknowledged == 0


async def test_of_updates_that_were_dropped_there_is_nothing_to_come_again(
    open_page: OpenPage, nursery: trio.Nursery
) -> None:
    page = await open_page(updates=100, reconnect_grace=RECONNECT_GRACE)
    staying, leaving = page.start(ticking, key="staying"), page.start(ticking, key="leaving")
    await trio.sleep(3.5)
    leaving.scope.cancel(EndReason.CANCELLED)
    await trio.sleep(1)
    first = page.read()
    await come_back(page, nursery, 0)
    assert page.read() == first
    assert [data["props"] for name, data in first if data["stream"] == staying.id and name == "props"] == [
        [number] for number in range(5)
    ]
    channel = page.link.channel
    assert channel.acknowledge(channel.life, page.number)
    assert channel.outbox.unacknowledged == 0


async def test_what_is_kept_of_updates_is_nothing_that_the_garbage_collector_looks_at(open_page: OpenPage) -> None:
    page = await open_page(updates=100, reconnect_grace=RECONNECT_GRACE)
    page.start(ticking)
    for _ in range(10):
        await trio.sleep(1)
        page.read()
    page.seen.clear()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(500):
        await trio.sleep(1)
        page.link.channel.outbox.take(10**9)
    gc.collect()
    assert len(gc.get_objects()) < before + 100


async def test_updates_that_have_to_wait_join_up_and_stay_in_order(open_page: OpenPage) -> None:
    page = await open_page(updates=10**6, size=10**6)

    async def many() -> AsyncGenerator[int, None]:
        for number in range(1_000):
            yield number

    stream = page.start(many)
    await trio.testing.wait_all_tasks_blocked()
    names = [name for name, _ in page.read()]
    # A few by themselves, the others with the last of them.
    assert names == ["open", *["props"] * 8, "end"]
    assert page.log(stream) == ["open", *range(1_000), ("completed", ["off"])]


async def test_updates_do_not_join_what_has_been_sent(open_page: OpenPage) -> None:
    page = await open_page(updates=10**6, size=10**6)
    go_on = trio.Event()

    async def many() -> AsyncGenerator[int, None]:
        for number in range(20):
            yield number
        await go_on.wait()
        yield 20

    stream = page.start(many)
    assert (await page.settle())[-1][1]["props"][-1] == 19
    go_on.set()
    assert (await page.settle())[0][1]["props"] == [20]
    assert page.log(stream) == ["open", *range(21), ("completed", ["off"])]
