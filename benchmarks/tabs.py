"""Many tabs of one browser over HTTP/1.1: those of a hub beside those that have a link each, in Chromium.

    python -m benchmarks.tabs [--most 100] [--tabs 30]

Starts Flash, and opens tabs one after another, each with a stream of two updates a second from its load, until the
first update of one takes more than a second from the load, or `most` are open: with a hub, which holds one link for all
of them, and without one, where a browser is out of connections after six tabs.

And what a tab costs in memory. For the server it is measured on `tabs` of them; those that have a link each have a
host name of their own there, and with that connections of their own. For the browser it is measured on five of the same
host, all of its processes together (PSS, in which what they share counts once). Takes a minute and a half.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import math
import re
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, TimeoutError as PlaywrightTimeout

from benchmarks import harness
from benchmarks.harness import Runs, Server, median, say, serve
from benchmarks.results import Result
from tests.support.browser import without_hub
from tests.support.chromium import launched
from tests.support.page_process import descendants

NAME = "tabs"
HUB, EACH = "a hub", "a link each"
TABS, FIRST = "tabs until the first update takes a second", "first update after the load, median"
SERVER, BROWSER = "server memory per tab", "browser memory per tab"

LIMIT = 1.0
"""Seconds from the load of a tab to its first update, beyond which no further tab is opened."""

TIMEOUT = 5_000.0
"""Milliseconds for the load of a tab, and for its first update, after which there is taken to be none."""

TARGET = 30
"""Tabs, at least."""

FEW = 5
"""Tabs of one host that can have a link each and load another."""

SMALL = ["--tabs", "2", "--most", "2", "--settle", "0"]
"""Options by which the benchmark only shows that it works."""

NOTE_FIRST_UPDATE = """
new MutationObserver(() => {
    const shown = document.getElementById('out')?.textContent ?? '-';
    if (shown !== '-') {
        window.updatedAt ??= performance.now();
    }
}).observe(document, {childList: true, characterData: true, subtree: true});
"""

SECONDS_TO_FIRST_UPDATE = """
() => {
    const {loadEventEnd} = performance.getEntriesByType('navigation')[0];
    return loadEventEnd > 0 && window.updatedAt > 0 && [Math.max(0, window.updatedAt - loadEventEnd) / 1_000];
}
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tabs", type=int, default=30, help="on which the memory of the server is measured")
    parser.add_argument("--most", type=int, default=100, help="that are opened")
    parser.add_argument("--settle", type=float, default=1, help="seconds between the last tab and the look at memory")


def measure(options: argparse.Namespace) -> list[Result]:
    runs = Runs()
    with launched() as browser:
        for subject in (HUB, EACH):
            with serve("flash", "benchmarks.apps.flash_tabs:app") as server:
                # What the browser and the server themselves need is there after a first tab.
                with _opening(browser, server, subject) as tabs:
                    tabs.open()
                of_server = Gauge(server.memory, 1_024, options.tabs)
                gauges = {BROWSER: Gauge(_browser_memory, 1_048_576, min(FEW, options.tabs))}
                if subject == HUB:
                    gauges[SERVER] = of_server
                else:
                    say(f"{NAME}: {subject}, memory of {options.tabs} tabs")
                    with _opening(browser, server, subject, own_hosts=True) as tabs:
                        runs.add(subject, **_costs(tabs, {SERVER: of_server}, options.settle))
                say(f"{NAME}: {subject}, up to {options.most} tabs")
                with _opening(browser, server, subject) as tabs:
                    runs.add(subject, **_costs(tabs, gauges, options.settle))
                    while len(tabs.waits) < options.most and max(tabs.waits) <= LIMIT:
                        tabs.open()
                    soon = list(itertools.takewhile(lambda wait: wait <= LIMIT, tabs.waits))
                    runs.add(subject, **{TABS: len(soon), FIRST: 1_000 * median(soon)})
    result = runs.result
    return [
        result(NAME, HUB, TABS, "tabs", reference=EACH, at_least=min(TARGET, options.most)),
        result(NAME, HUB, FIRST, "ms", reference=EACH),
        result(NAME, HUB, SERVER, "KiB", reference=EACH),
        result(NAME, HUB, BROWSER, "MiB", reference=EACH),
    ]


@dataclass
class Tabs:
    """The tabs of one profile.

    Attributes:
        context: the profile.
        server: that they are of.
        own_hosts: whether each gets a host name of its own.
        waits: the seconds from the load of each tab to its first update, infinity if there was none.
    """

    context: BrowserContext
    server: Server
    own_hosts: bool
    waits: list[float] = field(default_factory=list[float])

    def open(self) -> None:
        """Open a tab, and wait for its first update."""
        page = self.context.new_page()
        host = f"tab-{len(self.context.pages)}.test" if self.own_hosts else "127.0.0.1"
        try:
            page.goto(f"http://{host}:{self.server.port}/", wait_until="commit", timeout=TIMEOUT)
            self.waits += page.wait_for_function(SECONDS_TO_FIRST_UPDATE, timeout=TIMEOUT).json_value()
        except PlaywrightTimeout:
            self.waits.append(math.inf)

    def collect_garbage(self) -> None:
        """Have the tabs give back the memory that they do not need any more."""
        for page in self.context.pages:
            self.context.new_cdp_session(page).send("HeapProfiler.collectGarbage")


@contextlib.contextmanager
def _opening(browser: Browser, server: Server, subject: str, *, own_hosts: bool = False) -> Generator[Tabs]:
    """The tabs of a new profile; there are none yet."""
    with contextlib.closing(browser.new_context()) as context:
        context.add_init_script(NOTE_FIRST_UPDATE)
        if subject == EACH:
            without_hub(context)
        yield Tabs(context, server, own_hosts)


@dataclass(frozen=True)
class Gauge:
    """Measures what a tab costs in memory, of `count` tabs and without the first ones.

    Attributes:
        memory: how many bytes are in use.
        unit: the bytes of a unit of the figure.
        count: how many tabs.
    """

    memory: Callable[[], float]
    unit: int
    count: int

    @property
    def first(self) -> int:
        """How many tabs there are when the memory is looked at for the first time."""
        return max(1, self.count // 5)


def _costs(tabs: Tabs, gauges: dict[str, Gauge], settle: float) -> dict[str, float]:
    """Open tabs; returns what one costs, by each of the gauges."""
    found: dict[tuple[str, int], float] = {}
    for number in range(1, max(gauge.count for gauge in gauges.values()) + 1):
        tabs.open()
        if due := {name: gauge for name, gauge in gauges.items() if number in {gauge.first, gauge.count}}:
            tabs.collect_garbage()
            time.sleep(settle)
            found |= {(name, number): gauge.memory() for name, gauge in due.items()}
    return {
        name: (found[name, gauge.count] - found[name, gauge.first]) / (gauge.count - gauge.first) / gauge.unit
        for name, gauge in gauges.items()
    }


def _browser_memory() -> float:
    """Bytes of memory of all processes of the browser: of what they share each has its part."""
    total = 0
    for process in (Path(f"/proc/{pid}") for pid in descendants()):
        with contextlib.suppress(OSError):
            if (process / "exe").readlink().name.startswith("chrom"):
                [pss] = re.findall(r"^Pss: +(\d+) kB", (process / "smaps_rollup").read_text(), re.MULTILINE)
                total += int(pss)
    return 1_024.0 * total


if __name__ == "__main__":
    harness.main(__doc__, add_options, measure)
