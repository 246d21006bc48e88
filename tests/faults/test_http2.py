"""TLS and HTTP/2: a page's connection and its callbacks share one, which the server closes now and then."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from playwright.sync_api import Browser, Page as Tab, expect

from flash import Flash, Input, Update, _hypercorn_http2, html, stream_props
from tests.faults.conftest import Certificate, Serve
from tests.faults.http2 import Http2
from tests.faults.sockets import Page, flash_run
from tests.support.browser import chromium
from tests.support.eventually import TIMEOUT, eventually
from tests.support.link import Link
from tests.support.processes import Process, python

__all__ = ["chromium"]

STREAMS = 8

APP = f"""
import trio

from flash import Flash, Input, Output, Patch, html, stream_props

app = Flash(__name__, ping_interval=1, stall_timeout=60)
app.layout = html.Div(
    [html.Button("Go", id="go"), html.Button("Ask", id="ask"), html.Div(id="answer")]
    + [html.Pre(id=f"out{{n}}", children=[]) for n in range({STREAMS})]
    + [html.Button("Count", id="count"), html.Pre(id="counter", children=[])]
)


def appended(number):
    patch = Patch()
    patch.append(f"{{number}} ")
    return {{"children": patch}}


def declare(n):
    @app.event_callback(Input("go", "n_clicks"))
    async def stream(clicks):
        for number in range(30):
            yield stream_props(f"out{{n}}", appended(number))
            await trio.sleep(0.02)


for n in range({STREAMS}):
    declare(n)


@app.event_callback(Input("count", "n_clicks"))
async def count(clicks):
    number = 0
    while not over:
        yield stream_props("counter", appended(number))
        number += 1
        await trio.sleep(0.02)
    yield stream_props("counter", appended("over"))


over = []


@app.callback(Output("answer", "children"), Input("ask", "n_clicks"), prevent_initial_call=True)
async def answer(clicks):
    if clicks < 0:
        over.append(True)
    return f"answer {{clicks}}"
