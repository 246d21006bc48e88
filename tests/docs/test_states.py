"""The drawing of a stream's states in the docs is the table that the code goes by."""

from __future__ import annotations

from tools.draw_states import PAGE, draw, drawn_in, redraw


def test_the_states_in_the_docs_are_those_of_the_code() -> None:
    text = PAGE.read_text()
    assert drawn_in(text) == draw(), "docs/states.md is stale: run `python -m tools.draw_states`"
    assert redraw(text) == text
