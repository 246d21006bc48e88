"""How long a stream lives on when it is cancelled.

    python -m benchmarks.cancel [--cancels 200] [--streams 1000] [--clicks 60] [--runs 3] [--no-dash]

Starts Flash, and one after the other streams that wait for ever, each of which is cancelled by the request that a page
sends: with nothing else to do, and with `--streams` other streams, ten to a page, of 1 update/s each. Measured in the
server's process, by one clock: from the moment at which the app is given the request to the generator's `finally`. From
the client's sending it is a little more, also shown.

In Chromium, while the server has nothing else to do: from the click on a button to `reset_props` in the page.

The reference is the cancelling of a streaming callback of Dash 4.5.0rc2, multiplexed, on FastAPI with uvicorn, which
looks for it every two seconds; from the sending of the request, a few times.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time

from playwright.sync_api import Browser

from benchmarks import harness
from benchmarks.apps.settings import STREAMS
from benchmarks.chromium import browse
from benchmarks.client import Client, Dependencies, FlashPage
from benchmarks.harness import Runs, Server, add_no_dash, percentile, say, serve
from benchmarks.one_stream import StreamingPage
from benchmarks.results import Result
from tests.support.chromium import launched
from tests.support.wire_client import last_opened_in

NAME = "cancel"
QUIET, BUSY, BROWSER, DASH = "quiet server", "other streams active", "in Chromium", "Dash 4.5.0rc2, multiplexed"
FINALLY, SENT, CLICK = "p99 to finally", "p99 from sending to finally", "p99 from click to reset_props"
DASH_CANCELS = 5

SMALL = ["--cancels", "5", "--streams", "10", "--clicks", "3", "--runs", "1"]
"""Options by which the benchmark only shows that it works."""

CYCLE = """
async ([clicks]) => {
    const shown = document.getElementById('waiting'), took = [];
    const shows = text => new Promise(resolve => {
        const check = () => shown.textContent === text && (observer.disconnect(), resolve(performance.now()));
        const observer = new MutationObserver(check);
        observer.observe(shown, {childList: true, characterData: true, subtree: true});
        check();
    });
    for (let n = 0; n < clicks; n++) {
        document.getElementById('wait').click();
        await shows('running');
        // Not in the same breath: as a user would.
        await new Promise(resolve => setTimeout(resolve, 10 + 20 * Math.random()));
        const began = performance.now();
        document.getElementById('stop').click();
        took.push(await shows('reset') - began);
    }
    return took;
}
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cancels", type=int, default=200)
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument("--clicks", type=int, default=60)
    parser.add_argument("--runs", type=int, default=3)
    add_no_dash(parser)


def measure(options: argparse.Namespace) -> list[Result]:
    runs = Runs()
    with launched() as browser:
        for number in range(options.runs):
            say(f"{NAME}: run {number + 1} of {options.runs}")
            _flash(runs, browser, options)
    if not options.no_dash:
        _dash(runs, DASH_CANCELS)
    return [
        runs.result(NAME, QUIET, FINALLY, "ms", at_most=2),
        runs.result(NAME, QUIET, SENT, "ms", reference=DASH),
        runs.result(NAME, BUSY, FINALLY, "ms", at_most=20),
        runs.result(NAME, BUSY, SENT, "ms"),
        runs.result(NAME, BROWSER, CLICK, "ms", at_most=50),
    ]


def _flash(runs: Runs, browser: Browser, options: argparse.Namespace) -> None:
    with serve("flash", "benchmarks.apps.flash_cancel:app") as server, Client(server.port) as client:
        dependencies = Dependencies(client)
        _cancel_each(client, dependencies, min(20, options.cancels))
        runs.add(QUIET, **_cancel_each(client, dependencies, options.cancels))
        runs.add(BROWSER, **{CLICK: _click(browser, server, options.clicks)})
        _keep_busy(client, dependencies, options.streams)
        runs.add(BUSY, **_cancel_each(client, dependencies, options.cancels))
        assert not client.refused, client.refused[:3]


def _cancel_each(client: Client, dependencies: Dependencies, cancels: int) -> dict[str, float]:
    """Start and cancel one stream after the other."""
    took: list[float] = []
    took_since_sent: list[float] = []
    stream, sent = "", 0

    def take(block: bytes, now: int) -> None:
        nonlocal stream, sent
        stream = last_opened_in(block) or stream
        if b'"running"' in block:
            # Not at once: nothing that the start has left is to be paid for by the cancel.
            client.after(random.uniform(0.002, 0.01), cancel)
        if ended := re.search(rb'"times",\{"children":"(\d+) (\d+)"', block):
            arrived, unwound = int(ended[1]), int(ended[2])
            took.append((unwound - arrived) / 1e6)
            took_since_sent.append((unwound - sent) / 1e6)

    page = FlashPage(client, dependencies, take)
    page.set("stop", n_clicks=None)

    def cancel() -> None:
        nonlocal sent
        sent = time.monotonic_ns()
        page.cancel(stream)

    client.run(lambda: page.greeted)
    for number in range(cancels):
        page.start("wait")
        client.run(lambda number=number: len(took) > number)
    return {FINALLY: percentile(took, 0.99), SENT: percentile(took_since_sent, 0.99)}


def _keep_busy(client: Client, dependencies: Dependencies, streams: int) -> None:
    for _ in range(streams // STREAMS):
        page = FlashPage(client, dependencies, lambda block, now: None)
        client.run(lambda page=page: page.greeted)
        for number in range(STREAMS):
            page.start(f"tick{number}", value={"interval": 1.0, "begin": time.monotonic() + random.random()})
    client.run(client.idle)


def _click(browser: Browser, server: Server, clicks: int) -> float:
    """The 99th percentile of the milliseconds from a click to what it resets."""
    with browse(browser, f"http://127.0.0.1:{server.port}/") as page:
        page.wait_for_selector("#waiting", state="attached")
        page.evaluate(CYCLE, [min(10, clicks)])
        return percentile(page.evaluate(CYCLE, [clicks]), 0.99)


def _dash(runs: Runs, cancels: int) -> None:
    with (
        serve("uvicorn", "benchmarks.apps.dash_streaming:server", "dash-4.5.0rc2") as server,
        Client(server.port) as client,
    ):
        page, dependencies = StreamingPage(client), Dependencies(client)
        took: list[float] = []
        for number in range(cancels):
            seen: list[bytes] = []
            page.on_lines = lambda lines, now, seen=seen: seen.append(lines)
            request = page.start(dependencies.click("wait", number + 1))
            client.run(lambda seen=seen: any(b'"children"' in lines for lines in seen))
            seen.clear()
            client.run_for(random.uniform(0.0, 2.0))
            sent = time.monotonic_ns()
            page.cancel(request)
            client.run(lambda seen=seen: bool(seen))
            (ended,) = json.loads(client.get("/ended"))
            took.append((ended - sent) / 1e6)
        runs.add(DASH, **{SENT: percentile(took, 0.99)})


if __name__ == "__main__":
    harness.main(__doc__, add_options, measure)
