"""Between machines nobody without the secret is taken for a worker: what is forged, altered or repeated is refused."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest
import trio

from flash.asgi.client_log import ClientWarnings
from flash.event_callbacks import _names
from flash.wire import START_HEADER
from flash.workers import peer_connection, peer_port, sending_on
from flash.workers.directory import Claims, browser_key
from flash.workers.frames import PIECE
from flash.workers.signatures import CHALLENGE_SIZE, OPENING_SIZE, PROTOCOL
from tests.http.pages import Page
from tests.http.servers import Serve
from tests.support.eventually import TIMEOUT, eventually
from tests.support.link import Link
from tests.workers.apps import CountingApp
from tests.workers.conftest import Worker
from tests.workers.machines import SECRET, LoopbackMachine, bound
from tests.workers.meddler import Alter, Meddler


class Between:
    """Two workers on two machines, the second of which holds a browser, and somebody between the machines.

    Attributes:
        meddler: what the first worker takes for the machine of the second.
        here: the first worker.
        there: the second worker.
        page: of the browser; its requests go to the first worker.
        events: the page's link, from the second worker.
        stream: counts in the page.
    """

    meddler: Meddler
    here: Worker
    there: Worker
    page: Page
    events: Link
    stream: str

    async def start(self, nursery: trio.Nursery, serve: Serve, folder: Path, other_secret: str = SECRET) -> None:
        self.meddler = Meddler(3)
        machines = [LoopbackMachine(1, other_secret), LoopbackMachine(2, advertise=self.meddler.address)]
        self.meddler.target = machines[1].listens_at
        for each in (self.meddler, *machines):
            nursery.start_soon(each.run)
        claims = Claims()
        workers: list[Worker] = []
        for number, machine in enumerate(machines, 1):
            # In a process of its own each app has the same ids, which count what the process declares.
            _names.clear()
            path = str(folder / f"{number:012}.sock")
            workers.append(Worker(str(number), CountingApp(), claims, path, machine))
            await nursery.start(workers[-1].run, serve, {})
        self.here, self.there = workers
        held = await self.there.server.page()
        self.events = await held.connect()
        assert (await held.start("go")).status_code == 204
        self.stream = (await self.events.expect("open"))["stream"]
        self.page = self.here.page(held)

    async def cancel(self, value: object = 1) -> httpx.Response:
        """The page's request to cancel its stream, by the way of the worker that does not hold it."""
        return await self.page.cancel(self.stream, 0, value)

    async def expect_nothing_changed(self) -> None:
        """The stream goes on, and no app has seen a request of the page beside its own."""
        for _ in range(3):
            await self.events.expect("props")
        assert self.there.app.ended == []
        assert self.here.app.seen == []


StartBetween = Callable[..., Awaitable[Between]]


