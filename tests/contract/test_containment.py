"""What the user's code does in a stream ends nothing but that stream: scopes misused, and whatever it raises."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

import pytest
import trio
import trio.testing

from flash.cancel_scopes import Condition, EndReason
from flash.server.lifespan import BackgroundTasks
from tests.contract.inner_generators import in_nursery
from tests.contract.misbehaviour import CORRUPTING, RAISED, RAISED_NAMES
from tests.contract.neighbours import Callback, Neighbours, end_of
from tests.contract.pretend_page import PretendPage, endless, on_mock_clock
from tests.support.eventually import TIMEOUT

clock = on_mock_clock


@pytest.mark.parametrize("callback", CORRUPTING, ids=lambda callback: callback.__name__)
async def test_scopes_and_nurseries_that_are_misused_end_no_other_stream(
    page: PretendPage, neighbours: Neighbours, callback: Callback
) -> None:
    await end_of(page, callback)
    neighbours.check()
    # The page can be left, and the other one is none the wiser.
    channel = page.link.channel
    channel.close(EndReason.DISCONNECTED)
    with trio.fail_after(TIMEOUT):
        await channel.finished.wait()
    assert len(page.channels) == 1


@pytest.mark.parametrize("make", RAISED, ids=RAISED_NAMES)
async def test_whatever_a_generator_raises_fails_its_stream_alone(
    page: PretendPage, neighbours: Neighbours, make: Callable[[], BaseException]
) -> None:
    async def in_a_task() -> AsyncGenerator[int, None]:
        yield 1
        raise make()

    async def in_cleanup() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            raise make()

    assert (await end_of(page, in_a_task))[0] == "failed"
    assert (await end_of(page, in_cleanup))[0] == "cancelled"
    neighbours.check()


@pytest.mark.parametrize("make", RAISED, ids=RAISED_NAMES)
async def test_whatever_an_on_error_raises_ends_nothing_else(
    page: PretendPage, neighbours: Neighbours, make: Callable[[], BaseException]
) -> None:
    async def in_a_task(error: BaseException) -> None:
        raise make()

    async def with_something_left_open(error: BaseException) -> None:
        async for _ in in_nursery():
            raise make()

    for on_error in (in_a_task, with_something_left_open):
        assert (await end_of(page, endless, on_error=on_error)) == ("cancelled", ["reset", "off"])
    neighbours.check()


@pytest.mark.parametrize("make", RAISED, ids=RAISED_NAMES)
async def test_whatever_a_predicate_raises_counts_as_not_met(
    page: PretendPage, neighbours: Neighbours, make: Callable[[], BaseException]
) -> None:
    def predicate(value: object) -> bool:
        raise make()

    stream = page.start(endless, conditions=[Condition("stop.n_clicks", predicate, counts=False)])
    await page.settle()
    stream.scope.change(0, 1)
    await page.settle()
    assert page.log(stream)[-1][0] == "cancelled"
    neighbours.check()


async def test_a_generator_that_is_left_by_a_task_of_the_users_waits_for_the_end_of_that(
    page: PretendPage, neighbours: Neighbours
) -> None:
    async def take_one() -> None:
        async for _ in in_nursery():
            break
        await trio.sleep(1)

    async def callback() -> AsyncGenerator[int, None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_one)
            while True:
                yield 1
                await trio.sleep(0.1)

    assert (await end_of(page, callback))[0] == "failed"
    neighbours.check()


async def test_a_background_task_that_is_started_and_waited_for_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """`nursery.start` moves it from one nursery to another while it runs: nothing of that is its own doing."""
    done: list[str] = []

    async def plainly(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await trio.lowlevel.checkpoint()
        done.append("plainly")

    async def in_its_nursery(*, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.lowlevel.checkpoint)
            task_status.started()
        done.append("in its nursery")

    async def iterating(*, task_status: trio.TaskStatus[None]) -> None:
        async for _ in in_nursery():
            task_status.started()
            break
        await trio.lowlevel.checkpoint()
        done.append("iterating")

    async with trio.open_nursery() as nursery:
        tasks = BackgroundTasks(nursery)
        await tasks.start(plainly)
        await tasks.start(in_its_nursery)
        await trio.testing.wait_all_tasks_blocked()
        assert caplog.messages == []
        await tasks.start(iterating)
    assert done == ["plainly", "in its nursery", "iterating"]
    [warning] = caplog.messages
    assert "'in_nursery'" in warning


@pytest.mark.parametrize("in_a_group", [False, True])
async def test_a_cancellation_of_something_that_is_over_is_a_failure_and_ends_nothing_else(
    caplog: pytest.LogCaptureFixture, in_a_group: bool
) -> None:
    kept: list[trio.Cancelled] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancelled:
            kept.append(cancelled)
            raise

    async def raise_it() -> None:
        raise BaseExceptionGroup("kept", kept) if in_a_group else kept[0]

    async with trio.open_nursery() as nursery:
        BackgroundTasks(nursery).start_soon(raise_it)
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.cancel_scope.cancel_called
    assert "raise_it" in caplog.text
