"""Shared streams: pages follow one run, each by a stream of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import trio
import trio.testing

from flash.cancel_scopes import EndReason
from flash.props import stream_props
from flash.shared.sources import Sources
from flash.streams.stream import Stream
from tests.contract.pretend_app import CLEANUP_TIMEOUT, served_app
from tests.contract.pretend_page import Errors, on_mock_clock
from tests.contract.pretend_sharing import SharedCallback, Told, open_page, pages_of, said, say
from tests.support.eventually import eventually

clock = on_mock_clock


async def test_streams_with_one_key_follow_one_run_and_each_key_has_its_own(
    app: Sources, nursery: trio.Nursery
) -> None:
    told = {key: Told() for key in "ab"}
    pages = await pages_of(nursery, 3)
    shared = {key: SharedCallback(told[key], app) for key in "ab"}
    streams = [shared[key].start(page, key) for page, key in zip(pages, "aab", strict=True)]
    await told["a"].say(say(1), say(2))
    await told["b"].say(say("other"))
    for page in pages:
        page.read()
    logs = [said(page, stream) for page, stream in zip(pages, streams, strict=True)]
    assert logs == [["open", 1, 2], ["open", 1, 2], ["open", "other"]]
    assert [told[key].runs for key in "ab"] == [1, 1]
    infos = sorted(app.shared_stream_infos(), key=lambda info: info.source)
    assert [(info.source, info.followers, info.updates) for info in infos] == [("test('a')", 2, 2), ("test('b')", 1, 1)]
    assert [info.source for page in pages for info in page.channels.streams()] == [
        infos[0].id,
        infos[0].id,
        infos[1].id,
    ]
    assert app.infos() == []
    for told_one in told.values():
        await told_one.say("end")
    for page, stream in zip(pages, streams, strict=True):
        page.read()
        assert said(page, stream)[-1] == "completed"
    assert app.shared_stream_infos() == []


async def test_the_outboxes_of_all_pages_have_the_same_bytes(app: Sources, nursery: trio.Nursery) -> None:
    told = Told()
    pages = await pages_of(nursery, 2)
    for page in pages:
        SharedCallback(told, app).start(page)
    await told.say(say("x" * 1_000))
    pairs = [
        event.pairs for page in pages for event in page.link.channel.outbox.take(10**9) if event.buffer is not None
    ]
    assert len(pairs) == 2
    assert pairs[0] is pairs[1]


async def test_an_update_encodes_once_however_many_follow(app: Sources, nursery: trio.Nursery) -> None:
    class Counted:
        encoded = 0

        def to_plotly_json(self) -> object:
            Counted.encoded += 1
            return {}

    told = Told()
    for page in await pages_of(nursery, 5):
        SharedCallback(told, app).start(page)
    await told.say(say(Counted()))
    assert Counted.encoded == 1


async def test_a_thousand_streams_that_start_at_once_follow_one_run(app: Sources, nursery: trio.Nursery) -> None:
    told = Told()
    pages = await pages_of(nursery, 1_000)
    streams = [SharedCallback(told, app).start(page) for page in pages]
    await told.say(*map(say, range(5)))
    assert told.runs == 1
    await told.say("end")
    for page, stream in zip(pages, streams, strict=True):
        page.read()
        assert said(page, stream) == ["open", *range(5), "completed"]
    assert app.shared_stream_infos() == []


async def test_while_many_are_given_an_update_others_run_and_who_joins_then_misses_and_repeats_nothing(
    app: Sources, nursery: trio.Nursery
) -> None:
    told = Told()
    pages = await pages_of(nursery, 201)
    shared = SharedCallback(told, app)
    streams = [shared.start(page) for page in pages[:200]]
    await told.say(say(0))
    told.tell(say(1), say(2))
    seen: list[int] = []
    while not seen or seen[-1] < 200:
        # The updates are on their way to the pages.
        await trio.lowlevel.checkpoint()
        seen.append(sum(stream.buffer.updates > 1 for stream in streams))
        if len(seen) == 2:
            streams.append(shared.start(pages[200]))
    assert len(set(seen)) > 2
    await told.say(say(3))
    for page, stream in zip(pages, streams, strict=True):
        page.read()
        log = said(page, stream)
        assert log[-1] == 3
        assert log[1:] == list(range(log[1], 4))


async def test_who_joins_late_is_given_the_newest_whole_values_first(app: Sources, nursery: trio.Nursery) -> None:
    told = Told()
    first, late = await pages_of(nursery, 2)
    shared = SharedCallback(told, app)
    shared.start(first)
    await told.say(say(1), say(2))
    stream = shared.start(late)
    await late.settle()
    await told.say(say(3))
    late.read()
    assert said(late, stream) == ["open", 2, 3]


async def test_a_start_while_the_run_unwinds_waits_for_it_and_no_request_does(
    app: Sources, nursery: trio.Nursery
) -> None:
    told = Told(clean_up=1)
    first, second = await pages_of(nursery, 2)
    shared = SharedCallback(told, app)
    stream = shared.start(first)
    await told.say(say(1))
    stream.scope.cancel(EndReason.CANCELLED)
    await trio.testing.wait_all_tasks_blocked()
    assert [info.state for info in app.shared_stream_infos()] == ["ending"]
    began = trio.current_time()
    later = shared.start(second)
    told.tell(say(2))
    second.read()
    assert said(second, later) == ["open"]
    await eventually(lambda: bool(second.read()))
    assert trio.current_time() - began == pytest.approx(1)
    assert said(second, later) == ["open", 2]
    assert told.runs == 2


async def endless() -> AsyncGenerator[object, None]:
    yield say(1)
    await trio.sleep_forever()


async def test_no_more_runs_start_than_there_may_be_nor_than_one_browser_may_have(nursery: trio.Nursery) -> None:
    async with served_app(most=3) as app:
        app.most_per_browser = 2
        pages = await pages_of(nursery, 6)
        shared = SharedCallback(endless, app)
        errors = Errors[Exception]()
        streams: list[Stream] = []
        for number, browser in enumerate("aaabb"):
            streams.append(shared.start(pages[number], str(number), browser=browser, on_error=errors.note))
            await trio.testing.wait_all_tasks_blocked()
        await eventually(lambda: len(errors) == 2)
        assert sorted(str(error).partition("or raise ")[2] for error in errors) == [
            "sources_per_browser= of Flash(...).",
            "sources_per_server= of Flash(...).",
        ]
        # Who follows one that runs starts none.
        shared.start(pages[5], "0", browser="a")
        streams[1].scope.cancel(EndReason.CANCELLED, "stop.n_clicks")
        await trio.testing.wait_all_tasks_blocked()
        shared.start(pages[2], "2", browser="a")
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(app.names()) == ["test('0')", "test('2')", "test('3')"]
        for page in pages:
            await page.channels.shut_down()


async def test_a_run_that_clean_up_holds_is_stuck_and_another_one_starts_beside_it(
    app: Sources, nursery: trio.Nursery
) -> None:
    told = [Told(clean_up=2 * CLEANUP_TIMEOUT), Told()]

    def generator() -> AsyncGenerator[object, None]:
        return told[0 if told[0].runs == 0 else 1]()

    first, second = await pages_of(nursery, 2)
    shared = SharedCallback(generator, app)
    stream = shared.start(first)
    await told[0].say(say(1))
    stream.scope.cancel(EndReason.CANCELLED, "stop.n_clicks")
    again = shared.start(second)
    told[1].tell(say(2))
    await trio.sleep(CLEANUP_TIMEOUT + 1)
    assert sorted(info.state for info in app.shared_stream_infos()) == ["running", "stuck"]
    second.read()
    assert said(second, again) == ["open", 2]


async def test_an_update_does_not_overtake_a_conflated_one_that_is_held_back(
    app: Sources, nursery: trio.Nursery
) -> None:
    told = Told()
    page = await open_page(nursery, updates=2)
    channel = page.link.channel
    stream = SharedCallback(told, app).start(page)
    await trio.testing.wait_all_tasks_blocked()
    await told.say(*map(say, range(5)))
    # The page takes the conflated event, and does not acknowledge it: the next one is held back.
    page.read()
    await told.say(say(5), say(6), stream_props("text", {"children": 7}))
    page.read()
    assert stream.buffer.held_back is not None
    await told.say(say("newest"))
    page.read()
    channel.acknowledge(channel.life, page.number)
    page.read()
    log = said(page, stream)
    assert log[1:] == [0, 1, 4, 5, 6, 7, "newest"]


async def test_a_stream_that_was_cancelled_takes_no_update_that_comes_in_the_same_moment(
    app: Sources, nursery: trio.Nursery
) -> None:
    # Which task runs first is up to Trio.
    for _ in range(12):
        told = Told()
        [page] = await pages_of(nursery, 1)
        stream = SharedCallback(told, app).start(page)
        await told.say(say(1))
        page.read()
        told.tell(say(2))
        stream.scope.cancel(EndReason.CANCELLED, "stop.n_clicks")
        await trio.testing.wait_all_tasks_blocked()
        page.read()
        assert said(page, stream) == ["open", 1, "cancelled"]
