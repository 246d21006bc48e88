"""Shared streams: runs that fail, and pages that are slow."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator

import pytest
import trio
import trio.testing

from flash.cancel_scopes import EndReason, StreamCancelled
from flash.errors import InvalidUpdate, SharedStreamOverrun
from flash.props import stream_props
from flash.shared.sources import Sources
from flash.streams.events import ConflatedEvent
from flash.streams.stream import Stream
from tests.contract.pretend_page import Errors, on_mock_clock, warnings
from tests.contract.pretend_sharing import SharedCallback, Shown, Told, a_kind_of_update, open_page, pages_of, said, say
from tests.support.eventually import eventually

clock = on_mock_clock


async def test_a_run_that_raises_raises_a_copy_in_every_stream_and_its_traceback_is_logged_once(
    app: Sources, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told()
    pages = await pages_of(nursery, 3)
    errors = Errors[Exception]()
    shared = SharedCallback(told, app, linger=10)
    streams = [shared.start(page, on_error=errors.note) for page in pages[:2]]
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
    errors = Errors[Exception]()
    SharedCallback(told, app).start(page, on_error=errors.note)
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
    errors = Errors[Exception]()
    SharedCallback(generator, app).start(page, on_error=errors.note)
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
    errors = Errors[Exception]()
    shared = SharedCallback(told, app, linger=10)
    streams = [shared.start(slow, on_error=errors.note), shared.start(fast)]
    await trio.testing.wait_all_tasks_blocked()
    for number in range(20):
        await told.say(a_kind_of_update("patch", number))
        fast.read()
    await eventually(lambda: bool(errors))
    assert isinstance(errors[0], SharedStreamOverrun)
    assert "too far behind" in str(errors[0])
    slow.read()
    shown = Shown()
    shown.apply([(entry[0], entry[1]) for entry in slow.log(streams[0]) if not isinstance(entry, str | tuple)])
    assert shown.layout[1]["props"]["children"] == ["at first", *range(6)]
    assert told.open == 1
    fast.read()
    assert len(fast.log(streams[1])) == 21


async def slow_stream(app: Sources, nursery: trio.Nursery, size: int) -> tuple[Told, Stream, list[Exception]]:
    """A stream of a page that reads nothing, what its source yields, and what the stream fails with."""
    told, page, errors = Told(), await open_page(nursery, size=size), Errors[Exception]()
    stream = SharedCallback(told, app).start(page, on_error=errors.note)
    await trio.testing.wait_all_tasks_blocked()
    return told, stream, errors


async def test_whole_values_of_ever_more_properties_are_bounded_in_bytes_as_what_adds_up_is(
    app: Sources, nursery: trio.Nursery
) -> None:
    told, stream, errors = await slow_stream(app, nursery, size=1_000)
    most = 0
    for number in range(100):
        await told.say(stream_props({"n": number}, {"children": "x" * 100}))
        most = max(most, stream.buffer.bytes)
    await eventually(lambda: bool(errors))
    assert isinstance(errors[0], SharedStreamOverrun)
    assert 2_000 <= most < 2_000 + 2 * 150


async def test_newer_values_of_the_same_properties_always_find_room_however_large_they_are(
    app: Sources, nursery: trio.Nursery
) -> None:
    told, stream, errors = await slow_stream(app, nursery, size=1_000)
    for number in range(100):
        await told.say(say(f"{number}" + "x" * 5_000))
        assert stream.buffer.bytes < 2 * 5_100
    assert (stream.state, errors) == ("running", [])


async def test_what_is_held_back_behind_an_event_in_flight_may_be_twice_the_buffer(
    app: Sources, nursery: trio.Nursery
) -> None:
    told, page, errors = Told(), await open_page(nursery, updates=3), Errors[Exception]()
    stream = SharedCallback(told, app).start(page, on_error=errors.note)
    await trio.testing.wait_all_tasks_blocked()
    for _ in range(2):
        # Three wait in order, and one behind them, conflated. The page takes what it may, and acknowledges nothing.
        await told.say(*map(say, range(4)))
        page.read()
    assert stream.buffer.held_back is not None
    for waiting in range(1, 6):
        assert stream.buffer.updates == waiting
        await told.say(a_kind_of_update("patch", waiting))
    assert (stream.state, stream.buffer.updates) == ("running", 6)
    await told.say(a_kind_of_update("patch", 6))
    await eventually(lambda: bool(errors))
    assert isinstance(errors[0], SharedStreamOverrun)


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
    errors = Errors[Exception]()
    shared.start(late, on_error=errors.note)
    await eventually(lambda: bool(errors))
    assert "too large" in str(errors[0])
    assert [info.followers for info in app.shared_stream_infos()] == [1]
