"""Draws states as a diagram and as tables, and puts the drawing between two markers in docs/states.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

StateT = TypeVar("StateT", bound=str)
TriggerT = TypeVar("TriggerT", bound=str)

PAGE = Path(__file__).parents[1] / "docs" / "states.md"


@dataclass(frozen=True)
class Markers:
    """The lines before and after a drawing in a page of the docs.

    Attributes:
        begin: the line before it.
        end: the line after it.
    """

    begin: str
    end: str

    def drawing_in(self, text: str) -> str:
        """The drawing that the text of a page has between the markers."""
        return text.partition(self.begin)[2].partition(self.end)[0].strip()

    def redraw(self, text: str, drawing: str) -> str:
        """The text of a page, with another drawing between the markers."""
        before, _, rest = text.partition(self.begin)
        return f"{before}{self.begin}\n\n{drawing}\n\n{self.end}{rest.partition(self.end)[2]}"


def diagram(first: StateT, transitions: Mapping[StateT, Mapping[TriggerT, StateT]]) -> list[str]:
    """The lines of a mermaid diagram.

    Args:
        first: the state in which everything begins.
        transitions: the state that each trigger leads to, by the state in which it comes.
    """
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first}"]
    for state, by_trigger in transitions.items():
        lines += [f"    {state} --> {after}: {trigger}" for trigger, after in by_trigger.items()]
        if not by_trigger:
            lines.append(f"    {state} --> [*]")
    return [*lines, "```"]


def table(*columns: str, rows: Iterable[tuple[str, ...]]) -> list[str]:
    """The lines of a Markdown table, with an empty line before it."""
    return ["", _row(columns), _row("---" for _ in columns), *map(_row, rows)]


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
