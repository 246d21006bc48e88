"""Updates that come alone on an idle server: what each costs, and how late it is, over HTTP/1.1, TLS and HTTP/2.

    python -m benchmarks.alone [--seconds 2] [--runs 1] [--rounds 7]

Starts Flash and the raw ASGI app on Hypercorn's trio worker in turn, once for each form of HTTP. One page is sent a
hundred updates a second, each with the time at which it was yielded; both wait by `trio.sleep_until`.

Then Flash and an earlier version of it run side by side, each with a page of its own. Both say themselves how long an
update takes from `yield` until its write has returned, and how long a bare write of as many bytes takes in the same
loop, which is the floor. They update in turn, so that what the machine does otherwise falls on both: what counts is the
ratio of their medians, of each round.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import re
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import trustme

from benchmarks import harness
from benchmarks.client import STAMP
from benchmarks.earlier import BEFORE_SHORT_WRITES, earlier
from benchmarks.harness import ROOT, TIMEOUT, Runs, percentile, say, serve
from benchmarks.results import Result
from flash.asgi.tokens import new_token
from tests.support.page import AnyPage
from tests.support.wire_client import PageIdentity, Post, cookie

NAME = "alone"
FLASH, RAW = "Flash", "raw ASGI"
APPS = {
    FLASH: ("flash", "benchmarks.apps.flash_streams:app"),
    RAW: ("hypercorn-trio", "benchmarks.apps.raw:app"),
}
FORMS = ("HTTP/1.1", "TLS", "HTTP/2")
CPU, LATE, MEDIAN = "server CPU per update", "p99 from yield to client", "median from yield to client"

EARLIER, BARE = "Flash before", "a bare write of as many bytes"
TO_SOCKET, OF_EARLIER = "from yield to the end of the write", "from yield to the end of the write, of Flash before"
TOOK = re.compile(rb"nanoseconds: (\d+), (\d+)")

INTERVAL = 0.01

PAUSE = 0.003
"""Seconds between an update and a bare write, which are timed in turn."""

SMALL = ["--seconds", "0.3", "--rounds", "1", "--updates", "20", "--forms", "HTTP/2"]
"""Options by which the benchmark only shows that it works."""


@dataclass(frozen=True)
class Certificate:
    """A file with a certificate for the server and its key, and what makes the client trust it."""

    file: Path
    trust: ssl.SSLContext


class Connection:
    """One response that does not end, over any form of HTTP.

    Attributes:
        late: by how many nanoseconds each update was late that has come.
    """

    def __init__(self, port: int, form: str, certificate: Certificate, target: str, browser: str) -> None:
        self.late: list[int] = []
        self._http2: h2.connection.H2Connection | None = None
        self._socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        if form != "HTTP/1.1":
            certificate.trust.set_alpn_protocols(["h2" if form == "HTTP/2" else "http/1.1"])
            self._socket = certificate.trust.wrap_socket(self._socket, server_hostname="127.0.0.1")
        if form != "HTTP/2":
            head = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie(browser)}\r\n\r\n"
            self._socket.sendall(head.encode())
            return
        self._http2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._http2.initiate_connection()
        pseudo = [(":method", "GET"), (":path", target), (":scheme", "https"), (":authority", "127.0.0.1")]
        self._http2.send_headers(1, [*pseudo, ("cookie", cookie(browser))], end_stream=True)
        self._socket.sendall(self._http2.data_to_send())

    def read(self) -> bytes:
        """Take in what comes next, and return it."""
        data, now = self._socket.recv(1 << 18), time.monotonic_ns()
        assert data, "the server has ended the response"
        if self._http2 is not None:
            data = b"".join(self._bodies(self._http2, data))
        self.late.extend(now - int(stamp) for stamp in STAMP.findall(data))
        return data

    def read_until(self, come: Callable[[], bool]) -> None:
        """Take in what comes until `come()`."""
        while not come():
            self.read()

    def close(self) -> None:
        self._socket.close()

    def _bodies(self, http2: h2.connection.H2Connection, data: bytes) -> Generator[bytes]:
        for event in http2.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                http2.acknowledge_received_data(event.flow_controlled_length or 0, 1)
                yield event.data or b""
        if answer := http2.data_to_send():
            self._socket.sendall(answer)


class Page(AnyPage[None]):
    """A page of Flash, whose requests go over a connection of their own."""

    def __init__(self, requests: http.client.HTTPConnection) -> None:
        self._requests = requests
        self._ask("GET", "/", b"", {})
        dependencies = json.loads(self._ask("GET", "/_dash-dependencies", b"", {}))
        super().__init__(PageIdentity(browser=new_token()), dependencies)

    def send(self, post: Post) -> None:
        headers = {"Cookie": cookie(self.identity.browser), "Content-Type": "application/json"}
        self._ask("POST", post.target, post.body, headers | dict(post.headers))

    def _ask(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> bytes:
        self._requests.request(method, target, body, headers)
        response = self._requests.getresponse()
        answer = response.read()
        assert response.status < 300, (target, response.status, answer)
        return answer


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS, help="of HTTP")
    parser.add_argument("--rounds", type=int, default=7, help="of Flash and its earlier version, in turn")
    parser.add_argument("--updates", type=int, default=120, help="in each round")


def measure(options: argparse.Namespace) -> list[Result]:
    runs: dict[str, Runs] = {form: Runs() for form in options.forms}
    to_socket: dict[str, Runs] = {}
    with _certificate() as certificate, earlier(BEFORE_SHORT_WRITES) as before:
        for number in range(options.runs):
            say(f"{NAME}: run {number + 1} of {options.runs}")
            for form in options.forms:
                for subject in APPS:
                    _measure(runs[form], subject, form, certificate, options.seconds)
        if before is not None:
            for form in options.forms:
                say(f"{NAME}: {TO_SOCKET}, {form}, {options.rounds} rounds")
                to_socket[form] = _measure_to_socket(options, form, certificate, before)
    found = [
        runs[form].result(f"{NAME}: {form}", FLASH, figure, unit, reference=RAW)
        for form in options.forms
        if options.runs
        for figure, unit in ((CPU, "us"), (MEDIAN, "ms"), (LATE, "ms"))
    ]
    for form, of_form in to_socket.items():
        name = f"{NAME}: {TO_SOCKET}, {form}"
        found += [
            of_form.result(name, FLASH, TO_SOCKET, "us", reference=EARLIER),
            of_form.result(name, BARE, TO_SOCKET, "us", reference=EARLIER),
            of_form.result(name, FLASH, f"{OF_EARLIER}, {form}", "x", at_most=0.6, goal="alone"),
        ]
    return found


def _measure(runs: Runs, subject: str, form: str, certificate: Certificate, seconds: float) -> None:
    kind, app = APPS[subject]
    file = None if form == "HTTP/1.1" else certificate.file
    with serve(kind, app, certificate=file) as server, contextlib.ExitStack() as closing:
        connect = partial(Connection, server.port, form, certificate)
        if subject == FLASH:
            requests = _requests(server.port, None if file is None else certificate.trust)
            page = Page(closing.enter_context(contextlib.closing(requests)))
            connection = closing.enter_context(contextlib.closing(connect(page.identity.events, page.identity.browser)))
            connection.read()
            page.start("tick0", value={"interval": INTERVAL, "sleeps": True})
        else:
            target = f"/ticks?interval={INTERVAL}&streams=1"
            connection = closing.enter_context(contextlib.closing(connect(target, new_token())))
        late = connection.late
        connection.read_until(lambda: len(late) >= min(50, seconds / INTERVAL))
        late.clear()
        cpu, end = server.cpu(), time.monotonic() + seconds
        connection.read_until(lambda: time.monotonic() >= end and bool(late))
        figures = {
            CPU: (server.cpu() - cpu) / len(late) * 1e6,
            MEDIAN: percentile(late, 0.5) / 1e6,
            LATE: percentile(late, 0.99) / 1e6,
        }
        runs.add(subject, **figures)


def _measure_to_socket(options: argparse.Namespace, form: str, certificate: Certificate, before: Path) -> Runs:
    """Times of Flash and its earlier version, in turn: both have a page at the same time, and the machine to share.

    The client reads nothing until a round is over: it would be woken in the midst of each write.
    """
    runs, file = Runs(), None if form == "HTTP/1.1" else certificate.file
    with contextlib.ExitStack() as closing:
        servers = {
            subject: closing.enter_context(
                serve("flash, writes noted", "benchmarks.apps.flash_alone:app", folder=folder, certificate=file)
            )
            for subject, folder in ((FLASH, ROOT), (EARLIER, before))
        }
        for _ in range(options.rounds):
            with contextlib.ExitStack() as closing_round:
                started: dict[str, Connection] = {}
                for subject, server in servers.items():
                    started[subject] = _start(closing_round, server.port, form, certificate, options.updates)
                    time.sleep(PAUSE / 2)
                time.sleep(2 * PAUSE * options.updates)
                took = {subject: _took(connection) for subject, connection in started.items()}
            for subject, (update, _) in took.items():
                runs.add(subject, **{TO_SOCKET: update})
            runs.add(BARE, **{TO_SOCKET: took[FLASH][1]})
            runs.add(FLASH, **{f"{OF_EARLIER}, {form}": took[FLASH][0] / took[EARLIER][0]})
    return runs


def _start(closing: contextlib.ExitStack, port: int, form: str, certificate: Certificate, updates: int) -> Connection:
    """Have a new page started, and return its link."""
    listening = closing.enter_context(socket.create_server(("127.0.0.1", 0)))
    trust = None if form == "HTTP/1.1" else certificate.trust
    page = Page(closing.enter_context(contextlib.closing(_requests(port, trust))))
    identity = page.identity
    connection = Connection(port, form, certificate, identity.events, identity.browser)
    closing.enter_context(contextlib.closing(connection))
    connection.read()
    page.start("tick0", value={"updates": updates, "pause": PAUSE, "port": listening.getsockname()[1]})
    return connection


def _took(connection: Connection) -> tuple[float, float]:
    """The microseconds that an update and a bare write took."""
    text = b""
    while (took := TOOK.search(text)) is None:
        assert b"event: end" not in text, text
        text += connection.read()
    return int(took[1]) / 1_000, int(took[2]) / 1_000


def _requests(port: int, trust: ssl.SSLContext | None) -> http.client.HTTPConnection:
    if trust is None:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    trust.set_alpn_protocols(["http/1.1"])
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT, context=trust)


@contextlib.contextmanager
def _certificate() -> Generator[Certificate]:
    authority = trustme.CA()
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "certificate.pem"
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(file))
        yield Certificate(file, trust)


if __name__ == "__main__":
    harness.main(__doc__, add_options, measure)
