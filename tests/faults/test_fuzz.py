"""Whatever is sent to Flash's routes and to the start of a stream: no 500, nothing left behind, the server goes on."""

from __future__ import annotations

import copy
import json
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st

from tests.faults.sockets import flash_run
from tests.support.dash_requests import Callbacks
from tests.support.eventually import eventually_sync
from tests.support.processes import python
from tests.support.wire_client import PageIdentity, cookie, last_opened_in

APP = """
import json
import os

import trio

from flash import Flash, Input, State, html, stream_props

app = Flash(__name__, ping_interval=1, stall_timeout=60, reconnect_grace=0, start_timeout=0.05, pages_per_browser=1000)
app.layout = [html.Button(id="go"), html.Div(id="out")]


@app.event_callback(
    Input("go", "n_clicks"), State("out", "children"), cancel=[(Input("out", "title"), lambda title: title != "stop")]
)
async def go(clicks, text):
    try:
        yield stream_props("out", {"children": clicks})
        await trio.sleep_forever()
    finally:
        pass


@app.server.route("/statistics")
async def statistics():
    tasks = trio.lowlevel.current_statistics().tasks_living
    return json.dumps({"tasks": tasks, "files": len(os.listdir("/proc/self/fd")), "pages": len(app.channels)})
"""

EXAMPLES = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=cast("list[HealthCheck]", list(HealthCheck)),
)


@dataclass
class Target:
    """A server, and a page of it that is connected.

    Attributes:
        port: of the server.
        browser: the page's browser.
        page: its token.
        stream: a stream that runs.
        start: the body of the request that has started it.
        events: the page's connection.
        baseline: tasks, files and pages of the server.
    """

    port: int
    browser: str
    page: str
    stream: str
    start: dict[str, Any]
    events: socket.socket
    baseline: dict[str, int]

    def send(self, data: bytes, *, nothing_more: bool = True) -> int:
        """Send what may be a request, and nothing more; the status of the answer, 0 if there is none."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            try:
                connection.sendall(data)
                if nothing_more:
                    connection.shutdown(socket.SHUT_WR)
                answer = b""
                while b"\r\n" not in answer and (received := connection.recv(65_536)):
                    answer += received
            except (ConnectionResetError, BrokenPipeError):
                return 0
        return int(answer.split()[1]) if answer else 0

    def request(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes = b"") -> int:
        lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers]
        return self.send("\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body, nothing_more=False)

    def post(self, name: str, body: bytes) -> int:
        return self.request("POST", f"/{name}", self.headers, body)

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [("Cookie", cookie(self.browser)), ("Content-Type", "application/json")]

    def statistics(self) -> dict[str, int]:
        return json.loads(fetch(self.port, "/statistics", []))


def fetch(port: int, target: str, headers: list[tuple[str, str]], body: bytes = b"", method: str = "GET") -> bytes:
    """The body of a response that is known to be good."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        lines = [f"{method} {target} HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers]
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    head, _, content = answer.partition(b"\r\n\r\n")
    assert head.split()[1].startswith(b"2"), answer
    return content


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "served.py").write_text(APP)
    with python(folder, *flash_run("--backlog", "1000", "--keep-alive", "1")) as process:
        yield process.wait_for_port()
        assert process.runs


@pytest.fixture
def target(server: int) -> Iterator[Target]:
    """A page with a stream, of which nothing is left in the end."""
    eventually_sync(lambda: json.loads(fetch(server, "/statistics", []))["pages"] == 0)
    baseline = json.loads(fetch(server, "/statistics", []))
    page = PageIdentity()
    headers = [*page.headers, ("Content-Type", "application/json")]
    callbacks = Callbacks(json.loads(fetch(server, "/_dash-dependencies", [])))
    values = {"go": {"n_clicks": 1}, "out": {"children": "text"}, **page.props}
    start = callbacks.request("go", values=values)
    with socket.create_connection(("127.0.0.1", server), timeout=20) as events:
        request = f"GET {page.events} HTTP/1.1\r\nHost: x\r\nCookie: {cookie(page.browser)}\r\n\r\n"
        events.sendall(request.encode())
        received = b""
        while b"event: hello" not in received:
            received += events.recv(65_536)
        fetch(server, page.start, headers, json.dumps(start).encode(), "POST")
        while b"event: open" not in received or not received.endswith(b"\n\n\r\n"):
            received += events.recv(65_536)
        yield Target(server, page.browser, page.token, last_opened_in(received), start, events, baseline)
    left: list[dict[str, int]] = [{}]

    def at_the_baseline() -> bool:
        left[0] = json.loads(fetch(server, "/statistics", []))
        return all(left[0][name] <= baseline[name] for name in baseline)

    try:
        eventually_sync(at_the_baseline)
    except BaseException:
        pytest.fail(f"of {baseline} the server has {left[0]} left")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["go", "out", "_flash", "n_clicks", "", "x" * 3_000, 2**70, -1, 1e308]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
