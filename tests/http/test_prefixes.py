"""Apps that do not live at the root of their site."""

from __future__ import annotations

from typing import Any

import pytest

from tests.http.apps import Waiting
from tests.http.pages import Page
from tests.http.refusals import assert_refused
from tests.http.servers import Serve


async def assert_streams_work(page: Page) -> None:
    events = await page.connect()
    assert (await page.start("go")).status_code == 204
    stream = (await events.expect("open"))["stream"]
    await events.expect("props")
    assert (await page.get(f"_flash/status?page={page.token}:0")).json() == {"message": None}
    assert (await page.cancel(stream)).status_code == 204
    assert (await events.expect("end"))["reason"] == "cancelled"
    assert (await page.leave()).status_code == 204
    assert await events.until_closed() == []


@pytest.mark.parametrize(
    "prefixes",
    [
        {"url_base_pathname": "/app/"},
        {"requests_pathname_prefix": "/app/", "routes_pathname_prefix": "/app/"},
        {"url_base_pathname": "/deep/er/"},
    ],
    ids=str,
)
async def test_streams_work_under_a_prefix(serve: Serve, prefixes: dict[str, Any]) -> None:
    page = await (await serve(Waiting(**prefixes).app)).page()
    assert page.prefix != "/"
    await assert_streams_work(page)
    assert (await page.client.get(f"/_flash/events?page={page.token}:0")).status_code == 404


async def test_streams_work_behind_a_proxy_that_strips_the_prefix(serve: Serve) -> None:
    app = Waiting(requests_pathname_prefix="/proxied/", routes_pathname_prefix="/").app
    page = await (await serve(app, prefix="/")).page()
    assert "Path=/proxied/" in (await page.client.get("/", headers={"Cookie": ""})).headers["set-cookie"]
    # The proxy would send the cookie on.
    cookie = next(cookie.value for cookie in page.client.cookies.jar if cookie.name == "flash_browser")
    page.client.cookies.clear()
    page.client.cookies.set("flash_browser", cookie or "", domain="127.0.0.1", path="/")
    await assert_streams_work(page)


async def test_streams_work_with_the_prefix_that_the_environment_names(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASH_URL_BASE_PATHNAME", "/env/")
    page = await (await serve(Waiting().app)).page()
    assert page.prefix == "/env/"
    await assert_streams_work(page)


async def test_the_cookie_is_for_the_app_alone(serve: Serve) -> None:
    server = await serve(Waiting(url_base_pathname="/app/").app)
    response = await server.browser().get("/app/")
    assert "Path=/app/" in response.headers["set-cookie"]


async def test_two_apps_of_one_server_have_channels_of_their_own(serve: Serve) -> None:
    from quart_trio import QuartTrio

    site = QuartTrio("site")
    one = Waiting(server=site, url_base_pathname="/one/")
    two = Waiting(server=site, url_base_pathname="/two/")
    server = await serve(one.app)
    page = await server.page()
    second = await server.page(prefix="/two/")
    await assert_streams_work(page)
    await assert_streams_work(second)
    assert one.log == two.log == ["started", "finally", "on_error cancelled"]
    _, stream = await page.connect_and_start()
    assert_refused(await second.cancel(stream), 404)
