"""What the scripts of Flash cost a page that is loaded: bytes, and the time of the page's thread.

    python -m benchmarks.page_scripts [--runs 9]

Builds the scripts as a wheel has them, and serves an app with these. Chromium loads a page of it, each time anew. The
bytes are those of the bodies that have come, in the encoding that Chromium takes from a local server as by HTTPS. The
time is that of compiling and running the scripts, as Chromium's trace has it. For the reference the scripts are served
as they are written, each by itself, as with dev tools.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from benchmarks import harness
from benchmarks.harness import ROOT, Runs, say, serve
from benchmarks.results import Result
from hatch_build import build
from tests.support.chromium import launched

NAME = "page scripts"
BUILT, WRITTEN = "Flash", "as they are written"
BYTES, GZIP, FILES, TIME = "compressed scripts", "the same as gzip", "requests for them", "compiled and run"

TRACED = ["devtools.timeline", "v8"]

SMALL = ["--runs", "1"]
"""Options by which the benchmark only shows that it works."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=int, default=9)


def measure(options: argparse.Namespace) -> list[Result]:
    runs = Runs()
    with tempfile.TemporaryDirectory() as folder, launched() as browser:
        for subject in (WRITTEN, BUILT):
            say(f"{NAME}: {subject}")
            package = Path(folder) / subject
            _copy(package, built=subject == BUILT)
            with serve("flash", "benchmarks.apps.flash_browser:app", folder=package) as server:
                for _ in range(options.runs):
                    runs.add(subject, **_load(browser, f"http://127.0.0.1:{server.port}/"))
        runs.add(BUILT, **{GZIP: (Path(folder) / BUILT / "flash" / "client" / "page.js.gz").stat().st_size / 1024})
    return [
        runs.result(NAME, BUILT, BYTES, "KiB", reference=WRITTEN, at_most=12, goal="page"),
        runs.result(NAME, BUILT, GZIP, "KiB"),
        runs.result(NAME, BUILT, FILES, "", reference=WRITTEN),
        runs.result(NAME, BUILT, TIME, "ms", reference=WRITTEN, at_most=5, goal="page"),
    ]


def _copy(folder: Path, *, built: bool) -> None:
    """A folder with the package, and with its built scripts if they are to be served."""
    shutil.copytree(ROOT / "flash", folder / "flash", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
    for name, content in build(folder / "flash").items() if built else ():
        (folder / "flash" / "client" / name).write_bytes(content)


def _load(browser: Browser, url: str) -> dict[str, float]:
    with _page(browser) as page:
        browser.start_tracing(page=page, categories=TRACED)
        page.goto(url)
        page.wait_for_selector("#typed")
        trace: dict[str, Any] = json.loads(browser.stop_tracing())
        sizes: list[int] = page.evaluate(
            "performance.getEntriesByType('resource').filter(entry => entry.name.includes('/flash/client/'))"
            ".map(entry => entry.encodedBodySize)"
        )
    times = [
        event["dur"] / 1e3
        for event in trace["traceEvents"]
        if event["name"] == "EvaluateScript" and "/flash/client/" in event["args"]["data"].get("url", "")
    ]
    assert len(times) == len(sizes), (times, sizes)
    return {BYTES: sum(sizes) / 1024, FILES: len(sizes), TIME: sum(times)}


@contextlib.contextmanager
def _page(browser: Browser) -> Generator[Any]:
    """A page of a profile of its own, whose cache is empty."""
    context = browser.new_context()
    try:
        yield context.new_page()
    finally:
        context.close()


if __name__ == "__main__":
    harness.main(__doc__, add_options, measure)
