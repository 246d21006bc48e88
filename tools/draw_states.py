"""Writes the states of a stream into docs/states.md, drawn from the table in flash/streams/states.py.

    python -m tools.draw_states

Only the part between the two markers is replaced; the test in tests/docs/test_states.py fails while it is stale.
"""

from __future__ import annotations

from flash.streams.states import CAUSES, LISTED_AS, MEANINGS, TRANSITIONS, StreamState

from .state_drawing import PAGE, Markers, diagram, table

MARKERS = Markers(
    "<!-- drawn from flash/streams/states.py by python -m tools.draw_states -->", "<!-- end of the drawing -->"
)

NEVER_LISTED = {StreamState.WAITING, StreamState.DISCARDED}
"""States of streams whose task has not begun."""


def draw() -> str:
    """The states as a mermaid diagram, and as tables."""
    states = [
        (state, meaning, "not listed" if state in NEVER_LISTED else f"`{LISTED_AS[state]}`")
        for state, meaning in MEANINGS.items()
    ]
    return "\n".join(
        [
            *diagram(StreamState.WAITING, TRANSITIONS),
            *table("state", "what it means", "in `app.streams()`", rows=states),
            *table("trigger", "when it happens", rows=CAUSES.items()),
        ]
    )


if __name__ == "__main__":
    PAGE.write_text(MARKERS.redraw(PAGE.read_text(), draw()))
