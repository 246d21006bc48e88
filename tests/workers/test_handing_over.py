"""Links whose connections are handed over to the holder of their browser: real processes, and their two ends alone."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import socket
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
import trio

from flash._hypercorn import unanswered_request
from flash.workers.frames import MalformedFrame
from flash.workers.handing_over import CONNECTION, adopt
from flash.workers.peer_connection import PeerConnection, PeerGone
from tests.faults.sockets import Page, Site, serving
from tests.http.servers import Serve
from tests.support.eventually import TIMEOUT, eventually
from tests.workers.apps import CountingApp
from tests.workers.test_processes import anybody, connection_to, link_by

APP = """
import os

import trio
from flash import Flash, Input, every, html, stream_props

app = Flash(__name__, reconnect_grace=0.2, stall_timeout=2, ping_interval=0.5, window=10**9)
app.layout = [html.Button(id=name) for name in ("count", "flood")] + [html.Div(id="out")]
ended = []


@app.server.route("/pid")
async def pid():
    return str(os.getpid())


@app.server.route("/known")
async def known():
    return {
        "pid": os.getpid(),
        "updates": sum(stream.updates for stream in app.streams()),
        "streams": len(app.streams()),
        "ended": ended,
    }


def note(error):
    ended.append(getattr(error, "reason", repr(error)))


@app.event_callback(Input("count", "n_clicks"), on_error=note)
async def count(clicks):
    for number in range(clicks):
        yield stream_props("out", {"children": number})
        await trio.sleep(0.005)
    await trio.sleep_forever()


@app.event_callback(Input("flood", "n_clicks"), on_error=note)
async def flood(clicks):
    while True:
        yield stream_props("out", {"children": "x" * 100_000})
