"""`dash.hooks`: every kind of them has its effect on a Flash app."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from flash import Flash, Input, Output, ctx, hooks, html
from tests.http.servers import Serve

STATE = ("_ns", "_js_dist", "_css_dist", "_clientside_callbacks", "_finals")


@pytest.fixture(autouse=True)
def hooks_of_this_test() -> Iterator[None]:
    """Hooks are for every app of the process."""
    before = {name: copy.deepcopy(getattr(hooks, name)) for name in STATE}
    yield
    for name, value in before.items():
        setattr(hooks, name, value)


async def test_setup_and_layout_hooks_change_the_app(serve: Serve) -> None:
    apps: list[Any] = []
    hooks.setup()(apps.append)

    @hooks.layout()
    def around(layout: Any) -> Any:
        return html.Section([html.Header(id="added"), layout])

    app = Flash(__name__)
    app.layout = html.P(id="own")
    page = await (await serve(app)).page()
    assert apps == [app]
    text = (await page.get("_dash-layout")).text
    assert '"added"' in text
    assert '"own"' in text


async def test_routes_of_hooks_may_be_plain_and_async(serve: Serve) -> None:
    threads: list[bool] = []

    @hooks.route("hooked/plain", methods=("POST",))
    def plain() -> str:
        threads.append(threading.current_thread() is threading.main_thread())
        return "plain"

    @hooks.route("hooked/async")
    async def with_await() -> str:
        await trio.lowlevel.checkpoint()
        return "async"

    app = Flash(__name__, url_base_pathname="/app/")
    app.layout = html.P()
    page = await (await serve(app)).page()
    assert (await page.post("hooked/plain", {})).text == "plain"
    assert (await page.get("hooked/async")).text == "async"
    assert threads == [False]


async def test_callback_hooks_and_custom_data(serve: Serve) -> None:
    @hooks.custom_data("user")
    def user(context: Any) -> str:
        return context.cookies["name"]

    @hooks.callback(Output("out", "children"), Input("go", "n_clicks"), prevent_initial_call=True)
    async def greet(clicks: int) -> str:
        await trio.lowlevel.checkpoint()
        return f"{ctx.custom_data['user']} {clicks}"

    @hooks.callback(Output("plain", "children"), Input("come", "n_clicks"), prevent_initial_call=True)
    def plainly(clicks: int) -> str:
        return f"plainly {ctx.custom_data['user']}"

    hooks.clientside_callback("clicks => clicks", Output("js", "children"), Input("go", "n_clicks"))
    app = Flash(__name__)
    app.layout = [html.Button(id=name) for name in ("go", "come")] + [
        html.P(id=name) for name in ("out", "plain", "js")
    ]
    page = await (await serve(app)).page()
    page.client.cookies.set("name", "Ada")
    assert await page.call("go", callback="out") == {"out": {"children": "Ada 1"}}
    assert await page.call("come") == {"plain": {"children": "plainly Ada"}}
    assert [entry["output"] for entry in page.dependencies if entry["clientside_function"]] == ["js.children"]


async def test_hooks_change_the_index(serve: Serve) -> None:
    hooks.script([{"external_url": "https://example.org/hook.js", "external_only": True}])
    hooks.stylesheet([{"external_url": "https://example.org/hook.css", "external_only": True}])

    @hooks.index()
    def index(page: str) -> str:
        return page.replace("</body>", "<!-- hooked --></body>")

    app = Flash(__name__)
    app.layout = html.P()
    text = (await (await serve(app)).browser().get("/")).text
    assert '<script src="https://example.org/hook.js"></script>' in text
    assert '<link rel="stylesheet" href="https://example.org/hook.css">' in text
    assert "<!-- hooked --></body>" in text


async def test_error_hooks_and_the_error_handler_of_the_app_hear_of_errors(serve: Serve) -> None:
    heard: list[str] = []

    @hooks.error()
    def note(error: Exception) -> None:
        heard.append(f"hook: {error}")

    def on_error(error: Exception) -> str:
        heard.append(f"app: {error}")
        return "handled"

    app = Flash(__name__, on_error=on_error)
    app.layout = [html.Button(id="sync"), html.Button(id="async"), html.P(id="one"), html.P(id="two")]

    @app.callback(Output("one", "children"), Input("sync", "n_clicks"), prevent_initial_call=True)
    def one(clicks: int) -> str:
        raise ValueError("one")

    @app.callback(Output("two", "children"), Input("async", "n_clicks"), prevent_initial_call=True)
    async def two(clicks: int) -> str:
        raise ValueError("two")

    page = await (await serve(app)).page()
    assert await page.call("sync") == {"one": {"children": "handled"}}
    assert await page.call("async") == {"two": {"children": "handled"}}
    assert heard == ["app: one", "hook: one", "app: two", "hook: two"]


async def test_devtool_hooks_are_told_to_the_page(serve: Serve) -> None:
    hooks.devtool("my_tools", "Ruler", props=lambda: {"id": "ruler"})
    app = Flash(__name__)
    app.layout = html.P()
    app.enable_dev_tools(debug=True, dev_tools_hot_reload=False)
    text = (await (await serve(app)).browser().get("/")).text
    assert '"namespace":"my_tools","type":"Ruler","props":{"id":"ruler"}' in text