RAW = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([b"", b"{", b"[" * 50_000, b'"\xff\xfe"', b"\xff" * 70_000, b"null", b"NaN", b"1" * 6_000]),
)
QUERY = st.text(st.sampled_from("abzAZ09_-%&=+?#/.;\\\x7f") | st.characters(max_codepoint=255), max_size=60)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            ["Cookie", "Last-Event-ID", "Sec-Fetch-Site", "Content-Type", "Accept", "Origin", "Content-Encoding", "X-A"]
        ),
        st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)
        | st.sampled_from(["cross-site", "flash_browser=x", "application/json", "text/plain; charset=nonsense"]),
    ),
    max_size=4,
)
REFUSED = {400, 403, 404, 405, 409, 413, 414, 429, 431, 415}


def body_of(target: Target, data: st.DataObject, fields: dict[str, Any]) -> bytes:
    """A body that has some of the right fields with right values, and some with anything."""
    if data.draw(st.integers(0, 9), "raw?") == 0:
        return data.draw(RAW)
    body: Any = data.draw(st.dictionaries(st.sampled_from([*fields, "x"]), JSON, max_size=3))
    for name in data.draw(st.sets(st.sampled_from([*fields])), "right"):
        body[name] = fields[name]
    return json.dumps(body).encode()


@pytest.mark.parametrize("name", ["ack", "cancel"])
@EXAMPLES
@given(data=st.data())
def test_bodies(target: Target, name: str, data: st.DataObject) -> None:
    fields: dict[str, Any] = {"page": target.page, "stream": target.stream, "condition": 0, "value": "go on"}
    fields["events"] = {target.page: f"{target.stream.partition('-')[0]}.1"}
    assert target.post(f"_flash/{name}", body_of(target, data, fields)) in {204, *REFUSED}


@EXAMPLES
@given(data=st.data())
def test_bodies_of_close(target: Target, data: st.DataObject) -> None:
    fields: dict[str, Any] = {"page": secrets.token_urlsafe(24)}
    assert target.post("_flash/close", body_of(target, data, fields)) in REFUSED


@pytest.mark.parametrize("name", ["events", "status", "health", "ack", "cancel", "close", "nonsense"])
@settings(EXAMPLES, max_examples=60)
@given(
    method=st.sampled_from(["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"]),
    query=QUERY,
    headers=HEADERS,
    body=RAW,
)
def test_queries_and_headers(
    target: Target, name: str, method: str, query: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    encoded = query.encode("latin-1", "replace").replace(b" ", b"+").decode("latin-1")
    for ending in (
        f"?{encoded}",
        f"?page={encoded}",
        f"?page={target.page}:0:{encoded}",
        f"?page={target.page}:0&page={encoded}",
        encoded,
    ):
        status = target.request(method, f"/_flash/{name}{ending}", headers, body if method == "POST" else b"")
        # 0: not a request at all, for which Hypercorn may close the connection.
        assert status in {0, 200, 204, 301, 308, *REFUSED}, (ending, status)


def mutate(body: Any, data: st.DataObject) -> Any:
    """`body` with something in it replaced, removed or doubled."""
    body = copy.deepcopy(body)
    for _ in range(data.draw(st.integers(1, 3), "mutations")):
        node: Any = body
        parent: Any = None
        key: Any = None
        while isinstance(node, dict | list) and node and (parent is None or data.draw(st.booleans(), "deeper")):
            parent, key = node, data.draw(st.sampled_from([*(node if isinstance(node, dict) else range(len(node)))]))
            node = parent[key]
        if parent is None:
            return data.draw(JSON)
        how = data.draw(st.sampled_from(["replace", "remove", "double"]))
        if how == "remove":
            del parent[key]
        elif how == "double" and isinstance(parent, list):
            parent.append(node)
        else:
            parent[key] = data.draw(JSON)
    return body


@EXAMPLES
@given(data=st.data())
def test_starts_leave_nothing_and_the_server_goes_on(target: Target, data: st.DataObject) -> None:
    body = mutate(target.start, data)
    # 503: it names a page that has no connection.
    assert target.post("_dash-update-component", json.dumps(body).encode()) in {200, 204, 503, *REFUSED}
    # A start as it should be still runs.
    assert target.post("_dash-update-component", json.dumps(target.start).encode()) == 204


@settings(EXAMPLES, max_examples=60)
@given(body=RAW, headers=HEADERS)
def test_starts_that_are_not_json(target: Target, body: bytes, headers: list[tuple[str, str]]) -> None:
    status = target.request("POST", "/_dash-update-component", [*target.headers, *headers], body)
    assert status in {0, *REFUSED}


@settings(EXAMPLES, max_examples=20)
@given(data=st.binary(max_size=300), cut=st.integers(0, 400))
def test_what_is_not_http(target: Target, data: bytes, cut: int) -> None:
    whole = f"POST /_flash/ack HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\nCookie: {cookie(target.browser)}\r\n"
    for sent in (data, whole.encode()[:cut], whole.encode() + b"\r\n" + data, whole.encode() + data):
        assert target.send(sent) in {0, *REFUSED}
