"""An answer is the same, byte for byte, from Hypercorn's own classes and from Flash's, which write it at once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeAlias, cast

import hypercorn.config
import pytest
import trio
import trio.testing
from hypercorn.config import Config
from hypercorn.events import RawData
from hypercorn.trio import serve as serve_with_hypercorn
from hypercorn.trio.lifespan import Lifespan

from flash import Flash, _hypercorn_patches, html
from flash._hypercorn_messages import RequestMessages
from flash._hypercorn_patches import FlashTCPServer, adopt
from flash.server import lifespan
from tests.http.test_plain_http1 import NOT_PLAIN

LENGTH = (b"content-length", b"4")

Send = Callable[[Any], Awaitable[None]]


def head(status: int, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


ANSWERS: dict[str, list[dict[str, Any]]] = {
    "/whole": [head(200, (b"Content-Type", b"text/plain"), LENGTH), body(b"text")],
    "/parts": [head(200, LENGTH), body(b"te", more=True), body(b"xt")],
    "/chunks": [head(200), body(b"te", more=True), body(b"xt")],
    "/chunk": [head(201), body(b"text")],
    "/nothing": [head(204), body(b"")],
    "/none": [head(200, (b"content-length", b"0")), body(b"")],
    "/unchanged": [head(304, LENGTH), body(b"")],
    "/closing": [head(200, LENGTH, (b"connection", b"close")), body(b"text")],
    "/headless": [head(500, LENGTH)],
    "/silent": [],
    "/too-short": [head(200, LENGTH), body(b"tex")],
    "/large": [head(200, (b"content-length", b"5000004")), body(bytes(5_000_000) + b"text")],
    "/bad-name": [head(200, LENGTH, (b"a b", b"c")), body(b"text")],
    "/pseudo": [head(200, LENGTH, (b":status", b"200")), body(b"text")],
}

REQUESTS = [
    *(
        f"GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"
        for path in ANSWERS
        if path not in ("/too-short", "/large")
    ),
    *(f"HEAD {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n" for path in ("/whole", "/parts", "/chunk")),
    *(f"GET {path} HTTP/1.0\r\n\r\n" for path in ("/whole", "/chunk")),
    "POST /whole HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\n\r\nabc"
    "GET /chunks HTTP/1.1\r\nHost: here\r\n\r\nGET /closing HTTP/1.1\r\nHost: here\r\n\r\n",
    "POST /whole HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc",
    "not HTTP\r\n\r\n",
]

PLAIN = b"POST /whole HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = b"POST /whole HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"

Part: TypeAlias = "tuple[bytes, int, bytes]"
"""Something that a client sends; how many answers it awaits before it sends more; what the last of them ends with."""

REQUEST: Part = (PLAIN, 1, b"text")


def request_of(path: bytes, end: bytes) -> Part:
    return PLAIN.replace(b"/whole", path), 1, end


CONVERSATIONS: dict[str, list[Part]] = {
    "as many as one connection may have": [REQUEST] * 9,
    "others between them": [
        REQUEST,
        (CHUNKED, 1, b"text"),
        REQUEST,
        (PLAIN[:30], 0, b""),
        (PLAIN[30:], 1, b"text"),
        REQUEST,
    ],
    "one and a half": [REQUEST, (PLAIN + PLAIN[:-1], 1, b"text"), (PLAIN[-1:], 1, b"text"), REQUEST],
    "two at a time": [REQUEST, (PLAIN + PLAIN, 2, b"text"), REQUEST],
    "one in parts": [
        *[(PLAIN[at : at + 1], 0, b"") for at in range(len(PLAIN) - 1)],
        (PLAIN[-1:], 1, b"text"),
        REQUEST,
    ],
    "answers in parts": [
        request_of(b"/parts", b"text"),
        request_of(b"/chunks", b"0\r\n\r\n"),
        request_of(b"/chunk", b"0\r\n\r\n"),
        REQUEST,
    ],
    "answers without a body": [
        request_of(b"/none", b"\r\n\r\n"),
        request_of(b"/nothing", b"\r\n\r\n"),
        request_of(b"/unchanged", b"\r\n\r\n"),
        REQUEST,
    ],
}
"""What a client sends over one connection."""


@pytest.fixture(autouse=True)
def failures(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The connections that have failed, which are none unless a test takes them."""
    failures: list[str] = []

    def report(kind: str, error: BaseException) -> None:
        failures.append(f"{kind}: {error!r}")

    monkeypatch.setattr(lifespan, "_report_failed_connection", report)
    yield failures
    assert failures == []


