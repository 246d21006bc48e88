"""Requests over real sockets: however their bodies come, they are answered, and what runs for them ends with them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import h2.config
import h2.connection
import h2.settings
import h11
import pytest
import quart
import trio
from quart_trio.wrappers.request import TrioBody
from trio.testing import wait_all_tasks_blocked

from flash import Flash, Input, Output, html
from flash.asgi.http_exchange import HTTP_EXCHANGE, SMALL
from tests.http.pages import Page
from tests.http.servers import Serve
from tests.support.eventually import TIMEOUT, eventually

HEAD = "POST /_dash-update-component HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"

Parts = Callable[[bytes], Iterable[bytes]]


def whole(body: bytes) -> Iterable[bytes]:
    yield f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body


def head_first(body: bytes) -> Iterable[bytes]:
    yield f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode()
    yield body


def halves(body: bytes) -> Iterable[bytes]:
    yield f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body[:10]
    yield body[10:]


def chunks(body: bytes) -> Iterable[bytes]:
    yield f"{HEAD}Transfer-Encoding: chunked\r\n\r\na\r\n".encode() + body[:10] + b"\r\n"
    yield b"%x\r\n%b\r\n0\r\n\r\n" % (len(body) - 10, body[10:])


EVERY_WAY = pytest.mark.parametrize("parts", [whole, head_first, halves, chunks])


class Socket:
    """A client that says when it sends which bytes."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._read = h11.Connection(h11.CLIENT)

    async def send(self, parts: Iterable[bytes]) -> None:
        for part in parts:
            await self.stream.send_all(part)
            await wait_all_tasks_blocked(0.01)

    async def answer(self) -> tuple[int, bytes]:
        """The status and the body of the next response."""
        self._read.send(h11.Request(method="POST", target="/", headers=[("Host", "x")]))
        self._read.send(h11.EndOfMessage())
        status, body = 0, b""
        while not isinstance(event := self._read.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                self._read.receive_data(await self.stream.receive_some())
        self._read.start_next_cycle()
        return status, body


async def connect(page: Page) -> Socket:
    return Socket(await trio.open_tcp_stream("127.0.0.1", page.port))


def make_app(callback: Callable[[Any], Any]) -> Flash:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Div(id="out")]
    app.callback(Output("out", "children"), Input("go", "n_clicks"))(callback)
    return app


async def never(clicks: int) -> None:
    """A callback that is not to be called."""
    raise AssertionError


def make_limited_app() -> Flash:
    """It takes bodies of 100 bytes."""
    app = make_app(never)
    app.server.config["MAX_CONTENT_LENGTH"] = 100
    return app


@EVERY_WAY
async def test_a_body_is_taken_in_however_it_comes(serve: Serve, parts: Parts) -> None:
    async def double(clicks: int) -> int:
        return 2 * clicks

    page = await (await serve(make_app(double))).page()
    socket = await connect(page)
    async with socket.stream:
        for clicks in range(30):
            await socket.send(parts(json.dumps(page.request("go", value=clicks)).encode()))
            status, body = await socket.answer()
            assert (status, json.loads(body)["response"]) == (200, {"out": {"children": 2 * clicks}})


@EVERY_WAY
async def test_a_body_that_is_larger_than_the_app_allows_is_refused(serve: Serve, parts: Parts) -> None:
    page = await (await serve(make_limited_app())).page()
    socket = await connect(page)
    async with socket.stream:
        await socket.send(parts(json.dumps(page.request("go", value=1)).encode()))
        status, body = await socket.answer()
        assert (status, body[:60]) == (413, b"The request is larger than 100 bytes: send less, or raise ma")


