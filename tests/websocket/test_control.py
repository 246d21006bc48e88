"""The control websocket: what a page says when its browser's connections are busy, and who may say it."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import quart
import trio
from trio_websocket import ConnectionClosed
from wsproto.events import TextMessage

from flash import Flash, Input, StreamCancelled, Update, dcc, hooks, html, stream_props
from flash.websockets import control
from tests.http.apps import Waiting
from tests.http.pages import Page
from tests.http.refusals import assert_refused
from tests.http.servers import Serve
from tests.support.eventually import TIMEOUT, eventually
from tests.websocket.sockets import Connect, Socket

HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


class Control:
    """A page's end of its control websocket."""

    def __init__(self, page: Page, socket: Socket) -> None:
        self.page = page
        self.socket = socket
        self.count = 0

    async def tell(self, to: str, body: Any, **headers: str) -> tuple[int, str]:
        """Send a message; return the status and the text of its answer."""
        await self.send(to, body, **headers)
        with trio.fail_after(TIMEOUT):
            answer = json.loads(await self.socket.raw.get_message())
        assert answer["id"] == self.count
        return answer["status"], answer["text"]

    async def send(self, to: str, body: Any, **headers: str) -> None:
        self.count += 1
        text = body if isinstance(body, str) else json.dumps({"page": self.page.token, **body})
        await self.socket.say(
            id=self.count, to=to, headers={name.replace("_", "-"): value for name, value in headers.items()}, body=text
        )


async def open_control(connect: Connect, page: Page) -> Control:
    return Control(page, await connect(page, path="_flash/control"))


async def refusal(page: Page, *, origin: str | None = "", cookie: str | None = None) -> Any:
    """The answer to a handshake that is refused."""
    headers = dict(HANDSHAKE)
    if origin is not None:
        headers["Origin"] = origin or f"http://127.0.0.1:{page.port}"
    if cookie is not None:
        headers["Cookie"] = cookie
    return await page.get("_flash/control", headers=headers)


