"""Updates that come alone on an idle server: what each costs, and how late it is, over HTTP/1.1, TLS and HTTP/2.

    python -m benchmarks.alone [--seconds 6] [--runs 2]

Starts Flash and the raw ASGI app on Hypercorn's trio worker in turn, once for each form of HTTP. One page is sent a
hundred updates a second, each with the time at which it was yielded; both wait by `trio.sleep_until`.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
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
from benchmarks.harness import TIMEOUT, Runs, percentile, say, serve
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

INTERVAL = 0.01

SMALL = ["--seconds", "0.3", "--runs", "1"]
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

    def read(self) -> None:
        """Take in what comes next."""
        data, now = self._socket.recv(1 << 18), time.monotonic_ns()
        assert data, "the server has ended the response"
        if self._http2 is not None:
            data = b"".join(self._bodies(self._http2, data))
        self.late.extend(now - int(stamp) for stamp in STAMP.findall(data))

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
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--runs", type=int, default=1)


def measure(options: argparse.Namespace) -> list[Result]:
    runs: dict[str, Runs] = {form: Runs() for form in FORMS}
    with _certificate() as certificate:
        for number in range(options.runs):
            say(f"{NAME}: run {number + 1} of {options.runs}")
            for form in FORMS:
                for subject in APPS:
                    _measure(runs[form], subject, form, certificate, options.seconds)
    return [
        runs[form].result(f"{NAME}: {form}", FLASH, figure, unit, reference=RAW)
        for form in FORMS
        for figure, unit in ((CPU, "us"), (MEDIAN, "ms"), (LATE, "ms"))
    ]


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
            page.start("tick0", value={"interval": INTERVAL, "begin": time.monotonic(), "sleeps": True})
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