async def test_a_page_cannot_say_more_than_the_app_allows_either(serve: Serve) -> None:
    page = await (await serve(make_limited_app())).page()
    socket = await connect(page)
    async with socket.stream:
        body = b'{"page": "%b"}' % (b"x" * 100)
        head = HEAD.replace("_dash-update-component", "_flash/close") + f"Cookie: flash_browser={page.cookie}\r\n"
        await socket.stream.send_all(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert (await socket.answer())[0] == 413


@EVERY_WAY
async def test_a_hook_may_put_another_body_in_the_place_of_a_requests(serve: Serve, parts: Parts) -> None:
    async def double(clicks: int) -> int:
        return 2 * clicks

    app = make_app(double)

    @app.server.before_request
    async def unmask() -> None:
        if quart.request.method == "POST":
            masked = await quart.request.get_data(as_text=False)
            assert isinstance(masked, bytes)
            quart.request.body = TrioBody(None, None)
            quart.request.body.set_result(masked[::-1])

    page = await (await serve(app)).page()
    socket = await connect(page)
    async with socket.stream:
        await socket.send(parts(json.dumps(page.request("go", value=21)).encode()[::-1]))
        assert json.loads((await socket.answer())[1])["response"] == {"out": {"children": 42}}


async def test_a_request_has_a_second_task_only_when_it_waits(serve: Serve) -> None:
    tasks: list[int] = []

    def living() -> int:
        root = trio.lowlevel.current_root_task()
        assert root is not None
        beside = [task.name for nursery in root.child_nurseries for task in nursery.child_tasks]
        return sum("DisconnectWatch" in name for name in beside)

    async def count(clicks: int) -> list[int]:
        exchange = HTTP_EXCHANGE.get()
        assert exchange is not None
        assert exchange.body is not None
        tasks.append(living())
        await trio.lowlevel.checkpoint()
        tasks.append(living())
        await trio.lowlevel.checkpoint()
        tasks.append(living())
        return tasks

    page = await (await serve(make_app(count))).page()
    socket = await connect(page)
    async with socket.stream:
        await socket.send(whole(json.dumps(page.request("go", value=1)).encode()))
        assert json.loads((await socket.answer())[1])["response"] == {"out": {"children": [0, 1, 1]}}
        await wait_all_tasks_blocked()
        assert living() == 0


async def test_a_request_that_waits_needs_no_lifespan() -> None:
    app = Flash(__name__)
    app.layout = html.Div()

    @app.server.get("/waits")
    async def waits() -> str:
        await trio.lowlevel.checkpoint()
        return "over"

    answer = await app.server.test_client().get("/waits")
    assert await answer.get_data() == b"over"


async def test_nothing_is_left_of_a_client_of_http2_that_takes_no_answer(serve: Serve) -> None:
    page = await (await serve(make_app(never), keep_alive_timeout=1)).page()
    await page.client.aclose()
    await wait_all_tasks_blocked(0.1)
    tasks = trio.lowlevel.current_statistics().tasks_living
    stream = await trio.open_tcp_stream("127.0.0.1", page.port)
    http2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    http2.initiate_connection()
    http2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
    await stream.send_all(http2.data_to_send())
    await wait_all_tasks_blocked(0.01)
    headers = [(":method", "GET"), (":path", "/_flash/health"), (":scheme", "http"), (":authority", "x")]
    for number in range(20):
        http2.send_headers(2 * number + 1, headers, end_stream=True)
        await stream.send_all(http2.data_to_send())
        await wait_all_tasks_blocked(0.01)
    assert trio.lowlevel.current_statistics().tasks_living > tasks
    await stream.aclose()
    await eventually(lambda: trio.lowlevel.current_statistics().tasks_living <= tasks)


@pytest.mark.parametrize("size", [0, SMALL - 1_000, SMALL, 10 * SMALL])
async def test_answers_of_every_size_arrive(serve: Serve, size: int) -> None:
    async def write(clicks: int) -> str:
        return "x" * size

    page = await (await serve(make_app(write))).page()
    for clicks in range(3):
        assert await page.call("go", value=clicks) == {"out": {"children": "x" * size}}


async def length(text: Any) -> int:
    return len(text)


@pytest.mark.parametrize("parts", [whole, chunks])
async def test_a_body_may_be_as_large_as_with_dash(serve: Serve, parts: Parts) -> None:
    page = await (await serve(make_app(length))).page()
    socket = await connect(page)
    async with socket.stream:
        # More than Quart's own 16 MB.
        await socket.send(parts(json.dumps(page.request("go", value="x" * 17_000_000)).encode()))
        status, body = await socket.answer()
        assert (status, json.loads(body)["response"]) == (200, {"out": {"children": 17_000_000}})


async def test_a_body_that_takes_longer_than_the_app_asks_for_is_refused(serve: Serve) -> None:
    app = Flash(__name__, body_timeout=0.05)
    app.layout = [html.Button(id="go"), html.Div(id="out")]
    app.callback(Output("out", "children"), Input("go", "n_clicks"))(never)
    page = await (await serve(app)).page()
    socket = await connect(page)
    async with socket.stream:
        first, *_ = halves(json.dumps(page.request("go", value=1)).encode())
        await socket.send([first])
        status, body = await socket.answer()
        assert (status, b"body_timeout= of Flash" in body) == (408, True)


async def test_a_response_that_takes_longer_than_the_app_asks_for_is_cut(serve: Serve) -> None:
    app = Flash(__name__, response_timeout=0.05)
    app.layout = []
    over = trio.Event()

    @app.server.route("/rows")
    async def rows() -> Any:
        async def endless() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"row\n"
                    await trio.sleep(0.01)
            finally:
                over.set()

        return endless()

    page = await (await serve(app)).page()
    async with await trio.open_tcp_stream("127.0.0.1", page.port) as stream:
        await stream.send_all(b"GET /rows HTTP/1.1\r\nHost: x\r\n\r\n")
        with trio.fail_after(TIMEOUT):
            await over.wait()
