"""A worker that leaves while others go on: which requests are sent again, and where to."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from playwright.sync_api import Browser, expect

from flash.wire import START_HEADER
from flash.workers import sending_on
from flash.workers.leaving import App, Leaving, Receive, Send
from tests.faults.conftest import Certificate, certificate as certificate
from tests.faults.sockets import Site, flash_run
from tests.http.conftest import serve as serve
from tests.http.servers import Serve
from tests.support.browser import chromium as chromium
from tests.support.eventually import TIMEOUT, eventually, eventually_sync
from tests.support.http1 import Answer
from tests.support.processes import python
from tests.support.wire_client import cookie
from tests.workers.apps import CountingApp
from tests.workers.conftest import StartFleet
from tests.workers.test_sending_on import holders, streams

START = [(START_HEADER.lower().encode(), b"1")]


async def ask(
    served: App,
    path: str,
    *,
    headers: list[tuple[bytes, bytes]] | None = None,
    query: str = "",
    version: str = "1.1",
    kind: str = "http",
    body: list[bytes] | None = None,
    sent: list[Any] | None = None,
) -> dict[bytes, bytes] | None:
    """The headers of the answer that has a request sent again; None if the app has answered it."""
    scope = {
        "type": kind,
        "http_version": version,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": headers or [],
    }
    parts = body or [b""]
    sent = [] if sent is None else sent

    async def receive() -> Any:
        await trio.lowlevel.checkpoint()
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    await served(scope, receive, send)
    begun, ended = sent
    if begun["status"] != 307:
        return None
    assert ended == {"type": "http.response.body", "body": b"", "more_body": False}
    assert not body or not parts, "the body was read to its end"
    return dict(begun["headers"])


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"the app", "more_body": False})


@pytest.fixture
def leaving() -> App:
    leaving = Leaving()
    leaving.begun = True
    return leaving.around(app)


async def test_a_start_is_sent_again_when_its_body_has_come(leaving: App) -> None:
    answer = await ask(leaving, "/some/_dash-update-component", headers=START, body=[b"a", b"b", b""])
    assert answer is not None
    assert answer[b"location"] == b"_dash-update-component"


async def test_a_link_is_sent_again_with_its_query(leaving: App) -> None:
    answer = await ask(leaving, "/_flash/events", query="page=a%20b&after=1.2")
    assert answer is not None
    assert answer[b"location"] == b"events?page=a%20b&after=1.2"
    assert answer[b"cache-control"] == b"no-store"


@pytest.mark.parametrize("path", ["/", "/_dash-update-component", "/_flash/ack", "/_flash/close", "/_flash/health"])
async def test_what_begins_nothing_is_answered_by_the_app(leaving: App, path: str) -> None:
    assert await ask(leaving, path) is None


async def test_websockets_and_http_2_are_left_to_the_server(leaving: App) -> None:
    assert await ask(leaving, "/_flash/events", kind="websocket") is None
    assert await ask(leaving, "/_flash/events", version="2") is None


async def test_over_http_2_a_request_that_another_worker_has_sent_on_is_sent_again_and_its_connection_stays() -> None:
    leaving = Leaving()
    leaving.begun = True
    answer = await ask(leaving.around(app, sent_on=True), "/_flash/events", version="2")
    assert answer is not None
    assert answer[b"location"] == b"events"
    assert b"connection" not in answer


async def test_a_worker_that_does_not_leave_answers_everything() -> None:
    assert await ask(Leaving().around(app), "/_flash/events") is None


@pytest.mark.parametrize("path", ["/_flash/events", "/_flash/ack"])
async def test_a_request_that_came_before_and_is_refused_is_sent_again_if_it_begins_something(path: str) -> None:
    leaving = Leaving()

    async def stop_and_refuse(scope: Any, receive: Receive, send: Send) -> None:
        leaving.begun = True
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b"The server is stopping.", "more_body": False})

    sent: list[Any] = []
    answer = await ask(leaving.around(stop_and_refuse), path, sent=sent)
    if path == "/_flash/events":
        assert answer is not None
    else:
        assert answer is None
        assert sent[0]["status"] == 503
        assert sent[1]["body"] == b"The server is stopping."


@pytest.mark.parametrize("leaves", [True, False])
@pytest.mark.parametrize("status", [403, 404, 409])
async def test_what_a_page_says_is_sent_again_if_the_worker_leaves_and_does_not_know_the_page(
    status: int, leaves: bool
) -> None:
    leaving = Leaving()
    leaving.begun = leaves

    async def refuse(scope: Any, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"This server has no such page."})

    answer = await ask(leaving.around(refuse), "/some/_flash/ack")
    assert (answer is not None and answer[b"location"] == b"ack") is leaves
    assert await ask(leaving.around(refuse), "/some/other") is None


async def test_a_page_whose_link_those_have_who_go_on_says_nothing_in_vain_to_the_worker_that_leaves(
    fleet: StartFleet,
) -> None:
    [leaving] = await fleet(CountingApp, 1)
    page = await leaving.server.page()
    leaving.claims.stop(leaving.name)
    leaving.peers.leaving.begun = True
    for answer in [await page.acknowledge("0123abcd.1"), await page.cancel("0123abcd-1"), await page.leave()]:
        assert answer.status_code == 307


async def test_what_a_page_says_is_not_sent_again_by_a_worker_that_leaves_if_another_one_has_sent_it_on(
    fleet: StartFleet,
) -> None:
    leaving, other = await fleet(CountingApp, 2)
    page = await leaving.server.page()
    await page.connect()
    assert (await page.start("go")).status_code == 204
    leaving.claims.stop(leaving.name)
    leaving.peers.leaving.begun = True
    # The worker that leaves holds the browser still: the other one would send it on again.
    assert (await other.page(page).cancel("0123abcd-1")).status_code == 404


async def test_a_start_that_a_worker_refuses_while_it_asks_whether_others_go_on_is_read_to_its_end(
    fleet: StartFleet,
) -> None:
    [leaving] = await fleet(CountingApp, 1)
    page = await leaving.server.page()
    leaving.claims.stop(leaving.name)
    size = 100_000
    head = f"POST /_dash-update-component HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n{START_HEADER}: 1\r\n"
    stream = await trio.open_tcp_stream("127.0.0.1", page.port)
    async with stream:
        await stream.send_all(f"{head}Cookie: {cookie(page.cookie)}\r\n\r\n".encode())
        await eventually(lambda: bool(leaving.directory.asked))
        await trio.testing.wait_all_tasks_blocked(0.05)
        for _ in range(size // 1_000):
            await stream.send_all(b" " * 1_000)
            await trio.testing.wait_all_tasks_blocked()
        assert b" 503 " in await stream.receive_some()


async def test_a_start_that_is_sent_on_to_a_worker_that_leaves_begins_where_it_landed(fleet: StartFleet) -> None:
    workers = await fleet(CountingApp, 2)
    leaving, other = workers
    page = await leaving.server.page()
    await page.connect()
    assert (await page.start("go")).status_code == 204
    leaving.claims.stop(leaving.name)
    leaving.peers.leaving.begun = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(leaving.app.channels.shut_down)
        assert (await other.page(page).start("go")).status_code == 204
    assert holders(workers, page) == [other]
    assert streams(workers) == [0, 1]


@pytest.mark.parametrize(("others_go_on", "status"), [(True, 307), (False, 503)])
async def test_a_start_that_comes_while_a_worker_asks_whether_others_go_on_waits_for_the_answer(
    fleet: StartFleet, others_go_on: bool, status: int
) -> None:
    [leaving] = await fleet(CountingApp, 1)
    page = await leaving.server.page()

    async def stop() -> None:
        with leaving.peers.leaving.deciding():
            leaving.claims.stop(leaving.name)
            await eventually(lambda: bool(leaving.directory.asked))
            # The start would be refused by now, if it did not wait.
            await trio.testing.wait_all_tasks_blocked(0.05)
            leaving.peers.leaving.begun = others_go_on

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop)
        assert (await page.start("go")).status_code == status
    assert streams([leaving]) == [0]


async def test_a_start_that_was_sent_on_to_a_worker_before_it_left_is_sent_again(fleet: StartFleet) -> None:
    workers = await fleet(CountingApp, 2)
    leaving, other = workers
    page = await leaving.server.page()
    await page.connect()

    async def leave() -> None:
        leaving.peers.leaving.begun = leaving.app.channels.closing = True

    leaving.app.server.before_request(leave)
    answer = await other.page(page).start("go")
    assert answer.status_code == 307
    assert answer.headers["Location"] == "_dash-update-component"
    assert answer.headers["Connection"] == "close"


async def test_a_start_over_http_2_that_was_sent_on_to_a_worker_before_it_left_is_sent_again_and_begins_elsewhere(
    fleet: StartFleet, certificate: Certificate, nursery: trio.Nursery
) -> None:
    workers = await fleet(CountingApp, 2, certfile=certificate.certfile, keyfile=certificate.keyfile)
    leaving = workers[0]
    first, second = (Site(worker.server.port, certificate.trust) for worker in workers)
    tab = await first.page()
    await tab.connect_http2(await first.http2(nursery))
    page = await second.page(tab.browser)
    connection = await second.http2(nursery)

    async def leave() -> None:
        leaving.claims.stop(leaving.name)
        leaving.peers.leaving.begun = leaving.app.channels.closing = True

    leaving.app.server.before_request(leave)
    post = page.start_post("go")

    async def start() -> Answer:
        return await (await connection.request("POST", post.target, [*page.headers, *post.headers], post.body)).answer()

    answer = await start()
    assert answer.status == 307, answer.text
    assert answer.headers["location"] == "_dash-update-component"
    assert "connection" not in answer.headers
    async with trio.open_nursery() as shutting_down:
        shutting_down.start_soon(leaving.app.channels.shut_down)
        # As a browser does, over the same connection.
        assert (await start()).status == 204
    assert streams(workers) == [0, 1]
    for site in (first, second):
        await site.close()


async def http2_site(serve: Serve, app: CountingApp, leaving: Leaving, certificate: Certificate) -> Site:
    """A worker, served with TLS, whose leaving is up to the test."""
    server = await serve(app, at=leaving.around(app), certfile=certificate.certfile, keyfile=certificate.keyfile)
    return Site(server.port, certificate.trust)


async def test_over_http_2_a_start_that_came_before_its_worker_left_is_refused_so_that_the_client_repeats_it_elsewhere(
    serve: Serve, certificate: Certificate, nursery: trio.Nursery
) -> None:
    app, leaving = CountingApp(), Leaving()
    site = await http2_site(serve, app, leaving, certificate)
    page = await site.page()
    connection = await site.http2(nursery)

    async def leave() -> None:
        leaving.begun = app.channels.closing = True

    app.server.before_request(leave)
    post = page.start_post("go")
    reply = await connection.request("POST", post.target, [*page.headers, *post.headers], post.body)
    with pytest.raises(trio.ClosedResourceError):
        await reply.status()
    assert connection.over.is_set(), "the server has said that it takes no more requests on it"
    await site.close()


async def test_over_http_2_requests_that_follow_a_refused_one_are_refused_as_the_client_was_told(
    serve: Serve, certificate: Certificate, nursery: trio.Nursery
) -> None:
    app, leaving = CountingApp(), Leaving()
    site = await http2_site(serve, app, leaving, certificate)
    page = await site.page()
    connection = await site.http2(nursery)
    leaving.begun = True
    start = page.start_post("go")
    refused = connection.encode_request("POST", start.target, [*page.headers, *start.headers], start.body)
    # The client does not know yet that the server takes no more.
    follows = connection.encode_request("GET", "/_dash-layout", page.headers)
    await connection.send(refused)
    await connection.over.wait()
    seen = len(app.seen)
    await connection.send(follows)
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert len(app.seen) == seen
    await site.close()


APP = """
import os

