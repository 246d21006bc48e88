"""Several workers beside one process: what they add to the cost of an update and of a request, and what they can bear.

    python -m benchmarks.workers [--pages 1000] [--seconds 15] [--runs 3] [--rush 4] [--requests 2000] [--tabs 100]

Three loads:

- `--pages` pages, each of a browser of its own, with 10 streams of 1 update/s each; in one process and with two
  workers, in turn. Connections come to either worker, so half of the requests are sent on. Then each stream is to yield
  ten times as often, which is more than two workers can do: that is *saturation*. The rate is that of the updates that
  have left the server. Whoever counted them meanwhile would need a processor, too. So the client sleeps through
  `--rush` seconds, while the kernel keeps what comes for it, and counts afterwards, by the times at which the updates
  were yielded.
- Requests of a page, acknowledgements, over a connection to the worker that holds its browser, and over one to the
  other worker, in turn: what being sent on adds.
- Links that are direct; such that have come to the other worker, which hands them over; and such that cannot be handed
  over, so that all they bring is sent on, as over HTTP/2, with TLS, or to another machine. In each case that of a page
  with a stream without pause, and those of `--tabs` pages with a stream of 2 updates/s each. Beside these comes one
  more that does not read its link.

CPU is that of all processes of a server together.
"""

from __future__ import annotations

import argparse
import http.client
import socket
import time

from benchmarks import harness
from benchmarks.apps.settings import STREAMS
from benchmarks.client import STAMP, Client, Dependencies, FlashPage, OnEvents
from benchmarks.harness import TIMEOUT, Runs, Server, percentile, say, serve
from benchmarks.one_stream import Counter
from benchmarks.results import Result
from flash.asgi.tokens import new_token
from tests.support.wire_client import Headers

NAME = "workers"
APP = "benchmarks.apps.flash_workers:app"
ONE, TWO = "one process", "two workers"
DIRECT, SENT_ON, HANDED_OVER = "direct", "sent on", "handed over"
CPU, BUSY, RATE = "server CPU per update", "CPUs in use", "rate"
LATE, LATE_BESIDE = "p99 from yield to client", "p99 beside a page that does not read"
MEDIAN, P99 = "p50", "p99"

INTERVAL = 1.0
"""Seconds between the updates of a stream."""

TAB_INTERVAL = 0.5
"""Seconds between the updates of a page whose link is direct, or handed over."""

HANDFUL = 10
"""Pages that are loaded at a time."""

STAYING = [("Content-Length", "0")]
"""Headers of a request for a link whose connection is not handed over: it may have a body."""

ENDLESS = 10**9
"""Updates of a stream that goes on as long as it is let."""