async def answer(scope: Any, receive: Any, send: Send) -> None:
    """An ASGI app that answers as `ANSWERS` says."""
    if scope["type"] == "lifespan":
        for name in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{name}.complete"})
        return
    while (await receive()).get("more_body", False):
        pass
    for message in ANSWERS[scope["path"]]:
        await send(message)


def behind_flash(app: Callable[..., Awaitable[None]]) -> Any:
    """An ASGI app whose server is a Flash app's, and whose requests `app` answers."""
    flash = Flash(__name__)
    flash.layout = html.Div()

    async def mixed(scope: Any, receive: Any, send: Send) -> None:
        await (flash.server if scope["type"] == "lifespan" else app)(scope, receive, send)

    return mixed


async def start(nursery: trio.Nursery, app: Any, stop: Callable[[], Awaitable[None]] | None = None) -> int:
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.graceful_timeout = 1.0
    config.include_date_header = False
    config.errorlog = None
    config.keep_alive_max_requests = 9
    bound: list[str] = await nursery.start(
        lambda task_status: serve_with_hypercorn(
            app, config, mode="asgi", shutdown_trigger=stop, task_status=task_status
        )
    )
    return int(bound[0].rpartition(":")[2])


async def ask(port: int, request: str) -> bytes:
    """All that the server sends until it closes the connection."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(request.encode())
        return b"".join([part async for part in stream])


async def test_each_answer_is_the_one_that_hypercorn_gives_by_itself() -> None:
    async with trio.open_nursery() as nursery:
        with trio.fail_after(60):
            hypercorns, flashs = await start(nursery, answer), await start(nursery, behind_flash(answer))
            for request in REQUESTS:
                assert await ask(flashs, request) == await ask(hypercorns, request), request
            # Nothing is sent of a response in one piece that cannot be completed.
            assert not await ask(flashs, "GET /too-short HTTP/1.1\r\nHost: here\r\n\r\n")
        nursery.cancel_scope.cancel()


async def converse(port: int, parts: list[Part]) -> bytes:
    """All that the server sends over a connection that the client ends when it has its answers."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        received = b""
        for data, answers, end in parts:
            awaited = b""
            await stream.send_all(data)
            while awaited.count(b"HTTP/1.1 ") < answers or not awaited.endswith(end):
                more = await stream.receive_some()
                assert more, (data, awaited)
                awaited += more
            received += awaited
        await stream.send_eof()
        return received + b"".join([part async for part in stream])


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_a_connection_goes_on_as_it_does_with_hypercorn_by_itself(name: str) -> None:
    async with trio.open_nursery() as nursery:
        with trio.fail_after(60):
            hypercorns, flashs = await start(nursery, answer), await start(nursery, behind_flash(answer))
            expected = await converse(hypercorns, CONVERSATIONS[name])
            assert expected
            assert await converse(flashs, CONVERSATIONS[name]) == expected
        nursery.cancel_scope.cancel()