import trio

from flash import Flash, Input, Output, html, stream_props

app = Flash(__name__)
app.layout = [html.Button("go", id="go"), html.Pre("-", id="out"), html.Pre(id="error")]


@app.event_callback(Input("go", "n_clicks"), prevent_initial_call=True)
async def run(clicks):
    try:
        yield stream_props("out", {"children": f"{os.getpid()} {clicks}"})
        await trio.sleep_forever()
    finally:
        open("cleaning up", "w").close()
        with trio.CancelScope(shield=True):
            await trio.sleep(1.5)


@app.callback(Output("error", "children"), Input(run, "error"))
async def show(error):
    return error
"""


def test_a_click_on_the_http_2_connection_of_a_worker_that_leaves_runs_in_another(
    tmp_path: Path, certificate: Certificate, chromium: Browser
) -> None:
    (tmp_path / "served.py").write_text(APP)
    tls = ("--certfile", certificate.certfile, "--keyfile", certificate.keyfile)
    with python(tmp_path, *flash_run("--workers", "2", *tls)) as process:
        process.wait_for_port()
        page = chromium.new_context(ignore_https_errors=True).new_page()
        page.goto(f"https://127.0.0.1:{process.ports[-1]}/")
        page.click("#go")
        expect(page.locator("#out")).to_have_text(re.compile(r"\d+ 1"))
        # It is the one that the page's connection has come to: all requests go over that.
        leaving = int(page.locator("#out").inner_text().split()[0])
        os.kill(leaving, signal.SIGTERM)
        eventually_sync((tmp_path / "cleaning up").exists)
        page.click("#go")
        expect(page.locator("#out")).to_have_text(re.compile(r"\d+ 2"))
        assert not page.locator("#out").inner_text().startswith(f"{leaving} ")
        assert page.locator("#error").inner_text() == ""
        page.context.close()


async def test_a_start_that_its_holder_refuses_because_both_leave_is_sent_again_at_once(
    fleet: StartFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending_on, "SEARCH_TIMEOUT", 2 * TIMEOUT)
    workers = await fleet(CountingApp, 2)
    page = await workers[0].server.page()
    await page.connect()
    asked = workers[1].directory.asked
    workers[0].peers.leaving.begun = True

    async def leave() -> None:
        # The start is on its way by then.
        await eventually(lambda: len(asked) >= 2)
        workers[1].peers.leaving.begun = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave)
        assert (await workers[1].page(page).start("go")).status_code == 307
    assert holders(workers, page) == [workers[0]]
