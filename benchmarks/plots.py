"""The results as pictures: ratios beside their targets, and curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")

from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from benchmarks import budget
from benchmarks.results import Result

MET, MISSED, PLAIN = "#2a7f4f", "#b3402e", "#4c72b0"

mpl.rcParams.update({"figure.dpi": 110, "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})


def draw(results: Sequence[Result], folder: Path) -> list[str]:
    """Write the pictures into `folder`; returns the names of their files."""
    drawn = [_draw_targets(results, folder), _draw_budget(results, folder)]
    return [name for name in drawn if name is not None] + _draw_curves(results, folder)


def _draw_targets(results: Sequence[Result], folder: Path) -> str | None:
    """How far each figure is from its target: 1 is the target, and less is better."""
    aimed = [result for result in results if result.met is not None]
    if not aimed:
        return None
    shares = [_share(result) for result in aimed]
    figure, axes = plt.subplots(figsize=(9, 0.8 + 0.32 * len(aimed)))
    axes.barh(range(len(aimed)), shares, color=[MET if result.met else MISSED for result in aimed], height=0.6)
    axes.set_yticks(range(len(aimed)), [f"{result.name}: {result.subject}, {result.metric}" for result in aimed])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xlabel("of what the target allows (less is better; right of the line is missed)")
    return _save(figure, folder, "targets.png")


def _share(result: Result) -> float:
    compared = result.ratio if result.of_ratio else result.value
    assert compared is not None
    share = result.at_least / compared if result.at_least is not None else compared / (result.at_most or math.nan)
    return max(share, 0.001)


def _draw_curves(results: Sequence[Result], folder: Path) -> list[str]:
    names: list[str] = []
    for title in dict.fromkeys(result.curve for result in results if result.curve is not None):
        points = [result for result in results if result.curve == title]
        figure, axes = plt.subplots(figsize=(6, 3.5))
        for subject in dict.fromkeys(result.subject for result in points):
            of_subject = [result for result in points if result.subject == subject]
            sizes, values = [result.size for result in of_subject], [result.value for result in of_subject]
            axes.plot(sizes, values, marker="o", label=subject)
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(points[0].size_of)
        axes.set_ylabel(points[0].unit)
        axes.legend(frameon=False)
        names.append(_save(figure, folder, f"{title.replace(':', '').replace(' ', '_').lower()}.png"))
    return names


def _draw_budget(results: Sequence[Result], folder: Path) -> str | None:
    """What becomes of one update's time: its stages, one after the other."""
    stages = [result for result in results if result.name == budget.NAME]
    subjects = list(dict.fromkeys(result.subject for result in stages))
    if not subjects:
        return None
    figure, rows = plt.subplots(len(subjects), figsize=(9, 1.1 + len(subjects)), layout="constrained")
    names = list(dict.fromkeys(result.metric for result in stages))
    palette = plt.get_cmap("tab10")
    colours = {name: palette(number) for number, name in enumerate(names)}
    for axes, subject in zip(rows, subjects, strict=True):
        left = 0.0
        for result in (result for result in stages if result.subject == subject):
            axes.barh([0], [result.value], left=left, color=colours[result.metric], height=0.5)
            left += result.value
        axes.set_yticks([0], [f"{subject}: {left:.1f} us"])
    rows[-1].set_xlabel("microseconds of CPU per update (two scales)")
    patches = [Rectangle((0, 0), 1, 1, color=colours[name]) for name in names]
    figure.legend(patches, names, ncols=len(names), loc="outside upper left", frameon=False)
    return _save(figure, folder, "budget.png")


def _save(figure: Figure, folder: Path, name: str) -> str:
    # No version of the library in the file: the same figures make the same picture.
    figure.savefig(folder / name, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    return name
