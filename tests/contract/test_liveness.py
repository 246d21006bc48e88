"""When a page that says nothing is given up: not before it could have been heard, nor while it is known to be there."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import pytest
import trio
import trio.testing

from flash.channels import Channels
from flash.streams.limits import PageLimits
from flash.streams.liveness import RECHECK_INTERVAL, RECHECKS, STALL_FACTOR
from flash.streams.pauses import MAX_RESUMES, RESUME_TIMEOUT
from tests.contract.pretend_page import BROWSER, PAGE, OpenPage, PretendPage, connect, on_mock_clock

clock = on_mock_clock

STALL_TIMEOUT = 60.0
RECONNECT_GRACE = 5.0


async def ticking() -> AsyncGenerator[int, None]:
    count = 0
    while True:
        yield count
        count += 1
        await trio.sleep(10)


@dataclass
class PretendBrowser:
    """What is known of a page, as the test says."""

    takes: bool = True
    asks: bool = False

    def has_taken_all(self) -> bool:
        return self.takes

    def has_open_request(self) -> bool:
        return self.asks


def pause(seconds: float) -> None:
    """Stop the process, as a signal or a suspended machine does: Trio's clock goes on."""
    mock = trio.lowlevel.current_clock()
    assert isinstance(mock, trio.testing.MockClock)
    mock.jump(seconds)


async def reads_for(page: PretendPage, seconds: float, *, acknowledging: bool) -> bool:
    """Let a page read for so long; says whether its stream still runs."""
    until = trio.current_time() + seconds
    channel = page.link.channel
    while trio.current_time() < until and not channel.closing:
        await page.settle()
        if acknowledging:
            channel.acknowledge(channel.life, page.number)
        await trio.sleep(1)
    return not channel.closing


@pytest.mark.parametrize("seconds", [30.0, 70.0, 100_000.0])
async def test_a_page_that_has_answered_while_the_process_slept_is_heard(open_page: OpenPage, seconds: float) -> None:
    page = await open_page(stall_timeout=STALL_TIMEOUT)
    stream = page.start(ticking)
    await trio.sleep(1)
    channel = page.link.channel
    await page.settle()
    for _ in range(3):
        pause(seconds)
        # It takes a while until what waits in the sockets is read.
        await trio.sleep(RESUME_TIMEOUT / 2)
        assert channel.acknowledge(channel.life, page.number)
        await page.settle()
    assert stream.state == "running"
    assert not channel.closing


async def test_a_page_is_asked_at_once_after_a_pause(open_page: OpenPage) -> None:
    page = await open_page(stall_timeout=STALL_TIMEOUT, ping_interval=15)
    page.start(ticking)
    await page.settle()
    pause(1_000)
    await trio.testing.wait_all_tasks_blocked()
    assert page.link.attachment.ping_due


async def test_a_page_that_says_nothing_after_a_pause_either_is_given_up(open_page: OpenPage) -> None:
    page = await open_page(stall_timeout=STALL_TIMEOUT)
    page.start(ticking)
    await page.settle()
    pause(1_000)
    resumed = trio.current_time()
    await page.link.channel.finished.wait()
    assert trio.current_time() - resumed == RESUME_TIMEOUT


async def test_a_lost_page_may_come_back_after_a_pause(open_page: OpenPage, nursery: trio.Nursery) -> None:
    page = await open_page(reconnect_grace=RECONNECT_GRACE)
    stream = page.start(ticking)
    await page.settle()
    channel = page.link.channel
    page.link.detach()
    await trio.sleep(1)
    pause(1_000)
    await trio.sleep(RESUME_TIMEOUT / 2)
    page.link = await connect(page.channels, nursery, PAGE, BROWSER, channel.life, page.number)
    assert page.link.channel is channel
    assert stream.state == "running"
    page.link.detach()
    lost = trio.current_time()
    await channel.finished.wait()
    assert trio.current_time() - lost == RECONNECT_GRACE


