"""The channel of a page: the streams on it, their starts, the links that read it, and how it closes."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import trio
import trio.testing

from flash import EndReason, RequestRefused, StreamCancelled
from flash.channels import Channels
from flash.wire import Refused
from tests.contract.pretend_page import BROWSER, PAGE, OpenPage, PageLink, PretendPage, connect, endless, on_mock_clock

clock = on_mock_clock


# Superseding


async def test_the_old_streams_end_leaves_before_the_new_streams_open(page: PretendPage) -> None:
    async def slow_to_go() -> AsyncGenerator[int, None]:
        try:
            await trio.sleep_forever()
            yield 0
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)

    old = page.start(slow_to_go)
    await page.settle()
    new = page.start(endless)
    assert await page.settle() == []
    await trio.sleep(3)
    await page.settle()
    names = [(name, data["stream"]) for name, data in page.seen if name != "props"]
    assert names == [("open", old.id), ("end", old.id), ("open", new.id)]
    assert page.log(old)[-1] == ("superseded", ["reset", "off"])


async def test_one_start_waits_per_key_and_a_newer_one_takes_its_place(page: PretendPage) -> None:
    old = page.start(endless)
    await page.settle()
    replaced = page.start(endless)
    newest = page.start(endless)
    await page.settle()
    assert page.log(replaced) == []
    assert page.log(newest)[0] == "open"
    assert page.log(old)[-1][0] == "superseded"


async def test_streams_of_other_keys_are_not_superseded(page: PretendPage) -> None:
    first, second = page.start(endless, key="a"), page.start(endless, key="b")
    await page.settle()
    assert first.state == second.state == "running"


# Bounds


async def test_a_page_that_goes_ends_all_its_streams_and_waits_for_their_clean_up(page: PretendPage) -> None:
    ended: list[Any] = []

    async def tidy() -> AsyncGenerator[int, None]:
        try:
            while True:
                yield 1
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)
            ended.append("finally")

    async def on_error(error: StreamCancelled) -> None:
        ended.append(error.reason)

    for key in "abc":
        page.start(tidy, key=key, on_error=on_error)
    await trio.testing.wait_all_tasks_blocked()
    began = trio.current_time()
    page.link.detach()
    await page.link.channel.finished.wait()
    assert trio.current_time() == began + 2
    assert sorted(ended) == ["disconnected"] * 3 + ["finally"] * 3
    assert page.link.channel.outbox.exhausted
    with pytest.raises(RequestRefused, match="being closed"):
        page.start(endless)


async def test_a_start_that_waits_for_its_turn_is_forgotten_when_the_page_goes(page: PretendPage) -> None:
    ran: list[int] = []

    async def never() -> AsyncGenerator[int, None]:
        ran.append(1)
        yield 1

    page.start(endless)
    await page.settle()
    page.start(never)
    page.link.detach()
    await page.link.channel.finished.wait()
    assert ran == []


async def test_the_cancellation_of_the_apps_nursery_is_a_shutdown() -> None:
    reasons_given: list[EndReason] = []

    async def on_error(error: StreamCancelled) -> None:
        await trio.sleep(1)
        reasons_given.append(error.reason)

    async with trio.open_nursery() as app_nursery:
        channels = Channels()
        page = PretendPage(channels, await connect(channels, app_nursery, PAGE, BROWSER))
        stream = page.start(endless, on_error=on_error)
        await page.settle()
        app_nursery.cancel_scope.cancel()
    page.read()
    assert reasons_given == [EndReason.SHUTDOWN]
    assert page.log(stream)[-1] == ("shutdown", ["reset", "off"])


async def test_shutting_down_tells_the_pages_and_returns_when_all_is_over(page: PretendPage) -> None:
    stream = page.start(endless)
    await page.settle()
    await page.channels.shut_down()
    assert page.read()[-1][1]["reason"] == "shutdown"
    assert page.log(stream)[-1] == ("shutdown", ["reset", "off"])
    assert await page.link.receive(1) == [(page.link.attachment, [])]
    assert await page.link.receive(1) == []


async def test_shutting_down_tells_a_page_that_has_still_to_acknowledge_a_whole_window(open_page: OpenPage) -> None:
    page = await open_page(size=10**6, window=100)

    async def large() -> AsyncGenerator[str, None]:
        yield "x" * 1_000
        await trio.sleep_forever()

    stream = page.start(large)
    await page.settle()
    assert page.link.channel.outbox.unacknowledged > 1_000
    # The acknowledgements of the page may reach the server that takes this one's place.
    await page.channels.shut_down()
    assert page.read()[-1][1]["reason"] == "shutdown"
    assert page.log(stream)[-1] == ("shutdown", ["reset", "off"])
    assert await page.link.receive(1) == [(page.link.attachment, [])]
    assert await page.link.receive(1) == []


async def test_a_page_has_a_limited_number_of_streams(open_page: OpenPage) -> None:
    page = await open_page(streams=2)
    page.start(endless, key="a")
    page.start(endless, key="b")
    with pytest.raises(RequestRefused, match="runs 2 streams already") as refusal:
        page.start(endless, key="c")
    assert refusal.value.status == 429
    page.start(endless, key="b")


async def test_a_page_that_does_not_read_cannot_pile_up_starts(open_page: OpenPage) -> None:
    page = await open_page(size=2_000)

    async def start_often() -> None:
        for _ in range(1_000):
            page.start(endless)
            await trio.testing.wait_all_tasks_blocked()

    with pytest.raises(RequestRefused, match="does not read") as refusal:
        await start_often()
    assert refusal.value.status == 429
    assert page.link.channel.outbox.control_bytes < 3_000


# Links


async def test_the_newest_link_wins(page: PretendPage) -> None:
    older = page.link
    async with trio.open_nursery() as nursery:
        newer = await connect(page.channels, nursery, PAGE, BROWSER)
        assert newer.channel is older.channel
        assert await older.receive(1000) == [(older.attachment, [])]
        assert older.attachment.over is not None
        assert older.attachment.over.status == 409
        assert await older.receive(1000) == []
        stream = page.start(endless)
        [(attachment, events)] = await newer.receive(1000)
        assert attachment is newer.attachment
        assert events[0].name == "open"
        older.detach()
        assert stream.state == "running"


async def test_another_browser_is_refused(page: PretendPage) -> None:
    async with trio.open_nursery() as nursery:
        with pytest.raises(RequestRefused, match="another browser") as refusal:
            await connect(page.channels, nursery, PAGE, "stranger")
    assert refusal.value.status == 403


async def test_refusals_that_nobody_reads_are_bounded(open_page: OpenPage) -> None:
    page = await open_page(size=1_000)
    for _ in range(1_000):
        page.link.channel.refuse(Refused("test", None, "no"))
    assert page.link.channel.outbox.control_bytes < 1_100


async def test_links_that_come_at_once_share_the_channel(nursery: trio.Nursery) -> None:
    channels = Channels()
    links: list[PageLink] = []

    async def come() -> None:
        links.append(await connect(channels, nursery, PAGE, BROWSER))

    async with trio.open_nursery() as both:
        both.start_soon(come)
        both.start_soon(come)
    assert len(channels) == 1
    assert [link.attachment.over is None for link in links].count(True) == 1
    await channels.shut_down()


async def test_a_page_that_connects_while_the_server_stops_gets_no_channel(nursery: trio.Nursery) -> None:
    channels = Channels()

    async def come() -> None:
        link = await connect(channels, nursery, PAGE, BROWSER)
        assert link.channel.closing

    async with trio.open_nursery() as both:
        both.start_soon(come)
        await trio.lowlevel.checkpoint()
        both.start_soon(channels.shut_down)
    assert len(channels) == 0


async def test_only_ids_of_its_own_streams_are_known_to_a_channel(page: PretendPage) -> None:
    stream = page.start(endless)
    channel = page.link.channel
    assert channel.has_had(stream.id)
    assert not channel.has_had(f"{channel.life}-2")
    assert not channel.has_had("another-1")
    assert not channel.has_had(f"{channel.life}-{'1' * 5_000}")


async def test_the_callbacks_with_streams_can_be_asked_for_from_any_thread(page: PretendPage) -> None:
    page.start(endless)
    names: list[str] = []
    thread = threading.Thread(target=lambda: names.extend(page.channels.callbacks()))
    thread.start()
    thread.join()
    assert names == ["test"]