@pytest.fixture
async def between(serve: Serve) -> AsyncIterator[StartBetween]:
    with tempfile.TemporaryDirectory(prefix="flash-") as folder:
        async with trio.open_nursery() as nursery:

            async def start(other_secret: str = SECRET) -> Between:
                workers = Between()
                await workers.start(nursery, serve, Path(folder), other_secret)
                return workers

            yield start
            nursery.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Returns the lines of the log about workers, in which no warning is left out because an earlier test had it."""
    for module in (peer_port, sending_on):
        monkeypatch.setattr(module, "_warnings", ClientWarnings(logging.getLogger("flash.workers")))
    return lambda: [record.getMessage() for record in caplog.records if record.name == "flash.workers"]


Log = Callable[[], list[str]]


def replacing(old: bytes, new: bytes) -> Alter:
    assert len(old) == len(new)
    return lambda data: data.replace(old, new)


async def test_without_a_meddler_the_request_is_answered(between: StartBetween, log: Log) -> None:
    workers = await between()
    assert (await workers.cancel()).status_code == 204
    await eventually(lambda: workers.there.app.ended == ["cancelled"])
    assert log() == []


@pytest.mark.parametrize(
    "alter",
    [
        pytest.param(replacing(b'"method":"POST"', b'"method":"BOSS"'), id="method"),
        pytest.param(replacing(b"/_flash/cancel", b"/_flash/status"), id="target"),
        pytest.param(replacing(b"flash_browser=", b"flash_browsed="), id="header"),
        pytest.param(replacing(b'"condition"', b'"c0ndition"'), id="body that came with it"),
    ],
)
async def test_a_request_whose_head_was_altered_is_refused(between: StartBetween, log: Log, alter: Alter) -> None:
    workers = await between()
    seen = len(workers.there.app.seen)
    workers.meddler.to_holder = alter
    assert (await workers.cancel()).status_code == 503
    await workers.expect_nothing_changed()
    assert len(workers.there.app.seen) == seen
    assert sorted(log()) == [
        f"A request was refused: worker 2 at {workers.there.address} and this one do not know each other by the same "
        "secret (BadSignature: It says that what this worker signs is forged.).",
        "What another worker has sent was refused: A frame is not signed as it should be.",
    ]


async def test_a_request_whose_body_was_altered_is_refused(between: StartBetween, log: Log) -> None:
    workers = await between()
    workers.meddler.to_holder = replacing(b'"condition"', b'"c0ndition"')
    # It is too large to come with the head.
    assert (await workers.cancel("x" * PIECE)).status_code in (500, 503)
    await workers.expect_nothing_changed()
    assert log() == ["A request that another worker sends on was given up: A frame is not signed as it should be."]


@pytest.mark.parametrize(
    "alter",
    [
        pytest.param(lambda data: data[:-1] + bytes([data[-1] ^ 1]), id="another challenge"),
        pytest.param(replacing(PROTOCOL, b"HTTP/1.1"), id="another protocol"),
    ],
)
async def test_a_false_beginning_is_refused(between: StartBetween, log: Log, alter: Alter) -> None:
    workers = await between()
    workers.meddler.to_sender = alter
    assert (await workers.cancel()).status_code == 503
    await workers.expect_nothing_changed()
    about_answers = [line for line in log() if line.startswith("A request was refused: worker 2")]
    assert len(about_answers) == 1


async def test_a_false_verdict_is_refused(between: StartBetween, log: Log) -> None:
    workers = await between()
    workers.meddler.to_sender = replacing(b'"flash.held"', b'"flash.over"')
    assert (await workers.cancel()).status_code == 503
    assert log() == [
        f"A request was refused: worker 2 at {workers.there.address} and this one do not know each other by the same "
        "secret (BadSignature: A frame is not signed as it should be.)."
    ]


async def test_a_false_answer_does_not_reach_the_browser(between: StartBetween, log: Log) -> None:
    workers = await between()
    workers.meddler.to_sender = replacing(b'"status":204', b'"status":200')
    assert (await workers.cancel()).status_code == 503
    assert log() == ["What another worker has answered was refused: A frame is not signed as it should be."]


async def test_a_link_is_cut_before_a_false_update(between: StartBetween, log: Log) -> None:
    workers = await between()
    tab = await workers.there.server.page(browser=workers.page.client)
    events = await workers.here.page(tab).connect()
    assert (await workers.here.page(tab).start("go")).status_code == 204
    await events.expect("open")
    workers.meddler.to_sender = replacing(b'"children"', b'"childish"')
    assert not any("childish" in str(event.data) for event in await events.until_closed())
    assert log() == ["What another worker has answered was refused: A frame is not signed as it should be."]


async def test_what_was_recorded_is_refused_when_it_comes_again(between: StartBetween, log: Log) -> None:
    workers = await between()
    assert (await workers.page.start("go")).status_code == 204
    (recording,) = workers.meddler.recorded
    await eventually(lambda: workers.there.app.ended == ["superseded"])
    seen = len(workers.there.app.seen)
    for _ in range(2):
        async with await trio.open_tcp_stream(*workers.meddler.target) as stream:
            await stream.send_all(b"".join(recording))
            await read_to_the_end(stream)
    assert len(workers.there.app.seen) == seen
    assert workers.there.app.ended == ["superseded"]
    assert len(workers.there.app.streams()) == 1
    # The second line about the same is counted, and not written.
    assert log() == ["A connection of 127.0.0.1 was refused: it is not signed with the secret of this machine."]


async def read_to_the_end(stream: trio.SocketStream) -> bytes:
    """What the other side sends until it closes the connection, or resets it."""
    received = b""
    with trio.fail_after(TIMEOUT):
        try:
            async for data in stream:
                received += data
        except trio.BrokenResourceError:
            pass
    return received


async def test_a_worker_with_another_secret_is_refused_and_refuses(between: StartBetween, log: Log) -> None:
    workers = await between("another secret of forty characters, or so")
    assert (await workers.cancel()).status_code == 503
    await workers.expect_nothing_changed()
    assert sorted(log()) == [
        "A connection of 127.0.0.1 was refused: it is not signed with the secret of this machine.",
        f"A request was refused: worker 2 at {workers.there.address} and this one do not know each other by the same "
        "secret (BadSignature: A frame is not signed as it should be.).",
    ]
    assert await workers.here.peers.ask_all("/_flash/streams") == {"1": [], "2": None}


async def test_a_connection_that_is_led_to_another_machine_is_refused(between: StartBetween, log: Log) -> None:
    workers = await between()
    other = LoopbackMachine(4)
    receiver = other.arrivals_of(workers.there.address)
    workers.meddler.target = other.listens_at
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other.run)
        assert (await workers.cancel()).status_code == 503
        nursery.cancel_scope.cancel()
    receiver.close()
    await workers.expect_nothing_changed()


async def test_a_request_of_a_browser_is_not_taken_for_one_that_was_sent_on(between: StartBetween, log: Log) -> None:
    workers = await between()
    head = f"POST /_flash/cancel HTTP/1.1\r\nHost: a\r\n{START_HEADER}: 1\r\nCookie: a={'b' * 100}\r\n\r\n"
    async with await trio.open_tcp_stream(*workers.meddler.target) as stream:
        await stream.send_all(head.encode())
        received = await read_to_the_end(stream)
    assert received.startswith(PROTOCOL)
    assert b"refused" in received
    assert log() == ["A connection of 127.0.0.1 was refused: it is not signed with the secret of this machine."]
    # A hint says where a request is answered, and no more: what it may do, the holder says.
    thief = await workers.here.server.page()
    thief.client.cookies = workers.page.client.cookies
    forged = await thief.client.post("/_flash/cancel", json={}, headers={START_HEADER: "x", "flash.held": "1"})
    assert 400 <= forged.status_code < 500
    plain = await thief.client.post("/_dash-update-component", json=thief.request("plain"), headers={START_HEADER: "x"})
    assert plain.json()["response"] == {"plain": {"children": 1}}
    assert [path for path, _, _ in workers.there.app.seen[-2:]] == ["/_flash/cancel", "/_dash-update-component"]
    await workers.events.expect("props")
    assert workers.there.app.ended == []


async def test_who_says_nothing_is_sent_away(between: StartBetween, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = await between()
    monkeypatch.setattr(peer_port, "OPENING_TIMEOUT", 0.05)
    for said in (b"", bytes(OPENING_SIZE - 1)):
        async with await trio.open_tcp_stream(*workers.meddler.target) as stream:
            await stream.send_all(said)
            assert len(await read_to_the_end(stream)) == CHALLENGE_SIZE
    assert log() == ["A connection of 127.0.0.1 to the port for workers was closed: it said nothing."]


async def test_strangers_keep_no_worker_out(between: StartBetween, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = await between()
    monkeypatch.setattr(peer_port, "STRANGERS", 3)
    strangers = [await trio.open_tcp_stream(*workers.meddler.target) for _ in range(3)]
    for stranger in strangers:
        await stranger.receive_some(CHALLENGE_SIZE)
    assert (await workers.cancel()).status_code == 204
    # The one that has waited longest had to make room.
    assert await read_to_the_end(strangers[0]) == b""
    for stranger in strangers:
        await stranger.aclose()


async def test_a_machine_says_that_it_has_no_such_worker_any_more_and_the_directory_is_told(
    between: StartBetween,
) -> None:
    workers = await between()
    workers.here.claims.join("2", f"{workers.meddler.address}/gone00000000")
    workers.here.claims.claim(browser_key(workers.page.cookie), "2")

    async def find_again() -> None:
        await eventually(lambda: "2" in workers.here.directory.gone)
        workers.here.claims.leave("2")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(find_again)
        await workers.page.connect()
    assert browser_key(workers.page.cookie) in workers.here.peers.holdings


async def test_a_machine_that_does_not_answer_is_given_up_soon(
    between: StartBetween, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = await between()
    monkeypatch.setattr(peer_connection, "OPEN_TIMEOUT", 0.05)
    monkeypatch.setattr(sending_on, "SEARCH_TIMEOUT", 0.1)
    # The system takes connections, and nobody answers them.
    with bound(4) as silent:
        workers.meddler.target = silent.getsockname()
        assert (await workers.cancel()).status_code == 503
        assert await workers.here.peers.ask_all("/_flash/streams") == {"1": [], "2": None}
    await workers.expect_nothing_changed()


async def test_a_failure_with_one_connection_ends_no_other(
    between: StartBetween, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = await between()
    with monkeypatch.context() as patched:
        patched.setattr(peer_port, "notice_silence", lambda stream: 1 / 0)
        async with await trio.open_tcp_stream(*workers.meddler.target) as stream:
            assert await read_to_the_end(stream) == b""
    assert log() == ["A connection to the port for workers failed."]
    assert (await workers.cancel()).status_code == 204
