"""Ticks at an interval: when they come, on a clock of the test's own, and what is left of them."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from flash import EndReason, FlashError, InvalidOption, every
from flash.sleeping_tasks import SleepingTasks, Waking
from flash.ticks import SLOT, wake_at, wake_by
from tests.contract.pretend_page import PretendPage
from tests.support.eventually import TIMEOUT


def milliseconds() -> int:
    return round(1000 * trio.current_time())


async def test_the_first_comes_at_once_and_the_others_an_interval_apart(autojump_clock: MockClock) -> None:
    found: list[tuple[int, int]] = []
    began = milliseconds()
    async for number in every(0.25):
        found.append((number, milliseconds() - began))
        if number == 4:
            break
    assert found == [(0, 0), (1, 250), (2, 500), (3, 750), (4, 1000)]


async def test_the_first_may_be_due_later(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    ticks = every(1, first=began + 0.3)
    assert await anext(ticks) == 0
    assert trio.current_time() - began == pytest.approx(0.3, abs=4 * SLOT)
    assert await anext(ticks) == 1
    assert trio.current_time() - began == pytest.approx(1.3, abs=4 * SLOT)


async def test_ticks_that_are_missed_are_left_out_and_the_rest_keep_their_time(autojump_clock: MockClock) -> None:
    ticks, began = every(1), trio.current_time()
    found: list[tuple[int, float]] = []
    for pause in (0, 0.4, 2.7, 0.1, 0):
        await trio.sleep(pause)
        number = await anext(ticks)
        found.append((number, round(trio.current_time() - began, 1)))
    assert found == [(0, 0), (1, 1), (3, 3.7), (4, 4), (5, 5)]


async def test_ticks_do_not_drift(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    async for number in every(0.1):
        late = trio.current_time() - began - 0.1 * number
        assert -1e-9 < late <= SLOT + 1e-9
        if number == 1000:
            break


async def test_each_tick_is_a_checkpoint(autojump_clock: MockClock) -> None:
    for first in (None, trio.current_time() + 1, trio.current_time() - 1):
        ticks = every(1, first=first)
        with trio.CancelScope() as scope:
            scope.cancel()
            await anext(ticks)
        assert scope.cancelled_caught


@pytest.mark.parametrize(("seconds", "slot"), [(0.1, 0.005), (0.4, 0.005), (0.5, 0.01), (0.75, 0.015), (3600, 0.02)])
async def test_a_tick_is_late_by_no_more_than_a_fiftieth_of_the_interval(
    autojump_clock: MockClock, seconds: float, slot: float
) -> None:
    began = trio.current_time()
    late: list[float] = []

    async def wait(first: float) -> None:
        await anext(every(seconds, first=first))
        late.append(trio.current_time() - first)

    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(wait, began + 1 + number * 0.0007)
    assert min(late) > -1e-9
    assert slot * 0.8 < max(late) < slot + 1e-9


async def test_those_who_wait_for_the_same_tick_are_woken_together(autojump_clock: MockClock) -> None:
    woken: list[tuple[str, int]] = []
    began = milliseconds()

    async def wait(name: str, seconds: float) -> None:
        await anext(every(seconds, first=trio.current_time() + seconds))
        woken.append((name, milliseconds() - began))

    async with trio.open_nursery() as nursery:
        for name, seconds in (("late", 5), ("a", 1), ("b", 1), ("early", 0.5)):
            nursery.start_soon(wait, name, seconds)
            await wait_all_tasks_blocked()
    assert sorted(woken) == [("a", 1000), ("b", 1000), ("early", 500), ("late", 5000)]


async def test_who_is_cancelled_leaves_and_the_others_are_woken(autojump_clock: MockClock) -> None:
    woken: list[float] = []

    async def wait(seconds: float) -> None:
        await anext(every(seconds, first=trio.current_time() + seconds))
        woken.append(seconds)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, 3)
        with trio.move_on_after(0.5):
            await wait(1)
        with trio.move_on_after(1.5):
            await wait(3)
    assert woken == [3]


async def test_a_task_may_be_woken_before_its_tick_and_once_only(autojump_clock: MockClock) -> None:
    woken: dict[float, float] = {}
    wakings: dict[float, Waking] = {}

    async def wait(due: float) -> None:
        wakings[due] = wake_at(due)
        await trio.lowlevel.wait_task_rescheduled(wakings[due])
        woken[due] = trio.current_time() - began

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for seconds in (1.0, 2.0, math.inf):
            nursery.start_soon(wait, seconds if seconds == math.inf else began + seconds)
        await trio.sleep(0.5)
        wakings[math.inf].reschedule()
        await trio.sleep(1)
        for waking in wakings.values():
            # Twice, and for one that was woken by its tick, it has no effect.
            waking.reschedule()
            waking.reschedule()
    assert [*woken.values()] == pytest.approx([0.5, 1.0, 1.5], abs=0.01)


async def test_nothing_is_left_when_nobody_waits(autojump_clock: MockClock) -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    for _ in range(3):
        with trio.move_on_after(1):
            async for _ in every(3600):
                pass
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before
        await anext(every(1, first=trio.current_time() + 0.5))
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before


async def test_a_tick_comes_to_whoever_awaits_it_and_one_that_is_not_waited_for_is_not_lost(
    autojump_clock: MockClock,
) -> None:
    began = trio.current_time()
    ticks = every(1, first=began + 1)
    tick = anext(ticks)
    await trio.sleep(0.1)
    with trio.move_on_after(0.5):
        await tick
    assert trio.current_time() - began == pytest.approx(0.6)
    assert [await anext(ticks), await anext(ticks)] == [0, 1]
    assert trio.current_time() - began == pytest.approx(2, abs=4 * SLOT)


async def leave_ticks(nursery: trio.Nursery, count: int) -> None:
    """Have a task wait for a tick of tomorrow, and so many be waited for and left before it."""

    async def wait() -> None:
        await anext(every(1, first=trio.current_time() + 86_400))

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    for number in range(count):
        with trio.CancelScope() as scope:
            scope.cancel()
            await anext(every(1, first=trio.current_time() + 3_600 + number))


async def test_of_ticks_that_nobody_waits_for_any_more_little_is_kept() -> None:
    sleeping = SleepingTasks()
    wake_by(sleeping)
    async with trio.open_nursery() as nursery:
        await leave_ticks(nursery, 1_000)
        assert len(sleeping) == 1
        assert len(sleeping._moments) < 100  # pyright: ignore[reportPrivateUsage]
        sleeping.wake(trio.current_time() + 86_402)
    assert (len(sleeping), sleeping.next) == (0, math.inf)


async def test_a_tick_is_not_missed_for_those_that_are_not_waited_for_any_more(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        await leave_ticks(nursery, 100)
        began = trio.current_time()
        await anext(every(1, first=began + 5))
        assert trio.current_time() - began == pytest.approx(5, abs=4 * SLOT)


@pytest.mark.parametrize("seconds", [0, -1, SLOT / 2, math.nan, math.inf, True, "1", None])
def test_an_interval_that_is_none_is_refused(seconds: Any) -> None:
    with pytest.raises(InvalidOption, match="every"):
        every(seconds)


async def test_a_plain_generator_has_them_too_and_is_left_at_once_when_it_is_cancelled(page: PretendPage) -> None:
    log: list[object] = []

    def counts() -> Generator[object, None, None]:
        try:
            for number in every(0.01):
                yield number
                if number >= 3:
                    break
            yield "now it waits"
            for _ in every(3600, first=trio.from_thread.run_sync(trio.current_time) + 3600):
                yield "too late"
        finally:
            log.append("finally")

    stream = page.start(counts, on_error=lambda error: log.append(type(error).__name__))
    with trio.fail_after(TIMEOUT):
        while "now it waits" not in page.log(stream):
            await trio.sleep(0.01)
            page.read()
    began = trio.current_time()
    stream.scope.cancel(EndReason.CANCELLED)
    await page.read_to_end()
    assert trio.current_time() - began < TIMEOUT
    assert log == ["finally", "StreamCancelled"]
    # A machine that is slow has missed some: those are left out.
    opened, *numbers, waits, end = page.log(stream)
    assert (opened, waits, end) == ("open", "now it waits", ("cancelled", ["reset", "off"]))
    assert numbers[0] == 0
    assert numbers == sorted(set(numbers))
    assert numbers[-1] >= 3
    assert not stream.overran


async def test_on_the_event_loop_for_is_refused_with_the_way_out() -> None:
    with pytest.raises(FlashError, match=r"async for \.\.\. in every"):
        for _ in every(1):
            pass


def test_where_there_is_no_trio_they_say_so() -> None:
    with pytest.raises(FlashError, match=r"time\.sleep"):
        next(iter(every(1)))
