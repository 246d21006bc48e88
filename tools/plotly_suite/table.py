"""The outcomes of two runs side by side, as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FAILED = ("failed", "hung")

Outcomes = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Row:
    """A folder, and what became of its tests."""

    folder: str
    baseline: str
    before: Outcomes
    after: Outcomes | None

    def count(self, outcomes: Outcomes, *kinds: str) -> int:
        found = Counter(noted["outcome"] for noted in outcomes.values())
        return sum(found[kind] for kind in kinds)

    @property
    def differing(self) -> list[str]:
        """The tests that passed, and do not pass with Flash."""
        if self.after is None:
            return []
        return sorted(
            test
            for test, noted in self.before.items()
            if noted["outcome"] == "passed" and self.after.get(test, {"outcome": "missing"})["outcome"] != "passed"
        )


def render(rows: Sequence[Row], reasons: Mapping[str, str], excluded: Mapping[str, str]) -> str:
    """The table, then each test that differs, and what was excluded, with the reasons."""
    lines = [
        "| folder of `tests/` | compared with | passed | failed | skipped | excluded | Flash: passed | Flash: failed |",
        "| --- | --- | --: | --: | --: | --: | --: | --: |",
    ]
    totals = Counter[str]()
    for row in rows:
        cells = {
            "passed": row.count(row.before, "passed"),
            "failed": row.count(row.before, *FAILED),
            "skipped": row.count(row.before, "skipped"),
            "excluded": row.count(row.before, "excluded"),
        }
        if row.after is not None:
            cells["flash"] = cells["passed"] - len(row.differing)
            cells["flash failed"] = len(row.differing)
        totals.update(cells)
        after = [cells.get("flash", "not run"), cells.get("flash failed", "not run")]
        numbers = [cells["passed"], cells["failed"], cells["skipped"], cells["excluded"], *after]
        name = f"Dash on {row.baseline.capitalize()}"
        lines.append(f"| `{row.folder}` | {name} | " + " | ".join(str(number) for number in numbers) + " |")
    order = ("passed", "failed", "skipped", "excluded", "flash", "flash failed")
    lines.append("| all | | " + " | ".join(f"**{totals[name]}**" for name in order) + " |")
    differing = [test for row in rows for test in row.differing]
    if differing:
        lines += ["", "What passed there and not here:", ""]
        lines += [f"- `{test.removeprefix('tests/')}`: {reason_for(test, reasons)}" for test in differing]
    if excluded:
        lines += ["", "What is excluded, on both sides:", ""]
        lines += [f"- `{test}`: {reason}" for test, reason in sorted(excluded.items())]
    return "\n".join(lines)


def reason_for(test: str, reasons: Mapping[str, str]) -> str:
    """Why a test differs, by the longest name in the plan that begins it."""
    name = test.removeprefix("tests/")
    known = [prefix for prefix in reasons if name.startswith(prefix)]
    return reasons[max(known, key=len)] if known else "**no reason known**"
