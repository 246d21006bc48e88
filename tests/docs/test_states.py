"""The drawings of the states of a stream and of a source in the docs are the tables that the code goes by."""

from __future__ import annotations

from tools import draw_source_states, draw_states
from tools.state_drawing import PAGE


def test_the_states_of_a_stream_in_the_docs_are_those_of_the_code() -> None:
    text = PAGE.read_text()
    drawing = draw_states.draw()
    assert draw_states.MARKERS.drawing_in(text) == drawing, "docs/states.md is stale: run `python -m tools.draw_states`"
    assert draw_states.MARKERS.redraw(text, drawing) == text


def test_the_states_of_a_source_in_the_docs_are_those_of_the_code() -> None:
    text = PAGE.read_text()
    drawing = draw_source_states.draw()
    assert draw_source_states.MARKERS.drawing_in(text) == drawing, (
        "docs/states.md is stale: run `python -m tools.draw_source_states`"
    )
    assert draw_source_states.MARKERS.redraw(text, drawing) == text
