"""What a benchmark found, beside its reference and its target; as a table, as Markdown and as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

GOALS = ("flat out", "memory", "crowds", "alone", "plain callbacks", "start-up", "page")
"""What Flash aims at, in the order of the table of goals: each has one or several targets."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One figure.

    Attributes:
        name: of the benchmark.
        subject: what was measured.
        metric: which figure of it.
        unit: of the figure.
        value: the median of the runs.
        spread: (largest - smallest) / median.
        runs: how many there were.
        reference: what it is compared with, if anything.
        reference_value: the same figure of that.
        at_least: the target, if more is better.
        at_most: the target, if less is better.
        of_ratio: the target is for the ratio to the reference.
        goal: one of GOALS, if its target is one of that.
        curve: the title of the curve that it is a point of, if any.
        size: where on that curve.
        size_of: what the size is the number of.
    """

    name: str
    subject: str
    metric: str
    unit: str
    value: float
    spread: float = 0.0
    runs: int = 1
    reference: str | None = None
    reference_value: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    of_ratio: bool = False
    goal: str = ""
    curve: str | None = None
    size: float = 0.0
    size_of: str = ""

    @property
    def ratio(self) -> float | None:
        """The value in terms of the reference's."""
        return self.value / self.reference_value if self.reference_value else None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None if there is none, or nothing to compare with."""
        compared = self.ratio if self.of_ratio else self.value
        if compared is None or math.isnan(compared):
            return None
        if self.at_least is not None:
            return compared >= self.at_least
        return compared <= self.at_most if self.at_most is not None else None

    @property
    def target(self) -> str:
        bound = self.at_least if self.at_least is not None else self.at_most
        if bound is None:
            return ""
        sign = "≥" if self.at_least is not None else "≤"
        return f"{sign} {bound:g}{' x' if self.of_ratio else f' {self.unit}'}"

    def as_dict(self) -> dict[str, object]:
        """Its attributes, and what follows from them, to four digits."""
        found = {**dataclasses.asdict(self), "ratio": self.ratio, "met": self.met}
        return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in found.items()}


class Curve:
    """A figure by the size of what it was measured on; the medians of its points.

    Attributes:
        title: what it shows.
        size: what the points differ in.
        unit: of the figure.
    """

    def __init__(self, title: str, size: str, unit: str) -> None:
        self.title = title
        self.size = size
        self.unit = unit
        self._points: dict[tuple[str, float], list[float]] = {}

    def add(self, subject: str, size: float, value: float) -> None:
        self._points.setdefault((subject, size), []).append(value)

    def results(self, name: str) -> list[Result]:
        """Its points as results of the benchmark `name`."""
        return [
            Result(
                name=name,
                subject=subject,
                metric=f"{self.title.partition(': ')[2]} at {size:,} {self.size}",
                unit=self.unit,
                value=statistics.median(values),
                spread=(max(values) - min(values)) / statistics.median(values),
                runs=len(values),
                curve=self.title,
                size=size,
                size_of=self.size,
            )
            for (subject, size), values in self._points.items()
        ]


HEADINGS = ("benchmark", "what", "figure", "value", "spread", "beside", "ratio", "target", "")


def rows(results: Iterable[Result]) -> list[tuple[str, ...]]:
    """The results as text, under HEADINGS."""
    return [
        (
            result.name,
            result.subject,
            result.metric,
            f"{_figure(result.value)} {result.unit}",
            f"{result.spread:.0%}" if result.runs > 1 else "",
            "" if result.reference is None else f"{result.reference}: {_figure(result.reference_value)}",
            "" if result.ratio is None else f"{result.ratio:.2f}",
            result.target,
            {True: "met", False: "MISSED", None: ""}[result.met],
        )
        for result in results
    ]


def table(results: Iterable[Result]) -> str:
    """For a terminal."""
    return _columns([HEADINGS, *rows(results)])


def _columns(lines: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def goal_rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """The results that decide whether the goals are met as text, by goal; a goal that was not measured says so."""
    found: list[tuple[str, ...]] = []
    for goal in GOALS:
        decisive = rows(result for result in results if result.goal == goal)
        found += [(goal, *row[1:]) for row in decisive] or [(goal, "not measured", *[""] * (len(HEADINGS) - 2))]
    return found


def goals_table(results: Sequence[Result]) -> str:
    """The goals for a terminal."""
    return _columns([("goal", *HEADINGS[1:]), *goal_rows(results)])


def markdown(results: Sequence[Result], machine: str, plots: Sequence[str]) -> str:
    """For `results/`: the goals, and then all results, by benchmark."""
    parts = ["# Results", "", machine, "", "## Goals", ""]
    parts += [_line(("goal", *HEADINGS[1:])), _line(["---"] * len(HEADINGS)), *map(_line, goal_rows(results)), ""]
    parts += [line for plot in plots for line in (f"![{plot.rpartition('.')[0]}]({plot})", "")]
    for name in dict.fromkeys(result.name for result in results):
        parts += [f"## {name}", "", _line(HEADINGS[1:]), _line(["---"] * (len(HEADINGS) - 1))]
        parts += [_line(row[1:]) for row in rows(result for result in results if result.name == name)]
        parts.append("")
    return "\n".join(parts)


def as_json(results: Iterable[Result], machine: dict[str, object]) -> str:
    """For whoever compares."""
    found = [result.as_dict() for result in results]
    return json.dumps({"machine": machine, "results": found}, indent=1, ensure_ascii=False) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _figure(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
