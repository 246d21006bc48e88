"""`watch=`: values that a generator reads and waits for while the page changes them."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import trio
import trio.testing
from hypothesis import given, strategies

from flash import FlashError, Watched
from tests.contract.pretend_page import PretendPage, is_met, on_mock_clock

clock = on_mock_clock


async def test_a_generator_reads_what_the_page_shows(page: PretendPage) -> None:
    speed = Watched(1)

    async def show() -> AsyncGenerator[int, None]:
        while True:
            yield speed.value
            await trio.sleep(1)

    stream = page.start(show, watched=[speed])
    await page.settle()
    assert not stream.scope.change(0, 2)
    await trio.sleep(1)
    await page.settle()
    assert page.log(stream) == ["open", 1, 2]
    assert stream.state == "running"


async def test_the_watched_properties_are_numbered_behind_the_conditions(page: PretendPage) -> None:
    speed, city = Watched(1), Watched("Oslo")

    async def wait() -> AsyncGenerator[int, None]:
        yield 1
        await trio.sleep_forever()

    stream = page.start(wait, conditions=[is_met("tabs.value", "a")], watched=[speed, city])
    await page.settle()
    stream.scope.change(1, 2)
    stream.scope.change(2, "Rome")
    stream.scope.change(0, "a")
    assert (speed.value, city.value) == (2, "Rome")
    with pytest.raises(IndexError):
        stream.scope.change(3, 2)
    assert stream.scope.change(0, "b")


async def test_a_change_that_was_overtaken_does_not_bring_an_old_value_back(page: PretendPage) -> None:
    speed = Watched(1)

    async def wait() -> AsyncGenerator[int, None]:
        yield 1
        await trio.sleep_forever()

    stream = page.start(wait, watched=[speed])
    await page.settle()
    stream.scope.change(0, 3, 8)
    assert speed.value == 3
    stream.scope.change(0, 2, 7)
    stream.scope.change(0, 3, 8)
    with trio.move_on_after(1) as waiting:
        await speed.changed()
    assert waiting.cancelled_caught
    assert speed.value == 3


async def test_changed_wakes_who_waits_in_a_stream(page: PretendPage) -> None:
    speed = Watched(1)

    async def follow() -> AsyncGenerator[int, None]:
        while True:
            yield speed.value
            await speed.changed()

    stream = page.start(follow, watched=[speed])
    for value in (2, 3):
        await page.settle()
        stream.scope.change(0, value)
    await page.settle()
    assert page.log(stream) == ["open", 1, 2, 3]


async def test_changed_returns_at_once_for_a_change_since_the_value_was_read() -> None:
    speed = Watched(1)
    assert speed.value == 1
    speed.change(2)
    for _ in range(2):
        with trio.move_on_after(1) as waiting:
            await speed.changed()
        assert not waiting.cancelled_caught
    assert speed.value == 2
    with trio.move_on_after(1) as waiting:
        await speed.changed()
    assert waiting.cancelled_caught


async def test_the_value_at_the_start_is_no_change() -> None:
    speed = Watched(1)
    with trio.move_on_after(1) as waiting:
        await speed.changed()
    assert waiting.cancelled_caught


async def test_changed_is_a_checkpoint_even_if_it_returns_at_once() -> None:
    speed = Watched(1)
    speed.change(2)
    with trio.testing.assert_checkpoints():
        await speed.changed()
    with trio.CancelScope() as scope:
        scope.cancel()
        await speed.changed()
    assert scope.cancelled_caught


async def test_every_task_that_waits_is_woken(nursery: trio.Nursery) -> None:
    speed, woken = Watched(1), list[int]()

    async def wait(number: int) -> None:
        await speed.changed()
        woken.append(number)

    for number in range(3):
        nursery.start_soon(wait, number)
    await trio.testing.wait_all_tasks_blocked()
    speed.change(2)
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(woken) == [0, 1, 2]


async def test_changed_in_a_thread_without_trio_says_what_to_do() -> None:
    speed = Watched(1, "speed.value")

    def step() -> None:
        with pytest.raises(FlashError, match=r"changed\(\) of speed.value was awaited outside of Trio"):
            speed.changed().send(None)

    await trio.to_thread.run_sync(step)


@given(strategies.lists(strategies.sampled_from(["change", "read", "wait"]), max_size=40))
def test_changed_waits_exactly_if_nothing_has_changed_since_the_last_read(steps: list[str]) -> None:
    async def run() -> None:
        speed, newest, unread = Watched(0), 0, False
        for step in steps:
            if step == "change":
                newest += 1
                speed.change(newest)
                unread = True
            elif step == "read":
                assert speed.value == newest
                unread = False
            else:
                with trio.move_on_after(1) as waiting:
                    await speed.changed()
                assert waiting.cancelled_caught is not unread

    on_mock_clock(run)
