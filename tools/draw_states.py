"""Writes the states of a stream into docs/states.md, drawn from the table in flash/streams/states.py.

    python -m tools.draw_states

Only the part between the two markers is replaced; the test in tests/docs/test_states.py fails while it is stale.
"""

from __future__ import annotations

from pathlib import Path

from flash.streams.states import CAUSES, LISTED_AS, MEANINGS, TRANSITIONS, StreamState

PAGE = Path(__file__).parents[1] / "docs" / "states.md"

BEGIN = "<!-- drawn from flash/streams/states.py by python -m tools.draw_states -->"
END = "<!-- end of the drawing -->"

NEVER_LISTED = {StreamState.WAITING, StreamState.DISCARDED}
"""States of streams whose task has not begun."""


def draw() -> str:
    """The states as a mermaid diagram, and as tables."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {StreamState.WAITING}"]
    for state, transitions in TRANSITIONS.items():
        lines += [f"    {state} --> {after}: {trigger}" for trigger, after in transitions.items()]
        if not transitions:
            lines.append(f"    {state} --> [*]")
    lines += ["```", "", "| state | what it means | in `app.streams()` |", "| --- | --- | --- |"]
    for state, meaning in MEANINGS.items():
        listed_as = "not listed" if state in NEVER_LISTED else f"`{LISTED_AS[state]}`"
        lines.append(f"| {state} | {meaning} | {listed_as} |")
    lines += ["", "| trigger | when it happens |", "| --- | --- |"]
    lines += [f"| {trigger} | {cause} |" for trigger, cause in CAUSES.items()]
    return "\n".join(lines)


def drawn_in(text: str) -> str:
    """The drawing that a page of the docs has between its markers."""
    return text.partition(BEGIN)[2].partition(END)[0].strip()


def redraw(text: str) -> str:
    """The text of a page, with a fresh drawing between its markers."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{draw()}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(redraw(PAGE.read_text()))
