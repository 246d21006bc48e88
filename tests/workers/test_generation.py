"""When a worker that has ended is started again, and how its end is described."""

from __future__ import annotations

import signal

from flash.workers.generation import LONGEST_DELAY, delay_of, describe


def test_a_worker_is_started_again_at_once_and_then_after_delays_that_double() -> None:
    assert [delay_of(failures) for failures in (1, 2, 3, 4, 5)] == [0.0, 0.5, 1.0, 2.0, 4.0]


def test_a_delay_has_a_bound() -> None:
    assert delay_of(9) == delay_of(10_000) == LONGEST_DELAY


def test_an_end_is_described_by_its_status_or_its_signal() -> None:
    assert describe(1) == "with status 1"
    assert describe(-signal.SIGKILL) == "by SIGKILL"
    assert describe(-99) == "by signal 99"
