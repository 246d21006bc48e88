"""What an app needs of its server: a lifespan on Trio. And what it says of servers that do not have one."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from typing import Any

import flask
import httpx
import hypercorn.asyncio
import pytest
import quart
import trio
from hypercorn.config import Config, Sockets
from quart_trio import QuartTrio

from flash import Flash, Input, Output, WrongServer, html
from flash.server.backend import FlashBackend
from tests.http.apps import Waiting
from tests.http.refusals import assert_refused
from tests.http.servers import Serve
from tests.support.eventually import TIMEOUT


async def test_app_server_is_an_asgi_app_too(serve: Serve) -> None:
    waiting = Waiting()
    page = await (await serve(waiting.app, at=waiting.app.server)).page()
    events = await page.connect()
    await page.start("go")
    await events.expect("open")


async def test_a_redis_that_a_process_by_itself_cannot_use_is_said_to_have_no_effect(
    serve: Serve, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLASH_REDIS_URL", "redis://127.0.0.1:6379")
    await serve(Waiting().app)
    [message] = [record.getMessage() for record in caplog.records if "FLASH_REDIS_URL" in record.getMessage()]
    assert "has no effect in this process" in message
    assert "FLASH_ADVERTISE" in message
    assert "`flash run --workers`" in message


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/a/deep/link", 200),
        ("GET", "/_dash-layout", 200),
        ("GET", "/_dash-dependencies", 200),
        ("GET", "/_favicon.ico", 200),
        ("GET", f"/_flash/status?page={'t' * 32}:0", 200),
        ("POST", "/_flash/close", 404),
    ],
)
async def test_the_first_request_may_be_any(serve: Serve, method: str, path: str, status: int) -> None:
    waiting = Waiting()
    server = await serve(waiting.app)
    browser = server.browser()
    browser.cookies.set("flash_browser", "b" * 32, domain="127.0.0.1")
    response = await browser.request(method, path, json={"page": "t" * 32} if method == "POST" else None)
    assert response.status_code == status, response.text
    page = await server.page(browser=browser)
    events = await page.connect()
    await page.start("go")
    await events.expect("open")


async def test_the_first_requests_may_be_a_connection_and_a_start(serve: Serve) -> None:
    """A page that comes back to a server that was restarted loads nothing again."""
    old = await serve((earlier := Waiting()).app)
    page = await old.page()
    waiting = Waiting()
    server = await serve(waiting.app)
    back = await server.page(load=False)
    back.client.cookies.set("flash_browser", page.cookie, domain="127.0.0.1")
    back.token = page.token
    back.dependencies = page.dependencies
    back.set("_flash", token=page.token)
    events = await back.connect()
    body = page.request("go")
    # Only the callback's name differs: both apps are of this process.
    [dependency] = [entry for entry in waiting.app._callback_list if entry["inputs"][-1]["property"] == "there"]
    body["output"] = dependency["output"]
    assert (await back.post("_dash-update-component", body)).status_code == 204
    await events.expect("open")
    assert earlier.log == []


async def test_the_first_request_may_be_a_plain_callback(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Div(id="out")]

    @app.callback(Output("out", "children"), Input("go", "n_clicks"))
    def count(clicks: int) -> int:
        return clicks

    server = await serve(app)
    page = await server.page(load=False)
    entry = {"id": "go", "property": "n_clicks"}
    page.dependencies = [{"output": "out.children", "inputs": [entry], "state": [], "no_output": False}]
    assert await page.call("go") == {"out": {"children": 1}}


async def test_a_server_of_ones_own_serves_the_app_beside_its_own_routes(serve: Serve) -> None:
    site = QuartTrio("site")

    @site.get("/hello")
    async def hello() -> str:
        return "hello"

    waiting = Waiting(server=site)
    assert waiting.app.server is site
    server = await serve(waiting.app, at=site)
    page = await server.page()
    assert (await page.get("hello")).text == "hello"
    events = await page.connect()
    await page.start("go")
    await events.expect("open")


async def test_init_app_takes_the_server_later(serve: Serve) -> None:
    waiting = Waiting(server=False)
    site = QuartTrio("site")
    waiting.app.init_app(site)
    page = await (await serve(waiting.app)).page()
    events = await page.connect()
    await page.start("go")
    await events.expect("open")


def test_an_app_is_named_by_its_server() -> None:
    assert Flash(server=QuartTrio("site")).config.name == "site"


@pytest.mark.parametrize("make", [quart.Quart, lambda name: object()], ids=["Quart", "object"])
def test_a_server_that_does_not_run_on_trio_is_refused(make: Any) -> None:
    server = make("site")
    with pytest.raises(WrongServer, match="QuartTrio"):
        Flash(__name__, server=server)
    with pytest.raises(WrongServer, match="QuartTrio"):
        Flash(__name__, server=False).init_app(server)


@pytest.mark.parametrize("backend", ["flask", "fastapi", "quart", "no such", flask.Flask])
def test_another_backend_is_refused(backend: Any) -> None:
    with pytest.raises(WrongServer, match="backend="):
        Flash(__name__, backend=backend)


def test_an_app_called_under_asyncio_says_what_it_needs() -> None:
    waiting = Waiting()

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        raise AssertionError(message)

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    for app in (waiting.app, waiting.app.server):
        with pytest.raises(WrongServer, match=r"asyncio.*hypercorn -k trio"):
            asyncio.run(app(scope, receive, send))


def test_an_app_served_by_hypercorns_asyncio_worker_says_what_it_needs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    ports: list[int] = []
    bound = asyncio.Event()

    class Listening(Config):
        def create_sockets(self) -> Sockets:
            sockets = super().create_sockets()
            [listener] = sockets.insecure_sockets
            # Whoever connects from now on waits until the server accepts.
            listener.listen()
            ports.append(listener.getsockname()[1])
            bound.set()
            return sockets

    config = Listening()
    config.bind = ["127.0.0.1:0"]

    async def run() -> tuple[int, str]:
        stop = asyncio.Event()
        serving = asyncio.create_task(hypercorn.asyncio.serve(Waiting().app, config, shutdown_trigger=stop.wait))
        async with asyncio.timeout(TIMEOUT), httpx.AsyncClient(trust_env=False, verify=False, timeout=None) as client:
            await bound.wait()
            response = await client.get(f"http://127.0.0.1:{ports[0]}/")
        stop.set()
        await serving
        return response.status_code, response.text

    status, text = asyncio.run(run())
    assert status == 500
    assert "This server runs on asyncio" in text
    assert "This server runs on asyncio" in caplog.text
    assert "hypercorn -k trio" in caplog.text


def test_an_app_with_a_server_of_ones_own_says_so_too() -> None:
    waiting = Waiting(server=QuartTrio("site"))

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        raise AssertionError(message)

    with pytest.raises(WrongServer, match=r"asyncio.*hypercorn -k trio"):
        asyncio.run(waiting.app({"type": "lifespan"}, receive, send))


async def test_a_stopping_server_ends_its_streams_as_shutdown(serve: Serve) -> None:
    waiting = Waiting()
    server = await serve(waiting.app, graceful_timeout=0.1)
    page = await server.page()
    await page.connect_and_start()
    await server.stop()
    assert waiting.log == ["started", "finally", "on_error shutdown"]
    assert waiting.app.streams() == []


async def test_a_server_that_stops_does_not_wait_for_silent_connections(serve: Serve) -> None:
    """A browser keeps its connections open when it has its answers."""
    server = await serve(Waiting().app, graceful_timeout=60)
    page = await server.page()
    assert (await page.get("_favicon.ico")).status_code == 200
    await server.stop()


async def test_silent_connections_are_closed_in_the_end(serve: Serve) -> None:
    server = await serve(Waiting().app, keep_alive_timeout=0.05)
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        await stream.send_all(b"GET /_favicon.ico HTTP/1.1\r\nHost: x\r\n\r\n")
        with trio.fail_after(5):
            while await stream.receive_some():
                pass


async def test_a_page_is_refused_while_the_server_stops(serve: Serve) -> None:
    waiting = Waiting()
    server = await serve(waiting.app)
    page = await server.page()
    events, _ = await page.connect_and_start()
    await waiting.app.stream_settings.channels.shut_down()
    assert (await events.expect("end"))["reason"] == "shutdown"
    assert await events.until_closed() == []
    assert_refused(await page.get(f"_flash/events?page={page.token}:0"), 503, "stopping")
    assert_refused(await page.get(f"_flash/status?page={page.token}:0"), 503, "stopping")
    assert_refused(await page.start("go"), 503, "stopping")


async def test_two_servers_in_one_process_do_not_share_pages(serve: Serve) -> None:
    one, two = Waiting(), Waiting()
    first, second = await serve(one.app), await serve(two.app)
    page = await first.page()
    _, stream = await page.connect_and_start()
    other = httpx.Cookies()
    other.set("flash_browser", page.cookie)
    browser = second.browser()
    browser.cookies.update(other)
    body = {"page": page.token, "stream": stream, "condition": 0, "value": 1}
    assert_refused(await browser.post("/_flash/cancel", json=body), 404)
    assert one.log == ["started"]


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_hook_on_the_backend_sees_every_request_and_may_refuse_it(serve: Serve, is_async: bool) -> None:
    waiting = Waiting()
    backend: Any = waiting.app.backend

    def refuse() -> tuple[str, int]:
        return "Log in first.", 401

    async def refuse_later() -> tuple[str, int]:
        return refuse()

    backend.before_request(refuse_later if is_async else refuse)
    browser = (await serve(waiting.app)).browser()
    for _ in range(2):
        response = await browser.get("/_dash-layout")
        assert (response.status_code, response.text) == (401, "Log in first.")


async def test_a_servers_own_views_are_run_as_quart_runs_them() -> None:
    server = FlashBackend.create_app("some_app")

    async def view() -> threading.Thread:
        return threading.current_thread()

    def plain_view() -> threading.Thread:
        return threading.current_thread()

    assert server.ensure_async(view) is view
    assert await server.ensure_async(functools.partial(view))() is threading.current_thread()
    assert await server.ensure_async(plain_view)() is not threading.current_thread()