async def test_a_request_that_comes_while_the_app_is_told_of_the_end_of_the_one_before_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put, ending = RequestMessages.put, 0

    async def put_slowly(self: RequestMessages, message: Any) -> None:
        nonlocal ending
        await put(self, message)
        # Meanwhile the client gets its answer and sends the next request, whose end the server reads after this.
        if message["type"] == "http.disconnect":
            ending += 1
            await trio.testing.wait_all_tasks_blocked(0.01)
            ending -= 1
        elif ending:
            await trio.testing.wait_all_tasks_blocked(0.02)

    monkeypatch.setattr(RequestMessages, "put", put_slowly)
    async with trio.open_nursery() as nursery:
        with trio.fail_after(20):
            received = await converse(await start(nursery, behind_flash(answer)), [REQUEST] * 4)
        nursery.cancel_scope.cancel()
    assert received.count(b"text/plain") == 4


@pytest.mark.parametrize(
    ("then", "answers"),
    [(PLAIN, 2), (PLAIN + PLAIN, 3), (PLAIN[:-1], 1), (b"not HTTP\r\n\r\n", 2), (b"", 1)],
    ids=["a request", "two", "half of one", "nonsense", "the end"],
)
async def test_what_comes_while_an_answer_is_written_waits_for_its_end(then: bytes, answers: int) -> None:
    async def ask_on(port: int) -> bytes:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(PLAIN.replace(b"/whole", b"/large"))
            received = bytearray(await stream.receive_some(1))
            await (stream.send_all(then) if then else stream.send_eof())
            # The server reads that before this client reads on.
            await ask(port, REQUESTS[0])
            while received.count(b"HTTP/1.1 ") < answers or not received.endswith((b"text", b"\r\n\r\n")):
                more = await stream.receive_some()
                assert more, received[-1000:]
                received += more
            if then:
                await stream.send_eof()
            return bytes(received) + b"".join([part async for part in stream])

    async with trio.open_nursery() as nursery:
        with trio.fail_after(60):
            hypercorns, flashs = await start(nursery, answer), await start(nursery, behind_flash(answer))
            received, expected = await ask_on(flashs), await ask_on(hypercorns)
            assert len(expected) > 5_000_000
            # Without the comparison that a failed assertion would show.
            assert bool(received == expected)
        nursery.cancel_scope.cancel()


async def test_what_h11_has_to_decide_is_answered_as_hypercorn_does_by_itself() -> None:
    async with trio.open_nursery() as nursery:
        with trio.fail_after(60):
            hypercorns, flashs = await start(nursery, answer), await start(nursery, behind_flash(answer))
            # With these two Hypercorn waits for its `keep_alive_timeout`.
            for name in NOT_PLAIN.keys() - {"nothing", "an upgrade"}:
                request = NOT_PLAIN[name]
                part = request.replace(b"/_dash-update-component?a=1", b"/whole"), 0, b""
                assert await converse(flashs, [part]) == await converse(hypercorns, [part]), name
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("path", "end"), [("/whole", b"\r\n\r\ntext"), ("/nothing", b"\r\n\r\n")])
async def test_an_answer_in_one_piece_is_one_write(monkeypatch: pytest.MonkeyPatch, path: str, end: bytes) -> None:
    writes: list[bytes] = []
    send = FlashTCPServer.protocol_send

    async def counted(self: FlashTCPServer, event: Any) -> None:
        if type(event) is RawData:
            writes.append(event.data)
        await send(self, event)

    monkeypatch.setattr(FlashTCPServer, "protocol_send", counted)
    async with trio.open_nursery() as nursery:
        with trio.fail_after(20):
            port = await start(nursery, behind_flash(answer))
            received = await ask(port, REQUESTS[0].replace("/whole", path))
        nursery.cancel_scope.cancel()
    assert writes == [received]
    assert received.endswith(end)


@pytest.mark.parametrize("headers", [(), ((b"transfer-encoding", b"chunked"),)])
async def test_the_head_of_a_response_of_no_known_length_leaves_at_once(headers: tuple[Any, ...]) -> None:
    arrived = trio.Event()

    async def slow(scope: Any, receive: Any, send: Send) -> None:
        await send(head(200, *headers))
        await arrived.wait()
        await send(body(b"text"))

    async with trio.open_nursery() as nursery:
        with trio.fail_after(20):
            port = await start(nursery, behind_flash(slow))
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(REQUESTS[0].encode())
                received = b""
                while b"\r\n\r\n" not in received:
                    received += await stream.receive_some()
                arrived.set()
                received += b"".join([part async for part in stream])
        nursery.cancel_scope.cancel()
    assert b"text" in received


