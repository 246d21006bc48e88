"""Who may open a websocket, what the page is told of it, and what hooks may refuse."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import pytest
import quart
import trio
from quart_trio import QuartTrio

from flash import Flash, Input, Output, hooks, html
from tests.http.pages import Page
from tests.http.servers import Serve
from tests.support.eventually import TIMEOUT, eventually
from tests.websocket.sockets import Connect


def make_app(**options: Any) -> Flash:
    options.setdefault("websocket_callbacks", True)
    app = Flash(__name__, **options)
    app.layout = [html.Button(id="go"), html.Div(id="out")]

    @app.callback(Output("out", "children"), Input("go", "n_clicks"))
    async def count(clicks: int) -> int:
        return clicks

    return app


async def refusal(page: Page, *, origin: str | None = "", headers: dict[str, str] | None = None) -> tuple[int, str]:
    """The status and the sentence with which a handshake is refused."""
    headers = {
        **(headers or {}),
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    if origin is not None:
        headers["Origin"] = origin or f"http://127.0.0.1:{page.port}"
    response = await page.get("_dash-ws-callback", headers=headers)
    return response.status_code, response.text


@pytest.mark.parametrize(
    ("origin", "sentence"),
    [
        (None, "Origin header required"),
        ("http://elsewhere.test", "Origin not allowed"),
        ("null", "Origin not allowed"),
        ("http://127.0.0.1", "Origin not allowed"),
    ],
)
async def test_pages_of_other_sites_are_refused(
    serve: Serve, connect: Connect, origin: str | None, sentence: str
) -> None:
    page = await (await serve(make_app())).page()
    assert await refusal(page, origin=origin) == (403, sentence)


@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1", "http://127.0.0.1:443", "ftp://127.0.0.1", "https://127.0.0.1:x"]
)
async def test_behind_a_proxy_with_tls_a_page_without_is_of_another_origin(
    serve: Serve, connect: Connect, origin: str
) -> None:
    page = await (await serve(make_app())).page()
    tls = {"X-Forwarded-Proto": "https", "Host": "127.0.0.1"}
    assert await refusal(page, origin=origin, headers=tls) == (403, "Origin not allowed")


@pytest.mark.parametrize("origin", ["https://127.0.0.1", "https://127.0.0.1:443", "HTTPS://127.0.0.1"])
@pytest.mark.parametrize("headers", [{"X-Forwarded-Proto": "https"}, {}], ids=["told", "not told"])
async def test_a_page_over_tls_is_of_the_site_whether_or_not_the_proxy_tells(
    serve: Serve, connect: Connect, origin: str, headers: dict[str, str]
) -> None:
    page = await (await serve(make_app())).page()
    refused: list[Any] = []
    with trio.move_on_after(0.5):
        # Accepted, it waits for messages.
        refused.append(await refusal(page, origin=origin, headers={**headers, "Host": "127.0.0.1"}))
    assert all(status == 101 for status, _ in refused)


async def test_other_origins_may_be_allowed(serve: Serve, connect: Connect) -> None:
    page = await (await serve(make_app(websocket_allowed_origins=["https://friend.test"]))).page()
    socket = await connect(page, origin="https://friend.test")
    assert (await socket.call(page.request("go")))["status"] == "ok"
    assert (await refusal(page, origin="https://friend.test.evil"))[0] == 403


async def test_a_page_opens_a_websocket_only_if_a_callback_uses_it(serve: Serve, connect: Connect) -> None:
    plain = make_app(websocket_callbacks=False)
    page = await (await serve(plain)).page()
    assert "_dash-ws-callback" not in (await page.get("")).text
    assert await refusal(page) == (404, "No callback of this app comes over a websocket.")

    one = make_app(websocket_callbacks=False)
    one.callback(Output("out", "title"), Input("go", "n_clicks"), websocket=True)(lambda clicks: clicks)
    page = await (await serve(one)).page()
    assert "_dash-ws-callback" in (await page.get("")).text
    await connect(page)


async def test_connect_hooks_see_the_handshake_and_may_refuse(serve: Serve, connect: Connect, own_hooks: None) -> None:
    asked: list[Any] = []
    verdict: list[Any] = []

    @hooks.websocket_connect(priority=2)
    async def first(websocket: quart.Websocket) -> Any:
        await trio.lowlevel.checkpoint()
        asked.append(websocket.cookies.get("flash_browser"))
        return verdict[0]

    @hooks.websocket_connect(priority=1)
    def second(websocket: quart.Websocket) -> bool:
        asked.append((websocket.path, quart.websocket.path, threading.current_thread()))
        return True

    page = await (await serve(make_app())).page()
    for answer, expected in [(False, "Connection rejected"), ((4010, "Members only"), "Members only")]:
        verdict[:] = [answer]
        assert await refusal(page) == (403, expected)
    assert asked == [page.cookie, page.cookie]
    verdict[:] = [True]
    await connect(page)
    path, current, thread = asked[3]
    assert path == current == "/_dash-ws-callback"
    # Plain hooks may block.
    assert thread is not threading.current_thread()


async def test_a_hook_that_fails_refuses(
    serve: Serve, connect: Connect, own_hooks: None, caplog: pytest.LogCaptureFixture
) -> None:
    @hooks.websocket_connect()
    def broken(websocket: Any) -> bool:
        raise ValueError("the database is gone")

    page = await (await serve(make_app())).page()
    assert await refusal(page) == (403, "Authentication error")
    assert "the database is gone" in caplog.text


async def test_a_message_hook_closes_the_socket_with_its_code(serve: Serve, connect: Connect, own_hooks: None) -> None:
    @hooks.websocket_message()
    async def no_fives(websocket: Any, message: dict[str, Any]) -> Any:
        values = [entry["value"] for entry in message.get("payload", {}).get("inputs", [])]
        return (4015, "No fives") if values == [5] else None

    page = await (await serve(make_app())).page()
    socket = await connect(page)
    assert (await socket.call(page.request("go", value=4)))["status"] == "ok"
    await socket.send(page.request("go", value=5))
    assert await socket.closed() == (4015, "No fives")


async def test_a_page_that_goes_ends_its_callbacks_while_a_message_hook_takes_its_time(
    serve: Serve, connect: Connect, own_hooks: None
) -> None:
    asked, running, over = trio.Event(), trio.Event(), trio.Event()

    @hooks.websocket_message()
    async def slow(websocket: Any, message: dict[str, Any]) -> None:
        if message["requestId"].endswith("2"):
            asked.set()
            await trio.sleep_forever()

    app = Flash(__name__, websocket_callbacks=True)
    app.layout = [html.Button(id="go"), html.Div(id="out")]

    @app.callback(Output("out", "children"), Input("go", "n_clicks"))
    async def wait(clicks: int) -> None:
        running.set()
        try:
            await trio.sleep_forever()
        finally:
            over.set()

    page = await (await serve(app)).page()
    socket = await connect(page)
    with trio.fail_after(TIMEOUT):
        await socket.send(page.request("go"))
        await running.wait()
        await socket.send(page.request("go"))
        await asked.wait()
        await socket.leave()
        await over.wait()
    await eventually(lambda: not len(app.websockets))


async def test_before_websocket_functions_guard_the_websocket(serve: Serve, connect: Connect) -> None:
    app = make_app()

    @app.server.before_websocket
    async def nobody() -> tuple[str, int]:
        return "Nobody may", 401

    page = await (await serve(app)).page()
    assert await refusal(page) == (401, "Nobody may")


async def test_websockets_of_the_app_itself_work_beside_it(serve: Serve, connect: Connect) -> None:
    app = make_app()

    @app.server.websocket("/echo")
    async def echo() -> None:
        while True:
            await quart.websocket.send(await quart.websocket.receive())

    page = await (await serve(app)).page()
    socket = await connect(page)
    own = await connect(page, path="echo", origin=None)
    await own.raw.send_message("hello")
    assert await own.raw.get_message() == "hello"
    assert (await socket.call(page.request("go")))["status"] == "ok"


async def test_two_apps_of_one_server_have_websockets_of_their_own(serve: Serve, connect: Connect) -> None:
    site = QuartTrio("site")
    apps = [make_app(server=site, url_base_pathname=prefix) for prefix in ("/one/", "/two/")]
    apps[1].callback(Output("out", "title"), Input("out", "id"))(lambda _: "two")
    server = await serve(apps[0])
    first, second = await server.page(), await server.page(prefix="/two/")
    one, two = await connect(first), await connect(second)
    assert (len(apps[0].websockets), len(apps[1].websockets)) == (1, 1)
    title = second.request("out", "id", "out")
    assert (await two.call(title))["status"] == "ok"
    assert (await one.call(title))["status"] == "error"


async def test_a_connection_on_which_a_handshake_was_refused_does_not_end_the_server(serve: Serve) -> None:
    server = await serve(make_app())
    page = await server.page()
    stream = await trio.open_tcp_stream("127.0.0.1", page.port)
    async with stream:
        handshake = "GET /nothing HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        await stream.send_all((handshake + key).encode())
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 4")
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            while await stream.receive_some():
                pass
    assert (await page.get("")).status_code == 200
    assert not server.stopped.is_set()


async def test_the_metrics_count_open_websockets(serve: Serve, connect: Connect) -> None:
    page = await (await serve(make_app(metrics=True))).page()
    await connect(page)
    assert "flash_websockets 1.0" in (await page.get("_flash/metrics")).text


async def test_a_server_that_is_full_says_so(serve: Serve, connect: Connect) -> None:
    app = make_app(pages_per_server=1)
    page = await (await serve(app)).page()
    socket = await connect(page)
    assert (await refusal(page))[0] == 503
    await socket.raw.aclose()
    await eventually(lambda: len(app.websockets) == 0)
    await connect(page)
