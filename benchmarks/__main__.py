"""All benchmarks, one after the other: what `make bench` runs.

    python -m benchmarks [--small] [--into benchmarks/results] [name ...]

Prints one table, and another one of the figures by which Flash is judged, and writes them as JSON and as Markdown, with
pictures. Nothing else should run meanwhile: a server takes one processor, and its pages another.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import time
import traceback
from importlib.metadata import version
from pathlib import Path

from benchmarks import plots
from benchmarks.harness import say
from benchmarks.results import Result, as_json, goals_table, markdown, table

NAMES = (
    "one_stream",
    "alone",
    "many_pages",
    "open_pages",
    "shared",
    "cancel",
    "slow_reader",
    "browser",
    "page_scripts",
    "plain_callbacks",
    "start_up",
    "workers",
    "tabs",
    "budget",
)
PACKAGES = ("dash", "hypercorn", "quart-trio", "trio", "orjson")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help="which; all unless given")
    parser.add_argument("--small", action="store_true", help="only show that they work")
    parser.add_argument("--into", type=Path, default=Path(__file__).parent / "results", help="a folder")
    options = parser.parse_args(arguments)
    if (load := os.getloadavg()[0]) > 1:
        say(f"The machine is busy already (load {load:.1f}): absolute figures will be worth little.")
    results: list[Result] = []
    failed: list[str] = []
    took: dict[str, float] = {}
    for name in options.names or NAMES:
        began = time.monotonic()
        try:
            results += run(name, small=options.small)
        except Exception:
            # What the others have measured in a quarter of an hour is kept.
            traceback.print_exc()
            failed.append(name)
        took[name] = time.monotonic() - began
        say(f"{name} took {took[name]:.0f} s")
    print(table(results))
    print(f"\nThe goals:\n{goals_table(results)}")
    print(f"\n{durations(took)}")
    write(results, options.into, took)
    missed = sum(result.met is False for result in results)
    print(f"{missed} of {sum(result.met is not None for result in results)} targets missed.", file=sys.stderr)
    if failed:
        sys.exit(f"These failed: {', '.join(failed)}.")


def run(name: str, *, small: bool) -> list[Result]:
    """Run one benchmark as it would run by itself."""
    module = importlib.import_module(f"benchmarks.{name}")
    parser = argparse.ArgumentParser()
    module.add_options(parser)
    found: list[Result] = module.measure(parser.parse_args(module.SMALL if small else []))
    return found


def durations(took: dict[str, float]) -> str:
    """One sentence on how long the benchmarks have taken, in seconds by name."""
    parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in took.items())
    return f"It took {sum(took.values()) / 60:.1f} minutes: {parts}."


def write(results: list[Result], folder: Path, took: dict[str, float] | None = None) -> None:
    """Write the results, and pictures of them, into `folder`; and how many seconds each benchmark has taken."""
    folder.mkdir(parents=True, exist_ok=True)
    about: dict[str, object] = {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }
    line = ", ".join(f"{name} {value}" for name, value in about.items())
    pictures = plots.draw(results, folder)
    (folder / "results.json").write_text(as_json(results, about))
    made = f"Made by `make bench`: {line}." + (f" {durations(took)}" if took else "")
    (folder / "README.md").write_text(markdown(results, made, pictures))


if __name__ == "__main__":
    main()
