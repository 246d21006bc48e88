"""The script of the hub: where it is served, how it is cached, and how a page learns its address."""

from __future__ import annotations

from flash import Flash, html
from flash.asgi import hub_script
from tests.http.apps import Waiting
from tests.http.refusals import assert_refused
from tests.http.servers import Serve


async def test_the_layout_names_a_script_that_may_be_kept_for_ever(serve: Serve) -> None:
    page = await (await serve(Waiting().app)).page()
    name = page.values["_flash"]["hub"]
    response = await page.get(f"_flash/{name}")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/javascript; charset=utf-8"
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert response.content == hub_script.content()
    # Classic scripts, one after another: what a page calls `window` is there before the first of them.
    assert response.text.index("self.window = self") < response.text.index("(function () {")
    assert response.text.count("// @ts-check") == len((*hub_script.SHARED, *hub_script.OWN))


async def test_another_version_has_another_address(serve: Serve) -> None:
    page = await (await serve(Waiting().app)).page()
    assert_refused(await page.get("_flash/hub-000000000000.js"), 404, "another version")


async def test_other_methods_and_other_sites_are_refused(serve: Serve) -> None:
    page = await (await serve(Waiting().app)).page()
    path = f"_flash/{hub_script.name()}"
    assert_refused(await page.client.post(f"/{path}"), 405)
    assert_refused(await page.client.get(f"/{path}", headers={"Sec-Fetch-Site": "cross-site"}), 403)


async def test_an_app_with_a_prefix_serves_it_there(serve: Serve) -> None:
    app = Flash(__name__, url_base_pathname="/app/")
    app.layout = html.Div()
    page = await (await serve(app)).page()
    assert (await page.client.get(f"/app/_flash/{hub_script.name()}")).status_code == 200
