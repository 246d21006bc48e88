"""Requests that have come whole and are sent on: one message each way, and connections that are kept for the next."""

from __future__ import annotations

import socket
from collections.abc import Collection
from contextvars import ContextVar
from typing import Any

import pytest
import trio
import trio.testing

from flash._hypercorn_messages import RequestMessages
from flash.wire import START_HEADER
from flash.workers import kept_connections, peers, sending_on
from flash.workers.frames import PIECE
from flash.workers.peer_connection import Dialer, PeerConnection
from tests.support.eventually import TIMEOUT, eventually
from tests.workers.pair import Pair, StartPair, pair as pair, scope_of

START = scope_of("/_dash-update-component")
START["headers"] = [*START["headers"], (START_HEADER.lower().encode(), b"1")]


class WholeRequest:
    """A request as Hypercorn has it, of which all has come.

    Attributes:
        messages: what the server says of it.
        received: the messages of its response.
    """

    def __init__(self, body: bytes = b"{}") -> None:
        self.body = body
        self.messages = RequestMessages(limit=10)
        self.received: list[dict[str, Any]] = []

    async def ask(self, workers: Pair, scope: dict[str, Any] | None = None) -> bytes:
        """Send it to the first worker; returns the body of the response."""
        await self.messages.put({"type": "http.request", "body": self.body, "more_body": False})
        await workers.here.asgi(scope_of() if scope is None else scope, self.messages.receive, self._send)
        return b"".join(message.get("body", b"") for message in self.received)

    @property
    def status(self) -> int:
        return self.received[0]["status"]

    async def leave(self) -> None:
        """The browser leaves."""
        await self.messages.put({"type": "http.disconnect"})

    async def _send(self, message: dict[str, Any]) -> None:
        self.received.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            # So Hypercorn says from within the `send` that ends the response.
            await self.leave()
        await trio.lowlevel.checkpoint()


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the body of the request, without waiting if it has come."""
    message = await receive()
    body = message["body"]
    while message["more_body"]:
        message = await receive()
        body += message["body"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"\xff")]})
    await send({"type": "http.response.body", "body": body, "more_body": False})


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[PeerConnection]:
    """Those that workers have opened."""
    opened: list[PeerConnection] = []
    connect = Dialer.connect

    async def connect_and_note(self: Dialer, address: str, expected: Collection[str]) -> PeerConnection:
        opened.append(await connect(self, address, expected))
        return opened[-1]

    monkeypatch.setattr(Dialer, "connect", connect_and_note)
    return opened


async def test_requests_follow_each_other_on_one_connection(pair: StartPair, connections: list[PeerConnection]) -> None:
    workers = await pair(echo)
    for number in range(10):
        request = WholeRequest(b"%d" % number)
        assert await request.ask(workers) == b"%d" % number
        assert [tuple(header) for header in request.received[0]["headers"]] == [(b"a", b"\xff")]
    assert len(connections) == 1


@pytest.mark.parametrize("size", [0, PIECE - 100, PIECE, PIECE + 1, 20 * PIECE])
async def test_a_body_of_any_size_goes_through_in_both_directions(pair: StartPair, size: int) -> None:
    workers = await pair(echo)
    body = (bytes(range(256)) * (size // 256 + 1))[:size]
    for _ in range(3):
        assert await WholeRequest(body).ask(workers) == body


@pytest.mark.parametrize("scope", [scope_of(), START], ids=["a message", "a start"])
async def test_an_app_that_waits_is_not_taken_for_a_worker_that_does_not_answer(
    pair: StartPair, monkeypatch: pytest.MonkeyPatch, scope: dict[str, Any]
) -> None:
    monkeypatch.setattr(sending_on, "VERDICT_TIMEOUT", 0.5)
    asked, may_answer = 0, trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal asked
        asked += 1
        await may_answer.wait()
        await echo(scope, receive, send)

    async def answer_late() -> None:
        await trio.sleep(2 * sending_on.VERDICT_TIMEOUT)
        may_answer.set()

    workers = await pair(app)
    workers.nursery.start_soon(answer_late)
    assert await WholeRequest(b"body").ask(workers, scope) == b"body"
    assert asked == 1


async def test_a_response_does_not_wait_for_what_the_app_does_after_it(
    pair: StartPair, connections: list[PeerConnection]
) -> None:
    finishes = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await echo(scope, receive, send)
        await finishes.wait()

    workers = await pair(app)
    first, second = WholeRequest(b"first"), WholeRequest(b"second")
    for request in (first, second):
        workers.nursery.start_soon(request.ask, workers)
    await eventually(lambda: len(first.received) == len(second.received) == 2)
    # What is not over has its connection to itself.
    assert len(connections) == 2
    finishes.set()
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert await WholeRequest(b"third").ask(workers) == b"third"
    assert len(connections) == 2


async def test_an_app_that_waits_hears_that_the_browser_has_left(
    pair: StartPair, connections: list[PeerConnection]
) -> None:
    heard: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(2):
            heard.append((await receive())["type"])
        # It goes nowhere.
        await send({"type": "http.response.start", "status": 200, "headers": []})

    workers = await pair(app)
    request = WholeRequest()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(request.ask, workers)
        await eventually(lambda: heard == ["http.request"])
        await request.leave()
    await eventually(lambda: heard == ["http.request", "http.disconnect"])
    assert request.received == []
    workers.there._app = echo
    assert await WholeRequest(b"next").ask(workers) == b"next"
    assert len(connections) == 2


@pytest.mark.parametrize(("scope", "begun"), [(START, 1), (scope_of(), 2)], ids=["a start", "a message"])
async def test_when_the_holder_dies_at_once_what_it_was_told_begins_again_elsewhere_but_no_start_does(
    pair: StartPair, scope: dict[str, Any], begun: int
) -> None:
    asked = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            # As a process that is killed: its connections close, and no line of its code runs any more.
            workers.claims.leave("2")
            workers.dead.cancel()
            (connection,) = serving
            connection.close()
        await echo(scope, receive, send)

    serving: list[PeerConnection] = []
    workers = await pair(app)
    serve = workers.there._serve_request

    async def serve_and_note(connection: PeerConnection, *arguments: Any) -> None:
        serving.append(connection)
        await serve(connection, *arguments)

    workers.there._serve_request = serve_and_note
    workers.here._sending_on._app = app
    request = WholeRequest(b"body")
    body = await request.ask(workers, scope)
    assert asked == begun
    assert (request.status, body) == ((503, body) if scope is START else (200, b"body"))


async def test_a_request_that_the_other_worker_does_not_hold_is_answered_here_with_its_body(pair: StartPair) -> None:
    workers = await pair(echo)
    workers.here._sending_on._app = echo
    here = workers.here.holdings
    request = WholeRequest(b"body")
    (browser,) = workers.there.holdings._uses
    # What is known here has changed meanwhile.
    assert await here.claim(browser) is not None
    workers.there.holdings.release(browser)
    await eventually(lambda: browser not in workers.there.holdings)
    assert await request.ask(workers) == b"body"
    await eventually(lambda: browser not in here)


async def test_an_app_that_fails_is_answered_for_by_the_server_of_the_browser(
    pair: StartPair, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": object(), "headers": []})

    workers = await pair(app)
    request = WholeRequest()
    await request.ask(workers)
    assert request.received == []
    assert "has a object, which cannot be sent" in caplog.text
    workers.there._app = echo
    assert await WholeRequest(b"next").ask(workers) == b"next"


async def test_a_worker_that_has_come_back_is_asked_over_a_new_connection(
    pair: StartPair, connections: list[PeerConnection]
) -> None:
    workers = await pair(echo)
    assert await WholeRequest(b"before").ask(workers) == b"before"
    await workers.restart()
    assert await WholeRequest(b"after").ask(workers) == b"after"
    assert len(connections) == 2


async def test_a_connection_that_is_not_used_is_closed_by_who_has_opened_it(
    pair: StartPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_connections, "KEPT_TIMEOUT", 0.05)
    workers = await pair(echo)
    for _ in range(2):
        await WholeRequest().ask(workers)
        assert len(workers.here._kept) == 1
        await eventually(lambda: len(workers.here._kept) == 0)


def test_a_connection_that_is_not_used_is_closed_by_the_other_worker_later() -> None:
    assert kept_connections.KEPT_TIMEOUT < peers.HEAD_TIMEOUT


async def test_no_request_sees_the_context_of_the_one_before_it(pair: StartPair) -> None:
    user: ContextVar[str | None] = ContextVar("user", default=None)
    seen: list[str | None] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(user.get())
        user.set("somebody")
        await trio.lowlevel.checkpoint()
        seen.append(user.get())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(see)
        await echo(scope, receive, send)

    async def see() -> None:
        seen.append(user.get())

    workers = await pair(app)
    for _ in range(2):
        await WholeRequest().ask(workers)
    assert seen == [None, "somebody", "somebody"] * 2


@pytest.mark.parametrize("scope", [START, scope_of()], ids=["a start", "a message"])
async def test_a_request_that_was_given_up_is_not_begun(
    pair: StartPair, monkeypatch: pytest.MonkeyPatch, scope: dict[str, Any]
) -> None:
    monkeypatch.setattr(sending_on, "VERDICT_TIMEOUT", 0.5)
    asked, may_take, tries = 0, trio.Event(), 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal asked
        asked += 1
        await echo(scope, receive, send)

    async def take_late(browser: str) -> bool:
        nonlocal tries
        tries += 1
        if tries == 1:
            # As one that is held up.
            await may_take.wait()
        return await take(browser)

    workers = await pair(app)
    take, workers.there.holdings.take = workers.there.holdings.take, take_late
    assert await WholeRequest(b"body").ask(workers, scope) == b"body"
    may_take.set()
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert (asked, tries) == (1, 2)


async def test_a_body_that_has_come_in_as_many_parts_as_may_wait_leaves_room_for_the_end(pair: StartPair) -> None:
    workers = await pair(echo)
    request = WholeRequest(b"end")
    for _ in range(9):
        await request.messages.put({"type": "http.request", "body": b"part ", "more_body": True})
    with trio.fail_after(TIMEOUT):
        assert await request.ask(workers) == b"part " * 9 + b"end"


async def test_an_app_may_wait_for_the_end_of_its_request(pair: StartPair) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await echo(scope, receive, send)
        while (await receive())["type"] != "http.disconnect":
            pass

    workers = await pair(app)
    with trio.fail_after(TIMEOUT):
        assert await WholeRequest(b"body").ask(workers) == b"body"


async def test_what_there_is_no_room_for_does_not_wait_for_the_app(
    pair: StartPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, finishes = PeerConnection.__init__, trio.Event()

    def begin_with_little_room(self: PeerConnection, stream: trio.SocketStream, *arguments: Any) -> None:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
        begin(self, stream, *arguments)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await echo(scope, receive, send)
        await finishes.wait()

    monkeypatch.setattr(PeerConnection, "__init__", begin_with_little_room)
    workers = await pair(app)
    request = WholeRequest(bytes(60_000))
    workers.nursery.start_soon(request.ask, workers)
    await eventually(lambda: len(request.received) == 2)
    finishes.set()


async def test_a_connection_is_not_kept_by_a_worker_that_has_stopped(
    pair: StartPair, connections: list[PeerConnection]
) -> None:
    may_answer = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await may_answer.wait()
        await echo(scope, receive, send)

    workers = await pair(app)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(WholeRequest().ask, workers)
        await eventually(lambda: connections)
        workers.stopped.cancel()
        await eventually(lambda: workers.stopped.cancelled_caught)
        may_answer.set()
    assert len(workers.here._kept) == 0


@pytest.mark.parametrize("measured", ["sending", "receiving"])
async def test_other_tasks_run_however_fast_the_other_worker_is(measured: str) -> None:
    message = {"type": "http.request", "body": bytes(60_000), "more_body": True}
    runs = {"sending": 0, "receiving": 0}
    now = "sending"

    async def run() -> None:
        while True:
            await trio.lowlevel.checkpoint()
            runs[now] += 1

    here, there = (trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in socket.socketpair())
    async with (
        PeerConnection(here, ("http.request",)) as receiver,
        PeerConnection(there, ()) as sender,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(run)
        for _ in range(100):
            now = "sending"
            for _ in range(2):
                await sender.send(message)
            now = "receiving"
            for _ in range(2):
                await receiver.receive()
        nursery.cancel_scope.cancel()
    assert runs[measured] > 50


async def test_of_many_connections_a_few_are_kept(pair: StartPair, connections: list[PeerConnection]) -> None:
    at_once = 3 * kept_connections.KEPT
    all_have_come = trio.Event()
    come = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal come
        come += 1
        if come == at_once:
            all_have_come.set()
        await all_have_come.wait()
        await echo(scope, receive, send)

    workers = await pair(app)
    async with trio.open_nursery() as nursery:
        for _ in range(at_once):
            nursery.start_soon(WholeRequest().ask, workers)
    assert len(connections) == at_once
    assert len(workers.here._kept) == kept_connections.KEPT


async def test_a_worker_that_stops_keeps_no_connection(pair: StartPair) -> None:
    workers = await pair(echo)
    await WholeRequest().ask(workers)
    assert len(workers.here._kept) == 1
    workers.stopped.cancel()
    await eventually(lambda: len(workers.here._kept) == 0)
