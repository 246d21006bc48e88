"""The callbacks of the gallery, without a browser; `tests/engines/test_gallery.py` runs them in three."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from flash import Flash, no_update
from flash.testing import check_cancellation, collect, open_page

AT_NO_TAB = {"tabs.value": lambda anchor: no_update}
"""The callback that opens the tab which the address names is clientside. Here the address names none."""


@pytest.fixture
def gallery() -> Flash:
    """The gallery. Its callbacks are declared without an app: imported earlier, another test's app would get them."""
    return importlib.import_module("examples.gallery.app").app


def test_trials_end_as_their_cards_say(gallery: Flash) -> None:
    with open_page(gallery, stand_ins=AT_NO_TAB) as page:
        page.set("tabs", value="weather")
        reasons = {}
        for key in ("early", "midway", "slow"):
            run = page.click(f"{key}-go")
            page.elapse(2)
            assert page["midway-gauge"].value == (50 if key != "early" else 0)
            reasons[key] = run.end().reason
        assert reasons == {"early": "failed", "midway": "failed", "slow": "timed_out"}
        assert page["slow-gauge"].value in (60, 61)
        assert [text_of(line)[1:3] for line in page["weather-log"].children] == [
            ["Takes too long", "timed out"],
            ["Fails midway", "failed"],
            ["Fails at once", "failed"],
        ]


def test_a_run_takes_over_from_another_and_one_is_called_off(gallery: Flash) -> None:
    with open_page(gallery, stand_ins=AT_NO_TAB) as page:
        first = page.click("twice-go")
        page.elapse(1)
        second = page.click("twice-go")
        called = page.click("called-go")
        assert first.end(0).reason == "superseded"
        page.elapse(1.2)
        assert len(page["weather-held"].children) == 2
        page.click("called-stop")
        assert called.end(0).reason == "cancelled"
        assert page["called-gauge"].value == 0
        assert second.end().reason == "completed"


def test_rows_come_in_pieces_and_are_gone_when_they_are_called_off(gallery: Flash) -> None:
    with open_page(gallery, stand_ins=AT_NO_TAB) as page:
        run = page.click("table-load")
        page.elapse(0.12 * 3)
        assert page["table-rows"].children != "0"
        assert page["table-load"].disabled
        assert page["table-grid"].rowTransaction is not None
        page.click("table-cancel")
        assert run.end().reason == "cancelled"
        assert (page["table-rows"].children, page["table-grid"].rowData) == ("0", [])


def test_a_page_that_joins_the_job_late_is_given_few_pieces(gallery: Flash) -> None:
    from examples.gallery.table import ROWS, load

    updates: list[Any] = collect(load, 1, seconds=10)
    grids = [update["table-grid"] for update in updates if "table-grid" in update]
    pieces = "".join("w" if "rowData" in grid else "+" for grid in grids if "columnDefs" not in grid)
    assert max(map(len, pieces.split("w"))) == 5
    assert grids[-1] == {"rowData": ROWS}


def test_words_are_written_token_by_token_and_leave_nothing_behind(gallery: Flash) -> None:
    from examples.gallery.words import write

    updates: list[Any] = collect(write, 1, "whale", seconds=10)
    assert updates[0]["words-title"] == {"children": "Moby-Dick; or, The Whale"}
    assert len(updates) > 20
    check_cancellation(write, 1, "whale", seconds=0.05)


def text_of(value: Any) -> list[str]:
    """The texts in components."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for item in value for text in text_of(item)]
    return text_of(value["props"].get("children") or []) if isinstance(value, dict) else []
