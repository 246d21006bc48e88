"""Nothing of Dash or Flash is reached past the hooks of the Flask app: neither route nor stream, link or websocket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import unquote

import flask
import httpx
import pytest
import quart
import trio
from hypothesis import HealthCheck, example, given, settings, strategies as st

from flash import Flash, Input, Output
from flash.flask_apps.request import KEY
from tests.flask_apps.guarded_app import GuardedApp
from tests.http.pages import Page
from tests.http.servers import Serve
from tests.support.connections import open_connection
from tests.support.eventually import TIMEOUT, eventually
from tests.support.http1 import Http1
from tests.websocket.controls import open_control
from tests.websocket.sockets import Connect


async def shake_hands(page: Page, path: str, *, origin: str = "") -> httpx.Response:
    """Ask for a websocket that is refused, and return the answer."""
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "Origin": origin or f"http://127.0.0.1:{page.port}",
    }
    return await page.get(path, headers=headers)


async def test_every_request_of_a_stream_passes_the_hooks_once(serve: Serve, connect: Connect) -> None:
    app = GuardedApp()
    page = await (await serve(app)).page()
    link = await page.connect()
    assert link.headers["set-cookie"].startswith("signed=200")
    started = await page.start("go")
    assert (started.status_code, started.cookies["signed"]) == (204, "204")
    opened = await link.expect("open")
    await link.expect("props")
    assert (await page.get(f"_flash/status?page={page.identity.standing()}")).status_code == 200
    control = await open_control(connect, page)
    assert await control.tell("ack", {"life": "x", "number": 1}) is not None
    await page.cancel(opened["stream"], 0, 1)
    await page.leave()
    paths = [path for _, path in app.seen]
    for path in ("events", "status", "control", "ack", "cancel", "close"):
        assert paths.count(f"/_flash/{path}") == 1, path
    assert paths.count("/_dash-update-component") == 1
    await eventually(lambda: app.torn_down == len(app.seen))


async def test_who_is_refused_gets_no_stream_no_link_and_no_message(serve: Serve) -> None:
    app = GuardedApp()
    page = await (await serve(app)).page()
    link = await page.connect()
    await page.start("go")
    opened = await link.expect("open")
    app.refuses = True
    for response in (
        await page.start("go"),
        await page.start("plain"),
        await page.get(f"_flash/events?page={page.identity.standing()}"),
        await page.cancel(opened["stream"], 0, 1),
        await page.leave(),
        await page.get("_dash-layout"),
        await page.get(""),
    ):
        assert (response.status_code, response.text, response.headers["www-authenticate"]) == (401, "refused", "Basic")
    assert [(stream.state, stream.id) for stream in app.streams()] == [("running", opened["stream"])]


async def test_a_page_that_is_refused_when_it_says_that_it_is_closed_keeps_its_streams_for_the_grace(
    serve: Serve,
) -> None:
    app = GuardedApp(reconnect_grace=0.3)
    page = await (await serve(app)).page()
    link = await page.connect()
    await page.start("go")
    await link.expect("open")
    app.refuses = True
    assert (await page.leave()).status_code == 401
    await link.close()
    assert len(app.streams()) == 1
    await eventually(lambda: app.streams() == [])


@pytest.mark.parametrize("path", ["_flash/control", "_dash-ws-callback"])
async def test_who_is_refused_gets_no_websocket(serve: Serve, path: str) -> None:
    app = GuardedApp()
    page = await (await serve(app)).page()
    app.refuses = True
    response = await shake_hands(page, path)
    assert (response.status_code, response.text, response.headers["www-authenticate"]) == (401, "refused", "Basic")
    assert len(app.websockets) == 0


@pytest.mark.parametrize("path", ["_flash/control", "_dash-ws-callback"])
async def test_who_is_let_in_gets_the_cookies_of_the_hooks_with_the_websocket(
    serve: Serve, connect: Connect, path: str
) -> None:
    app = GuardedApp()
    page = await (await serve(app)).page()
    socket = await connect(page, path=path)
    assert (b"set-cookie", b"signed=101; Path=/") in (socket.raw.handshake_headers or ())
    await eventually(lambda: app.torn_down == len(app.seen))


async def test_a_message_over_an_open_websocket_passes_the_hooks(serve: Serve, connect: Connect) -> None:
    app = GuardedApp()
    page = await (await serve(app)).page()
    control = await open_control(connect, page)
    app.refuses = True
    assert await control.tell("start", page.request("go")) == (401, "refused")
    assert app.streams() == []


async def test_a_callback_over_a_websocket_is_called(serve: Serve, connect: Connect) -> None:
    app = GuardedApp()
    page = await (await serve(app)).page()
    socket = await connect(page)
    answer = await socket.call(page.request("plain", value=3))
    assert answer["data"]["response"] == {"out": {"title": 3}}


async def test_a_websocket_of_another_site_is_refused_although_the_hooks_let_it_in(serve: Serve) -> None:
    app = GuardedApp()
    page = await (await serve(app)).page()
    response = await shake_hands(page, "_dash-ws-callback", origin="https://elsewhere.example")
    assert (response.status_code, response.text, response.cookies["signed"]) == (403, "Origin not allowed", "403")


async def test_a_page_that_leaves_while_its_callback_runs_leaves_nothing_of_its_request(serve: Serve) -> None:
    app = GuardedApp()
    started, torn_down = trio.Event(), app.torn_down

    async def wait(clicks: int) -> int:
        started.set()
        await trio.sleep_forever()
        return clicks

    app.callback(Output("out", "lang"), Input("plain", "n_clicks"))(wait)
    server = await serve(app)
    page = await server.page()
    before = app.torn_down
    assert before > torn_down
    with trio.fail_after(TIMEOUT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: page.start("plain", callback="lang"))
            await started.wait()
            nursery.cancel_scope.cancel()
        await server.stop()
    assert app.torn_down == before + 1


# Attacks. They are made in the process, with the scopes that Hypercorn makes of a target.


def scope_of(method: str, target: str, kind: str = "http", version: str = "1.1") -> dict[str, Any]:
    """What Hypercorn passes to an app."""
    raw, _, query = target.partition("?")
    scope = {
        "type": kind,
        "http_version": version,
        "scheme": "http" if kind == "http" else "ws",
        "path": unquote(raw),
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"app.example"), (b"content-type", b"application/json"), (b"content-length", b"2")],
        "client": ("192.0.2.1", 1),
        "server": ("127.0.0.1", 80),
        "extensions": {"websocket.http.response": {}},
        "state": {},
    }
    return scope | ({"method": method} if kind == "http" else {"subprotocols": []})


async def ask(app: Flash, scope: dict[str, Any]) -> tuple[int, bytes]:
    """The status and the body that an app answers; a websocket that it opens is a 101."""
    first = {"type": "http.request", "body": b"{}"} if scope["type"] == "http" else {"type": "websocket.connect"}
    messages, status, body = [first], 0, b""

    async def receive() -> Any:
        return messages.pop() if messages else await trio.sleep_forever()

    async def send(message: Any) -> None:
        nonlocal status, body
        status = message.get("status", status or (101 if message["type"] == "websocket.accept" else 403))
        body += message.get("body", b"")

    with trio.fail_after(TIMEOUT):
        await app(scope, receive, send)
    return status, body


def routes_of(app: Flash) -> list[str]:
    """A path of each route of Dash and Flash."""
    found: set[str] = set()
    for rule in app.asgi_server.url_map.iter_rules():
        path = rule.rule.replace("<string:package_name>", "dash").replace("<path:path>", "any/page")
        found.add(path.replace("<path:fingerprinted_path>", "deps/react.js").replace("<path:filename>", "a.css"))
    return sorted(found)


CHARACTERS = st.sampled_from(
    [*"/.%;:[\\ _-?#", "//", "..", "/./", "/../", "%2F", "%2e", "%00", "%0a", "\u00e4", "/assets/"]
)


@st.composite
def spelled(draw: st.DrawFn, path: str) -> str:
    """A path in another spelling, which may lead to the same route, or to another one, or nowhere."""
    text = path
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        kind = draw(st.sampled_from(["insert", "encode", "drop", "case", "prefix", "absolute", "end"]))
        if kind == "insert":
            text = text[:at] + draw(CHARACTERS) + text[at:]
        elif kind == "encode" and at < len(text):
            text = text[:at] + "".join(f"%{byte:02x}" for byte in text[at].encode()) + text[at + 1 :]
        elif kind == "drop":
            text = text[:at] + text[at + 1 :]
        elif kind == "case":
            text = text[:at] + text[at:].swapcase()
        elif kind == "prefix":
            text = draw(st.sampled_from(["/static", "/assets/..", "/open", "/open/..", "/"])) + text
        elif kind == "absolute":
            text = draw(st.sampled_from(["http://app.example", "//app.example", "http://", "http://[", "a:b:"])) + text
        elif kind == "end":
            text += draw(st.sampled_from(["/", "//", "?", "?a=/open", "%20", ";a", "#", ".css"]))
    return text


WITHOUT_A_SLASH = [
    scope_of(method, target, kind)
    for target in (
        "sub/_dash-component-suites/dash/deps/react.js;a",
        "_dash-component-suites/dash/deps/react.js;a",
        "sub/_dash-component-suites/dash/deps/react.js%3Fa",
        "a:b:/any/page",
        "a:b:/sub/any/page",
        "a:b://app.example/sub/any/page",
        "http://[/any/page",
        "_dash-ws-callback;a",
    )
    for method, kind in (("GET", "http"), ("GET", "websocket"))
]
"""Requests whose targets have no slash at the beginning: a parser of URLs would cut their paths, or reject them."""

METHODS = st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "get", "NONE"])


def attacks(app: Flash) -> st.SearchStrategy[dict[str, Any]]:
    """Requests for the routes of an app, in any spelling."""
    kinds = st.sampled_from(["http", "http", "websocket"])
    targets = st.sampled_from(routes_of(app)).flatmap(spelled)
    return st.builds(scope_of, METHODS, targets, kinds, st.sampled_from(["1.1", "2"]))


@pytest.fixture(params=["/", "/sub/"])
async def attacked(request: pytest.FixtureRequest) -> AsyncIterator[GuardedApp]:
    app = GuardedApp(url_base_pathname=request.param)

    @app.server.route("/open/<path:path>")
    def opened(path: str) -> str:
        return f"open {path}"

    async with app.asgi_server.test_app():
        yield app


async def test_no_spelling_of_a_route_passes_hooks_that_refuse_all(attacked: GuardedApp) -> None:
    attacked.refuses = True
    reached: list[str] = []

    class Reached:
        def __init__(self, server: Any, scope: Any) -> None:
            self.path = scope["path"]

        async def __call__(self, receive: Any, send: Any) -> None:
            reached.append(self.path)

    server: Any = attacked.asgi_server
    server.asgi_http_class = server.asgi_websocket_class = Reached

    async def attack(scope: dict[str, Any]) -> None:
        assert (await ask(attacked, scope))[0] == 401

    await in_examples(attacks(attacked), attack, WITHOUT_A_SLASH)
    assert reached == []
    for path in routes_of(attacked):
        for kind in ("http", "websocket"):
            assert await ask(attacked, scope_of("GET", path, kind)) == (401, b"refused"), path


async def test_dash_answers_the_route_that_the_hooks_have_been_asked_for_and_no_other(attacked: GuardedApp) -> None:
    """A hook may exempt some paths or endpoints, so what it is asked has to be what is answered."""
    answered: list[tuple[str, str, str, str]] = []

    async def note() -> Any:
        asked: Any = quart.request if quart.has_request_context() else quart.websocket
        seen = flask.request
        assert seen.environ[KEY].is_let_through
        answered.append((str(seen.url_rule), seen.path, str(asked.url_rule), asked.path))
        return "Dash", 418

    attacked.asgi_server.before_request(note)
    attacked.asgi_server.before_websocket(note)

    async def attack(scope: dict[str, Any]) -> None:
        del answered[:]
        status, body = await ask(attacked, scope)
        assert len(answered) == (status == 418), (status, body, answered)
        for rule, path, rule_of_dash, path_of_dash in answered:
            assert (rule, path) == (rule_of_dash, path_of_dash)

    await in_examples(attacks(attacked), attack, WITHOUT_A_SLASH)
    for path in routes_of(attacked):
        scopes = [scope_of("GET", path), scope_of("POST", path), scope_of("GET", path, "websocket")]
        answers = [await ask(attacked, scope) for scope in scopes]
        assert 418 in [status for status, _ in answers], (path, answers)


async def in_examples(
    examples: st.SearchStrategy[Any], check: Callable[[Any], Awaitable[None]], known: Iterable[Any]
) -> None:
    """Check an async property on known examples and on those of hypothesis, which is not async itself."""
    token = trio.lowlevel.current_trio_token()

    @settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
    @given(examples)
    def check_example(drawn: Any) -> None:
        trio.from_thread.run(check, drawn, trio_token=token)

    check_all = check_example
    for each in known:
        check_all = example(each)(check_all)
    await trio.to_thread.run_sync(check_all)


@pytest.mark.parametrize(
    "target",
    ["http://127.0.0.1/_dash-layout", "//_dash-layout", "/_dash-layout/", "/%5fdash-layout", "/a/../_dash-layout"],
)
async def test_targets_on_a_socket_are_refused_like_any_other(serve: Serve, target: str) -> None:
    app = GuardedApp()
    app.refuses = True
    server = await serve(app)
    async with await open_connection(server.port) as stream:
        client = Http1(stream)
        await client.send("GET", target)
        answer = await client.answer()
    assert (answer.status, answer.body) == (401, b"refused")


@pytest.mark.parametrize("target", ["x:y:/secret/page", "secret/page;a", "http://[/secret/page"])
async def test_hooks_and_middleware_are_asked_for_the_path_that_dash_serves(serve: Serve, target: str) -> None:
    app = GuardedApp()
    served: list[tuple[str, str]] = []

    async def note() -> None:
        served.append((quart.request.path, flask.request.environ["PATH_INFO"]))

    app.asgi_server.before_request(note)
    server = await serve(app)
    async with await open_connection(server.port) as stream:
        client = Http1(stream)
        await client.send("GET", target)
        answer = await client.answer()
    [(_, path)] = app.seen
    assert (answer.status, served) == (200, [(path, path)])


async def test_a_method_that_middleware_overrides_is_the_one_that_is_asked_and_answered(serve: Serve) -> None:
    app = GuardedApp()
    flask_app: Any = app.server
    inner = flask_app.wsgi_app

    def override(environ: Any, start_response: Any) -> Any:
        environ["REQUEST_METHOD"] = environ.get("HTTP_X_HTTP_METHOD_OVERRIDE", environ["REQUEST_METHOD"])
        return inner(environ, start_response)

    flask_app.wsgi_app = override
    page = await (await serve(app)).page()
    headers = {"X-HTTP-Method-Override": "GET"}
    response = await page.client.post("/_dash-layout", headers=headers)
    assert (response.status_code, app.seen[-1]) == (200, ("GET", "/_dash-layout"))
    page = Page(page.client, page.port)
    response = await page.client.get("/_dash-layout", headers={"X-HTTP-Method-Override": "POST"})
    assert response.status_code == 405


@pytest.mark.parametrize("header", ["X_User", "x_user"])
async def test_a_header_with_an_underscore_is_not_taken_for_another_one(serve: Serve, header: str) -> None:
    app = GuardedApp()
    app.server.route("/user")(lambda: str(flask.request.headers.get("X-User")))
    server = await serve(app)
    assert (await server.browser().get("/user", headers={header: "admin"})).text == "None"
    assert (await server.browser().get("/user", headers={"X-User": "Ada"})).text == "Ada"


async def test_a_body_beyond_the_limit_of_flash_is_refused_by_flask(serve: Serve) -> None:
    app = GuardedApp(max_body_bytes=10_000)
    app.server.add_url_rule("/own", "own", lambda: str(len(flask.request.get_data())), methods=["POST"])
    page = await (await serve(app)).page()
    for path in ("/_dash-update-component", "/own"):
        response = await page.client.post(path, content=b"x" * 100_000)
        assert (response.status_code, response.cookies["signed"]) == (413, "413")
    assert (await page.client.post("/own", content=b"x" * 9_000)).text == "9000"
