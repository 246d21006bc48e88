"""Dev tools: what the error popups show, and how long callbacks took."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from quart import abort, request

from flash import Flash, Input, Output, Update, ctx, html, stream_props
from tests.http.pages import Page
from tests.http.servers import Serve


def app_that_fails() -> Flash:
    app = Flash(__name__)
    app.layout = [html.Button(id=name) for name in ("sync", "async", "stream")] + [html.P(id=name) for name in "ab"]

    def fail_deeply() -> str:
        raise ZeroDivisionError("on purpose")

    @app.callback(Output("a", "children"), Input("sync", "n_clicks"), prevent_initial_call=True)
    def plain_failure(clicks: int) -> str:
        return fail_deeply()

    @app.callback(Output("b", "children"), Input("async", "n_clicks"), prevent_initial_call=True)
    async def async_failure(clicks: int) -> str:
        await trio.lowlevel.checkpoint()
        return fail_deeply()

    @app.event_callback(Input("stream", "n_clicks"))
    async def streaming_failure(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("a", {"children": 1})
        fail_deeply()

    @app.server.get("/broken")
    async def broken_route() -> str:
        return fail_deeply()

    return app


def functions(text: str) -> list[str]:
    """The functions that a traceback in HTML goes through, in order."""
    return re.findall(r"<h3>.*, in (\w+)</h3>", text)


async def traceback_of(page: Page, button: str) -> str:
    if button != "stream":
        response = await page.start(button)
        assert response.status_code == 500
        return response.text
    events = await page.connect()
    await page.start("stream")
    await events.expect("open")
    await events.expect("props")
    return (await events.expect("end"))["error"]["html"]


@pytest.mark.parametrize(
    ("button", "function"),
    [("sync", "plain_failure"), ("async", "async_failure"), ("stream", "streaming_failure")],
)
async def test_tracebacks_are_pruned_to_the_users_code(serve: Serve, button: str, function: str) -> None:
    app = app_that_fails()
    app.enable_dev_tools(debug=True, dev_tools_hot_reload=False)
    text = await traceback_of(await (await serve(app)).page(), button)
    assert functions(text) == [function, "fail_deeply"]
    assert "ZeroDivisionError: on purpose" in text


@pytest.mark.parametrize("button", ["sync", "async"])
async def test_whole_tracebacks_are_shown_if_asked_for(serve: Serve, button: str) -> None:
    app = app_that_fails()
    app.enable_dev_tools(debug=True, dev_tools_hot_reload=False, dev_tools_prune_errors=False)
    text = await traceback_of(await (await serve(app)).page(), button)
    assert functions(text)[-1] == "fail_deeply"
    assert "dispatch_request" in functions(text)


async def test_an_error_outside_of_callbacks_is_shown_whole(serve: Serve) -> None:
    """Pruning looks for a callback; without one there is nothing to prune."""
    app = app_that_fails()
    app.enable_dev_tools(debug=True, dev_tools_hot_reload=False)
    response = await (await serve(app)).browser().get("/broken")
    assert response.status_code == 500
    assert functions(response.text)[-2:] == ["broken_route", "fail_deeply"]


async def test_messages_of_errors_are_text_and_no_html(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = html.P()

    @app.server.get("/broken")
    async def broken() -> str:
        raise ValueError("<script>alert(1)</script>")

    app.enable_dev_tools(debug=True, dev_tools_hot_reload=False)
    assert "<script>" not in (await (await serve(app)).browser().get("/broken")).text


async def test_dev_tools_leave_statuses_alone(serve: Serve) -> None:
    app = app_that_fails()

    @app.server.before_request
    async def authorize() -> None:
        if request.args.get("user") == "nobody":
            abort(401)

    app.enable_dev_tools(debug=True, dev_tools_hot_reload=False)
    browser = (await serve(app)).browser()
    assert (await browser.get("/?user=nobody")).status_code == 401
    assert (await browser.post("/", json={})).status_code == 405


@pytest.mark.parametrize("button", ["sync", "async"])
async def test_without_dev_tools_nothing_of_an_error_is_shown(serve: Serve, button: str) -> None:
    page = await (await serve(app_that_fails())).page()
    text = await traceback_of(page, button)
    assert "on purpose" not in text
    assert "fail_deeply" not in text


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_callbacks_tell_how_long_they_took(serve: Serve, kind: str) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.P(id="out")]

    def measured(clicks: int) -> int:
        ctx.record_timing("database", 0.25, "what it took to ask")
        return clicks

    async def measured_async(clicks: int) -> int:
        return measured(clicks)

    function: Any = measured if kind == "sync" else measured_async
    app.callback(Output("out", "children"), Input("go", "n_clicks"), prevent_initial_call=True)(function)
    app.enable_dev_tools(debug=True, dev_tools_hot_reload=False)
    page = await (await serve(app)).page()
    timings = (await page.start("go")).headers["server-timing"]
    assert 'database;desc="what it took to ask";dur=250' in timings
    assert re.search(r"__dash_server;dur=\d+", timings)