async def test_each_answer_has_the_date_of_its_second(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [1_000_000_000.0]
    config = Config()
    adopt(Lifespan(cast("Any", answer), config, {}).asgi_receive, lambda *_: None)
    for clock in (_hypercorn_patches, hypercorn.config):
        monkeypatch.setattr(clock, "time", lambda: seconds[-1])
    for second in (1_000_000_000.0, 1_000_000_000.9, 1_000_000_001.0, 1_000_000_060.0):
        seconds.append(second)
        for protocol in ("h11", "h2"):
            assert config.response_headers(protocol) == Config().response_headers(protocol)
    config.response_headers("h11").clear()
    assert config.response_headers("h11") == Config().response_headers("h11")


async def test_messages_arrive_in_order_and_one_that_finds_no_room_waits() -> None:
    messages = RequestMessages(2)
    with pytest.raises(trio.WouldBlock):
        messages.receive_nowait()
    received: list[int] = []

    async def put_all() -> None:
        for number in range(6):
            await messages.put(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(put_all)
        await trio.testing.wait_all_tasks_blocked()
        received += [messages.receive_nowait(), messages.receive_nowait()]
        with pytest.raises(trio.WouldBlock):
            messages.receive_nowait()
        while len(received) < 6:
            received.append(await messages.receive())
    assert received == [0, 1, 2, 3, 4, 5]
    with trio.move_on_after(0):
        await messages.receive()
    await messages.put(6)
    assert await messages.receive() == 6


async def test_a_request_that_comes_while_a_server_that_stops_writes_its_last_answer_is_not_begun() -> None:
    paths: list[str] = []
    stop = trio.Event()

    async def noting(scope: Any, receive: Any, send: Send) -> None:
        paths.append(scope["path"])
        await answer(scope, receive, send)

    async with trio.open_nursery() as nursery:
        with trio.fail_after(20):
            port = await start(nursery, behind_flash(noting), stop.wait)
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(PLAIN.replace(b"/whole", b"/large"))
                received = bytearray(await stream.receive_some(1))
                await stream.send_all(PLAIN)
                # The server reads that, and hears that it is to stop, before this client reads on.
                await ask(port, REQUESTS[1])
                stop.set()
                await trio.testing.wait_all_tasks_blocked(0.05)
                while more := await stream.receive_some():
                    received += more
        nursery.cancel_scope.cancel()
    assert received.endswith(b"text")
    assert paths == ["/large", "/parts"]


async def test_a_request_that_comes_as_the_connection_has_been_idle_for_too_long_is_not_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paths: list[str] = []
    connections: list[Any] = []
    begin = FlashTCPServer.run

    async def noting(scope: Any, receive: Any, send: Send) -> None:
        paths.append(scope["path"])
        await answer(scope, receive, send)

    async def run(self: FlashTCPServer) -> None:
        connections.append(self)
        await begin(self)

    monkeypatch.setattr(FlashTCPServer, "run", run)
    async with trio.open_nursery() as nursery:
        with trio.fail_after(20):
            port = await start(nursery, behind_flash(noting))
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(PLAIN)
                received = b""
                while not received.endswith(b"text"):
                    received += await stream.receive_some()
                await trio.testing.wait_all_tasks_blocked(0.01)
                # The server finds both in the same pass of its loop.
                os.write(stream.socket.fileno(), PLAIN)
                connections[0].idle_task.end_at(trio.current_time())
                with contextlib.suppress(trio.BrokenResourceError):
                    assert not await stream.receive_some()
        nursery.cancel_scope.cancel()
    assert paths == ["/whole"]
