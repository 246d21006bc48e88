"""What goes between two workers: requests of any app, questions, and what is neither."""

from __future__ import annotations

import contextlib
import logging
import socket
from typing import Any

import pytest
import trio
import trio.testing

from flash.asgi.client_log import ClientWarnings
from flash.workers import peer_connection, peers as module, sending_on
from flash.workers.machine import Machine
from flash.workers.peer_connection import Dialer
from tests.support.eventually import eventually
from tests.workers.machines import SECRET
from tests.workers.pair import Browser, StartPair, pair as pair, scope_of


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the body of the request."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        await send({"type": "http.response.body", "body": message["body"], "more_body": more})


async def hang(*arguments: Any) -> None:
    """Does nothing for ever."""
    await trio.sleep_forever()


async def test_a_body_goes_through_in_both_directions(pair: StartPair) -> None:
    body = bytes(range(256)) * 4_000
    browser = Browser(
        {"type": "http.request", "body": body[:500_000], "more_body": True},
        {"type": "http.request", "body": body[500_000:], "more_body": False},
    )
    await (await pair(echo)).ask(browser)
    assert browser.status == 200
    assert browser.body == body


async def test_a_browser_that_does_not_read_holds_up_the_app(pair: StartPair) -> None:
    sent = 0

    async def flood(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for sent in range(1_000):
            await send({"type": "http.response.body", "body": bytes(10_000), "more_body": sent < 999})

    workers = await pair(flood)
    browser = Browser()
    browser.reads = trio.Event()
    workers.nursery.start_soon(workers.ask, browser)
    await eventually(lambda: sent > 0)
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert sent < 200, "what sockets hold"
    browser.reads.set()
    await eventually(lambda: len(browser.body) == 10_000_000)


async def test_an_app_that_does_not_receive_holds_up_the_browser(pair: StartPair) -> None:
    receives = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receives.wait()
        await echo(scope, receive, send)

    workers = await pair(app)
    messages = [{"type": "http.request", "body": bytes(10_000), "more_body": n < 999} for n in range(1_000)]
    browser = Browser(*messages)
    workers.nursery.start_soon(workers.ask, browser)
    await eventually(lambda: browser.taken > 0)
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert browser.taken < 200
    receives.set()
    await eventually(lambda: len(browser.body) == 10_000_000)


async def test_when_the_browser_leaves_the_app_hears_of_it(pair: StartPair) -> None:
    heard: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while not heard or heard[-1] != "http.disconnect":
            heard.append((await receive())["type"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        with trio.move_on_after(0.05):
            # As of a server: nothing comes any more.
            heard.append((await receive())["type"])

    browser = Browser({"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"})
    await (await pair(app)).ask(browser)
    assert heard == ["http.request", "http.disconnect"]


@pytest.mark.parametrize(("kind", "message"), [("http", {}), ("websocket", {"code": 1006})])
async def test_when_this_worker_dies_the_app_hears_that_the_browser_has_left(
    pair: StartPair, kind: str, message: dict[str, Any]
) -> None:
    heard: list[Any] = []
    arrived = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        arrived.set()
        heard.append(await receive())
        # What is sent then goes nowhere, as of a server.
        await send({"type": f"{kind}.response.start", "status": 200, "headers": []})
        heard.append("sent")

    workers = await pair(app)
    scope = scope_of("/_flash/control" if kind == "websocket" else "/_flash/ack", kind)
    async with trio.open_nursery() as asking:
        asking.start_soon(workers.ask, Browser(), scope)
        await arrived.wait()
        asking.cancel_scope.cancel()
    await eventually(lambda: heard == [{"type": f"{kind}.disconnect", **message}, "sent"])


async def wait_for_ever(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http" and scope["path"].endswith(("events", "begun")):
        await send({"type": "http.response.start", "status": 200, "headers": []})
    elif scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
    await trio.sleep_forever()


@pytest.mark.parametrize(
    ("scope", "last"),
    [
        (scope_of("/_flash/ack"), {"type": "http.response.body", "more_body": False}),
        (scope_of("/_flash/events"), {"type": "http.response.body", "body": b"", "more_body": False}),
        (scope_of("/_flash/events", version="2"), {"type": "http.response.body", "body": b"", "more_body": False}),
        (scope_of("/_flash/control", "websocket"), {"type": "websocket.close", "code": 1012}),
    ],
    ids=["not begun", "link", "HTTP/2", "websocket"],
)
async def test_when_the_holder_dies_the_browser_notices(
    pair: StartPair, scope: dict[str, Any], last: dict[str, Any]
) -> None:
    workers = await pair(wait_for_ever)
    browser = Browser()

    async def die() -> None:
        await eventually(lambda: browser.received or scope["path"] == "/_flash/ack")
        await trio.testing.wait_all_tasks_blocked(0.01)
        workers.claims.leave("2")
        workers.dead.cancel()

    workers.nursery.start_soon(die)
    await workers.ask(browser, scope)
    assert browser.received[-1].items() >= last.items()
    if scope["path"] == "/_flash/ack":
        assert browser.status == 503
        assert b"is gone" in browser.body


async def test_a_request_is_never_sent_on_twice(pair: StartPair) -> None:
    asked = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal asked
        asked += 1
        workers.claims.leave("2")
        workers.dead.cancel()
        await trio.lowlevel.checkpoint()

    workers = await pair(app)
    browser = Browser()
    await workers.ask(browser)
    assert (asked, browser.status) == (1, 503)


async def test_an_app_that_fails_is_answered_for_by_the_server_of_the_browser(
    pair: StartPair, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    workers = await pair(app)
    browser = Browser()
    await workers.ask(browser)
    assert browser.received == []
    assert "ZeroDivisionError" in caplog.text
    await workers.ask(browser)


async def test_a_holder_that_cannot_be_reached_is_waited_for_and_then_the_request_is_refused(
    pair: StartPair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sending_on, "SEARCH_TIMEOUT", 0.1)
    # An earlier test may have had the warning, which is logged once a minute.
    monkeypatch.setattr(sending_on, "_warnings", ClientWarnings(logging.getLogger("flash.workers")))
    workers = await pair(wait_for_ever)
    workers.dead.cancel()
    await trio.testing.wait_all_tasks_blocked(0.01)
    browser = Browser()
    await workers.ask(browser)
    assert browser.status == 503
    assert "did not answer" in caplog.text
    socket = Browser()
    await workers.ask(socket, scope_of("/_flash/control", "websocket"))
    assert socket.received[0]["type"] == "websocket.http.response.start"


async def test_a_holder_that_says_nothing_is_given_up(pair: StartPair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending_on, "SEARCH_TIMEOUT", 0.1)
    monkeypatch.setattr(sending_on, "VERDICT_TIMEOUT", 0.05)

    async def silent(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("it is not asked")

    workers = await pair(silent)
    workers.there._serve_request = hang
    browser = Browser()
    await workers.ask(browser)
    assert browser.status == 503


async def test_what_is_no_message_ends_its_own_connection_only(
    pair: StartPair, caplog: pytest.LogCaptureFixture
) -> None:
    workers = await pair(echo)
    for said in (b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\2\0\0\0\0{}", b"\0\0\0\2"):
        stream = await trio.open_unix_socket(workers.there.socket_path)
        await stream.send_all(said)
        await stream.send_eof()
        assert await stream.receive_some() == b""
        await stream.aclose()
    assert "was refused" in caplog.text
    browser = Browser({"type": "http.request", "body": b"still there", "more_body": False})
    await workers.ask(browser)
    assert browser.body == b"still there"


async def test_a_machine_that_takes_no_connection_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_connection, "CONNECT_TIMEOUT", 0.2)
    with socket.socket() as silent, contextlib.ExitStack() as waiting:
        silent.bind(("127.0.0.2", 0))
        silent.listen(0)
        # With those that it lets wait it has enough, and does not answer any more.
        for _ in range(2):
            connection = waiting.enter_context(socket.socket())
            connection.setblocking(False)
            connection.connect_ex(silent.getsockname())
        address = "{}:{}/2".format(*silent.getsockname())
        began = trio.current_time()
        with pytest.raises(TimeoutError, match="does not answer"):
            await Dialer(None, Machine("127.0.0.1:1", SECRET)).connect(address, ())
        assert trio.current_time() - began < peer_connection.OPEN_TIMEOUT


async def test_a_question_is_answered_by_every_worker(pair: StartPair) -> None:
    workers = await pair(echo)
    assert await workers.here.ask_all("name") == {"1": "answer", "2": "answer"}


async def test_a_worker_that_does_not_answer_is_named(
    pair: StartPair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "ANSWER_TIMEOUT", 0.05)
    workers = await pair(echo)
    workers.there._answer = hang
    assert await workers.here.ask_all("name") == {"1": "answer", "2": None}
    assert "worker 2" in caplog.text
    workers.dead.cancel()
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert await workers.here.ask_all("name") == {"1": "answer", "2": None}


async def test_a_question_that_no_worker_asks_is_refused(pair: StartPair, caplog: pytest.LogCaptureFixture) -> None:
    workers = await pair(echo)
    workers.here._answers = {"secrets": lambda about: "mine"}
    assert await workers.here.ask_all("secrets") == {"1": "mine", "2": None}
    assert "asks what no worker asks" in caplog.text