"""


async def known(site: Site, worker: int) -> dict[str, Any]:
    """What a worker says of itself."""
    stream, http, _ = await connection_to(site, lambda pid: pid == worker)
    await http.send("GET", "/known")
    answer = (await http.answer()).json()
    await stream.aclose()
    site.sockets.discard(stream)
    return answer


async def page_held_by(site: Site) -> tuple[Page, int]:
    """A page without a link, whose browser has a tab with one; and the process id of its holder."""
    page = await site.page()
    _, holder = await link_by(await site.page(page.browser), anybody)
    return page, holder


async def bytes_of_link(site: Site, page: Page, by: int) -> bytes:
    """What comes over a connection to a worker when a link is opened over it, a stream is run, and the page is left."""
    stream, http, _ = await connection_to(site, lambda pid: pid == by)
    received = b""

    async def until(what: bytes) -> None:
        nonlocal received
        with trio.fail_after(TIMEOUT):
            while not re.search(what, received, re.DOTALL):
                data = await stream.receive_some()
                assert data, received
                received += data

    # Behind the request comes another one, which is answered when the link is over.
    await http.send("GET", page.identity.events, page.headers, then=b"GET /pid HTTP/1.1\r\nHost: x\r\n\r\n")
    await until(b"event: hello")
    assert (await page.start("count", value=20)).status == 204
    await until(b'"children":19')
    assert (await page.leave()).status == 204
    await until(rb"content-length: \d+\r\n.*\r\n\r\n\d+$")
    return received


def comparable(page: Page, received: bytes) -> tuple[bytes, list[bytes], bytes]:
    """The head of a response without its date, the events in it without names, and the response after it."""
    head, _, rest = re.sub(rb"\r\ndate: [^\r]*", b"", received).partition(b"\r\n\r\n")
    body, _, after = rest.partition(b"\r\n0\r\n\r\n")
    text = re.sub(rb"\r\n[0-9a-f]+\r\n", b"", b"\r\n" + body)
    life = re.search(rb'"life":"([^"]+)"', text)
    assert life is not None
    text = text.replace(life[1], b"LIFE").replace(page.identity.token.encode(), b"PAGE")
    text = re.sub(rb'"stream":"[^"]*"', b'"stream":""', text)
    return head, [event for event in text.split(b"\n\n") if b"event: ping" not in event], after


async def test_a_link_is_the_same_to_the_byte_over_whichever_worker_it_comes(tmp_path: Path) -> None:
    async with serving(tmp_path, "--workers", "2", source=APP) as (_, site):
        seen: list[tuple[bytes, list[bytes], bytes]] = []
        for is_direct in (True, False):
            page, holder = await page_held_by(site)
            _, _, other = await connection_to(site, lambda pid, holder=holder: pid != holder)
            received = await bytes_of_link(site, page, holder if is_direct else other)
            head, events, after = comparable(page, received)
            # What came behind the request has been handed over, too.
            assert after.endswith(str(holder).encode())
            seen.append((head, events, after.replace(str(holder).encode(), b"")))
        assert seen[0] == seen[1]


async def test_the_worker_that_a_link_has_come_to_has_no_part_in_it_any_more(tmp_path: Path) -> None:
    async with serving(tmp_path, "--workers", "2", source=APP) as (supervisor, site):
        page, holder = await page_held_by(site)
        other = (await connection_to(site, lambda pid: pid != holder))[2]
        await check_descriptors(site, page, {holder: 1, other: 0, supervisor.pid: 0})
        await check_leaving_client(site, page, holder, other)
        await check_slow_reader(site, page, holder, other)
        await check_leaving_worker(site, page, other)


async def check_descriptors(site: Site, page: Page, expected: dict[int, int]) -> None:
    """A link that has come to a worker which does not hold its browser costs one descriptor, that of the holder."""
    (other,) = (pid for pid in list(expected)[:2] if not expected[pid])
    stream, http, _ = await connection_to(site, lambda pid: pid == other)
    client: tuple[str, int] = stream.socket.getsockname()
    server: tuple[str, int] = stream.socket.getpeername()
    assert descriptors_of(server, client, [other]) == {other: 1}, "it is counted right"
    link = await page.connect(over=http)
    await eventually(
        lambda: descriptors_of(server, client, expected) == expected,
        lambda: f"{descriptors_of(server, client, expected)}",
    )
    await link.close()


def descriptors_of(server: tuple[str, int], client: tuple[str, int], pids: Iterable[int]) -> dict[int, int]:
    """How many descriptors each of these processes has of the server's end of a client's connection."""
    entries = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    # Local address, remote address, and in the tenth field the number that names the socket. The client's port alone
    # names no connection: others that go to another server may have had it, and theirs may still be listed.
    ports = [server[1], client[1]]
    names = [entry[9] for entry in entries if [int(side.rpartition(":")[2], 16) for side in entry[1:3]] == ports]
    (name,) = (f"socket:[{number}]" for number in names)
    counts = dict.fromkeys(pids, 0)
    for pid in counts:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            # It may be closed at this moment.
            with contextlib.suppress(FileNotFoundError):
                counts[pid] += os.readlink(descriptor) == name
    return counts


async def is_so(site: Site, worker: int, **expected: object) -> bool:
    found = await known(site, worker)
    return all(found[name] == value for name, value in expected.items())


async def check_leaving_client(site: Site, page: Page, holder: int, other: int) -> None:
    """The holder itself sees that the client has left."""
    events, _ = await link_by(page, lambda pid: pid == other)
    assert (await page.start("count", value=3)).status == 204
    assert [number async for number in children(events, 3)] == [0, 1, 2]
    assert await is_so(site, holder, streams=1, ended=[])
    await events.close()
    await eventually(lambda: is_so(site, holder, streams=0, ended=["disconnected"]))


async def children(events: Any, count: int) -> AsyncIterator[int]:
    for _ in range(count):
        yield (await events.until("props"))["props"][0][1]["children"]


async def check_slow_reader(site: Site, page: Page, holder: int, other: int) -> None:
    """What a client does not read is bounded, and after `stall_timeout` it is taken for gone."""
    _, http, _ = await connection_to(site, lambda pid: pid == other)
    http.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)  # pyright: ignore
    await page.connect(over=http)
    assert (await page.start("flood")).status == 204
    most = 0

    async def is_gone() -> bool:
        nonlocal most
        found = await known(site, holder)
        most = max(most, found["updates"])
        return found["ended"] == ["disconnected"] * 2

    await eventually(is_gone)
    assert 0 < most < 200, "sockets hold some megabytes, and no more is sent"


async def check_leaving_worker(site: Site, page: Page, other: int) -> None:
    """When that worker stops, the link goes on."""
    events, _ = await link_by(page, lambda pid: pid == other)
    assert (await page.start("count", value=10**6)).status == 204
    await events.until("props")
    os.kill(other, signal.SIGTERM)
    await connection_to(site, lambda pid: pid != other)
    await eventually(lambda: not Path(f"/proc/{other}").exists())
    numbers = [number async for number in children(events, 20)]
    assert numbers == list(range(numbers[0], numbers[0] + 20))


async def test_a_request_whose_client_has_left_has_nothing_to_hand_over(serve: Serve) -> None:
    app = CountingApp()
    found: list[object] = []

    async def leaving(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        found.append(unanswered_request(send))
        while (await receive())["type"] != "http.disconnect":
            pass
        # The app may be told of the disconnect a moment before the server forgets the request.
        await eventually(lambda: unanswered_request(send) is None)
        found.append(None)

    server = await serve(app, at=leaving)
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually(lambda: found)
    await eventually(lambda: len(found) == 2)
    assert found[0] is not None


class Way:
    """The two ends of a connection between workers of one machine."""

    def __init__(self) -> None:
        self.worker, self.holder = (
            PeerConnection(trio.SocketStream(trio.socket.from_stdlib_socket(end)), (CONNECTION,))
            for end in socket.socketpair()
        )
        self.served: list[tuple[socket.socket, bytes]] = []

    async def adopt(self) -> None:
        with trio.fail_after(TIMEOUT):
            await adopt(self.holder, lambda connection, received: self.served.append((connection, received)))


@pytest.fixture
async def way() -> AsyncIterator[Way]:
    way = Way()
    async with way.worker, way.holder:
        yield way
    for connection, _ in way.served:
        connection.close()


@pytest.mark.parametrize("size", [0, 500_000])
async def test_a_connection_arrives_with_what_was_read_of_it(way: Way, size: int) -> None:
    client, accepted = socket.socketpair()
    received = b"x" * size
    with client, accepted:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(way.adopt)
            await way.worker.send_socket({"type": CONNECTION, "bytes": received}, accepted.fileno())
        accepted.close()
        ((connection, arrived),) = way.served
        assert arrived == received
        assert not connection.get_inheritable()
        connection.sendall(b"served")
        assert client.recv(10) == b"served"


async def test_a_connection_that_could_not_be_received_is_told_of_in_the_log(
    way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    await way.worker.send({"type": CONNECTION, "bytes": b""})
    await way.adopt()
    assert way.served == []
    assert os.strerror(errno.EMFILE) in caplog.text


async def test_a_worker_that_dies_instead_of_handing_over_leaves_nothing(way: Way) -> None:
    async with way.worker:
        pass
    with pytest.raises(PeerGone):
        await way.adopt()


async def test_what_is_no_connection_is_refused_and_a_socket_with_it_closed(way: Way) -> None:
    client, accepted = socket.socketpair()
    with client:
        with accepted:
            await way.worker.send_socket({"type": "http.request", "body": b""}, accepted.fileno())
        with pytest.raises(MalformedFrame):
            await way.adopt()
        assert client.recv(1) == b""


async def test_to_a_holder_that_is_gone_nothing_is_handed_over(way: Way) -> None:
    async with way.holder:
        pass
    with socket.socket() as connection, pytest.raises(PeerGone):
        await way.worker.send_socket({"type": CONNECTION, "bytes": b""}, connection.fileno())