SMALL = ["--pages=10", "--runs=1", "--seconds=0.5", "--rush=0.5", "--settle=0.1", "--requests=20", "--tabs=2"]
"""Options by which the benchmark only shows that it works."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pages", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=15.0, help="of a measuring: Flash's ping interval")
    parser.add_argument("--rush", type=float, default=4.0, help="seconds of saturation")
    parser.add_argument("--runs", type=int, default=3, help="of one process and of two workers, in turn")
    parser.add_argument("--settle", type=float, default=1.0, help="seconds before a measuring")
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--tabs", type=int, default=100)
    parser.add_argument("--burst", type=int, default=100_000, help="updates of a stream without pause")


def measure(options: argparse.Namespace) -> list[Result]:
    many, rush, requests, links, burst = Runs(), Runs(), Runs(), Runs(), Runs()
    # In turn: one run of a process and the next differ by a tenth.
    for subject in (ONE, TWO) * options.runs:
        say(f"{NAME}: {options.pages} pages, {subject}")
        _many_pages(many, rush, subject, options)
    say(f"{NAME}: requests and links that are sent on, links that are handed over")
    with serve("flash-2-workers", APP) as server, ChoosingClient(server) as client:
        _requests(requests, client, options.requests)
        for subject in (DIRECT, HANDED_OVER, SENT_ON):
            _links(links, burst, subject, server, client, options)
    load = f"{NAME}: {options.pages} x {STREAMS} streams"
    request, several, single = (f"{NAME}: {what}" for what in ("a request", f"{options.tabs} links", "a full link"))
    return [
        many.result(f"{load} x 1/s", TWO, CPU, "us", reference=ONE, at_most=1.15, of_ratio=True),
        many.result(f"{load} x 1/s", TWO, LATE, "ms", reference=ONE),
        many.result(f"{load} x 1/s", TWO, BUSY, "", reference=ONE),
        rush.result(f"{load}, saturated", TWO, RATE, "updates/s", reference=ONE, at_least=1.7, of_ratio=True),
        rush.result(f"{load}, saturated", TWO, CPU, "us", reference=ONE),
        rush.result(f"{load}, saturated", TWO, BUSY, "", reference=ONE),
        requests.result(request, SENT_ON, MEDIAN, "ms", reference=DIRECT),
        requests.result(request, SENT_ON, P99, "ms", reference=DIRECT),
        _added(request, requests, MEDIAN),
        _added(request, requests, P99),
        links.result(several, DIRECT, LATE_BESIDE, "ms"),
        *(
            result
            for subject in (HANDED_OVER, SENT_ON)
            for result in (
                links.result(several, subject, CPU, "us", reference=DIRECT),
                links.result(several, subject, LATE, "ms", reference=DIRECT),
                links.result(several, subject, LATE_BESIDE, "ms", reference=DIRECT),
                burst.result(single, subject, RATE, "updates/s", reference=DIRECT),
                burst.result(single, subject, CPU, "us", reference=DIRECT),
            )
        ),
    ]


def _added(name: str, runs: Runs, figure: str) -> Result:
    added = runs.median(SENT_ON, figure) - runs.median(DIRECT, figure)
    return Result(name=name, subject="added by being sent on", metric=figure, unit="ms", value=added)


class Arrivals:
    """When the updates that have come were yielded, and how late they were, in nanoseconds."""

    def __init__(self) -> None:
        self.yielded: list[int] = []
        self.late: list[int] = []

    def take(self, block: bytes, now: int) -> None:
        yielded = [int(stamp) for stamp in STAMP.findall(block)]
        self.yielded += yielded
        self.late += [now - at for at in yielded]

    def clear(self) -> None:
        self.yielded.clear()
        self.late.clear()


def tell_workers(client: Client, path: str, count: int) -> list[int]:
    """Have so many workers answer a request, as soon as all of them serve; returns their process ids."""
    answered: dict[int, None] = {}
    while len(answered) < count:
        answered[int(client.get(path))] = None
    return list(answered)


class Watch:
    """What a server uses from now on, until it is stopped."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._began = time.monotonic_ns()
        self._used = server.cpu()

    def stop(self) -> None:
        self._used = self._server.cpu() - self._used
        self._ended = time.monotonic_ns()

    def covers(self, moment: int) -> bool:
        """Whether something that happened then happened meanwhile."""
        return self._began <= moment <= self._ended

    def figures(self, updates: int) -> dict[str, float]:
        """What it has used, for so many updates."""
        took = (self._ended - self._began) / 1e9
        return {CPU: self._used / updates * 1e6, BUSY: self._used / took, RATE: updates / took}


def _load_pages(count: int, client: Client, arrivals: Arrivals) -> None:
    """Load so many pages, each of a browser of its own, and start their streams."""
    dependencies = Dependencies(client)
    for begin in range(0, count, HANDFUL):
        # A few at a time: acknowledgements are not to queue behind thousands of starts.
        pages = [FlashPage(client, dependencies, arrivals.take) for _ in range(min(HANDFUL, count - begin))]
        client.run(lambda pages=pages: all(page.greeted for page in pages))
        for page in pages:
            for number in range(STREAMS):
                page.start(f"tick{number}", value=INTERVAL)
        client.run(client.idle)


def _watch(server: Server, client: Client, arrivals: Arrivals, settle: float, seconds: float) -> dict[str, float]:
    """What the updates of so many seconds cost, and how late they are."""
    client.run_for(INTERVAL + settle)
    arrivals.clear()
    watch = Watch(server)
    client.run_for(seconds)
    # In a short time on a busy machine nothing may have come.
    client.run(lambda: bool(arrivals.late))
    watch.stop()
    return {**watch.figures(len(arrivals.late)), LATE: percentile(arrivals.late, 0.99) / 1e6}


def _many_pages(many: Runs, rush: Runs, subject: str, options: argparse.Namespace) -> None:
    workers = 2 if subject == TWO else 1
    with serve("flash-2-workers" if subject == TWO else "flash", APP) as server, Client(server.port) as client:
        tell_workers(client, "/pid", workers)
        arrivals = Arrivals()
        _load_pages(options.pages, client, arrivals)
        tell_workers(client, "/begin", workers)
        many.add(subject, **_watch(server, client, arrivals, options.settle, options.seconds))
        tell_workers(client, "/rush", workers)
        rush.add(subject, **_saturate(server, client, arrivals, options.settle, options.rush))
        assert not client.refused, client.refused[:3]


