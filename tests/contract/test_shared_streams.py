"""Shared streams: pages follow one run, each by a stream of its own."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator

import pytest
import trio
import trio.testing

from flash.cancel_scopes import EndReason, StreamCancelled
from flash.errors import FeedOverrun, FeedUnavailable, InvalidUpdate
from flash.props import stream_props
from flash.shared.sources import Sources
from flash.streams.events import ConflatedEvent
from flash.streams.stream import Stream
from tests.contract.pretend_app import CLEANUP_TIMEOUT, served_app
from tests.contract.pretend_page import PretendPage, is_met, on_mock_clock, warnings
from tests.contract.pretend_sharing import SharedCallback, Shown, Told, a_kind_of_update, open_page, said, say
from tests.support.eventually import eventually

clock = on_mock_clock


async def pages_of(nursery: trio.Nursery, count: int) -> list[PretendPage]:
    return [await open_page(nursery, f"page {number}") for number in range(count)]


# One run


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


# Joining late


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


# Leaving


LOST = [(EndReason.DISCONNECTED, None), (EndReason.CANCELLED, "layout")]
STOPPED = [
    (EndReason.CANCELLED, "stop.n_clicks"),
    (EndReason.SUPERSEDED, None),
    (EndReason.TIMED_OUT, None),
    (EndReason.REVOKED, None),
]


@pytest.mark.parametrize(("reason", "condition"), LOST)
async def test_a_run_whose_last_page_is_lost_lingers_and_can_be_followed_again(
    app: Sources, nursery: trio.Nursery, reason: EndReason, condition: str | None
) -> None:
    told = Told()
    first, second = await pages_of(nursery, 2)
    shared = SharedCallback(told, app, linger=10)
    stream = shared.start(first)
    await told.say(say(1))
    stream.scope.cancel(reason, condition)
    await trio.sleep(9)
    assert (shared.held, [info.state for info in app.shared_stream_infos()]) == (1, ["lingering"])
    await told.say(say(2))
    again = shared.start(second)
    await trio.sleep(20)
    assert shared.held == 0
    second.read()
    assert said(second, again) == ["open", 2]
    again.scope.cancel(reason, condition)
    await trio.sleep(11)
    assert (told.runs, told.open, shared.held) == (1, 0, 0)


@pytest.mark.parametrize(("reason", "condition"), STOPPED)
async def test_a_run_whose_last_stream_was_stopped_ends_at_once(
    app: Sources, nursery: trio.Nursery, reason: EndReason, condition: str | None
) -> None:
    told = Told()
    first, second = await pages_of(nursery, 2)
    shared = SharedCallback(told, app, linger=10)
    streams = [shared.start(page) for page in (first, second)]
    await told.say(say(1))
    for open_runs, stream in zip((1, 0), streams, strict=True):
        stream.scope.cancel(reason, condition)
        await trio.testing.wait_all_tasks_blocked()
        assert told.open == open_runs
    assert shared.held == 0


async def test_the_last_to_leave_decides(app: Sources, nursery: trio.Nursery) -> None:
    told = Told()
    first, second = await pages_of(nursery, 2)
    shared = SharedCallback(told, app, linger=10)
    streams = [shared.start(page) for page in (first, second)]
    await told.say(say(1))
    streams[0].scope.cancel(EndReason.CANCELLED, "stop.n_clicks")
    await trio.testing.wait_all_tasks_blocked()
    streams[1].scope.cancel(EndReason.DISCONNECTED)
    await trio.sleep(5)
    assert told.open == 1


async def test_where_a_condition_stops_all_one_ends_every_stream_and_the_run(
    app: Sources, nursery: trio.Nursery
) -> None:
    told = Told()
    pages = await pages_of(nursery, 3)
    errors: list[StreamCancelled] = []
    shared = SharedCallback(told, app, linger=10, stops_all=True)
    streams = [
        shared.start(page, on_error=errors.append, conditions=[is_met("stop.value", desired=False)]) for page in pages
    ]
    await told.say(say(1))
    streams[0].scope.change(0, value=True)
    await trio.testing.wait_all_tasks_blocked()
    assert told.open == 0
    await eventually(lambda: len(errors) == 3)
    assert [(error.reason, error.condition, error.value) for error in errors] == [
        (EndReason.CANCELLED, "stop.value", True)
    ] * 3
    assert len({id(error) for error in errors}) == 3
    assert app.shared_stream_infos() == []


async def test_a_page_that_is_lost_as_another_stops_all_does_not_have_the_run_linger(
    app: Sources, nursery: trio.Nursery
) -> None:
    # Which of the two leaves last is up to Trio.
    for _ in range(12):
        told = Told()
        first, second = await pages_of(nursery, 2)
        shared = SharedCallback(told, app, linger=10, stops_all=True)
        streams = [shared.start(page) for page in (first, second)]
        await told.say(say(1))
        streams[1].scope.cancel(EndReason.DISCONNECTED)
        streams[0].scope.cancel(EndReason.CANCELLED, "stop.value")
        await trio.testing.wait_all_tasks_blocked()
        assert (told.open, shared.held, app.shared_stream_infos()) == (0, 0, [])


@pytest.mark.parametrize(("reason", "condition"), [*LOST, (EndReason.SUPERSEDED, None), (EndReason.TIMED_OUT, None)])
async def test_only_a_condition_that_is_not_met_stops_all(
    app: Sources, nursery: trio.Nursery, reason: EndReason, condition: str | None
) -> None:
    told = Told()
    first, second = await pages_of(nursery, 2)
    shared = SharedCallback(told, app, stops_all=True)
    streams = [shared.start(page) for page in (first, second)]
    await told.say(say(1))
    streams[0].scope.cancel(reason, condition)
    await told.say(say(2))
    second.read()
    assert said(second, streams[1]) == ["open", 1, 2]


async def test_timeouts_are_each_streams_own(app: Sources, nursery: trio.Nursery) -> None:
    told = Told()
    first, second = await pages_of(nursery, 2)
    shared = SharedCallback(told, app)
    streams = [shared.start(first, timeout=2), shared.start(second, timeout=5)]
    await told.say(say(1))
    await trio.sleep(2.5)
    assert told.open == 1
    await trio.sleep(3)
    for page, stream in zip((first, second), streams, strict=True):
        page.read()
        assert said(page, stream)[-1] == "timed_out"
    assert told.open == 0


async def test_a_second_start_on_the_only_page_starts_another_run(app: Sources, nursery: trio.Nursery) -> None:
    told = Told(clean_up=1)
    [page] = await pages_of(nursery, 1)
    shared = SharedCallback(told, app, linger=10)
    old = shared.start(page)
    await told.say(say(1))
    page.read()
    new = shared.start(page)
    await trio.testing.wait_all_tasks_blocked()
    told.tell(say(2))
    await trio.sleep(2)
    page.read()
    assert said(page, old) == ["open", 1, "superseded"]
    assert said(page, new) == ["open", 2]
    assert told.runs == 2


# The end of a run


async def test_a_run_that_ends_while_it_lingers_keeps_its_state_and_its_end_until_linger_is_over(
    app: Sources, nursery: trio.Nursery
) -> None:
    told = Told()
    pages = await pages_of(nursery, 4)
    shared = SharedCallback(told, app, linger=10)
    shared.start(pages[0]).scope.cancel(EndReason.DISCONNECTED)
    lost = shared.start(pages[0])
    await told.say(say(1))
    lost.scope.cancel(EndReason.DISCONNECTED)
    await told.say(say("result"), "end")
    assert [info.state for info in app.shared_stream_infos()] == ["kept"]
    assert shared.held == 1
    for page in pages[1:3]:
        await trio.sleep(4)
        stream = shared.start(page)
        await page.settle()
        assert said(page, stream) == ["open", "result", "completed"]
    await trio.sleep(3)
    assert (app.shared_stream_infos(), shared.held, told.runs) == ([], 0, 1)
    shared.start(pages[3])
    await trio.testing.wait_all_tasks_blocked()
    assert told.runs == 2


async def test_what_is_kept_of_a_failure_reaches_who_comes_back_and_the_log_has_it_once(
    app: Sources, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told()
    pages = await pages_of(nursery, 3)
    shared = SharedCallback(told, app, linger=10)
    shared.start(pages[0]).scope.cancel(EndReason.DISCONNECTED)
    lost = shared.start(pages[0])
    await told.say(say(1))
    lost.scope.cancel(EndReason.DISCONNECTED)
    with caplog.at_level(logging.WARNING):
        await told.say(ValueError("broken"))
    assert [record.exc_info is not None for record in caplog.records] == [True]
    errors: list[Exception] = []
    for page in pages[1:]:
        shared.start(page, on_error=errors.append)
        await trio.testing.wait_all_tasks_blocked()
    await eventually(lambda: len(errors) == 2)
    assert [str(error) for error in errors] == ["broken", "broken"]
    assert errors[0] is not errors[1]


async def test_a_start_by_hand_makes_what_is_kept_give_way_to_another_run(app: Sources, nursery: trio.Nursery) -> None:
    told = Told()
    first, second = await pages_of(nursery, 2)
    shared = SharedCallback(told, app, linger=10)
    stream = shared.start(first)
    await told.say(say(1))
    stream.scope.cancel(EndReason.DISCONNECTED)
    await told.say("end")
    again = shared.start(second, starts_anew=True)
    await told.say(say(2))
    second.read()
    assert (said(second, again), told.runs, shared.held) == (["open", 2], 2, 0)


async def test_a_page_that_resumes_starts_no_run(app: Sources, nursery: trio.Nursery) -> None:
    told = Told()
    [page] = await pages_of(nursery, 1)
    errors: list[Exception] = []
    SharedCallback(told, app).start(page, starts_none=True, on_error=errors.append)
    await eventually(lambda: bool(errors))
    assert isinstance(errors[0], FeedUnavailable)
    assert told.runs == 0


async def test_a_run_that_is_kept_ends_with_the_server(nursery: trio.Nursery) -> None:
    told = Told()
    [page] = await pages_of(nursery, 1)
    async with served_app() as app:
        shared = SharedCallback(told, app, linger=math.inf)
        stream = shared.start(page)
        await told.say(say(1))
        stream.scope.cancel(EndReason.DISCONNECTED)
        await told.say("end")
        await app.shut_down()
        assert app.shared_stream_infos() == []
        assert shared.held == 0


async def test_at_shutdown_every_follower_has_ended_before_its_run_unwinds(nursery: trio.Nursery) -> None:
    log: list[str] = []

    async def generator() -> AsyncGenerator[object, None]:
        try:
            yield say(1)
            await trio.sleep_forever()
        finally:
            log.append("the run unwinds")

    async def on_error(error: StreamCancelled) -> None:
        await trio.sleep(1)
        log.append(str(error.reason))

    pages = await pages_of(nursery, 2)
    async with served_app() as app:
        shared = SharedCallback(generator, app)
        for page in pages:
            shared.start(page, on_error=on_error)
        await trio.testing.wait_all_tasks_blocked()
        for page in pages:
            await page.channels.shut_down()
        await app.shut_down()
    assert log == ["shutdown", "shutdown", "the run unwinds"]


# Failures


async def test_a_run_that_raises_raises_a_copy_in_every_stream_and_its_traceback_is_logged_once(
    app: Sources, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told()
    pages = await pages_of(nursery, 3)
    errors: list[Exception] = []
    shared = SharedCallback(told, app, linger=10)
    streams = [shared.start(page, on_error=errors.append) for page in pages[:2]]
    streams.append(shared.start(pages[2]))
    with caplog.at_level(logging.WARNING):
        await told.say(say(1), ValueError("broken"))
        await eventually(lambda: len(errors) == 2)
        await trio.testing.wait_all_tasks_blocked()
    assert [(type(error), str(error)) for error in errors] == [(ValueError, "broken")] * 2
    assert errors[0] is not errors[1]
    assert errors[0].__traceback__ is not None
    with_traceback = [record for record in caplog.records if record.exc_info]
    assert [record.name for record in with_traceback] == ["flash.feeds"]
    assert any("test: failed" in message and "ValueError: broken" in message for message in warnings(caplog))
    for page, stream in zip(pages, streams, strict=True):
        page.read()
        assert said(page, stream) == ["open", 1, "failed"]
    assert app.shared_stream_infos() == []


async def test_an_exception_that_cannot_be_copied_is_the_cause_of_another_one(
    app: Sources, nursery: trio.Nursery
) -> None:
    class Odd(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__(f"{one} and {two}")

    told = Told()
    [page] = await pages_of(nursery, 1)
    errors: list[Exception] = []
    SharedCallback(told, app).start(page, on_error=errors.append)
    await told.say(Odd(1, 2))
    await eventually(lambda: bool(errors))
    assert isinstance(errors[0].__cause__, Odd)
    assert "1 and 2" in str(errors[0])


async def test_a_run_that_raises_before_its_first_update_fails_its_streams(app: Sources, nursery: trio.Nursery) -> None:
    told = Told()
    pages = await pages_of(nursery, 2)
    streams = [SharedCallback(told, app).start(page) for page in pages]
    await told.say(ValueError("at once"))
    await eventually(lambda: app.shared_stream_infos() == [])
    for page, stream in zip(pages, streams, strict=True):
        page.read()
        assert said(page, stream) == ["open", "failed"]


async def test_a_run_that_raises_while_its_last_stream_is_in_on_error_is_logged_and_hurts_nobody(
    app: Sources, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told()
    first, second = await pages_of(nursery, 2)
    shared = SharedCallback(told, app, linger=10)
    handled: list[BaseException] = []

    async def on_error(error: BaseException) -> None:
        told.tell(ValueError("meanwhile"))
        await trio.sleep(1)
        handled.append(error)

    stream = shared.start(first, on_error=on_error)
    other = shared.start(second)
    await told.say(say(1))
    first.read()
    stream.scope.cancel(EndReason.CANCELLED, "stop.n_clicks")
    await trio.sleep(2)
    assert isinstance(handled[0], StreamCancelled)
    for page in (first, second):
        page.read()
    assert said(first, stream) == ["open", 1, "cancelled"]
    assert said(second, other) == ["open", 1, "failed"]


async def test_a_run_that_raises_as_its_last_stream_leaves_is_logged(
    app: Sources, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    async def generator() -> AsyncGenerator[object, None]:
        try:
            yield say(1)
            await trio.sleep_forever()
        finally:
            raise ValueError("in clean-up")

    [page] = await pages_of(nursery, 1)
    stream = SharedCallback(generator, app).start(page)
    await page.settle()
    with caplog.at_level(logging.ERROR):
        stream.scope.cancel(EndReason.CANCELLED, "stop.n_clicks")
        await trio.testing.wait_all_tasks_blocked()
    page.read()
    assert said(page, stream) == ["open", 1, "cancelled"]
    assert ["no follower to be told" in message for message in warnings(caplog)] == [True]
    assert app.shared_stream_infos() == []


async def test_something_that_is_no_update_is_refused_at_its_yield_and_fails_every_stream(
    app: Sources, nursery: trio.Nursery
) -> None:
    caught: list[BaseException] = []

    async def generator() -> AsyncGenerator[object, None]:
        try:
            yield 1
        except InvalidUpdate as error:
            caught.append(error)
        yield say("too late")

    [page] = await pages_of(nursery, 1)
    errors: list[Exception] = []
    SharedCallback(generator, app).start(page, on_error=errors.append)
    await eventually(lambda: bool(errors))
    assert [type(error) for error in (*caught, *errors)] == [InvalidUpdate, InvalidUpdate]
    assert "yielded" in str(errors[0]) or "gave" in str(errors[0])


async def test_exceptions_that_end_a_stream_quietly_end_the_run_quietly(app: Sources, nursery: trio.Nursery) -> None:
    class Quiet(Exception):
        pass

    told = Told()
    [page] = await pages_of(nursery, 1)
    stream = SharedCallback(told, app, finishes=(Quiet,)).start(page)
    await told.say(say(1), Quiet())
    page.read()
    assert said(page, stream) == ["open", 1, "completed"]


async def test_a_generator_that_yields_none_is_told_of_its_mistake(app: Sources, nursery: trio.Nursery) -> None:
    told = Told()
    [page] = await pages_of(nursery, 1)
    shared = SharedCallback(told, app)
    stream = shared.start(page)
    await told.say(None, say(1))
    page.read()
    assert (said(page, stream), shared.nones) == (["open", 1], 1)


# Slow pages


async def test_a_slow_page_gets_the_newest_whole_values_and_slows_nobody(app: Sources, nursery: trio.Nursery) -> None:
    told = Told()
    slow, fast = await open_page(nursery, "slow", updates=3), await open_page(nursery, "fast", updates=3)
    shared = SharedCallback(told, app)
    streams = [shared.start(page) for page in (slow, fast)]
    await trio.testing.wait_all_tasks_blocked()
    for number in range(1_000):
        await told.say(say(number))
        fast.read()
    assert said(fast, streams[1]) == ["open", *range(1_000)]
    assert streams[0].buffer.updates == 4
    await told.say("end")
    slow.read()
    assert said(slow, streams[0]) == ["open", 0, 1, 2, 999, "completed"]


async def test_what_adds_up_and_does_not_fit_ends_the_stream_of_a_slow_page_as_failed_without_a_gap(
    app: Sources, nursery: trio.Nursery
) -> None:
    told = Told()
    slow, fast = await open_page(nursery, "slow", updates=3), await open_page(nursery, "fast", updates=3)
    errors: list[Exception] = []
    shared = SharedCallback(told, app, linger=10)
    streams = [shared.start(slow, on_error=errors.append), shared.start(fast)]
    await trio.testing.wait_all_tasks_blocked()
    for number in range(20):
        await told.say(a_kind_of_update("patch", number))
        fast.read()
    await eventually(lambda: bool(errors))
    assert isinstance(errors[0], FeedOverrun)
    assert "too far behind" in str(errors[0])
    slow.read()
    shown = Shown()
    shown.apply([(entry[0], entry[1]) for entry in slow.log(streams[0]) if not isinstance(entry, str | tuple)])
    assert shown.layout[1]["props"]["children"] == ["at first", *range(6)]
    assert told.open == 1
    fast.read()
    assert len(fast.log(streams[1])) == 21


async def test_a_page_that_catches_up_gets_every_update_again(app: Sources, nursery: trio.Nursery) -> None:
    told = Told()
    page = await open_page(nursery, updates=2)
    stream = SharedCallback(told, app).start(page)
    await trio.testing.wait_all_tasks_blocked()
    for number in range(5):
        await told.say(say(number))
    assert isinstance(stream.buffer.tail, ConflatedEvent)
    page.read()
    await told.say(say("a"), say("b"))
    # What follows a conflated event waits for nothing: the page has taken it.
    page.read()
    assert said(page, stream) == ["open", 0, 1, 4, "a", "b"]


async def test_a_state_of_many_parts_leaves_room_for_what_comes_next(app: Sources, nursery: trio.Nursery) -> None:
    told = Told()
    first, late = await open_page(nursery, "first", updates=5), await open_page(nursery, "late", updates=5)
    shared = SharedCallback(told, app)
    shared.start(first)
    await trio.testing.wait_all_tasks_blocked()
    for number in range(100):
        await told.say(a_kind_of_update("patch", number))
        first.read()
    stream = shared.start(late)
    await told.say(a_kind_of_update("patch", 100))
    late.read()
    assert len(late.log(stream)) == 102


async def test_a_joiner_whom_the_state_is_too_large_for_fails_and_the_others_go_on(
    app: Sources, nursery: trio.Nursery
) -> None:
    told = Told()
    first, late = await pages_of(nursery, 2)
    shared = SharedCallback(told, app, bound=100)
    shared.start(first)
    await told.say(a_kind_of_update("patch", 1), a_kind_of_update("patch", 2))
    assert [info.can_be_joined for info in app.shared_stream_infos()] == [False]
    errors: list[Exception] = []
    shared.start(late, on_error=errors.append)
    await eventually(lambda: bool(errors))
    assert "too large" in str(errors[0])
    assert [info.followers for info in app.shared_stream_infos()] == [1]


# Bounds


async def endless() -> AsyncGenerator[object, None]:
    yield say(1)
    await trio.sleep_forever()


async def test_no_more_runs_start_than_there_may_be_nor_than_one_browser_may_have(nursery: trio.Nursery) -> None:
    async with served_app(most=3) as app:
        app.most_per_browser = 2
        pages = await pages_of(nursery, 6)
        shared = SharedCallback(endless, app)
        errors: list[Exception] = []
        streams: list[Stream] = []
        for number, browser in enumerate("aaabb"):
            streams.append(shared.start(pages[number], str(number), browser=browser, on_error=errors.append))
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
