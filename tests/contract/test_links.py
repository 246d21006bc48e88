"""A link that carries several pages: whose turn it is, who is over, and how a new link takes over from an old one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from math import inf

import pytest
import trio
import trio.testing
from hypothesis import given, settings, strategies as st

from flash import EndReason, RequestRefused
from flash.channels import Channels
from flash.nursery import Channel
from flash.streams.buffer import Bounds
from flash.streams.events import Event
from flash.streams.limits import Limits, PageLimits
from flash.streams.link import Attachment, Link
from flash.streams.spec import StreamSpec
from flash.streams.stream import Stream
from flash.wire import Standing
from tests.contract.pretend_page import BROWSER, PAGE, connect, encode, endless, on_mock_clock
from tests.contract.test_liveness import PretendBrowser

clock = on_mock_clock

STALL = 60.0


def start(channel: Channel, generator: object, key: str = "key") -> Stream:
    assert callable(generator)
    return channel.start(
        StreamSpec(callback="test", key=key, generator=generator, encode=encode, opening=b'"callback":"test"')
    )


async def several(channels: Channels, nursery: trio.Nursery, count: int) -> tuple[Link, list[Channel]]:
    """A link of so many pages."""
    link = Link()
    pages = [await channels.connect(nursery, link, BROWSER, Standing(f"page-{number}", 0)) for number in range(count)]
    return link, pages


async def flood() -> AsyncGenerator[str, None]:
    while True:
        yield "x" * 1_000


async def test_a_page_with_much_to_say_leaves_the_others_their_share(nursery: trio.Nursery) -> None:
    channels = Channels(Limits(Bounds(bytes=10**6, updates=1_000)), PageLimits(window=10**7))
    link, (loud, *quiet) = await several(channels, nursery, 5)
    start(loud, flood)
    await trio.testing.wait_all_tasks_blocked()
    for _ in range(10):
        for channel in quiet:
            channel.outbox.put("mistake", b"{}")
        received = await link.receive(10_000)
        assert {attachment.channel for attachment, _ in received} == {loud, *quiet}
        assert sum(event.size for _, events in received for event in events) < 20_000
    await channels.shut_down()


async def test_a_page_that_acknowledges_nothing_keeps_only_itself_waiting(nursery: trio.Nursery) -> None:
    channels = Channels(Limits(Bounds(bytes=10**6, updates=1_000)), PageLimits(window=5_000))
    link, (silent, other) = await several(channels, nursery, 2)
    start(silent, flood)
    start(other, flood)
    sent = {silent: 0, other: 0}
    for _ in range(100):
        await trio.testing.wait_all_tasks_blocked()
        for attachment, events in await link.receive(64_000):
            assert isinstance(attachment.channel, Channel)
            sent[attachment.channel] += sum(event.size for event in events)
            if events and attachment.channel is other:
                assert other.acknowledge(other.life, events[-1].number)
    assert sent[silent] < 20_000
    assert sent[other] > 300_000
    await channels.shut_down()


async def test_a_page_whose_channel_is_over_is_said_to_be_and_the_others_go_on(nursery: trio.Nursery) -> None:
    channels = Channels()
    link, (left, staying) = await several(channels, nursery, 2)
    await link.receive(1_000)
    left.close(EndReason.DISCONNECTED)
    [(attachment, events)] = await link.receive(1_000)
    assert (attachment.channel, events) == (left, [])
    assert attachment.over is not None
    assert attachment.over.status == 410
    staying.outbox.put("mistake", b"{}")
    [(attachment, [event])] = await link.receive(1_000)
    assert (attachment.channel, attachment.over, event.name) == (staying, None, "mistake")
    await channels.shut_down()


async def test_a_link_of_an_earlier_turn_is_refused_and_changes_nothing(nursery: trio.Nursery) -> None:
    channels = Channels()
    newer = await connect(channels, nursery, turn=3)
    with pytest.raises(RequestRefused, match="newer connection") as refusal:
        await connect(channels, nursery, turn=2)
    assert refusal.value.status == 409
    assert newer.attachment.over is None
    again = await connect(channels, nursery, turn=3)
    assert again.channel is newer.channel
    assert newer.attachment.over is not None
    await channels.shut_down()


async def test_an_idle_page_that_answers_no_ping_is_gone_after_the_stall_timeout(nursery: trio.Nursery) -> None:
    channels = Channels(page_limits=PageLimits(stall_timeout=STALL, ping_interval=15, reconnect_grace=5))
    link, (silent, answering) = await several(channels, nursery, 2)
    gone: list[float] = []

    async def read() -> None:
        while received := await link.receive(1_000):
            for attachment, _ in received:
                if attachment.over is not None:
                    gone.append(trio.current_time())
                elif attachment.ping_due:
                    attachment.ping_sent()
                    if attachment.channel is answering:
                        assert answering.acknowledge(answering.life, 0)

    nursery.start_soon(read)
    await silent.finished.wait()
    await trio.testing.wait_all_tasks_blocked()
    assert gone == [15 + STALL]
    await trio.sleep(10 * STALL)
    assert not answering.closing
    await channels.shut_down()


@pytest.mark.parametrize("others_answer", [True, False])
async def test_what_a_browser_takes_excuses_a_silent_page_only_if_no_other_page_answers(
    nursery: trio.Nursery, others_answer: bool
) -> None:
    channels = Channels(page_limits=PageLimits(stall_timeout=STALL, ping_interval=15, reconnect_grace=5))
    link, (silent, other) = await several(channels, nursery, 2)
    link.linked_browser = PretendBrowser()

    async def read() -> None:
        while received := await link.receive(1_000):
            for attachment, _ in received:
                if attachment.ping_due:
                    attachment.ping_sent()
                    if attachment.channel is other and others_answer:
                        assert other.acknowledge(other.life, 0)

    nursery.start_soon(read)
    with trio.move_on_after(3 * STALL) as wait:
        await silent.finished.wait()
    assert wait.cancelled_caught is not others_answer
    await channels.shut_down()


async def test_a_page_that_started_streams_has_the_start_timeout_to_open_a_link(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    channels = Channels(page_limits=PageLimits(start_timeout=7, reconnect_grace=100))
    channel = await channels.open(nursery, PAGE, BROWSER)
    stream = start(channel, endless)
    await channel.finished.wait()
    assert trio.current_time() == 7
    assert stream.scope.reason == "disconnected"
    assert "no connection to this process within start_timeout (7 s)" in caplog.text
    assert "too slow" in caplog.text
    assert "several processes" in caplog.text


async def test_starts_that_come_at_once_share_the_channel_even_if_the_first_is_given_up(nursery: trio.Nursery) -> None:
    channels = Channels()
    found: list[Channel] = []

    async def come() -> None:
        found.append(await channels.open(nursery, PAGE, BROWSER))

    async with trio.open_nursery() as starts:
        first = trio.CancelScope()

        async def given_up() -> None:
            with first:
                await come()

        starts.start_soon(given_up)
        await trio.lowlevel.cancel_shielded_checkpoint()
        for _ in range(3):
            starts.start_soon(come)
        first.cancel()
    assert len(set(found)) == 1
    assert len(channels) == 1
    assert channels.load.pages == {BROWSER: 1}
    await channels.shut_down()


# Interleavings


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 1), st.integers(1, 5)),
        st.tuples(st.just("send"), st.integers(1, 400)),
        st.tuples(st.just("old link sends"), st.integers(1, 400)),
        st.tuples(st.just("apply"), st.integers(1, 10)),
        st.tuples(st.just("acknowledge"), st.integers(0, 1)),
        st.tuples(st.just("new link"), st.integers(0, 10)),
        st.tuples(st.just("close old link")),
        st.tuples(st.just("cut")),
    ),
    max_size=60,
)


class Browser:
    """Two pages that links carry: each applies only numbers above its last, as the script does."""

    def __init__(self, channels: Channels, nursery: trio.Nursery) -> None:
        self.channels = channels
        self.nursery = nursery
        self.pages: list[Channel] = []
        self.links: list[Link] = []
        self.applied = [0, 0]
        self.seen: list[list[bytes]] = [[], []]
        self.put: list[list[bytes]] = [[], []]
        # What is under way over each link, which keeps its order.
        self.under_way: dict[Link, list[tuple[int, Event]]] = {}

    async def connect(self, less: int) -> None:
        """Open a link; its pages say that they have less than they have."""
        link = Link()
        pages = [
            await self.channels.connect(
                self.nursery,
                link,
                BROWSER,
                Standing(
                    f"page-{index}",
                    len(self.links),
                    self.pages[index].life if self.pages else None,
                    max(0, self.applied[index] - less) if self.pages else 0,
                ),
            )
            for index in range(2)
        ]
        assert self.pages in ([], pages), "a life has ended"
        self.pages = pages
        self.links.append(link)
        self.under_way[link] = []

    async def send(self, link: Link, at_most: int) -> None:
        with trio.move_on_after(0):
            for attachment, events in await link.receive(at_most):
                index = [page.life for page in self.pages].index(attachment.channel.life)
                self.under_way[link] += [(index, event) for event in events]

    def apply(self, count: int) -> None:
        for events in self.under_way.values():
            arrived, events[:count] = events[:count], []
            for index, event in arrived:
                if event.number > self.applied[index]:
                    assert event.number == self.applied[index] + 1, "an event was lost"
                    self.applied[index] = event.number
                    self.seen[index].append(event.data)

    async def make(self, step: tuple[object, ...]) -> None:
        match step:
            case ("put", int(index), int(count)):
                for _ in range(count):
                    self.put[index].append(b'{"number":%d}' % len(self.put[index]))
                    self.pages[index].outbox.put("mistake", self.put[index][-1])
            case ("send", int(at_most)):
                await self.send(self.links[-1], at_most)
            case ("old link sends", int(at_most)):
                for link in self.links[:-1]:
                    await self.send(link, at_most)
            case ("apply", int(count)):
                self.apply(count)
            case ("acknowledge", int(index)):
                assert self.pages[index].acknowledge(self.pages[index].life, self.applied[index])
            case ("new link", int(less)):
                await self.connect(less)
            case ("close old link",):
                for link in self.links[:-1]:
                    link.detach()
                    self.under_way[link].clear()
            case _:
                # What is under way when a connection is cut is lost.
                self.links[-1].detach()
                self.under_way[self.links[-1]].clear()
                await self.connect(0)


async def perform(steps: list[tuple[object, ...]]) -> None:
    async with trio.open_nursery() as nursery:
        channels = Channels(page_limits=PageLimits(window=300, reconnect_grace=inf, stall_timeout=inf))
        browser = Browser(channels, nursery)
        await browser.connect(0)
        streams = [start(page, endless) for page in browser.pages]
        await trio.testing.wait_all_tasks_blocked()
        for step in steps:
            await browser.make(step)
        for _ in range(1_000):
            if all(
                len([data for data in seen if b"number" in data]) == len(put)
                for seen, put in zip(browser.seen, browser.put, strict=True)
            ):
                break
            await browser.send(browser.links[-1], 400)
            browser.apply(1_000)
            for page, applied in zip(browser.pages, browser.applied, strict=True):
                assert page.acknowledge(page.life, applied)
        for seen, put in zip(browser.seen, browser.put, strict=True):
            assert [data for data in seen if b"number" in data] == put
        assert [stream.state for stream in streams] == ["running"] * 2
        await channels.shut_down()


@given(STEPS)
@settings(max_examples=200, deadline=None)
def test_new_links_lose_double_and_end_nothing_whatever_the_order(steps: list[tuple[object, ...]]) -> None:
    trio.run(perform, steps, clock=trio.testing.MockClock(autojump_threshold=0))


def test_an_attachment_says_only_once_why_it_is_over() -> None:
    async def run() -> None:
        async with trio.open_nursery() as nursery:
            channels = Channels()
            link = await connect(channels, nursery)
            attachment: Attachment = link.attachment
            attachment.end(RequestRefused(409, "first"))
            attachment.end(RequestRefused(409, "second"))
            assert str(attachment.over) == "first"
            await channels.shut_down()

    trio.run(run)
