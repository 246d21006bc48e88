"""The drawing of a stream's states in the docs is the table that the code goes by."""

from __future__ import annotations

from tools.draw_states import MARKERS, PAGE, draw


def test_the_states_in_the_docs_are_those_of_the_code() -> None:
    text = PAGE.read_text()
    assert MARKERS.drawing_in(text) == draw(), "docs/states.md is stale: run `python -m tools.draw_states`"
    assert MARKERS.redraw(text, draw()) == text
