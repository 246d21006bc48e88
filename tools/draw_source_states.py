"""Writes the states of a source into docs/states.md, drawn from the table in flash/shared/states.py.

    python -m tools.draw_source_states

Only the part between the two markers is replaced; the test in tests/docs/test_states.py fails while it is stale.
"""

from __future__ import annotations

from flash.shared.states import CAUSES, LISTED_AS, MEANINGS, TRANSITIONS, SourceState

from .state_drawing import PAGE, Markers, diagram, table

MARKERS = Markers(
    "<!-- drawn from flash/shared/states.py by python -m tools.draw_source_states -->",
    "<!-- end of the drawing of the source -->",
)


def draw() -> str:
    """The states as a mermaid diagram, and as tables."""
    states = [
        (state, meaning, "not listed" if state is SourceState.OVER else f"`{LISTED_AS[state]}`")
        for state, meaning in MEANINGS.items()
    ]
    return "\n".join(
        [
            *diagram(SourceState.FOLLOWED, TRANSITIONS),
            *table("state", "what it means", "in `app.feeds()` and `app.shared_streams()`", rows=states),
            *table("trigger", "when it happens", rows=CAUSES.items()),
        ]
    )


if __name__ == "__main__":
    PAGE.write_text(MARKERS.redraw(PAGE.read_text(), draw()))
