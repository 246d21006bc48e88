"""The clock of a server: how long the loop waits, which tasks it wakes, and that `trio.sleep` keeps its promises.

The clock is fed times. Where tasks sleep it is moved on by the waits of the loop.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from flash.server import clock as server_clock
from flash.server.clock import MOST_SLACK, REST, ServerClock


class Time:
    """A system's clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def read(self) -> float:
        return self.now


class SkippingClock(ServerClock):
    """A clock for which a wait of the loop takes no time.

    Attributes:
        waits: how long each wait of the loop would have been.
    """

    def __init__(self) -> None:
        self.time = Time()
        self.waits: list[float] = []
        super().__init__(self.time.read)

    def deadline_to_sleep_time(self, deadline: float) -> float:
        seconds = super().deadline_to_sleep_time(deadline)
        if seconds == math.inf:
            return seconds
        self.waits.append(max(seconds, 0.0))
        self.time.now += self.waits[-1]
        # Not 0: the loop is to see that it has waited.
        return 1e-9


def run(function: Callable[[SkippingClock], Awaitable[None]]) -> SkippingClock:
    """Run a function on such a clock, with `trio.sleep` as on a server."""
    clock = SkippingClock()
    trio.run(function, clock, clock=clock, instruments=[clock])
    return clock


@pytest.fixture(autouse=True)
def sleeps() -> Generator[None]:
    before = trio.sleep, trio.sleep_until
    server_clock.use_for_sleep()
    yield
    trio.sleep, trio.sleep_until = before


@pytest.mark.parametrize(
    ("worked", "until_deadline", "waits"),
    [
        pytest.param(0.0, 0.003, 0.003, id="no work"),
        pytest.param(0.0001, 0.003, 0.003, id="little work"),
        pytest.param(0.0004, 0.001, 0.0004 * REST, id="more work than rest"),
        pytest.param(0.0004, -0.2, 0.0004 * REST, id="a deadline that has passed"),
        pytest.param(0.0005, 1.0, 1.0, id="a deadline that is far"),
        pytest.param(0.3, 0.001, MOST_SLACK, id="a loop that was held up"),
        pytest.param(0.3, math.inf, math.inf, id="no deadline"),
    ],
)
def test_the_loop_waits_in_proportion_to_its_work_and_at_most_so_long(
    worked: float, until_deadline: float, waits: float
) -> None:
    time = Time()
    clock = ServerClock(time.read)
    clock.after_io_wait(1.0)
    time.now += worked
    assert clock.deadline_to_sleep_time(time.now + until_deadline) == pytest.approx(waits)


def test_passes_of_the_loop_without_a_wait_between_them_count_as_one() -> None:
    time = Time()
    clock = ServerClock(time.read)
    clock.after_io_wait(1.0)
    for _ in range(3):
        time.now += 0.0001
        clock.after_io_wait(0)
    assert clock.deadline_to_sleep_time(time.now) == pytest.approx(0.0003 * REST)


def test_tasks_wake_in_the_order_of_their_deadlines_and_exactly_if_the_loop_has_little_to_do() -> None:
    woken: list[tuple[str, float]] = []

    async def main(clock: SkippingClock) -> None:
        began = trio.current_time()

        async def until(name: str, seconds: float) -> None:
            await trio.sleep_until(began + seconds)
            woken.append((name, round(trio.current_time() - began, 9)))

        async def after(name: str, seconds: float) -> None:
            await trio.sleep(seconds)
            woken.append((name, round(trio.current_time() - began, 9)))

        async with trio.open_nursery() as nursery:
            for name, seconds in (("d", 3.0), ("a", 0.25), ("c", 0.75)):
                nursery.start_soon(until, name, seconds)
            nursery.start_soon(after, "b", 0.5)

    run(main)
    assert woken == [("a", 0.25), ("b", 0.5), ("c", 0.75), ("d", 3.0)]


def test_all_that_is_due_while_a_busy_loop_rests_wakes_together_and_nothing_too_early() -> None:
    late: list[float] = []

    async def main(clock: SkippingClock) -> None:
        began = trio.current_time()

        async def work_at(moment: float) -> None:
            await trio.sleep_until(moment)
            late.append(trio.current_time() - moment)
            clock.time.now += 0.00005

        async with trio.open_nursery() as nursery:
            for number in range(1, 1001):
                nursery.start_soon(work_at, began + number * 0.0002)

    clock = run(main)
    assert len(clock.waits) < 100
    assert min(late) >= 0
    # Beside the slack there is the work of those that have woken before in the same pass.
    assert max(late) < 2 * MOST_SLACK


def test_a_sleep_is_cut_by_a_timeout_and_leaves_nothing() -> None:
    async def main(clock: SkippingClock) -> None:
        for _ in range(1_000):
            with trio.move_on_after(0.1) as scope:
                await trio.sleep(3600)
            assert scope.cancelled_caught
        assert len(clock.sleeping) == 0

    run(main)


@pytest.mark.parametrize("held_up", [False, True])
def test_a_timeout_that_is_due_before_a_sleep_cuts_it_however_late_the_loop_wakes(held_up: bool) -> None:
    async def main(clock: SkippingClock) -> None:
        async with trio.open_nursery() as nursery:

            async def hold_up() -> None:
                if held_up:
                    clock.time.now += 10

            nursery.start_soon(hold_up)
            with trio.move_on_after(0.001) as scope:
                await trio.sleep(0.002)
                raise AssertionError
            assert scope.cancelled_caught

    run(main)


def test_a_sleep_is_over_before_a_timeout_that_is_due_later() -> None:
    async def main(clock: SkippingClock) -> None:
        with trio.fail_after(2):
            await trio.sleep(1)

    run(main)


def test_a_sleep_is_a_checkpoint_however_short() -> None:
    async def main(clock: SkippingClock) -> None:
        for seconds in (0, 1):
            with trio.CancelScope() as scope:
                scope.cancel()
                await trio.sleep(seconds)
                raise AssertionError
        with trio.CancelScope() as scope:
            scope.cancel()
            await trio.sleep_until(trio.current_time() - 1)
            raise AssertionError

    run(main)


def test_sleeping_for_ever_ends_by_cancellation() -> None:
    async def main(clock: SkippingClock) -> None:
        for sleep in (trio.sleep, trio.sleep_until):
            with trio.move_on_after(5) as scope:
                await sleep(math.inf)
            assert scope.cancelled_caught

    run(main)


@pytest.mark.parametrize(("sleep", "seconds"), [("sleep", -1), ("sleep", math.nan), ("sleep_until", math.nan)])
def test_what_trio_refuses_is_refused(sleep: str, seconds: float) -> None:
    async def main(clock: SkippingClock) -> None:
        with pytest.raises(ValueError, match=r"NaN|negative"):
            await getattr(trio, sleep)(seconds)

    run(main)


def test_a_run_with_another_clock_sleeps_as_ever() -> None:
    async def main() -> float:
        began: Any = trio.current_time()
        await trio.sleep(5)
        await trio.sleep_until(trio.current_time() + 5)
        return trio.current_time() - began

    assert trio.run(main, clock=MockClock(autojump_threshold=0)) == 10
