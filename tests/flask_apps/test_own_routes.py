"""The Flask app's own routes, hooks and error pages: each request is answered as Dash on Flask answers it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import pytest
import trio
from werkzeug.exceptions import Forbidden
from werkzeug.middleware.proxy_fix import ProxyFix

from flash import Flash, Input, Output, dcc, html
from tests.flask_apps.twins import Build, MakeTwins, Twins, click
from tests.http.servers import Serve
from tests.support.connections import open_connection
from tests.support.eventually import TIMEOUT, eventually
from tests.support.http1 import ConnectionLost, Http1


class OutOfStock(Exception):
    """An exception that the app has an error handler for."""


def declare(app: Any) -> None:
    """An app that uses what Flask has."""
    app.layout = html.Div([html.Div(id="out"), html.Button(id="go"), html.Button(id="fail")])
    server: flask.Flask = app.server

    @server.route("/hello/<name>")
    def hello(name: str) -> str:
        flask.session["name"] = name
        return f"Hello, {name}"

    @server.route("/who")
    def who() -> dict[str, Any]:
        return {"name": flask.session.get("name"), "agent": flask.request.headers["X-Agent"]}

    @server.post("/form")
    def form() -> flask.Response:
        response = flask.make_response(flask.redirect(flask.url_for("hello", name=flask.request.form["name"])))
        response.set_cookie("seen", "1", httponly=True, samesite="Strict")
        return response

    @server.route("/slash/")
    def slash() -> str:
        return "a slash"

    @server.route("/broken")
    def broken() -> str:
        raise ValueError("broken")

    @server.route("/lines")
    def lines() -> flask.Response:
        return flask.Response((f"line {number}\n" for number in range(3)), mimetype="text/plain")

    @server.route("/url")
    def url() -> str:
        asked = flask.request
        return f"{asked.url} {asked.script_root} {asked.path} {asked.full_path} {asked.scheme} {asked.query_string!r}"

    @server.errorhandler(404)
    def not_found(error: Exception) -> tuple[str, int]:
        return "nothing of the kind", 404

    @server.errorhandler(500)
    def failed(error: Exception) -> tuple[str, int]:
        return "sorry", 500

    @server.errorhandler(OutOfStock)
    def out_of_stock(error: OutOfStock) -> tuple[dict[str, str], int]:
        return {"stock": str(error)}, 409

    @server.after_request
    def sign(response: flask.Response) -> flask.Response:
        response.headers["X-Signed"] = f"{response.status_code} {flask.request.endpoint}"
        return response

    @app.callback(Output("out", "children"), Input("go", "n_clicks"))
    def answer(clicks: int) -> list[Any]:
        flask.session["clicks"] = str(clicks)[:9]

        @flask.after_this_request
        def add_cookie(response: flask.Response) -> flask.Response:
            response.set_cookie("clicked", str(clicks)[:9])
            return response

        return [flask.request.path, flask.request.method, flask.request.get_json()["output"], flask.g.get("x", 0)]

    @app.callback(Output("out", "title"), Input("fail", "n_clicks"))
    def fail(kind: str) -> str:
        raise {"value": ValueError, "stock": OutOfStock, "forbidden": Forbidden}[kind]("no")


@pytest.fixture
async def pair(twins: MakeTwins) -> Twins:
    return await twins(Build(declare))


async def test_routes_sessions_redirects_and_error_pages_are_flasks(pair: Twins) -> None:
    assert (await pair.get("/hello/Ada")).text == "Hello, Ada"
    assert (await pair.get("/who", headers={"X-Agent": "x"})).json() == {"name": "Ada", "agent": "x"}
    assert (await pair.ask("POST", "/form", data={"name": "Grace"})).status_code == 302
    assert (await pair.ask("POST", "/form", data={})).status_code == 400
    assert (await pair.get("/slash")).status_code == 308
    assert (await pair.get("/broken")).text == "sorry"
    assert (await pair.ask("PUT", "/broken")).status_code == 405
    assert (await pair.ask("HEAD", "/hello/Ada")).text == ""
    assert "POST" in (await pair.ask("OPTIONS", "/_dash-update-component")).headers["allow"]
    assert (await pair.get("/lines")).text == "line 0\nline 1\nline 2\n"
    await pair.get("/static/none.css")


@pytest.mark.parametrize("path", ["/url", "/url?a=1&a=%C3%A4", "/url%3F", "/a/../url", "/%75rl", "/u%0Arl"])
async def test_flask_sees_the_url_that_it_always_sees(pair: Twins, path: str) -> None:
    await pair.get(path, same_body=not path.startswith(("/a", "/url%3F", "/u%0A")))


async def test_the_routes_of_dash_are_routes_of_the_flask_app(pair: Twins) -> None:
    for path in ("/", "/anything/else", "/_dash-dependencies"):
        await pair.get(path, same_body=False)
    layout = await pair.get("/_dash-layout", same_body=False)
    assert layout.headers["x-signed"] == "200 /_dash-layout"
    missing = await pair.get("/assets/none.js", same_body=False)
    assert (missing.status_code, missing.text) == (404, "nothing of the kind")


async def test_a_callback_has_flasks_request_session_and_cookies(pair: Twins) -> None:
    answer = await pair.click("go", 7)
    assert answer.json()["response"]["out"]["children"] == ["/_dash-update-component", "POST", "out.children", 0]
    assert answer.cookies["clicked"] == "7"
    await pair.click("go", 8)


@pytest.mark.parametrize(("kind", "status"), [("value", 500), ("stock", 409), ("forbidden", 403)])
async def test_what_a_callback_raises_is_for_the_error_handlers_of_flask(pair: Twins, kind: str, status: int) -> None:
    body = click("fail", kind)
    body["output"], body["outputs"]["property"] = "out.title", "title"
    answer = await pair.ask("POST", "/_dash-update-component", json=body)
    assert answer.status_code == status


async def test_bodies_have_the_limit_of_the_flask_app(twins: MakeTwins) -> None:
    def limit(server: flask.Flask) -> None:
        server.config["MAX_CONTENT_LENGTH"] = 1_000

    pair = await twins(Build(declare, limit))
    assert (await pair.click("go", "x" * 2_000)).status_code == 413
    assert (await pair.click("go", "x" * 200)).status_code == 200


async def test_a_body_of_any_size_is_read_as_it_comes(twins: MakeTwins) -> None:
    def declare_upload(app: Any) -> None:
        declare(app)

        @app.server.post("/upload")
        def upload() -> dict[str, Any]:
            [(name, file)] = flask.request.files.items()
            return {"name": name, "file": file.filename, "size": len(file.read()), "form": dict(flask.request.form)}

    pair = await twins(Build(declare_upload))
    files = {"data": ("data.bin", b"x" * 3_000_000)}
    answer = await pair.ask("POST", "/upload", files=files, data={"chunk": "1"})
    assert answer.json() == {"name": "data", "file": "data.bin", "size": 3_000_000, "form": {"chunk": "1"}}
    assert (await pair.click("go", "x" * 3_000_000)).status_code == 200


async def test_a_file_is_downloaded_with_ranges_and_conditions(twins: MakeTwins, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a,b\n" * 50_000)

    def declare_download(app: Any) -> None:
        declare(app)

        @app.server.route("/download/<path:name>")
        def download(name: str) -> flask.Response:
            return flask.send_from_directory(tmp_path, name, as_attachment=True)

    pair = await twins(Build(declare_download))
    whole = await pair.get("/download/data.csv")
    assert (len(whole.content), whole.headers["content-disposition"]) == (200_000, "attachment; filename=data.csv")
    assert (await pair.get("/download/data.csv", headers={"Range": "bytes=4-7"})).text == "a,b\n"
    assert (await pair.get("/download/data.csv", headers={"If-None-Match": whole.headers["etag"]})).status_code == 304
    assert (await pair.get("/download/none.csv")).status_code == 404


async def test_middleware_of_the_flask_app_counts(twins: MakeTwins) -> None:
    def behind_proxy(server: flask.Flask) -> None:
        server.wsgi_app = ProxyFix(server.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)

    pair = await twins(Build(declare, behind_proxy))
    headers = {"X-Forwarded-Host": "example.org", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/sub"}
    assert (await pair.get("/url", headers=headers)).text.startswith("https://example.org/sub/url /sub /url")
    await pair.click("go", headers=headers)


async def test_a_wrapped_view_of_dashs_is_asked(twins: MakeTwins) -> None:
    def wrap(app: Any) -> None:
        declare(app)
        views = app.server.view_functions
        dispatch = views["/_dash-update-component"]
        assert (dispatch.__module__, dispatch.__name__) == ("dash.dash", "dispatch")

        def protected(**values: Any) -> Any:
            return (
                flask.current_app.ensure_sync(dispatch)(**values)
                if flask.request.args.get("key") == "k"
                else ("no key", 401)
            )

        views["/_dash-update-component"] = protected

    pair = await twins(Build(wrap))
    assert (await pair.click("go")).status_code == 401
    answer = await pair.ask("POST", "/_dash-update-component?key=k", json=click("go"))
    assert answer.status_code == 200


class Reading:
    """A route of server-sent events, in one app: an event comes once another request has asked for it."""

    def __init__(self, app: Any) -> None:
        self.is_closed = threading.Event()
        self._asked = queue.SimpleQueue[str]()
        app.server.add_url_rule("/events", "events", self._events)
        app.server.add_url_rule("/say/<text>", "say", self._say)

    def _say(self, text: str) -> str:
        self._asked.put(text)
        return "said"

    def _events(self) -> flask.Response:
        flask.session["reads"] = True
        response = flask.Response(flask.stream_with_context(self._send()), mimetype="text/event-stream")
        response.headers["Cache-Control"] = "no-cache"
        return response

    def _send(self) -> Iterator[str]:
        first = int(flask.request.headers.get("Last-Event-ID", "0"))
        try:
            while (number := first + 1) < 10:
                try:
                    yield f"id: {number}\ndata: {self._asked.get(timeout=0.05)} {flask.session['reads']}\n\n"
                    first = number
                except queue.Empty:
                    yield ": still here\n\n"
        finally:
            self.is_closed.set()


async def test_events_that_flask_sends_come_at_once_and_end_with_the_client(twins: MakeTwins) -> None:
    readings: list[Reading] = []

    def declare_events(app: Any) -> None:
        declare(app)
        readings.append(Reading(app))

    pair = await twins(Build(declare_events))
    headers = {"Accept": "text/event-stream", "Last-Event-ID": "7"}
    for text in ("one", "two"):
        await pair.get(f"/say/{text}")
    answer = await pair.get("/events", headers=headers)
    assert answer.text == "id: 8\ndata: one True\n\nid: 9\ndata: two True\n\n"
    assert (answer.headers["content-type"], "session" in answer.cookies) == ("text/event-stream; charset=utf-8", True)
    for client, reading in zip((pair.flash, pair.dash), reversed(readings), strict=True):
        reading.is_closed.clear()
        async with await open_connection(client.base_url.port or 0) as stream:
            reader = Http1(stream)
            await reader.send("GET", "/events")
            assert (await reader.head())[0] == 200
            for text in ("three", "four"):
                await client.get(f"/say/{text}")
                with trio.fail_after(TIMEOUT):
                    while b"data" not in (event := await reader.read()):
                        pass
                assert f"data: {text} True".encode() in event
            assert not reading.is_closed.is_set()
        await eventually(reading.is_closed.is_set)


@pytest.mark.parametrize("reads", [True, False])
async def test_a_response_of_flasks_is_cut_after_the_timeout_that_the_app_asks_for(serve: Serve, reads: bool) -> None:
    app = Flash(__name__, server=flask.Flask(__name__), response_timeout=0.2)
    app.layout = html.Div()
    closed = threading.Event()

    @app.server.route("/rows")
    def rows() -> flask.Response:
        def send() -> Iterator[bytes]:
            try:
                while True:
                    yield b"row\n" * (1 if reads else 100_000)
                    time.sleep(0.01)
            finally:
                closed.set()

        return flask.Response(send())

    @app.server.route("/events")
    def events() -> flask.Response:
        def send() -> Iterator[str]:
            for number in range(6):
                time.sleep(0.1)
                yield f"data: {number}\n\n"

        return flask.Response(send(), mimetype="text/event-stream")

    server = await serve(app)
    with trio.fail_after(TIMEOUT):
        async with await open_connection(server.port) as stream:
            client = Http1(stream)
            await client.send("GET", "/rows")
            assert (await client.head())[0] == 200
            if reads:
                with pytest.raises(ConnectionLost):
                    await client.body()
            await eventually(closed.is_set)
        assert (await server.browser().get("/events")).text.endswith("data: 5\n\n")


async def test_the_dev_tools_leave_to_flask_what_it_has_an_error_handler_for(twins: MakeTwins) -> None:
    def declare_with_dev_tools(app: Any) -> None:
        declare(app)
        app.enable_dev_tools(debug=True, dev_tools_hot_reload=False)

    pair = await twins(Build(declare_with_dev_tools))
    for kind, status, kind_of_body in (("stock", 409, "application/json"), ("value", 500, "text/html")):
        body = click("fail", kind)
        body["output"], body["outputs"]["property"] = "out.title", "title"
        answer = await pair.ask("POST", "/_dash-update-component", json=body, same_body=status == 409)
        assert answer.status_code == status
        assert answer.headers["content-type"].startswith(kind_of_body)
    assert "ValueError" in answer.text


async def test_a_route_that_fails_while_it_sends_cuts_its_connection_only(serve: Serve) -> None:
    app = Flash(__name__, server=flask.Flask(__name__))
    app.layout = html.Div()

    @app.server.route("/half")
    def half() -> flask.Response:
        def send() -> Iterator[str]:
            yield "a half"
            raise ValueError("the other half")

        return flask.Response(send(), headers={"Content-Length": "100"})

    server = await serve(app)
    browser = server.browser()
    with pytest.raises(Exception, match=r"peer closed connection|incomplete|disconnected"):
        await browser.get("/half")
    assert (await browser.get("/")).status_code == 200


async def test_slow_routes_of_flask_do_not_hold_up_dash(serve: Serve) -> None:
    app = Flash(__name__, server=flask.Flask(__name__))
    app.layout = [html.Div(id="out"), dcc.Input(id="name")]
    go_on = False
    own: Any = app.asgi_server
    own._front._own_threads = trio.CapacityLimiter(2)

    @app.server.before_request
    def refuse() -> Any:
        return ("no", 401) if flask.request.args.get("refuse") else None

    @app.server.route("/slow")
    def slow() -> str:
        deadline = time.monotonic() + TIMEOUT
        while not go_on and time.monotonic() < deadline:
            time.sleep(0.02)
        return "at last"

    server = await serve(app)
    browser = server.browser()
    answers: list[str] = []

    async def ask() -> None:
        answers.append((await browser.get("/slow")).text)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
        await eventually(lambda: own._front._own_threads.statistics().tasks_waiting == 1)
        assert (await server.browser().get("/_dash-layout")).status_code == 200
        assert (await server.browser().get("/_dash-layout?refuse=1")).status_code == 401
        go_on = True
    assert answers == ["at last"] * 3


async def test_without_flash_the_routes_of_dash_say_who_serves_them() -> None:
    app = Flash(__name__, server=flask.Flask(__name__))
    app.layout = html.Div()
    app.server.testing = True
    with pytest.raises(Exception, match=r"Serve the Flash app"):
        app.server.test_client().get("/_dash-layout")