def _saturate(server: Server, client: Client, arrivals: Arrivals, settle: float, seconds: float) -> dict[str, float]:
    """What a server does that has too much to do."""
    # Until every stream ticks faster, and is behind.
    client.run_for(INTERVAL + settle)
    arrivals.clear()
    watch = Watch(server)
    time.sleep(seconds)
    watch.stop()
    client.run(lambda: any(map(watch.covers, arrivals.yielded)))
    # And until nothing comes any more that was yielded meanwhile.
    counted, before = 1, 0
    while counted > before:
        client.run_for(settle)
        counted, before = sum(map(watch.covers, arrivals.yielded)), counted
    return watch.figures(counted)


class ChoosingClient(Client):
    """A client of two workers, which chooses the one that its next connections come to.

    Attributes:
        worker: the process id of that worker.
        workers: the ids of both.
    """

    def __init__(self, server: Server) -> None:
        super().__init__(server.port)
        self.workers = tell_workers(self, "/begin", 2)
        self.worker = self.workers[0]
        self._others: list[http.client.HTTPConnection] = []

    def __exit__(self, *exception: object) -> None:
        for connection in self._others:
            connection.close()
        super().__exit__(*exception)

    def connect(self) -> socket.socket:
        """A connection to that worker."""
        return self.open(self.worker).sock

    def open(self, worker: int) -> http.client.HTTPConnection:
        """A connection that has come to a worker.

        Connections come to the worker that has the fewest. So those that have come to the other one stay open.
        """
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
            connection.request("GET", "/pid")
            if int(connection.getresponse().read()) == worker:
                return connection
            self._others.append(connection)


def _requests(runs: Runs, client: ChoosingClient, count: int) -> None:
    """Acknowledge the same event again and again: on the way that is direct, and on the one that is not, in turn."""
    holder, other = client.workers
    page = FlashPage(client, Dependencies(client), lambda block, now: None)
    page.start("burst", value=0)
    client.run(lambda: bool(page.applied))
    post = page.identity.acknowledge(page.applied.decode())
    headers = {**dict(page.identity.headers), "Content-Type": "application/json"}
    ways = {DIRECT: client.open(holder), SENT_ON: client.open(other)}
    took = {subject: list[float]() for subject in ways}
    for _ in range(count):
        for subject, connection in ways.items():
            began = time.monotonic_ns()
            connection.request("POST", post.target, post.body, headers)
            response = connection.getresponse()
            response.read()
            took[subject].append((time.monotonic_ns() - began) / 1e6)
            assert response.status == 204, response.status
    for subject, connection in ways.items():
        connection.close()
        # The first ones are slower.
        settled = took[subject][count // 10 :]
        runs.add(subject, **{MEDIAN: percentile(settled, 0.5), P99: percentile(settled, 0.99)})


def _links(
    links: Runs, burst: Runs, subject: str, server: Server, client: ChoosingClient, options: argparse.Namespace
) -> None:
    """The pages of one browser: the first one's link is direct, so that its worker holds the browser."""
    arrivals, dependencies, browser = Arrivals(), Dependencies(client), new_token()
    holder, other = client.workers

    def load(count: int, on_events: OnEvents, headers: Headers = ()) -> list[FlashPage]:
        pages = [
            FlashPage(client, dependencies, on_events, browser=browser, link_headers=headers) for _ in range(count)
        ]
        client.run(lambda: all(page.greeted for page in pages))
        return pages

    (first,) = load(1, lambda block, now: None)
    client.worker = holder if subject == DIRECT else other
    headers = STAYING if subject == SENT_ON else ()
    (hasty,) = load(1, lambda block, now: None, headers)
    for updates in (options.burst // 10, options.burst):
        counter = Counter()
        hasty.on_events = counter.take
        watch = Watch(server)
        hasty.start("burst", value=updates)
        client.run(lambda counter=counter: counter.over)
        watch.stop()
    # The first ones were to warm up.
    burst.add(subject, **watch.figures(counter.updates))
    tabs = load(options.tabs, arrivals.take, headers)
    for tab in tabs:
        tab.start("tick0", value=TAB_INTERVAL)
    links.add(subject, **_watch(server, client, arrivals, options.settle, options.seconds / 3))
    (deaf,) = load(1, lambda block, now: None, headers)
    deaf.start("burst", value=ENDLESS)
    deaf.stream.ignore()
    links.add(subject, **{LATE_BESIDE: _watch(server, client, arrivals, options.settle, options.seconds / 5)[LATE]})
    assert not client.refused, client.refused[:3]
    for page in (first, hasty, *tabs, deaf):
        page.leave()
    client.run(client.idle)
    # An acknowledgement may have been under way when its page left.
    client.refused.clear()


if __name__ == "__main__":
    harness.main(__doc__, add_options, measure)