"""


@pytest.fixture
def server(tmp_path: Path, certificate: Certificate) -> Iterator[Process]:
    """`flash run` with TLS."""
    (tmp_path / "served.py").write_text(APP)
    options = ("--certfile", certificate.certfile, "--keyfile", certificate.keyfile)
    with python(tmp_path, *flash_run(*options)) as process:
        process.wait_for_port()
        yield process


@pytest.fixture
def tab(chromium: Browser, server: Process) -> Iterator[Tab]:
    """The app in a browser that does not mind who signed its certificate."""
    context = chromium.new_context(ignore_https_errors=True)
    context.set_default_timeout(TIMEOUT * 1000)
    page = context.new_page()
    page.goto(f"https://127.0.0.1:{server.ports[-1]}/")
    expect(page.locator("#go")).to_be_visible(timeout=TIMEOUT * 1000)
    yield page
    context.close()


def protocols(tab: Tab) -> set[str]:
    """What the page and everything that it loaded came with."""
    entries = "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
    return set(tab.evaluate(f"{entries}.map(entry => entry.nextHopProtocol).filter(name => name !== '')"))


def counted(tab: Tab, component: str) -> list[str]:
    return tab.locator(component).inner_text().split()


def test_many_streams_of_a_page_run_at_once_over_http2_in_chromium(tab: Tab) -> None:
    tab.click("#go")
    wanted = [str(number) for number in range(30)]
    for n in range(STREAMS):
        expect(tab.locator(f"#out{n}")).to_contain_text("29", timeout=TIMEOUT * 1000)
        assert counted(tab, f"#out{n}") == wanted
    # Over HTTP/1.1 the browser would have had six connections for nine event streams.
    assert protocols(tab) == {"h2"}


ASK = """async () => {
    const dependencies = await (await fetch('/_dash-dependencies')).json();
    const {output} = dependencies.find(entry => entry.inputs.some(input => input.id === 'ask'));
    const ask = async clicks => {
        const body = {
            output,
            outputs: {id: 'answer', property: 'children'},
            inputs: [{id: 'ask', property: 'n_clicks', value: clicks}],
            changedPropIds: ['ask.n_clicks']
        };
        for (;;) {
            try {
                const response = await fetch('/_dash-update-component', {
                    method: 'POST',
                    headers: {'Content-Type': 'application/json'},
                    body: JSON.stringify(body)
                });
                return (await response.json()).response.answer.children;
            } catch {
                // The connection was closed under the request.
                await new Promise(resolve => setTimeout(resolve, 50));
            }
        }
    };
    const answers = new Set();
    for (let first = 0; first < 1001; first += 20) {
        const batch = Array.from({length: Math.min(20, 1001 - first)}, (_, n) => ask(first + n));
        (await Promise.all(batch)).forEach(text => answers.add(text));
    }
    return answers.size;
}"""


def test_1001_callbacks_on_the_connection_of_a_running_stream_lose_none_of_its_numbers_in_chromium(tab: Tab) -> None:
    closed: list[str] = []
    tab.on("requestfailed", lambda request: closed.append(request.url))
    tab.on("requestfinished", lambda request: closed.append(request.url))
    tab.click("#count")
    expect(tab.locator("#counter")).to_contain_text("3")
    assert tab.evaluate(ASK) == 1_001
    so_far = int(counted(tab, "#counter")[-1])
    tab.wait_for_function(
        "last => Number(document.querySelector('#counter').innerText.trim().split(/\\s+/).at(-1)) > last",
        arg=so_far + 50,
    )
    # The server has closed the connection, or this would test nothing.
    assert any("_flash/events" in url for url in closed)
    numbers = counted(tab, "#counter")
    assert numbers == [str(number) for number in range(len(numbers))]
    assert protocols(tab) == {"h2"}


def counting(enough: Callable[[int], bool], **options: Any) -> Flash:
    """An app with eight event callbacks that count until it is enough."""
    app = Flash(__name__, **options)
    app.layout = [html.Button(id=f"go{n}") for n in range(STREAMS)]

    def declare(n: int) -> None:
        @app.event_callback(Input(f"go{n}", "n_clicks"))
        async def count(clicks: int) -> AsyncIterator[Update]:
            number = 0
            while not enough(number):
                yield stream_props(f"go{n}", {"children": number})
                number += 1
                await trio.sleep(0.005)

    for n in range(STREAMS):
        declare(n)
    return app


async def collect(events: Link, names: dict[str, str], got: dict[str, list[int]], ends: list[str]) -> None:
    """Read until all streams have ended, or the connection is over."""
    while len(ends) < STREAMS:
        event = await events.next()
        if event.name == "open":
            names[event.data["stream"]] = event.data["callback_id"]
        elif event.name == "props":
            numbers = [props["children"] for _, props in event.data["props"]]
            got.setdefault(names[event.data["stream"]], []).extend(numbers)
        elif event.name == "end":
            ends.append(event.data["reason"])


async def test_a_page_and_its_starts_and_acknowledgements_share_one_connection(
    serve: Serve, certificate: Certificate, nursery: trio.Nursery
) -> None:
    site = await serve(
        counting(lambda number: number == 200, ping_interval=0.2, stall_timeout=60, window=20_000), tls=certificate
    )
    pages = [await site.page() for _ in range(3)]
    connection = await site.http2(nursery)
    results: list[dict[str, list[int]]] = []

    async def use(page: Page) -> None:
        events, _ = await page.connect_http2(connection)
        for n in range(STREAMS):
            post = page.start_post(f"go{n}")
            reply = await connection.request("POST", post.target, [*page.headers, *post.headers], post.body)
            assert (await reply.answer()).status in (200, 204)
        got: dict[str, list[int]] = {}
        ends: list[str] = []
        await collect(events, {}, got, ends)
        assert ends == ["completed"] * STREAMS
        results.append(got)

    async with trio.open_nursery() as users:
        for page in pages:
            users.start_soon(use, page)
    for got in results:
        assert list(got.values()) == [list(range(200))] * STREAMS
    # The page's connection and its 16 starts and acknowledgements: nothing else was opened.
    assert len(site.sockets) == 1
    nursery.cancel_scope.cancel()


async def test_a_connection_that_the_server_closes_after_so_many_requests_loses_nothing(
    serve: Serve, certificate: Certificate, nursery: trio.Nursery
) -> None:
    connections: list[Http2] = []
    app = counting(lambda number: len(connections) > 3, ping_interval=0.2, stall_timeout=60)
    site = await serve(app, tls=certificate, keep_alive_max_requests=40)
    page = await site.page()
    connections.append(await site.http2(nursery))
    names: dict[str, str] = {}
    got: dict[str, list[int]] = {}
    ends: list[str] = []

    async def ask_on() -> None:
        """Keep asking for something, on whatever connection there is, until the streams are over."""
        while len(ends) < STREAMS:
            with trio.move_on_after(1):
                try:
                    reply = await connections[-1].request("GET", "/_flash/health")
                    await reply.answer()
                except trio.ClosedResourceError:
                    await trio.sleep(0.01)
            await trio.sleep(0.005)

    async with trio.open_nursery() as asking:
        events, _ = await page.connect_http2(connections[0])
        for n in range(STREAMS):
            await page.begin(f"go{n}")
        asking.start_soon(ask_on)
        with trio.fail_after(TIMEOUT):
            while len(ends) < STREAMS:
                try:
                    await collect(events, names, got, ends)
                except EOFError:
                    applied = events.applied
                    connections.append(await site.http2(nursery))
                    events, _ = await page.connect_http2(connections[-1], after=applied)
                    events.applied = applied
    assert len(got) == STREAMS
    assert all(numbers == list(range(len(numbers))) for numbers in got.values())
    assert ends == ["completed"] * STREAMS
    nursery.cancel_scope.cancel()


async def test_a_client_that_takes_nothing_of_its_responses_is_given_up(
    serve: Serve, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Flash(__name__)
    app.layout = html.Div()
    requests = 0

    @app.server.route("/large")
    async def large() -> bytes:
        nonlocal requests
        requests += 1
        return b"x" * 5_000_000

    site = await serve(app, tls=certificate)
    async with trio.open_nursery() as nursery:
        connection = await site.http2(nursery)
        # A client that reads has it whole, in pieces.
        answer = await (await connection.request("GET", "/large", window=2**24)).answer()
        assert answer.body == b"x" * 5_000_000
        monkeypatch.setattr(_hypercorn_http2, "SHUT_WINDOW_TIMEOUT", 0.3)
        await trio.testing.wait_all_tasks_blocked(0.05)
        before = trio.lowlevel.current_statistics().tasks_living
        buffered = [0]
        extend = _hypercorn_http2.BufferWithTimeout.push

        async def push(self: _hypercorn_http2.BufferWithTimeout, data: bytes) -> None:
            buffered[0] = max(buffered[0], len(self.buffer) + len(data))
            await extend(self, data)

        monkeypatch.setattr(_hypercorn_http2.BufferWithTimeout, "push", push)
        for _ in range(10):
            await connection.request("GET", "/large", window=0)
        await eventually(lambda: requests == 11)
        await eventually(lambda: trio.lowlevel.current_statistics().tasks_living <= before)
        assert 0 < buffered[0] < 200_000
        nursery.cancel_scope.cancel()
