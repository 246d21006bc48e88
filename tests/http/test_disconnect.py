"""A page that goes away, in each of the ways in which pages do: its streams end at once, and the server goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
import trio
import trio.testing

from flash import Flash, Input, Update, html, stream_props
from tests.http.apps import Waiting
from tests.http.pages import Page
from tests.http.servers import Serve
from tests.support.connections import open_connection, reset
from tests.support.eventually import TIMEOUT, eventually
from tests.support.link import Link

Leave = Callable[[Link], Awaitable[None]]


async def closes(events: Link) -> None:
    await events.close()


async def resets(events: Link) -> None:
    reset(events.stream)


async def closes_its_sending_half(events: Link) -> None:
    await events.stream.send_eof()


@pytest.mark.parametrize("leave", [closes, resets, closes_its_sending_half])
async def test_a_page_that_goes_ends_its_stream_at_once(serve: Serve, leave: Leave) -> None:
    waiting = Waiting(ping_interval=60)
    page = await (await serve(waiting.app)).page()
    events, _ = await page.connect_and_start()
    await leave(events)
    with trio.fail_after(2):
        await waiting.on_error_called.wait()
    assert waiting.log == ["started", "finally", "on_error disconnected"]
    await eventually(lambda: not waiting.app.streams() and not len(waiting.app.stream_settings.channels))


async def test_every_stream_of_the_page_ends_and_none_of_another(serve: Serve) -> None:
    app = Flash(__name__, reconnect_grace=0)
    app.layout = [html.Button(id=f"go-{index}") for index in range(5)]
    gone, receive_gone = trio.open_memory_channel[str](10)

    for index in range(5):

        @app.event_callback(Input(f"go-{index}", "n_clicks"))
        async def wait(clicks: int) -> AsyncIterator[Update]:
            try:
                yield stream_props("x", {"children": clicks})
                await trio.sleep_forever()
            finally:
                gone.send_nowait("gone")

    server = await serve(app)
    page, other = await server.page(), await server.page()
    events, others_events = await page.connect(), await other.connect()
    for index in range(5):
        for tab, stream in ((page, events), (other, others_events)):
            await tab.start(f"go-{index}", callback=f"{tab.streams[index]}-never")
            await stream.expect("open")
            await stream.expect("props")
    assert len(app.streams()) == 10
    await events.close()
    with trio.fail_after(2):
        for _ in range(5):
            await receive_gone.receive()
    await eventually(lambda: len(app.streams()) == 5)
    assert {info.page for info in app.streams()} == {other.token[:8]}


async def test_a_blocking_generator_ends_with_its_page_too(serve: Serve) -> None:
    app = Flash(__name__, reconnect_grace=0)
    app.layout = [html.Button(id="go"), html.Div(id="out")]
    closed = trio.Event()

    @app.event_callback(Input("go", "n_clicks"))
    def count(clicks: int) -> Iterator[Update]:
        try:
            while True:
                yield stream_props("out", {"children": clicks})
        finally:
            trio.from_thread.run_sync(closed.set)

    page = await (await serve(app)).page()
    events, _ = await page.connect_and_start()
    await events.close()
    with trio.fail_after(TIMEOUT):
        await closed.wait()


async def test_a_start_of_a_page_that_never_connects_is_over_after_the_start_timeout(serve: Serve) -> None:
    waiting = Waiting(start_timeout=0.2)
    page = await (await serve(waiting.app)).page()
    events = await page.connect()
    await events.close()
    await eventually(lambda: not len(waiting.app.stream_settings.channels))
    began = trio.current_time()
    assert (await page.start("go")).status_code == 204
    await eventually(lambda: waiting.log == ["started", "finally", "on_error disconnected"])
    assert trio.current_time() - began >= 0.2
    await eventually(lambda: not len(waiting.app.stream_settings.channels))


async def test_a_page_that_comes_back_starts_anew(serve: Serve) -> None:
    waiting = Waiting()
    page = await (await serve(waiting.app)).page()
    events, first = await page.connect_and_start()
    await events.close()
    await waiting.on_error_called.wait()
    again = await page.connect()
    await page.start("go")
    second = (await again.expect("open"))["stream"]
    assert second != first
    await again.expect("props")
    assert (await page.cancel(first)).status_code == 404
    # The thread that has run `on_error` may be a moment from its end.
    await eventually(lambda: [info.id for info in waiting.app.streams()] == [second])


HALVES = [
    b"",
    b"GET /_fla",
    b"GET /_flash/events?page={token}:0 HTTP/1.1\r\nHost: x\r\nCookie: fl",
    b"POST /_flash/cancel HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\nContent-Length: 50\r\n\r\n",
    b"POST /_flash/close HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\nContent-Length: 50\r\n\r\n{{",
    b"POST /_flash/close HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{{",
    b"POST /_dash-update-component HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{{",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_half_a_request_leaves_nothing_behind(serve: Serve, how: str) -> None:
    waiting = Waiting()
    # Hypercorn keeps a task for this long for a connection that is silent, even when that has gone.
    server = await serve(waiting.app, keep_alive_timeout=1)
    browser = server.browser()
    browser.headers["Connection"] = "close"
    page = await server.page(browser=browser)
    events, _ = await page.connect_and_start()
    tasks = trio.lowlevel.current_statistics().tasks_living
    for half in HALVES:
        sent = half.decode("latin-1").format(token=page.token, cookie=f"flash_browser={page.cookie}").encode("latin-1")
        for _ in range(20):
            stream = await trio.open_tcp_stream("127.0.0.1", page.port)
            await stream.send_all(sent)
            if how == "reset":
                reset(stream)
            else:
                await stream.aclose()
        # A request that is answered after them: they have all been accepted.
        assert (await page.get("_dash-layout")).status_code == 200, half
    await eventually(lambda: trio.lowlevel.current_statistics().tasks_living <= tasks)
    assert waiting.log == ["started"]
    waiting.go_on.set()
    await events.expect("props")
    assert (await events.expect("end"))["reason"] == "completed"


async def test_bytes_after_the_request_do_not_hide_that_the_page_has_gone(serve: Serve) -> None:
    """Only a write tells then, and a ping is one."""
    waiting = Waiting(ping_interval=0.05)
    server = await serve(waiting.app)
    page = await server.page()
    # Some of the server's own tasks start behind its port, and with its first connection.
    await trio.testing.wait_all_tasks_blocked()
    tasks = trio.lowlevel.current_statistics().tasks_living
    events, _ = await page.connect_and_start()
    await events.stream.send_all(b"\r\n")
    await events.next(pings=True)
    reset(events.stream)
    with trio.fail_after(TIMEOUT):
        await waiting.on_error_called.wait()
    assert waiting.log == ["started", "finally", "on_error disconnected"]
    # The task of the connection has waited for the end of the response, before it reads on.
    await page.client.aclose()
    await eventually(lambda: trio.lowlevel.current_statistics().tasks_living <= tasks)


async def test_a_response_that_breaks_off_before_another_request_leaves_no_task(serve: Serve) -> None:
    app = Waiting().app

    @app.server.get("/broken")
    async def broken() -> AsyncIterator[bytes]:
        async def body() -> AsyncIterator[bytes]:
            yield b"the first half"
            # The second request has come by then.
            await trio.sleep(0.1)
            raise RuntimeError("no second half")

        return body()

    server = await serve(app)
    await (await open_connection(server.port)).aclose()
    await trio.testing.wait_all_tasks_blocked()
    tasks = trio.lowlevel.current_statistics().tasks_living
    stream = await open_connection(server.port)
    await stream.send_all(b"GET /broken HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 2)
    answer = b""
    with trio.fail_after(TIMEOUT):
        while data := await stream.receive_some():
            answer += data
    assert answer.count(b"HTTP/1.1 200") == 1
    await stream.aclose()
    await eventually(lambda: trio.lowlevel.current_statistics().tasks_living <= tasks)


async def test_pages_that_come_and_go_leave_nothing_behind(serve: Serve) -> None:
    waiting = Waiting()
    server = await serve(waiting.app)
    first = await server.page()
    await visit(first)
    await eventually(lambda: not len(waiting.app.stream_settings.channels))
    tasks = trio.lowlevel.current_statistics().tasks_living
    for _ in range(30):
        await visit(first)
    await eventually(lambda: not len(waiting.app.stream_settings.channels))
    await eventually(lambda: trio.lowlevel.current_statistics().tasks_living <= tasks)
    assert waiting.log.count("finally") == waiting.log.count("on_error disconnected") == 31


async def visit(page: Page) -> None:
    events, _ = await page.connect_and_start()
    await events.close()
