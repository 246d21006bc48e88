"""The browser's cookie: what a browser is given, and which of its cookies counts."""

from __future__ import annotations

import os
from http.cookies import SimpleCookie
from typing import Any

import httpx
import pytest

from flash import Flash
from tests.http.apps import Waiting
from tests.http.refusals import assert_refused
from tests.http.servers import Serve, Server

TLS = {"X-Forwarded-Proto": "https"}
HOST_COOKIE = "__Host-flash_browser"


def set_cookies(response: httpx.Response) -> list[str]:
    return response.headers.get_list("set-cookie")


async def get(server: Server, path: str = "/", cookie: str = "", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await server.browser().get(path, headers={**({"Cookie": cookie} if cookie else {}), **named})


@pytest.mark.parametrize("path", ["/", "/some/page", "/_dash-layout"])
async def test_behind_a_proxy_with_tls_the_cookie_is_secure_and_of_the_host_alone(serve: Serve, path: str) -> None:
    server = await serve(Waiting().app)
    (cookie,) = set_cookies(await get(server, path, X_Forwarded_Proto="https"))
    assert cookie.startswith(f"{HOST_COOKIE}=")
    attributes = {part.strip() for part in cookie.split(";")[1:]}
    assert attributes == {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"}


async def test_an_app_under_a_prefix_has_the_same_cookie_over_tls(serve: Serve) -> None:
    app = Flash(__name__, url_base_pathname="/below/")
    app.layout = []
    server = await serve(app)
    (cookie,) = set_cookies(await get(server, "/below/", X_Forwarded_Proto="https"))
    # Browsers refuse the name with any other path.
    assert cookie.startswith(f"{HOST_COOKIE}=")
    assert "Path=/;" in f"{cookie};"


async def test_the_scheme_counts_from_trusted_proxies_only(serve: Serve) -> None:
    app = Flash(__name__, forwarded_allow_ips="192.0.2.1")
    app.layout = []
    server = await serve(app)
    (cookie,) = set_cookies(await get(server, X_Forwarded_Proto="https"))
    assert "Secure" not in cookie


@pytest.mark.parametrize("scheme", ["gopher", "", "https\x01", "javascript"])
async def test_a_scheme_that_is_none_changes_nothing(serve: Serve, scheme: str) -> None:
    server = await serve(Waiting().app)
    response = await get(server, X_Forwarded_Proto=scheme)
    assert response.status_code in (200, 400)
    assert "Secure" not in response.headers.get("set-cookie", "")


async def test_a_planted_cookie_does_not_count_where_the_host_has_set_its_own(serve: Serve) -> None:
    server = await serve(Waiting().app)
    loaded = await get(server, cookie=f"flash_browser={'p' * 32}", X_Forwarded_Proto="https")
    (name, morsel), *_ = SimpleCookie(loaded.headers["set-cookie"]).items()
    assert name == HOST_COOKIE
    page = await server.page(load=False)
    page.token = "t" * 32
    both = f"flash_browser={'p' * 32}; {HOST_COOKIE}={morsel.value}"
    await page.connect(headers={"Cookie": both})
    thief = await server.browser().get(
        f"/_flash/events?page={page.token}:0", headers={"Cookie": f"flash_browser={'p' * 32}"}
    )
    assert_refused(thief, 403, "another browser")


async def test_a_cookie_that_was_not_made_here_is_replaced_when_a_page_is_loaded(serve: Serve) -> None:
    server = await serve(Waiting().app)
    for made_up in ("A" * 24, "A" * 64, "x", "%00" * 8):
        (cookie,) = set_cookies(await get(server, cookie=f"flash_browser={made_up}"))
        assert f"={made_up};" not in cookie


async def test_in_frames_of_other_sites_the_cookie_is_partitioned(serve: Serve) -> None:
    app = Flash(__name__, cross_site_frames=True)
    app.layout = []
    server = await serve(app)
    (secure,) = set_cookies(await get(server, X_Forwarded_Proto="https"))
    assert {"Secure", "SameSite=None", "Partitioned", "HttpOnly", "Path=/"} <= {p.strip() for p in secure.split(";")}
    (local,) = set_cookies(await get(server))
    assert {"Secure", "SameSite=None", "Partitioned"} <= {part.strip() for part in local.split(";")}
    # A browser would not take a Secure cookie there, and the app would work nowhere.
    (plain,) = set_cookies(await get(server, Host="intranet.example"))
    assert "SameSite=Lax" in plain
    assert "Secure" not in plain


async def test_redirects_lead_to_the_scheme_of_the_browser(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = []

    @app.server.route("/folder/")
    async def folder() -> str:
        return "here"

    @app.server.route("/who")
    async def who() -> dict[str, Any]:
        from quart import request

        return {"scheme": request.scheme, "client": request.remote_addr}

    server = await serve(app)
    response = await get(server, "/folder", X_Forwarded_Proto="https")
    assert response.headers["location"].startswith(("https://", "/"))
    seen = await get(server, "/who", X_Forwarded_Proto="https", X_Forwarded_For="203.0.113.9, 10.0.0.1, 127.0.0.1")
    # What the client itself has said comes first, and does not count.
    assert seen.json() == {"scheme": "https", "client": "10.0.0.1"}


async def test_flash_run_has_an_option_for_trusted_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "FORWARDED_ALLOW_IPS", "192.0.2.0/24")
    trusted = Flash(__name__).trusted_proxies
    assert "192.0.2.7" in trusted
    assert "127.0.0.1" not in trusted
