"""Shared streams: how pages leave a run, and what is kept of a run that is over."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from flash.cancel_scopes import EndReason, StreamCancelled
from flash.shared.sources import Sources
from flash.wire import Refused
from tests.contract.pretend_app import served_app
from tests.contract.pretend_page import Errors, is_met, on_mock_clock
from tests.contract.pretend_sharing import SharedCallback, Told, pages_of, said, say
from tests.support.eventually import eventually

clock = on_mock_clock


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
    errors = Errors[StreamCancelled]()
    shared = SharedCallback(told, app, linger=10, stops_all=True)
    streams = [
        shared.start(page, on_error=errors.note, conditions=[is_met("stop.value", desired=False)]) for page in pages
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


async def test_a_start_that_waits_its_turn_in_another_page_does_not_run_after_all_were_stopped(
    app: Sources, nursery: trio.Nursery
) -> None:
    told, other = Told(), Told()
    first, second, third = await pages_of(nursery, 3)
    shared, beside = (SharedCallback(each, app, linger=10, stops_all=True) for each in (told, other))
    options: dict[str, Any] = {"waits_its_turn": True, "refused": partial(Refused, "cb", None)}
    streams = [shared.start(page, **options) for page in (first, second)]
    behind = shared.start(second, **options)
    # It waits behind a stream that follows another source, and is to follow this one.
    aside = beside.start(third, "aside", **options)
    to_come = shared.start(third, **options)
    await told.say(say(1))
    await other.say(say("aside"))
    second.read()
    streams[0].scope.cancel(EndReason.CANCELLED, "stop.n_clicks", 1)
    await trio.testing.wait_all_tasks_blocked()
    # One that starts behind that is another matter.
    later = shared.start(second, **options)
    await told.say(say(2))
    aside.scope.cancel(EndReason.TIMED_OUT)
    await trio.testing.wait_all_tasks_blocked()
    for page in (first, second, third):
        page.read()
    assert said(second, streams[1]) == ["open", 1, "cancelled"]
    assert [said(page, stream) for page, stream in ((second, behind), (third, to_come))] == [[], []]
    assert said(second, later) == ["open", 2]
    refusals = [data for page in (second, third) for name, data in page.seen if name == "refused"]
    assert [refusal["status"] for refusal in refusals] == ["idle"] * 2
    assert "its condition on stop.n_clicks is not met any more in another tab" in refusals[0]["message"]
    assert told.runs == 2


async def test_stop_in_one_page_stops_all_that_wait_for_the_clean_up_of_the_run_before(
    app: Sources, nursery: trio.Nursery
) -> None:
    told = Told(clean_up=2)
    pages = await pages_of(nursery, 2)
    shared = SharedCallback(told, app, stops_all=True)
    before = shared.start(pages[0])
    await told.say(say(1))
    before.scope.cancel(EndReason.CANCELLED, "stop.n_clicks")
    await trio.testing.wait_all_tasks_blocked()
    streams = [shared.start(page) for page in pages]
    await trio.sleep(1)
    streams[0].scope.cancel(EndReason.CANCELLED, "stop.n_clicks")
    await trio.sleep(2)
    for page, stream in zip(pages, streams, strict=True):
        page.read()
        assert said(page, stream) == ["open", "cancelled"]
    assert (told.runs, app.shared_stream_infos()) == (1, [])


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
    errors = Errors[Exception]()
    for page in pages[1:]:
        shared.start(page, on_error=errors.note)
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


@pytest.mark.parametrize("order", ["end", ValueError("broken")], ids=["end", "failure"])
async def test_a_page_that_resumes_gets_state_and_end_of_a_run_that_has_finished_since_it_was_found(
    app: Sources, nursery: trio.Nursery, order: Any
) -> None:
    told = Told()
    first, second = await pages_of(nursery, 2)
    shared = SharedCallback(told, app)
    shared.start(first)
    await told.say(say(1), say(2))
    [found] = app.running()
    await told.say(order)
    assert app.running() == []
    stream = shared.start(second, resumed=found)
    await second.settle()
    assert said(second, stream) == ["open", 2, "completed" if order == "end" else "failed"]
    assert told.runs == 1


async def test_a_page_that_resumes_follows_the_run_that_another_has_started_since(
    app: Sources, nursery: trio.Nursery
) -> None:
    told = Told()
    first, second = await pages_of(nursery, 2)
    shared = SharedCallback(told, app)
    shared.start(first)
    await told.say(say(1))
    [found] = app.running()
    await told.say("end")
    shared.start(first)
    await told.say(say(2))
    stream = shared.start(second, resumed=found)
    await second.settle()
    assert said(second, stream) == ["open", 2]


async def test_a_page_that_resumes_a_run_that_was_stopped_since_ends_quietly_and_starts_none(
    app: Sources, nursery: trio.Nursery
) -> None:
    told = Told(clean_up=1)
    first, second = await pages_of(nursery, 2)
    errors = Errors[Exception]()
    shared = SharedCallback(told, app)
    before = shared.start(first)
    await told.say(say(1))
    [found] = app.running()
    before.scope.cancel(EndReason.CANCELLED, "stop.n_clicks")
    await trio.testing.wait_all_tasks_blocked()
    stream = shared.start(second, resumed=found, on_error=errors.note)
    await trio.sleep(2)
    second.read()
    assert (said(second, stream), errors, told.runs) == (["open", "completed"], [], 1)


async def test_where_there_may_be_no_more_runs_a_start_that_supersedes_waits_for_the_clean_up_of_its_own(
    nursery: trio.Nursery,
) -> None:
    async with served_app(most=1) as app:
        told = {key: Told(clean_up=2) for key in "abc"}
        [page] = await pages_of(nursery, 1)
        shared = {key: SharedCallback(told[key], app) for key in "abc"}
        began = trio.current_time()
        streams = [shared["a"].start(page, "a")]
        await told["a"].say(say(1))
        for key in "bc":
            streams.append(shared[key].start(page, key, waits_for_room=True))
            await told[key].say(say(2))
        page.read()
        assert [info.source for info in app.shared_stream_infos()] == ["test('a')"]
        await eventually(lambda: bool(page.read()))
        assert trio.current_time() - began == pytest.approx(2, abs=0.1)
        assert [said(page, stream) for stream in streams] == [
            ["open", "superseded"],
            ["open", "superseded"],
            ["open", 2],
        ]
        assert [told[key].runs for key in "abc"] == [1, 0, 1]
        await page.channels.shut_down()


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
