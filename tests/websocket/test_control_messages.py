"""The control websocket: what a page says when its browser's connections are busy."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import quart
import trio

from flash import Flash, Input, Update, dcc, html, stream_props
from flash.websockets import control_socket
from tests.http.apps import Waiting
from tests.http.servers import Serve
from tests.support.eventually import TIMEOUT, eventually
from tests.websocket.controls import Control, open_control
from tests.websocket.sockets import Connect


@pytest.mark.parametrize("prefixes", [{}, {"url_base_pathname": "/deep/er/"}], ids=["root", "prefix"])
async def test_a_page_says_by_websocket_what_it_says_by_request(
    serve: Serve, connect: Connect, prefixes: dict[str, Any]
) -> None:
    waiting = Waiting(**prefixes)
    page = await (await serve(waiting.app)).page()
    events = await page.connect()
    assert (await page.start("go")).status_code == 204
    stream = (await events.expect("open"))["stream"]
    update = await events.next()
    channel = waiting.app.channels.find(page.token, page.cookie)
    assert channel is not None
    controls = await open_control(connect, page)
    assert await controls.tell("ack", {"events": {page.token: update.id}}) == (204, "")
    assert channel.outbox.unacknowledged == 0
    cancel = {"stream": stream, "condition": 0, "value": 1}
    assert await controls.tell("cancel", cancel) == (204, "")
    assert (await events.expect("end"))["reason"] == "cancelled"
    # What has come both ways changes nothing the second time.
    assert (await page.cancel(stream, 0, 1)).status_code == 204
    assert await controls.tell("cancel", cancel) == (204, "")
    assert await controls.tell("close", {}) == (204, "")
    await events.until_closed()
    assert (await controls.tell("close", {}))[0] == 404


async def test_what_a_request_would_be_refused_is_refused_with_the_same_status_and_sentence(
    serve: Serve, connect: Connect
) -> None:
    server = await serve(Waiting().app)
    page, other = await server.page(), await server.page()
    await page.connect()
    controls = await open_control(connect, page)
    thief = await open_control(connect, other)
    thief.page = page
    cancel = {"stream": "no-such", "condition": 0, "value": 1}
    for teller, to, body in (
        (controls, "cancel", cancel),
        (controls, "cancel", {}),
        (controls, "ack", {"events": {page.token: "0badcafe.7"}}),
        (controls, "ack", {"events": {page.token: 1}}),
        (controls, "close", {"page": "t" * 32}),
        (controls, "close", {"page": "short"}),
        (controls, "ticket", {}),
        (thief, "close", {}),
    ):
        asked = {"page": page.token, **body}
        expected = await teller.page.client.post(f"/_flash/{to}", json=asked) if teller is controls else None
        status, text = await teller.tell(to, body)
        if expected is not None:
            assert (status, text) == (expected.status_code, expected.text)
        else:
            assert (status, text) == (403, "This page was opened by another browser.")
        assert 400 <= status < 500
    assert (await controls.tell("ack", {"event": "x" * 300_000}))[0] == 413
    assert await controls.tell("close", "no JSON") == (400, "The body is not JSON.")
    assert (await controls.tell("events", {}))[0] == 404
    assert (await controls.tell("../_dash-layout", {}))[0] == 404


async def test_a_start_that_comes_both_ways_is_taken_once(serve: Serve, connect: Connect) -> None:
    waiting = Waiting()
    page = await (await serve(waiting.app)).page()
    events = await page.connect()
    controls = await open_control(connect, page)
    body = page.request("go")
    path, names = "/_dash-update-component", ("one", "x" * 5_000)
    for name in names:
        assert await controls.tell("start", json.dumps(body), X_Flash_Start=name) == (204, "")
        started = await page.client.post(path, json=body, headers={"X-Flash-Start": name})
        assert started.status_code == 204
    # One run superseded the other.
    seen = [await events.next() for _ in range(5)]
    assert [event.name for event in seen if event.name != "props"] == ["open", "end", "open"]
    assert waiting.log.count("started") == 2
    [channel] = waiting.app.channels.pages()
    for number in range(100):
        assert channel.takes(f"{number}")
    assert not channel.takes("99")
    assert len(channel._start_names.split("\n")) == 64
    for odd in ("", "a\nb", "a\x85b"):
        assert [channel.takes(odd), channel.takes(odd)] == [True, False]


async def test_a_start_that_comes_both_ways_is_asked_about_once(serve: Serve, connect: Connect) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), dcc.Store(id="mode", data=1)]
    asked: list[object] = []

    @app.event_callback(Input("go", "n_clicks"), cancel=[(Input("mode", "data"), asked.append)])
    async def never(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("go", {"children": clicks})

    page = await (await serve(app)).page()
    events = await page.connect()
    controls = await open_control(connect, page)
    body = page.request("go")
    assert await controls.tell("start", json.dumps(body), X_Flash_Start="one") == (204, "")
    headers = {"X-Flash-Start": "one"}
    assert (await page.client.post("/_dash-update-component", json=body, headers=headers)).status_code == 204
    assert (await events.expect("refused"))["status"] == "idle"
    assert asked == [1]


async def test_an_app_that_is_served_again_takes_websockets_again(serve: Serve, connect: Connect) -> None:
    app = Waiting().app
    await (await serve(app)).stop()
    page = await (await serve(app)).page()
    controls = await open_control(connect, page)
    assert (await controls.tell("close", {}))[0] == 404
    assert not app.websockets.closing


async def test_of_the_headers_of_a_message_only_those_are_passed_on_that_the_page_needs(
    serve: Serve, connect: Connect
) -> None:
    app = Waiting().app
    seen: list[Any] = []

    @app.server.before_request
    async def look() -> None:
        if quart.request.method == "POST":
            seen.append(quart.request.headers)

    page = await (await serve(app)).page()
    controls = await open_control(connect, page)
    forged = {"X_Remote_User": "root", "Cookie": "flash_browser=" + "f" * 32, "Host": "evil", "X_Flash_Proof": "mine"}
    await controls.tell("close", {}, **forged)
    [headers] = seen
    assert "X-Remote-User" not in headers
    assert headers["Host"] == f"127.0.0.1:{page.port}"
    assert headers["Cookie"] == f"flash_browser={page.cookie}"
    assert headers["X-Flash-Proof"] == "mine"
    assert not {"Upgrade", "Sec-Websocket-Key"} & {*headers.keys()}


async def test_hooks_see_each_message_as_the_request_that_it_stands_for(serve: Serve, connect: Connect) -> None:
    app = Waiting().app
    seen: list[Any] = []

    @app.server.before_request
    async def protect() -> tuple[str, int] | None:
        if quart.request.method != "POST":
            return None
        seen.append((quart.request.path, quart.has_websocket_context()))
        token = quart.request.cookies.get("_csrf_token")
        return None if token and quart.request.headers.get("X-CSRFToken") == token else ("CSRF", 400)

    page = await (await serve(app)).page()
    socket = await connect(page, path="_flash/control")
    # The cookies are those of the handshake.
    page.client.cookies.set("_csrf_token", "proof", domain="127.0.0.1")
    controls = Control(page, socket)
    assert await controls.tell("close", {}, X_CSRFToken="proof") == (400, "CSRF")
    assert seen == [("/_flash/close", False)]


async def test_a_message_carries_dashs_csrf_header(serve: Serve, connect: Connect) -> None:
    app = Waiting().app

    @app.server.before_request
    async def protect() -> tuple[str, int] | None:
        protected = quart.request.method == "POST"
        return ("CSRF", 400) if protected and quart.request.headers.get("X-CSRFToken") != "proof" else None

    page = await (await serve(app)).page()
    controls = await open_control(connect, page)
    assert await controls.tell("close", {}) == (400, "CSRF")
    assert (await controls.tell("close", {}, X_CSRFToken="proof"))[0] == 404
    assert await controls.tell("close", {}, X_CSRFToken="prööf") == (400, "CSRF")


async def test_a_page_that_leaves_while_a_message_is_answered_leaves_nothing_behind(
    serve: Serve, connect: Connect
) -> None:
    app = Waiting().app
    asked, over = trio.Event(), trio.Event()

    @app.server.before_request
    async def slow() -> None:
        if quart.request.method == "POST":
            asked.set()
            try:
                await trio.sleep_forever()
            finally:
                over.set()

    page = await (await serve(app)).page()
    controls = await open_control(connect, page)
    await controls.send("close", {})
    with trio.fail_after(TIMEOUT):
        await asked.wait()
        await controls.socket.leave()
        await over.wait()
    await eventually(lambda: len(app.controls) == 0)


async def test_a_socket_is_not_read_while_too_much_is_being_answered(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_socket, "MAX_CONCURRENT_ANSWERS", 3)
    app = Waiting().app
    asked: list[int] = []
    go_on = trio.Event()

    @app.server.before_request
    async def slow() -> None:
        if quart.request.method == "POST":
            asked.append(1)
            await go_on.wait()

    page = await (await serve(app)).page()
    controls = await open_control(connect, page)
    for _ in range(10):
        await controls.send("close", {})
    await eventually(lambda: len(asked) == 3)
    assert (await page.get("")).status_code == 200
    assert len(asked) == 3
    go_on.set()
    numbers = sorted([json.loads(await controls.socket.raw.get_message())["id"] for _ in range(10)])
    assert numbers == list(range(1, 11))


async def test_a_message_that_fails_is_answered_and_the_socket_goes_on(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    app = Waiting().app
    inner = app.server.asgi_app

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        if scope.get("method") == "POST":
            raise ValueError("middleware is broken")
        await inner(scope, receive, send)

    app.server.asgi_app = broken
    page = await (await serve(app)).page()
    controls = await open_control(connect, page)
    assert (await controls.tell("close", {}))[0] == 500
    assert (await controls.tell("close", {}))[0] == 500
    assert "middleware is broken" in caplog.text