async def test_a_lost_page_may_be_given_any_time_that_a_number_says(open_page: OpenPage) -> None:
    page = await open_page(reconnect_grace=sys.float_info.max)
    stream = page.start(ticking)
    await page.settle()
    page.link.detach()
    await trio.sleep(1_000)
    assert stream.state == "running"


async def test_a_lost_page_is_given_up_though_the_event_loop_is_held_up_again_and_again(open_page: OpenPage) -> None:
    page = await open_page(reconnect_grace=RECONNECT_GRACE)
    page.start(ticking)
    await page.settle()
    channel, lost = page.link.channel, trio.current_time()
    page.link.detach()
    await trio.testing.wait_all_tasks_blocked()
    while not channel.closing and trio.current_time() < lost + 1_000:
        # Longer than it waits, each time that it waits: every one of its timers is late.
        pause(RESUME_TIMEOUT + 2)
        await trio.testing.wait_all_tasks_blocked()
    assert trio.current_time() - lost == (MAX_RESUMES + 1) * (RESUME_TIMEOUT + 2)
    await channel.finished.wait()


async def test_a_page_that_started_before_a_pause_may_still_open_its_link(nursery: trio.Nursery) -> None:
    channels = Channels(page_limits=PageLimits(reconnect_grace=0, start_timeout=5))
    channel = await channels.open(nursery, PAGE, BROWSER)
    pause(60)
    await trio.sleep(RESUME_TIMEOUT / 2)
    assert (await connect(channels, nursery)).channel is channel
    await channels.shut_down()


async def test_a_page_that_takes_what_it_is_sent_has_longer(open_page: OpenPage) -> None:
    page = await open_page(stall_timeout=STALL_TIMEOUT)
    page.link.linked_browser = PretendBrowser()
    page.start(ticking)
    assert await reads_for(page, (STALL_FACTOR - 1) * STALL_TIMEOUT, acknowledging=False)
    assert not await reads_for(page, 2 * STALL_TIMEOUT, acknowledging=False)


async def test_a_page_whose_requests_are_being_answered_has_as_long_as_they_take(open_page: OpenPage) -> None:
    page = await open_page(stall_timeout=STALL_TIMEOUT, window=40)
    page.link.linked_browser = browser = PretendBrowser(asks=True)
    page.start(ticking)
    assert await reads_for(page, 3 * STALL_FACTOR * STALL_TIMEOUT, acknowledging=False)
    browser.asks = False
    assert not await reads_for(page, STALL_TIMEOUT, acknowledging=False)


async def test_a_page_that_acknowledges_nothing_of_much_is_given_up_in_its_time(open_page: OpenPage) -> None:
    page = await open_page(stall_timeout=STALL_TIMEOUT, window=40)
    page.link.linked_browser = PretendBrowser()
    page.start(ticking)
    assert not await reads_for(page, 2 * STALL_TIMEOUT, acknowledging=False)


async def test_a_page_that_takes_nothing_is_given_up_in_its_time(open_page: OpenPage) -> None:
    page = await open_page(stall_timeout=STALL_TIMEOUT)
    page.link.linked_browser = PretendBrowser(takes=False, asks=True)
    page.start(ticking)
    await page.settle()
    began = trio.current_time()
    await page.link.channel.finished.wait()
    assert STALL_TIMEOUT <= trio.current_time() - began <= STALL_TIMEOUT + RECHECK_INTERVAL * RECHECKS + 1


async def test_what_was_sent_a_moment_ago_may_still_be_on_its_way(open_page: OpenPage) -> None:
    page = await open_page(stall_timeout=STALL_TIMEOUT)
    page.link.linked_browser = browser = PretendBrowser(takes=False)
    page.start(ticking)
    await page.settle()
    for _ in range(20):
        browser.takes = False
        await trio.sleep(STALL_TIMEOUT + 3 * RECHECK_INTERVAL)
        browser.takes = True
        await trio.sleep(RECHECKS * RECHECK_INTERVAL)
        channel = page.link.channel
        assert not channel.closing
        await page.settle()
        assert channel.acknowledge(channel.life, page.number)
