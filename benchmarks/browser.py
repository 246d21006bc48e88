"""A page that gets 2,000 updates a second, for 20 components, in Chromium.

    python -m benchmarks.browser [--seconds 5] [--runs 3]

Starts Flash, and three pages of it, one after the other: one whose updates come from 20 streams of 100 updates/s, and
from one of 20 patches/s, each of which is to be shown; once the same with `conflate=True`, where only the newest
counts; and for the reference one that has the same updates, but for the patches, as events of its own, and calls
`dash_clientside.set_props` for each. In all, a key is pressed five times a second. Measured with Chromium's own
performance entries: long tasks (over 50 ms), and how long the page takes to answer a key, until it has drawn. And how
old an update is when it is in the page, and how many have been. Of Flash it is also checked that each patch was applied
once, that no component has gone back, that each ends with its last value, and that each value was shown unless its
stream conflates.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from playwright.sync_api import Page

from benchmarks import harness
from benchmarks.apps.settings import COMPONENTS, PATCH_RATE, RATE
from benchmarks.chromium import browse
from benchmarks.harness import Runs, percentile, say, serve
from benchmarks.results import Result
from tests.support.chromium import launched

NAME = "browser"
FLASH, CONFLATED, SINGLE = "Flash", "Flash, conflate=True", "set_props for each event"
TASK, LONGEST, INPUT = "p99 of tasks", "longest task", "p99 of a key, to the next frame"
AGE, FRAMES, SHOWN = "p99 from yield to page", "frames", "updates shown"
KEYS = 5
"""Pressed in a second."""

BELOW = 50.0
"""Milliseconds: tasks that take less have no entry, and count as these."""

SMALL = ["--seconds", "1", "--runs", "1"]
"""Options by which the benchmark only shows that it works."""

WATCH = """
components => {
    const seen = window.seen = {tasks: [], inputs: [], ages: [], frames: 0, shown: 0, back: 0, newest: {}};
    new PerformanceObserver(list => seen.tasks.push(...list.getEntries().map(entry => entry.duration)))
        .observe({type: 'longtask'});
    new PerformanceObserver(list => seen.inputs.push(
        ...list.getEntries().filter(entry => entry.name === 'keydown').map(entry => entry.duration)
    )).observe({type: 'event', durationThreshold: 16});
    const frame = () => { seen.frames += 1; requestAnimationFrame(frame); };
    frame();
    for (let n = 0; n < components; n++) {
        const shown = document.getElementById(`shown${n}`);
        seen.newest[n] = -1;
        new MutationObserver(changes => {
            // React makes one for each value that it draws.
            seen.shown += changes.length;
            const [number, time] = shown.textContent.split(' ').map(Number);
            seen.back += number < seen.newest[n] ? 1 : 0;
            seen.newest[n] = number;
            seen.ages.push(Date.now() - time);
        }).observe(shown, {childList: true, characterData: true, subtree: true});
    }
}
"""

BEGIN = {
    FLASH: "seconds => dash_clientside.set_props('go', {n_clicks: seconds})",
    CONFLATED: "seconds => dash_clientside.set_props('conflate', {n_clicks: seconds})",
    SINGLE: """
        seconds => {
            const source = new EventSource(`/plain?seconds=${seconds}`);
            source.onmessage = event => dash_clientside.set_props(...JSON.parse(event.data));
            source.addEventListener('end', () => source.close());
        }
    """,
}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=3)


def measure(options: argparse.Namespace) -> list[Result]:
    runs = Runs()
    with launched() as browser, serve("flash", "benchmarks.apps.flash_browser:app") as server:
        for number in range(options.runs):
            say(f"{NAME}: run {number + 1} of {options.runs}")
            for subject in BEGIN if number == 0 else (FLASH, SINGLE):
                with browse(browser, f"http://127.0.0.1:{server.port}/") as page:
                    runs.add(subject, **_watch(page, subject, options.seconds))
    result = runs.result
    return [
        result(NAME, FLASH, TASK, "ms", reference=SINGLE, at_most=50),
        result(NAME, FLASH, LONGEST, "ms", reference=SINGLE),
        result(NAME, FLASH, INPUT, "ms", reference=SINGLE, at_most=100),
        result(NAME, FLASH, AGE, "ms", reference=SINGLE),
        result(NAME, FLASH, FRAMES, "/s", reference=SINGLE),
        result(NAME, FLASH, SHOWN, "/s", reference=SINGLE, at_least=1_800, goal="page"),
        result(NAME, CONFLATED, TASK, "ms", reference=FLASH),
        result(NAME, CONFLATED, AGE, "ms", reference=FLASH),
        result(NAME, CONFLATED, SHOWN, "/s", reference=FLASH),
    ]


def _watch(page: Page, subject: str, seconds: int) -> dict[str, float]:
    page.wait_for_selector("#patched", state="attached")
    page.wait_for_selector("#typed")
    page.focus("#typed")
    page.evaluate(WATCH, COMPONENTS)
    began = time.monotonic()
    page.evaluate(BEGIN[subject], seconds)
    keys = 0
    while (left := seconds - (time.monotonic() - began)) > 0:
        page.keyboard.press("a")
        keys += 1
        page.wait_for_timeout(min(left, 1 / KEYS) * 1000)
    seen: dict[str, Any] = page.evaluate("window.seen")
    took = time.monotonic() - began
    if subject != SINGLE:
        _check(page, seconds, each=subject == FLASH)
    # An answer of less than 16 ms has no entry.
    answers = [*seen["inputs"], *[16.0] * (keys - len(seen["inputs"]))]
    # Each frame is a task at the least.
    tasks = [*seen["tasks"], *[BELOW] * seen["frames"]]
    return {
        TASK: percentile(tasks, 0.99),
        LONGEST: max(tasks),
        INPUT: percentile(answers, 0.99),
        AGE: percentile(seen["ages"], 0.99),
        FRAMES: seen["frames"] / took,
        SHOWN: seen["shown"] / took,
    }


def _check(page: Page, seconds: int, each: bool) -> None:
    """Whether all has come, once and in order, and `each` has been shown."""
    last, patches = seconds * RATE - 1, "".join(f"{number} " for number in range(seconds * PATCH_RATE))
    page.wait_for_function(
        "([last, patches]) => Object.values(window.seen.newest).every(number => number === last)"
        " && document.getElementById('patched').textContent.length >= patches.length",
        arg=[last, patches],
    )
    assert page.text_content("#patched") == patches
    assert page.evaluate("window.seen.back") == 0
    assert not each or page.evaluate("window.seen.shown") == (last + 1) * COMPONENTS


if __name__ == "__main__":
    harness.main(__doc__, add_options, measure)