@pytest.fixture
def own_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hooks are of the process: those of the test are gone after it."""
    registry: Any = hooks
    monkeypatch.setattr(registry, "_ns", {name: list(entries) for name, entries in registry._ns.items()})


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
    assert await controls.tell("ack", {"event": update.id}) == (204, "")
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
        (controls, "ack", {"event": "0badcafe.7"}),
        (controls, "ack", {"event": 1}),
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
    [channel] = waiting.app.channels._all
    for number in range(100):
        assert channel.takes(f"{number}")
    assert not channel.takes("99")
    assert len(channel._start_names) == 64


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
    monkeypatch.setattr(control, "IDLE_TIMEOUT", 0.1)
    app = Waiting().app
    page = await (await serve(app)).page()
    socket = await connect(page, path="_flash/control")
    assert (await socket.closed())[0] == 1000
    monkeypatch.setattr(control, "MAX_AGE", 0.2)
    controls = await open_control(connect, page)
    with contextlib.suppress(ConnectionClosed), trio.fail_after(TIMEOUT):
        while True:
            await controls.tell("close", {})
    assert (await controls.socket.closed())[0] == 1000
    await eventually(lambda: len(app.controls) == 0)


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
    monkeypatch.setattr(control, "MAX_CONCURRENT_ANSWERS", 3)
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


async def test_a_server_that_stops_closes_the_sockets(serve: Serve, connect: Connect) -> None:
    app = Waiting().app
    page = await (await serve(app)).page()
    socket = await connect(page, path="_flash/control")
    await app.controls.shut_down()
    assert (await socket.closed())[0] == 1001
    assert_refused(await refusal(page), 503, "stopping")


async def prove(page: Page, secret: str, name: str, **message: Any) -> Any:
    """Post a message with a secret."""
    headers = {"X-Flash-Proof": secret.encode("latin1")}
    return await page.client.post(f"/_flash/{name}", json={"page": page.token, **message}, headers=headers)


class TestOvertakenCookie:
    """A browser without the cookie was given several by tabs that were opened together: the last one wins."""

    @staticmethod
    def make_app() -> tuple[Flash, list[str]]:
        app = Flash(__name__, ping_interval=5)
        app.layout = [html.Button(id="go"), html.Button(id="stop"), html.Div(id="out")]
        log: list[str] = []

        def told(error: StreamCancelled) -> None:
            log.append(error.reason)

        @app.event_callback(Input("go", "n_clicks"), cancel=[Input("stop", "n_clicks")], on_error=told)
        async def run(clicks: int) -> Any:
            yield stream_props("out", {"children": clicks})
            await trio.sleep_forever()

        return app, log

    async def test_the_page_goes_on(self, serve: Serve) -> None:
        app, log = self.make_app()
        page = await (await serve(app)).page()
        secret = page._values["_flash"]["secret"]
        events = await page.connect()
        page.client.cookies.clear()
        page.client.cookies.set("flash_browser", "overtaken" * 4, domain="127.0.0.1")
        assert (await page.start("go")).status_code == 204
        opened = await events.expect("open")
        update = await events.next()
        assert (await prove(page, secret, "ack", event=update.id)).status_code == 204
        cancelled = await prove(page, secret, "cancel", stream=opened["stream"], condition=0, value=1)
        assert cancelled.status_code == 204
        assert (await events.expect("end"))["reason"] == "cancelled"
        assert (await prove(page, secret, "close")).status_code == 204
        assert log == ["cancelled"]

    async def test_a_ticket_opens_one_link_and_the_streams_go_on(self, serve: Serve) -> None:
        app, log = self.make_app()
        page = await (await serve(app)).page()
        secret = page._values["_flash"]["secret"]
        first = await page.connect()
        await page.start("go")
        await first.expect("open")
        assert first.hello is not None
        own = page.cookie
        page.client.cookies.clear()
        page.client.cookies.set("flash_browser", "overtaken" * 4, domain="127.0.0.1")
        status = f"_flash/status?page={page.token}"
        assert_refused(await page.get(status), 403, "another browser")
        issued = await prove(page, secret, "ticket")
        ticket = issued.json()["ticket"]
        assert issued.headers["cache-control"].startswith("no-cache, no-store")
        link = f"_flash/events?page={page.token}&ticket="
        assert_refused(await page.get(link + "t" * 32), 403, "another browser")
        page.token += f"&ticket={ticket}"
        second = await page.connect()
        await second.expect("open")
        assert second.hello is not None
        assert second.hello.data["life"] == first.hello.data["life"]
        page.token = page.token.partition("&")[0]
        assert_refused(await page.get(link + ticket), 403, "another browser")
        # The browser that has opened the page needs none.
        page.client.cookies.clear()
        page.client.cookies.set("flash_browser", own, domain="127.0.0.1")
        assert (await page.get(status)).status_code == 200
        assert log == []

    async def test_neither_the_token_nor_another_pages_secret_opens_anything(self, serve: Serve) -> None:
        app, _ = self.make_app()
        server = await serve(app)
        page, thief = await server.page(), await server.page()
        events = await page.connect()
        await page.start("go")
        stream = (await events.expect("open"))["stream"]
        own, thief.token = thief._values["_flash"]["secret"], page.token
        for secret in (own, page.token, "", "x" * 5_000, "\xff" * 32):
            assert_refused(await prove(thief, secret, "ticket"), 403)
            assert_refused(await prove(thief, secret, "close"), 403)
            assert_refused(await prove(thief, secret, "cancel", stream=stream, condition=0, value=1), 403)
        assert [info.state for info in app.streams()] == ["running"]

    async def test_without_any_cookie_the_secret_does_not_do(self, serve: Serve) -> None:
        app, _ = self.make_app()
        page = await (await serve(app)).page()
        page.client.cookies.clear()
        assert_refused(await prove(page, page._values["_flash"]["secret"], "ticket"), 403, "cookies")
        assert_refused(await page.start("go"), 403, "cookies")

    async def test_a_page_without_a_channel_needs_no_ticket(self, serve: Serve) -> None:
        app, _ = self.make_app()
        page = await (await serve(app)).page()
        assert (await prove(page, page._values["_flash"]["secret"], "ticket")).json() == {"ticket": None}
