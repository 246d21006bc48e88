"""Requests that reach another worker than the one that holds their browser, of real servers and apps."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Collection
from typing import cast

import httpx
import pytest
import trio
import trio.testing

from flash import Input, Output, Update, stream_props
from flash.asgi.browser_cookie import COOKIE
from flash.asgi.tokens import new_token
from flash.workers import kept_connections, peer_connection, sending_on
from flash.workers.directory import browser_key
from flash.workers.frames import SCOPE_TYPES
from flash.workers.peer_connection import Dialer, PeerConnection, listen
from flash.workers.peers import HAVE_COME
from tests.faults.conftest import Certificate, certificate as certificate
from tests.http.pages import Page
from tests.support.eventually import TIMEOUT, eventually
from tests.support.link import Link
from tests.support.wire_client import PageIdentity, cookie
from tests.websocket.conftest import connect as connect
from tests.websocket.controls import open_control
from tests.websocket.sockets import Connect
from tests.workers.apps import CountingApp
from tests.workers.conftest import StartFleet, Worker, on_two_machines

JSON = (b"Content-Type", b"application/json")


def holders(workers: list[Worker], page: Page) -> list[Worker]:
    """The workers that hold the browser of a page."""
    key = browser_key(page.cookie)
    return [worker for worker in workers if key in worker.peers.holdings]


async def page_beside(workers: list[Worker]) -> Page:
    """A page at the second worker, whose browser has a tab at the first one, which holds it."""
    tab = await workers[0].server.page()
    await tab.connect()
    await eventually(lambda: holders(workers, tab) == [workers[0]])
    return workers[1].page(await workers[0].server.page(browser=tab.client))


async def page_with_stream(worker: Worker) -> tuple[Page, Link]:
    """A page of a worker, with a stream that has begun."""
    page = await worker.server.page()
    events = await page.connect()
    assert (await page.start("go")).status_code == 204
    await events.expect("open")
    return page, events


def with_another_cookie(page: Page) -> Page:
    """The page, in a browser that has another secret now."""
    page.client.cookies = httpx.Cookies()
    page.client.cookies.set(COOKIE, new_token(), domain="127.0.0.1")
    return page


def streams(workers: list[Worker]) -> list[int]:
    return [len(worker.app.streams()) for worker in workers]


@on_two_machines
async def test_a_start_a_cancel_and_a_close_reach_the_holder_by_the_way_of_every_other_worker(
    fleet: StartFleet,
) -> None:
    workers = await fleet(CountingApp, 3)
    page = await workers[0].server.page()
    events = await page.connect()
    for other in workers[1:]:
        assert (await other.page(page).start("go")).status_code == 204
        opened = await events.expect("open")
        event = await events.next()
        assert event.name == "props"
        assert streams(workers) == [1, 0, 0]
        assert event.id is not None
        assert (await other.page(page).acknowledge(event.id)).status_code == 204
        assert (await other.page(page).cancel(opened["stream"], 0, 1)).status_code == 204
        assert (await events.to_end())[1]["reason"] == "cancelled"
    assert (await workers[2].page(page).start("go")).status_code == 204
    await events.expect("open")
    assert (await workers[1].page(page).leave()).status_code == 204
    await eventually(lambda: workers[0].app.ended == ["cancelled", "cancelled", "disconnected"])
    await eventually(lambda: holders(workers, page) == [])


async def test_two_first_requests_of_one_browser_on_two_workers_have_one_holder(fleet: StartFleet) -> None:
    workers = await fleet(CountingApp, 3)
    clients = [worker.server.browser() for worker in workers]
    together = trio.Event()

    async def wait_for_all() -> None:
        # A browser is given up with its last request: one that is over before the next would have another holder.
        if sum(len(worker.app.seen) for worker in workers) == len(workers):
            together.set()
        await together.wait()

    for worker in workers:
        cast("CountingApp", worker.app).hold = wait_for_all
    for _ in range(200):
        together = trio.Event()
        answers = await _ask_at_once(clients, PageIdentity(browser=new_token()))
        assert answers == [200, 200, 200]
        answered = [worker for worker in workers if worker.app.seen]
        assert [len(worker.app.seen) for worker in answered] == [3], "each request was answered by the one holder"
        answered[0].app.seen.clear()
        await eventually(lambda: all(len(worker.peers.holdings) == 0 for worker in workers))


async def _ask_at_once(clients: list[httpx.AsyncClient], page: PageIdentity) -> list[int]:
    """The statuses of the same request to several workers."""
    answers: list[int] = []

    async def ask(client: httpx.AsyncClient) -> None:
        answers.append((await client.get(page.status, headers=dict(page.headers))).status_code)

    async with trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(ask, client)
    return answers


@on_two_machines
async def test_a_link_that_is_sent_on_gets_the_updates_and_ends_with_its_browser(fleet: StartFleet) -> None:
    workers = await fleet(CountingApp, 2)
    page = await page_beside(workers)
    events = await page.connect()
    assert (await page.start("go")).status_code == 204
    await events.expect("open")
    numbers = [(await events.expect("props"))["props"][0][1]["children"] for _ in range(5)]
    assert numbers == sorted(numbers)
    assert streams(workers) == [1, 0]
    await events.close()
    await eventually(lambda: workers[0].app.ended == ["disconnected"])


async def test_what_no_holder_is_needed_for_is_answered_where_it_lands(fleet: StartFleet) -> None:
    workers = await fleet(CountingApp, 2)
    tab = await workers[0].server.page()
    await tab.connect()
    await eventually(lambda: holders(workers, tab) == [workers[0]])
    page = await workers[1].server.page(browser=workers[1].page(tab).client)
    assert await page.call("plain") == {"plain": {"children": 1}}
    assert (await page.get("_flash/health")).status_code == 200
    assert workers[1].directory.asked == []
    assert {path for path, _, _ in workers[1].app.seen} >= {"/", "/_dash-layout", "/_dash-update-component"}


async def test_a_request_without_a_cookie_is_answered_where_it_lands(fleet: StartFleet) -> None:
    workers = await fleet(CountingApp, 2)
    answer = await workers[1].server.browser().get(f"/_flash/status?page={new_token()}")
    assert answer.status_code == 403
    assert "cookie" in answer.text
    assert workers[1].directory.asked == []


async def test_a_start_that_does_not_say_so_is_refused_where_its_browser_is_not_held(fleet: StartFleet) -> None:
    workers = await fleet(lambda: CountingApp(start_timeout=0.05), 2)
    page = await workers[0].server.page()
    events = await page.connect()
    answer = await workers[1].page(page).post("_dash-update-component", page.request("go"))
    assert answer.status_code == 503
    assert (await page.start("go")).status_code == 204
    await events.expect("open")
    assert streams(workers) == [1, 0]


@on_two_machines
@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
async def test_the_holders_app_sees_of_a_request_what_it_would_have_seen_directly(
    fleet: StartFleet, certificate: Certificate, http2: bool
) -> None:
    workers = await fleet(
        lambda: CountingApp(requests_pathname_prefix="/mounted/app/", routes_pathname_prefix="/app/"),
        2,
        certfile=certificate.certfile,
        keyfile=certificate.keyfile,
        root_path="/mounted",
    )
    secret, token = new_token(), new_token()
    browser = f"a=1; __Host-{cookie(secret)}".encode()
    headers = [(b"Cookie", browser), (b"X-Twice", b"1"), (b"X-Twice", b"\xe9"), (b"Host", b"example.org")]
    body = b'{"page": "%b", "event": "0.1"}' % token.encode()

    async def ask(worker: Worker, client: httpx.AsyncClient) -> httpx.Response:
        url = f"https://127.0.0.1:{worker.server.port}/mounted/app/_flash/ack?a=%C3%A9&a"
        return await client.post(url, content=body, headers=[*headers, JSON])

    link = f"https://127.0.0.1:{workers[0].server.port}{PageIdentity(token, secret, '/mounted/app/').events}"
    async with (
        httpx.AsyncClient(http2=http2, verify=certificate.trust, trust_env=False, timeout=TIMEOUT) as client,
        client.stream("GET", link, headers=headers),
    ):
        await eventually(lambda: len(workers[0].app.channels) == 1)
        answers = [await ask(worker, client) for worker in workers]
        connections = [answer.extensions["network_stream"].get_extra_info("client_addr") for answer in answers]
    assert [answer.status_code for answer in answers] == [400, 400]
    assert answers[0].text == answers[1].text
    assert dict(answers[0].headers).keys() == dict(answers[1].headers).keys()
    assert workers[1].app.seen == []
    (_, direct, direct_body), (_, sent_on, sent_on_body) = workers[0].app.seen[1:]
    assert direct_body == sent_on_body == body
    assert sent_on.pop("server") == ("127.0.0.1", workers[1].server.port)
    assert direct.pop("server") == ("127.0.0.1", workers[0].server.port)
    # Two connections of one client.
    assert [direct.pop("client"), sent_on.pop("client")] == [tuple(address) for address in connections]
    assert sent_on == direct
    assert (direct["scheme"], direct["root_path"], direct["http_version"]) == (
        "https",
        "/mounted",
        "2" if http2 else "1.1",
    )


@on_two_machines
async def test_when_the_holder_dies_its_pages_begin_a_new_life_where_they_land(
    fleet: StartFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing waits for the holder: a test would be over before.
    for name in ("OPEN_TIMEOUT", "CONNECT_TIMEOUT"):
        monkeypatch.setattr(peer_connection, name, 600)
    for name in ("VERDICT_TIMEOUT", "SEARCH_TIMEOUT"):
        monkeypatch.setattr(sending_on, name, 600)
    workers = await fleet(CountingApp, 3)
    _, others = await page_with_stream(workers[2])
    page = await page_beside(workers)
    events = await page.connect()
    assert (await page.start("go")).status_code == 204
    await events.expect("open")
    first = events.hello
    workers[0].die()
    await events.until_closed()
    again = await page.connect()
    assert (await page.start("go")).status_code == 204
    await again.expect("open")
    assert holders(workers[1:], page) == [workers[1]]
    assert again.hello is not None
    assert first is not None
    assert again.hello.data["life"] != first.data["life"]
    await others.expect("props")
    assert workers[2].app.ended == []
    assert len(workers[2].app.streams()) == 1


@on_two_machines
async def test_a_page_that_does_not_read_slows_its_own_stream_through_another_worker(fleet: StartFleet) -> None:
    class Flood(CountingApp):
        async def count(self, clicks: int) -> AsyncIterator[Update]:
            while True:
                yield stream_props("out", {"children": "x" * 100_000})

    workers = await fleet(lambda: Flood(window=10**9, stall_timeout=100), 2)
    page = await page_beside(workers)
    events = await page.connect(receive_buffer=4_096)
    assert (await page.start("go")).status_code == 204

    def waits() -> bool:
        (info,) = workers[0].app.streams()
        return info.waiting is not None and info.waiting > 0.3

    await eventually(waits)
    (info,) = workers[0].app.streams()
    assert info.updates < 200, "sockets hold some megabytes, and no more is sent"
    await events.expect("open")
    for _ in range(300):
        await events.expect("props")


@on_two_machines
async def test_starts_over_the_websockets_reach_the_holder(fleet: StartFleet, connect: Connect) -> None:
    workers = await fleet(lambda: CountingApp(websocket_callbacks=True), 2)
    page = await workers[0].server.page()
    events = await page.connect()
    await eventually(lambda: holders(workers, page) == [workers[0]])
    there = workers[1].page(page)
    socket = await connect(there)
    assert await socket.call(page.request("go")) == {"status": "prevent_update"}
    stream = (await events.expect("open"))["stream"]
    control = await open_control(connect, there)
    assert await control.tell("cancel", {"stream": stream, "condition": 0, "value": 1}) == (204, "")
    assert (await events.to_end())[1]["reason"] == "cancelled"
    assert len(workers[0].app.websockets) == 1
    assert len(workers[1].app.websockets) == 0
    # A refused handshake is the holder's, too.
    assert [path for path, _, _ in workers[1].app.seen] == []
    await socket.leave()
    await eventually(lambda: len(workers[0].app.websockets) == 0)


class PartsApp(CountingApp):
    """An app with a streaming callback as well: a generator with an Output."""

    def __init__(self) -> None:
        super().__init__(websocket_callbacks=True)
        self.callback(Output("out", "title"), Input("out", "n_clicks"), cancel=[Input("stop", "n_clicks")])(self.parts)

    async def parts(self, clicks: int) -> AsyncIterator[str]:
        for number in range(3):
            yield f"part {number} of {clicks}"
        await trio.sleep_forever()


@on_two_machines
async def test_a_streaming_callback_that_is_called_over_the_websocket_runs_in_the_holder(
    fleet: StartFleet, connect: Connect
) -> None:
    workers = await fleet(PartsApp, 2)
    page = await workers[0].server.page()
    events = await page.connect()
    await eventually(lambda: holders(workers, page) == [workers[0]])
    there = workers[1].page(page)
    socket = await connect(there)
    assert await socket.call(page.request("out", value=7)) == {"status": "prevent_update"}
    stream = (await events.expect("open"))["stream"]
    parts = [(await events.expect("props"))["props"] for _ in range(3)]
    assert parts == [[["out", {"title": f"part {number} of 7"}]] for number in range(3)]
    assert streams(workers) == [1, 0]
    control = await open_control(connect, there)
    assert await control.tell("cancel", {"stream": stream, "condition": 0, "value": 1}) == (204, "")
    assert (await events.expect("end"))["reason"] == "cancelled"


@on_two_machines
async def test_a_websocket_whose_holder_dies_is_closed_and_the_next_one_is_held_elsewhere(
    fleet: StartFleet, connect: Connect
) -> None:
    workers = await fleet(lambda: CountingApp(websocket_callbacks=True), 2)
    page = await workers[0].server.page()
    await page.connect()
    await eventually(lambda: holders(workers, page) == [workers[0]])
    there = workers[1].page(page)
    socket = await connect(there)
    workers[0].die()
    code, _ = await socket.closed()
    assert code == 1012
    await connect(there)
    await eventually(lambda: len(workers[1].app.websockets) == 1)
    assert holders(workers[1:], page) == [workers[1]]


async def test_a_stopping_worker_cuts_the_links_that_it_only_sends_on_and_they_go_on_elsewhere(
    fleet: StartFleet,
) -> None:
    workers = await fleet(lambda: CountingApp(reconnect_grace=5), 3)
    page = await page_beside(workers)
    events = await page.connect()
    assert (await page.start("go")).status_code == 204
    await events.expect("open")
    # What stops as well is not cut.
    workers[1].peers.stop(lambda holder: False)
    await events.expect("props")
    workers[1].peers.stop(lambda holder: holder.name == workers[0].name)
    assert all(event.name == "props" for event in await events.until_closed())
    refused = await page.connect(ok=False)
    assert refused.status == 503
    assert (await page.start("go")).status_code == 204, "what is over at once is still sent on"
    await workers[2].page(page).connect()
    assert "shutdown" not in workers[0].app.ended


async def test_a_worker_that_is_thought_to_hold_a_browser_and_does_not_is_asked_once(fleet: StartFleet) -> None:
    workers = await fleet(CountingApp, 2)
    page = await workers[0].server.page()
    workers[0].claims.claim(browser_key(page.cookie), "1")
    await workers[1].page(page).connect()
    await eventually(lambda: holders(workers, page) == [workers[1]])
    assert workers[0].app.seen[-1][0] == "/_dash-dependencies"


async def test_the_directory_is_asked_again_however_long_a_dead_holder_says_nothing(
    fleet: StartFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending_on, "SEARCH_TIMEOUT", 0.05)
    monkeypatch.setattr(sending_on, "VERDICT_TIMEOUT", 0.2)
    workers = await fleet(CountingApp, 2)
    page = await workers[0].server.page()
    await page.connect()
    there = workers[1].page(page)
    assert (await there.start("go")).status_code == 204
    workers[0].die()
    await trio.testing.wait_all_tasks_blocked()
    # The worker that is started in its place has its socket already, and is busy.
    async with listen(workers[0].address):
        assert (await there.start("go")).status_code == 204
    assert holders(workers, page)[-1] is workers[1]


async def test_a_holder_is_looked_for_no_less_when_the_last_one_takes_long_to_die(
    fleet: StartFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending_on, "SEARCH_TIMEOUT", 0.8)
    workers = await fleet(CountingApp, 2)
    page = await workers[0].server.page()
    there = workers[1].page(page)
    workers[0].die()
    await trio.testing.wait_all_tasks_blocked()
    claims, asked = workers[0].claims, workers[1].directory.asked
    claims.join(workers[0].name, workers[0].address)
    claims.claim(browser_key(page.cookie), workers[0].name)

    async def die_slowly() -> None:
        async with listener:
            async with PeerConnection(await listener.accept(), SCOPE_TYPES) as connection:
                await connection.receive()
                await connection.send({"type": sending_on.NOT_HELD})
            # Its socket is there until its process has ended, which takes longer than a holder is looked for.
            async with await listener.accept():
                await trio.sleep(sending_on.SEARCH_TIMEOUT)
        await eventually(lambda: len(asked) >= 3)
        claims.leave(workers[0].name)

    async with trio.open_nursery() as nursery:
        listener = listen(workers[0].address)
        nursery.start_soon(die_slowly)
        assert (await there.start("go")).status_code == 204


@on_two_machines
async def test_while_a_holder_cannot_be_reached_one_request_waits_for_it_and_the_next_ones_do_not(
    fleet: StartFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect_to, is_reachable, tries = Dialer.connect, False, 0

    async def connect(self: Dialer, address: str, expected: Collection[str]) -> PeerConnection:
        nonlocal tries
        tries += 1
        if not is_reachable:
            raise ConnectionRefusedError("a firewall is between the two")
        return await connect_to(self, address, expected)

    async def status() -> int:
        return (await there.client.get(there.identity.status)).status_code

    workers = await fleet(CountingApp, 2)
    there = await page_beside(workers)
    monkeypatch.setattr(kept_connections, "KEPT", 0)
    monkeypatch.setattr(Dialer, "connect", connect)
    monkeypatch.setattr(sending_on, "SEARCH_TIMEOUT", 0.1)
    monkeypatch.setattr(sending_on, "GIVEN_UP_TIMEOUT", 0)
    assert await status() == 503
    assert tries > 1
    is_reachable = True
    assert await status() == 200
    is_reachable = False
    monkeypatch.setattr(sending_on, "GIVEN_UP_TIMEOUT", 600)
    assert await status() == 503
    tries = 0
    assert [await status() for _ in range(3)] == [503] * 3
    assert tries == 0


async def test_a_directory_that_hears_late_of_a_dead_holder_is_asked_until_it_has_heard(
    fleet: StartFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending_on, "SEARCH_TIMEOUT", 0.5)
    monkeypatch.setattr(sending_on, "VERDICT_TIMEOUT", 0.6)
    workers = await fleet(CountingApp, 2)
    page = await workers[0].server.page()
    there = workers[1].page(page)
    workers[0].die()
    await trio.testing.wait_all_tasks_blocked()
    claims, asked = workers[0].claims, workers[1].directory.asked
    claims.join(workers[0].name, workers[0].address)
    claims.claim(browser_key(page.cookie), workers[0].name)

    async def hear_of_it() -> None:
        # The first time, the holder has said nothing for longer than it would have been looked for.
        async with listen(workers[0].address):
            await eventually(lambda: len(asked) >= 2)
        await eventually(lambda: len(asked) >= 4)
        claims.leave(workers[0].name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hear_of_it)
        assert (await there.start("go")).status_code == 204
    assert holders(workers, page) == [workers[1]]


async def test_a_page_whose_cookie_was_overtaken_comes_to_the_holder_of_the_new_one_and_loses_no_click(
    fleet: StartFleet,
) -> None:
    workers = await fleet(CountingApp, 2)
    page, events = await page_with_stream(workers[0])
    # Another tab, whose document was answered with another cookie, has set it for both.
    overtaken = with_another_cookie(workers[1].page(page))
    assert (await overtaken.start("go")).status_code == 204
    left = await events.until_closed()
    await eventually(lambda: workers[0].app.ended == ["disconnected"])
    again = await overtaken.connect(headers={**dict(overtaken.identity.headers), "Last-Event-ID": left[-1].id or ""})
    await again.expect("open")
    await again.expect("props")
    assert streams(workers) == [0, 1]


async def test_of_many_pages_that_come_at_once_each_other_worker_is_told_in_few_questions(
    fleet: StartFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = await fleet(CountingApp, 3)
    asked: list[list[str]] = []
    for worker in workers[1:]:
        answers = cast("dict[str, Callable[[str], object]]", worker.peers._answers)
        monkeypatch.setitem(answers, HAVE_COME, lambda about: asked.append(json.loads(about)))
    pages = [await workers[0].server.page() for _ in range(20)]
    async with trio.open_nursery() as nursery:
        for page in pages:
            nursery.start_soon(page.start, "go")
    tokens = sorted(page.token for page in pages)
    await eventually(lambda: sorted(token for told in asked for token in told) == sorted(tokens * 2))
    assert len(asked) < 20


async def test_a_page_that_does_not_prove_itself_ends_nothing_of_another_worker(fleet: StartFleet) -> None:
    workers = await fleet(CountingApp, 2)
    page, events = await page_with_stream(workers[0])
    thief = with_another_cookie(workers[1].page(page))
    await thief.connect()
    await eventually(lambda: len(workers[1].app.channels) == 1)
    for _ in range(20):
        await events.expect("props")
    assert streams(workers) == [1, 0]
