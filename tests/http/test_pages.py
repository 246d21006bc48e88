"""What a page is given when it is loaded: a token of its own, and a cookie that marks the browser."""

from __future__ import annotations

from http.cookies import SimpleCookie

import pytest

from flash import Flash, html
from tests.http.apps import Waiting
from tests.http.servers import Serve


async def test_the_layout_is_not_for_any_cache(serve: Serve) -> None:
    page = await (await serve(Waiting().app)).page()
    response = await page.get("_dash-layout")
    assert response.headers["cache-control"] == "no-store"


async def test_each_layout_has_another_token(serve: Serve) -> None:
    server = await serve(Waiting().app)
    browser = server.browser()
    tokens = {(await server.page(browser=browser)).token for _ in range(5)}
    assert len(tokens) == 5
    assert all(len(token) >= 22 for token in tokens)


async def test_a_layout_that_is_a_function_has_a_token_too(serve: Serve) -> None:
    waiting = Waiting()
    layout = waiting.app.layout
    waiting.app.layout = lambda: layout
    server = await serve(waiting.app)
    one, two = await server.page(), await server.page()
    assert one.token
    assert one.token != two.token
    events = await one.connect()
    await one.start("go")
    await events.expect("open")


@pytest.mark.parametrize("path", ["", "some/page", "_dash-layout"])
async def test_the_first_answer_brings_the_cookie(serve: Serve, path: str) -> None:
    server = await serve(Waiting().app)
    response = await server.browser().get(f"/{path}")
    cookie = SimpleCookie(response.headers["set-cookie"])["flash_browser"]
    assert len(cookie.value) >= 22
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["path"] == "/"
    assert not cookie["secure"]
    assert not cookie["expires"]
    assert not cookie["max-age"]


async def test_a_browser_keeps_its_cookie(serve: Serve) -> None:
    server = await serve(Waiting().app)
    page = await server.page()
    cookie = page.cookie
    for path in ("", "_dash-layout", "other"):
        assert "set-cookie" not in (await page.get(path)).headers
    assert page.cookie == cookie


async def test_two_browsers_have_two_cookies(serve: Serve) -> None:
    server = await serve(Waiting().app)
    assert (await server.page()).cookie != (await server.page()).cookie


async def test_a_cookie_that_cannot_be_is_replaced(serve: Serve) -> None:
    server = await serve(Waiting().app)
    response = await server.browser().get("/", headers={"Cookie": "flash_browser=short"})
    assert "flash_browser=" in response.headers["set-cookie"]


async def test_a_page_without_event_callbacks_is_plain_dash(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = html.Div(id="out")
    page = await (await serve(app)).page()
    assert page.token == ""
    assert page.layout == {
        "props": {"children": None, "id": "out"},
        "type": "Div",
        "namespace": "dash_html_components",
    }


async def test_the_index_loads_the_clients_scripts_once(serve: Serve) -> None:
    page = await (await serve(Waiting().app)).page()
    index = (await page.get("")).text
    assert index.count("flash/client/updates") == 1
    assert index.count("flash/client/streams") == 1
    assert index.count("flash/client/link.") == 1
    script = next(part for part in index.split('"') if "flash/client/link." in part)
    response = await page.client.get(script)
    assert response.status_code == 200
    assert "javascript" in response.headers["content-type"]
    assert "EventSource" in response.text
