"""Who may open a control websocket, how many there may be, and how they are closed."""

from __future__ import annotations

import contextlib
import json
import logging
from typing import Any

import pytest
import quart
import trio
from trio_websocket import ConnectionClosed
from wsproto.events import TextMessage

from flash import hooks
from flash.websockets import control_socket
from tests.http.apps import Waiting
from tests.http.pages import Page
from tests.http.refusals import assert_refused
from tests.http.servers import Serve
from tests.support.eventually import TIMEOUT, eventually
from tests.websocket.controls import open_control
from tests.websocket.sockets import Connect

HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


async def refusal(page: Page, *, origin: str | None = "", cookie: str | None = None) -> Any:
    """The answer to a handshake that is refused."""
    headers = dict(HANDSHAKE)
    if origin is not None:
        headers["Origin"] = origin or f"http://127.0.0.1:{page.port}"
    if cookie is not None:
        headers["Cookie"] = cookie
    return await page.get("_flash/control", headers=headers)


@pytest.mark.parametrize("origin", [None, "http://elsewhere.test", "null"])
async def test_a_handshake_from_another_site_is_refused(serve: Serve, origin: str | None) -> None:
    page = await (await serve(Waiting().app)).page()
    assert (await refusal(page, origin=origin)).status_code == 403


async def test_a_handshake_without_the_cookie_is_refused(serve: Serve) -> None:
    server = await serve(Waiting().app)
    page = await server.page(load=False)
    assert_refused(await refusal(page), 403, "cookie")


async def test_hooks_may_refuse_the_handshake(serve: Serve, own_hooks: None) -> None:
    app = Waiting().app
    verdict: list[Any] = ["Nobody may", 401]

    @app.server.before_websocket
    async def guard() -> Any:
        return tuple(verdict) or None

    @hooks.websocket_connect()
    async def first(websocket: quart.Websocket) -> Any:
        await trio.lowlevel.checkpoint()
        return (4010, "Members only")

    server = await serve(app)
    response = await refusal(await server.page())
    assert (response.status_code, response.text) == (401, "Nobody may")
    verdict.clear()
    response = await refusal(await server.page())
    assert (response.status_code, response.text) == (403, "Members only")


async def test_what_is_no_handshake_is_told_so(serve: Serve) -> None:
    page = await (await serve(Waiting().app)).page()
    assert_refused(await page.get("_flash/control"), 426, "websocket")
    assert_refused(await page.post("_flash/control", {}), 426, "websocket")


async def test_sockets_are_bounded_per_browser_and_per_server(serve: Serve, connect: Connect) -> None:
    app = Waiting(pages_per_browser=1, pages_per_server=2).app
    server = await serve(app)
    one, two, three = [await server.page() for _ in range(3)]
    first = await connect(one, path="_flash/control")
    assert_refused(await refusal(one), 429, "browser")
    await connect(two, path="_flash/control")
    assert_refused(await refusal(three), 503, "server")
    await first.raw.aclose()
    await eventually(lambda: len(app.controls) == 1)
    await connect(one, path="_flash/control")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"{}", 1007),
        (b"", 1007),
        ("", 1007),
        ("[" * 100_000, 1007),
        ("[]", 1007),
        ("{}", 1007),
        ('{"id": true, "to": "ack", "headers": {}, "body": "{}"}', 1007),
        ('{"id": 1, "to": "ack", "headers": {"X-CSRFToken": "a\\r\\nX: y"}, "body": "{}"}', 1007),
        ('{"id": 1, "to": "ack", "headers": {}, "body": {}}', 1007),
        ("x" * 600_000, 1009),
    ],
    ids=range(10),
)
async def test_what_is_no_message_closes_the_socket_with_a_code_and_without_a_line_in_the_log(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture, message: str | bytes, code: int
) -> None:
    app = Waiting().app
    page = await (await serve(app)).page()
    socket = await connect(page, path="_flash/control")
    await socket.raw.send_message(message)
    assert (await socket.closed())[0] == code
    await eventually(lambda: len(app.controls) == 0)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_message_may_come_in_fragments_but_not_without_end(serve: Serve, connect: Connect) -> None:
    app = Waiting().app
    page = await (await serve(app)).page()
    socket = await connect(page, path="_flash/control")
    text = json.dumps({"id": 7, "to": "nothing", "headers": {}, "body": "{}"})
    for part, last in ((text[:9], False), ("", False), (text[9:], True)):
        await socket.raw._send(TextMessage(data=part, message_finished=last))
    assert json.loads(await socket.raw.get_message())["id"] == 7
    for _ in range(6):
        await socket.raw._send(TextMessage(data="x" * 100_000, message_finished=False))
    assert (await socket.closed())[0] == 1009
    await eventually(lambda: len(app.controls) == 0)


async def test_a_socket_that_is_not_used_or_grows_old_is_closed(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_socket, "IDLE_TIMEOUT", 0.1)
    app = Waiting().app
    page = await (await serve(app)).page()
    socket = await connect(page, path="_flash/control")
    assert (await socket.closed())[0] == 1000
    monkeypatch.setattr(control_socket, "MAX_AGE", 0.2)
    controls = await open_control(connect, page)
    with contextlib.suppress(ConnectionClosed), trio.fail_after(TIMEOUT):
        while True:
            await controls.tell("close", {})
    assert (await controls.socket.closed())[0] == 1000
    await eventually(lambda: len(app.controls) == 0)


async def test_a_server_that_stops_closes_the_sockets(serve: Serve, connect: Connect) -> None:
    app = Waiting().app
    page = await (await serve(app)).page()
    socket = await connect(page, path="_flash/control")
    await app.controls.shut_down()
    assert (await socket.closed())[0] == 1001
    assert_refused(await refusal(page), 503, "stopping")
