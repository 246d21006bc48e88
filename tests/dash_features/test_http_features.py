"""What Dash serves beside layouts and callbacks, and what it is configured with, over real sockets."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from quart import Response, abort, request, send_file, session

from flash import (
    ClientsideFunction,
    Flash,
    Input,
    Output,
    Update,
    dcc,
    get_asset_url,
    get_relative_path,
    html,
    stream_props,
)
from tests.http.servers import Serve

MCP = {"Content-Type": "application/json"}


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_callbacks_are_an_http_api(serve: Serve, kind: str) -> None:
    in_main_thread: list[bool] = []
    app = Flash(__name__)
    app.layout = [dcc.Input(id="a"), html.P(id="out")]

    def double(a: float) -> float:
        in_main_thread.append(threading.current_thread() is threading.main_thread())
        return a * 2

    async def double_async(a: float) -> float:
        await trio.lowlevel.checkpoint()
        return double(a)

    register = app.callback(
        Output("out", "children"), Input("a", "value"), api_endpoint="/api/double", prevent_initial_call=True
    )
    register(double if kind == "plain" else double_async)
    app.setup_apis()
    server = await serve(app)
    response = await server.browser().post("/api/double", json={"a": 21})
    assert (response.status_code, response.json()) == (200, 42)
    page = await server.page()
    assert await page.call("a", "value", 4) == {"out": {"children": 8}}
    assert in_main_thread == [kind == "async"] * 2


async def test_the_health_endpoint_answers(serve: Serve) -> None:
    app = Flash(__name__, health_endpoint="health", url_base_pathname="/app/")
    app.layout = html.P()
    response = await (await serve(app)).browser().get("/app/health")
    assert (response.status_code, response.text) == (200, "OK")


async def test_mcp_lists_and_calls_callbacks_plain_and_async_in_threads(serve: Serve) -> None:
    app = Flash(__name__, enable_mcp=True)
    app.layout = [dcc.Input(id="name", value="Ada"), html.P(id="plain"), html.P(id="async")]
    entered, go_on = threading.Event(), threading.Event()

    @app.callback(Output("plain", "children"), Input("name", "value"), prevent_initial_call=True)
    def greet(name: str) -> str:
        """Greet somebody."""
        entered.set()
        assert go_on.wait(10)
        return f"Hello {name}"

    @app.callback(Output("async", "children"), Input("name", "value"), prevent_initial_call=True)
    async def take_leave(name: str) -> str:
        """Take leave of somebody."""
        await trio.lowlevel.checkpoint()
        return f"Farewell {name}"

    browser = (await serve(app)).browser()

    async def ask(method: str, **params: Any) -> Any:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        response = await browser.post("/_mcp", json=message, headers=MCP)
        assert response.status_code == 200, response.text
        return response.json()["result"]

    assert (await ask("initialize"))["serverInfo"]["name"] == "Plotly Dash"
    tools = {tool["name"] for tool in (await ask("tools/list"))["tools"]}
    assert {"greet", "take_leave"} <= tools
    answers: list[Any] = []

    async def call_greet() -> None:
        answers.append(await ask("tools/call", name="greet", arguments={"name": "Eve"}))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call_greet)
        assert await trio.to_thread.run_sync(entered.wait, 10)
        # A tool that blocks holds nobody up.
        answer = await ask("tools/call", name="take_leave", arguments={"name": "Bob"})
        assert "Farewell Bob" in str(answer)
        go_on.set()
    assert "Hello Eve" in str(answers)
    assert (await browser.get("/_mcp")).text == ": mcp stream open\n\n"
    assert (await browser.delete("/_mcp")).status_code == 405
    assert (await browser.post("/_mcp", content=b"{}")).status_code == 415


async def test_names_of_csrf_protections_are_told_to_the_page(serve: Serve) -> None:
    app = Flash(__name__, csrf_token_name="csrftoken", csrf_header_name="X-My-Token")
    app.layout = [html.Button(id="go"), html.P(id="out")]

    @app.callback(Output("out", "children"), Input("go", "n_clicks"), prevent_initial_call=True)
    async def count(clicks: int) -> int:
        return clicks

    @app.server.before_request
    def protect() -> None:
        if request.method == "POST" and request.headers.get("X-My-Token") != request.cookies.get("csrftoken"):
            abort(403)

    page = await (await serve(app)).page()
    index = (await page.get("")).text
    assert '"csrf_token_name":"csrftoken","csrf_header_name":"X-My-Token"' in index
    page.client.cookies.set("csrftoken", "secret")
    assert (await page.start("go")).status_code == 403
    page.client.headers["X-My-Token"] = "secret"
    assert (await page.start("go")).status_code == 200
    # Protections exempt Dash by the name of its view.
    view = app.server.view_functions["/_dash-update-component"]
    assert f"{view.__module__}.{view.__name__}" == "dash.dash.dispatch"


async def test_the_index_is_as_configured(serve: Serve) -> None:
    app = Flash(
        __name__,
        title="Mine",
        update_title="Wait",
        meta_tags=[{"name": "author", "content": "Ada"}],
        external_scripts=["https://example.org/a.js", {"src": "https://example.org/b.js", "integrity": "sha384-x"}],
        external_stylesheets=["https://example.org/a.css"],
        serve_locally=False,
        index_string="""<!doctype html><html><head>{%metas%}<title>{%title%}</title>{%favicon%}{%css%}</head>
            <body class="mine">{%app_entry%}{%config%}{%scripts%}{%renderer%}</body></html>""",
    )
    app.layout = [html.Button(id="go")]

    @app.event_callback(Input("go", "n_clicks"))
    async def stream(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("go", {"children": clicks})

    server = await serve(app)
    text = (await server.browser().get("/")).text
    assert '<body class="mine">' in text
    assert "<title>Mine</title>" in text
    assert '<meta name="author" content="Ada">' in text
    assert '<script src="https://example.org/a.js"></script>' in text
    assert 'src="https://example.org/b.js" integrity="sha384-x"' in text
    assert '<link rel="stylesheet" href="https://example.org/a.css">' in text
    assert '"update_title":"Wait"' in text
    # Dash's come from a CDN then; what has no CDN comes from here.
    assert "https://unpkg.com/" in text
    assert "/_dash-component-suites/flash/client/" in text


async def test_assets_are_included_and_served(serve: Serve, tmp_path: Path) -> None:
    for name in ("a.css", "b.js", "module.mjs", "ignored.js", "favicon.ico", "data.json"):
        (tmp_path / name).write_text(f"/* {name} */")
    app = Flash(
        __name__,
        assets_folder=str(tmp_path),
        assets_url_path="files",
        assets_ignore="ignored.*",
        requests_pathname_prefix="/proxied/",
        routes_pathname_prefix="/",
    )
    app.layout = html.P()
    browser = (await serve(app, prefix="/")).browser()
    text = (await browser.get("/")).text
    assert 'href="/proxied/files/a.css?m=' in text
    assert 'src="/proxied/files/b.js?m=' in text
    assert 'type="module"' in text
    assert "ignored.js" not in text
    assert 'href="/proxied/files/favicon.ico?m=' in text
    assert (await browser.get("/files/data.json")).text == "/* data.json */"
    assert (await browser.get("/files/missing.css")).status_code == 404
    assert app.get_asset_url("a.css") == get_asset_url("a.css") == "/proxied/files/a.css"
    assert get_relative_path("/page") == "/proxied/page"


async def test_assets_may_be_left_out_of_the_page(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("")
    app = Flash(__name__, assets_folder=str(tmp_path), include_assets_files=False)
    app.layout = html.P()
    assert "a.css" not in (await (await serve(app)).browser().get("/")).text


async def test_component_files_are_cached_for_long(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = html.P()
    browser = (await serve(app)).browser()
    index = (await browser.get("/")).text
    path = index.split('src="/_dash-component-suites/', 1)[1].split('"', 1)[0]
    response = await browser.get(f"/_dash-component-suites/{path}")
    assert "max-age=31536000" in response.headers["cache-control"]


async def test_routes_sessions_and_authentication_of_the_server(serve: Serve) -> None:
    app = Flash(__name__)
    app.server.config.update(SECRET_KEY="test", GREETING="Hello")
    app.layout = [html.Button(id="go"), html.P(id="out")]

    @app.server.before_request
    def authenticate() -> Any:
        if request.path != "/login" and "user" not in session:
            return Response("log in", status=401)
        return None

    @app.server.route("/login", methods=["POST"])
    def login() -> str:
        session["user"] = "Ada"
        return app.server.config["GREETING"]

    @app.callback(Output("out", "children"), Input("go", "n_clicks"), prevent_initial_call=True)
    def who(clicks: int) -> str:
        session["clicks"] = clicks
        return f"{session['user']} {clicks}"

    @app.event_callback(Input("out", "children"))
    async def stream(children: str) -> AsyncIterator[Update]:
        yield stream_props("out", {"title": session["user"]})

    server = await serve(app)
    page = await server.page(load=False)
    assert (await page.get("")).status_code == 401
    assert (await page.get(f"_flash/events?page={'t' * 32}:0")).status_code == 401
    assert (await page.post("login", {})).text == "Hello"
    await page.load()
    assert await page.call("go", callback="out.children") == {"out": {"children": "Ada 1"}}
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in page.client.cookies.jar)
    events = await page.connect(headers={"Cookie": cookies})
    await page.start("out", "children", "x")
    await events.expect("open")
    assert (await events.expect("props"))["props"][0][1] == {"title": "Ada"}


async def test_clientside_callbacks_are_sent_to_the_page(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.P(id="one"), html.P(id="two")]
    app.clientside_callback("clicks => clicks + 1", Output("one", "children"), Input("go", "n_clicks"))
    app.clientside_callback(ClientsideFunction("mine", "two"), Output("two", "children"), Input("go", "n_clicks"))
    page = await (await serve(app)).page()
    functions = [entry["clientside_function"] for entry in page.dependencies]
    assert functions[1] == {"namespace": "mine", "function_name": "two"}
    assert "clicks => clicks + 1" in (await page.get("")).text


def test_a_log_handler_is_added_unless_it_is_declined(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("dash.dash")
    monkeypatch.setattr(logger, "handlers", [])
    Flash(__name__, add_log_handler=False)
    assert logger.handlers == []
    Flash(__name__)
    assert len(logger.handlers) == 1


async def test_pages_and_scripts_say_their_charset(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = html.Div()
    browser = (await serve(app)).browser()
    for path in ("/", "/some/page"):
        assert (await browser.get(path)).headers["content-type"] == "text/html; charset=utf-8"
    script = await browser.get("/_dash-component-suites/flash/client/streams.js")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    again = await browser.get(str(script.url), headers={"If-None-Match": script.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (await browser.get("/_dash-component-suites/none/client/streams.js")).status_code == 404
    assert (await browser.get("/_dash-component-suites/flash/client/none.js")).status_code == 404


@pytest.mark.parametrize(
    ("asked", "status", "said", "content"),
    [
        ("bytes=-5", 206, "bytes 95-99/100", "56789"),
        ("bytes=-500", 206, "bytes 0-99/100", "0123456789" * 10),
        ("bytes=90-", 206, "bytes 90-99/100", "0123456789"),
        ("bytes=98-200", 206, "bytes 98-99/100", "89"),
        ("bytes=0-0", 206, "bytes 0-0/100", "0"),
        ("bytes=100-", 416, "bytes */100", None),
    ],
)
async def test_an_asset_is_served_in_parts(
    serve: Serve, tmp_path: Path, asked: str, status: int, said: str, content: str | None
) -> None:
    (tmp_path / "a.txt").write_text("0123456789" * 10)
    app = Flash(__name__, assets_folder=str(tmp_path))
    app.layout = html.Div()

    @app.server.route("/memory")
    async def from_memory() -> Response:
        return await send_file(io.BytesIO(b"0123456789" * 10), mimetype="text/plain", conditional=True)

    browser = (await serve(app)).browser()
    for path in ("/assets/a.txt", "/memory"):
        answer = await browser.get(path, headers={"Range": asked})
        assert (answer.status_code, answer.headers["content-range"]) == (status, said)
        assert content is None or answer.text == content


async def test_an_asset_that_has_changed_is_not_taken_from_a_cache(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    app = Flash(__name__, assets_folder=str(tmp_path))
    app.layout = html.Div()
    browser = (await serve(app)).browser()
    first = await browser.get("/assets/a.txt")
    assert first.headers["cache-control"] == "public, max-age=0"
    known = {"If-None-Match": first.headers["etag"]}
    assert (await browser.get("/assets/a.txt", headers=known)).status_code == 304
    (tmp_path / "a.txt").write_text("newer")
    assert (await browser.get("/assets/a.txt", headers=known)).text == "newer"
