"""Writes the states of a page's link into docs/states.md, drawn from the table in flash/client/link_states.js.

    python -m tools.draw_link_states

Node.js runs the script, and that with the words for it, and says what the table has. Only the part between the two
markers is replaced; the test in tests/docs/test_link_states.py fails while it is stale.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .state_drawing import PAGE, Markers, diagram, table

SCRIPT = Path(__file__).parents[1] / "flash" / "client" / "link_states.js"
WORDS = SCRIPT.with_name("link_state_words.js")

MARKERS = Markers(
    "<!-- drawn from flash/client/link_states.js by python -m tools.draw_link_states -->",
    "<!-- end of the drawing of the link -->",
)

FIRST = "idle"
"""The state in which a link begins."""


@dataclass(frozen=True)
class LinkTable:
    """The table of link_states.js.

    Attributes:
        transitions: the state that each trigger leads to, by the state in which it comes.
        meanings: a sentence for each state.
        causes: a sentence for each trigger.
    """

    transitions: dict[str, dict[str, str]]
    meanings: dict[str, str]
    causes: dict[str, str]


def run_script(expression: str) -> str:
    """The value of a JavaScript expression, as JSON. In it, `states` is what they export."""
    # Node.js stands beside Python, where the requirements of the tests have put it.
    node = shutil.which("node", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    assert node is not None, "Node.js runs the script; it comes with the requirements of the tests."
    code = (
        "globalThis.window = {flash: {}};"
        "process.argv.slice(1).forEach(path => (0, eval)(require('fs').readFileSync(path, 'utf8')));"
        f"const states = window.flash.linkStates; console.log(JSON.stringify({expression}))"
    )
    return subprocess.run(
        [node, "-e", code, str(SCRIPT), str(WORDS)], check=True, capture_output=True, text=True, timeout=60
    ).stdout


def read_table() -> LinkTable:
    """The table, as the script has it."""
    return LinkTable(
        **json.loads(run_script("(({transitions, meanings, causes}) => ({transitions, meanings, causes}))(states)"))
    )


def draw(links: LinkTable) -> str:
    """The states as a mermaid diagram, and as tables."""
    return "\n".join(
        [
            *diagram(FIRST, links.transitions),
            *table("state", "what it means", rows=links.meanings.items()),
            *table("trigger", "when it comes", rows=links.causes.items()),
        ]
    )


if __name__ == "__main__":
    PAGE.write_text(MARKERS.redraw(PAGE.read_text(), draw(read_table())))
