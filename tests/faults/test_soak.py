"""A soak of bounded length; `python -m tests.faults.soak` is the long one."""

from __future__ import annotations

from tests.faults.soak import soak
from tests.faults.soak_workers import soak_workers


def test_nothing_is_left_of_streams_that_ended_in_every_way_there_is() -> None:
    report = soak(streams=400, seed=20_000)
    assert report.violations == [], str(report)
    # It has been through all of it.
    reasons = {"completed", "failed", "cancelled", "superseded", "timed_out", "disconnected"}
    assert set(report.ended) == reasons
    assert min(report.done["cut, and back"], report.done["cut, and back too late"], report.done["goodbye"]) > 0


def test_nothing_is_left_in_any_worker_when_workers_are_killed_and_replaced_meanwhile() -> None:
    report = soak_workers(workers=3, streams=300, seed=20_000, kills=2, reloads=1)
    assert report.violations == [], str(report)
    assert (report.kills, report.reloads) == (2, 1)
    assert min(report.done["lost a worker"], report.done["came to new workers"]) > 0
