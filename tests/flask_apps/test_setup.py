"""Making Flash apps of a Flask app: several of them, later ones, with options, with dev tools."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import flask
import pytest
import trio

from flash import Flash, Input, Output, Update, html, stream_props
from tests.http.servers import Serve


def fill(app: Flash) -> Flash:
    app.layout = [html.Button(id="go"), html.Button(id="plain"), html.Div(id="out")]

    @app.event_callback(Input("go", "n_clicks"))
    async def stream(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": [flask.request.path, clicks]})

    @app.callback(Output("out", "title"), Input("plain", "n_clicks"))
    def fail(clicks: int) -> Any:
        raise ValueError("a mistake")

    return app


async def test_several_apps_share_a_flask_app(serve: Serve) -> None:
    site = flask.Flask(__name__)
    site.route("/")(lambda: "the site")
    apps = [fill(Flash(__name__, server=site, url_base_pathname=prefix)) for prefix in ("/one/", "/two/")]
    assert [app.server for app in apps] == [site, site]
    assert apps[0].asgi_server is apps[1].asgi_server
    server = await serve(apps[0], prefix="/")
    assert (await server.browser().get("/")).text == "the site"
    assert (await server.browser().get("/three/")).status_code == 404
    for prefix in ("/one/", "/two/"):
        page = await server.page(prefix=prefix)
        link = await page.connect()
        await page.start("go", value=1)
        await link.expect("open")
        shown = (await link.expect("props"))["props"][0][1]["children"]
        assert shown == [f"{prefix}_dash-update-component", 1]


async def test_init_app_takes_a_flask_app_later_and_the_app_has_its_name(serve: Serve) -> None:
    site = flask.Flask("site")
    app = fill(Flash(__name__, server=False))
    app.init_app(site)
    assert app.server is site
    assert Flash(server=flask.Flask("other")).config.name == "other"
    page = await (await serve(app)).page()
    link = await page.connect()
    await page.start("go")
    await link.expect("open")


async def test_assets_and_files_are_sent_past_flask_in_parts(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "large.css").write_text("a" * 1_000_000)
    site = flask.Flask(__name__)
    seen: list[Any] = []

    @site.after_request
    def note(response: flask.Response) -> flask.Response:
        seen.append((response.direct_passthrough, response.headers.get("content-length")))
        response.headers["X-Seen"] = "1"
        return response

    app = fill(Flash(__name__, server=site, assets_folder=str(tmp_path)))
    browser = (await serve(app)).browser()
    response = await browser.get("/assets/large.css")
    assert (len(response.content), response.headers["x-seen"]) == (1_000_000, "1")
    assert seen == [(True, "1000000")]
    part = await browser.get("/assets/large.css", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.text) == (206, "a" * 10)


async def test_a_hook_may_replace_what_dash_answers(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "large.css").write_text("a" * 1_000_000)
    site = flask.Flask(__name__)
    site.after_request(lambda response: flask.Response("replaced", headers={"X-Was": str(response.status_code)}))
    app = fill(Flash(__name__, server=site, assets_folder=str(tmp_path)))
    browser = (await serve(app)).browser()
    for path in ("/", "/_dash-layout", "/assets/large.css"):
        response = await browser.get(path)
        assert (response.text, response.headers["x-was"]) == ("replaced", "200")


async def test_a_hook_that_fails_after_the_answer_is_answered_by_flask(serve: Serve) -> None:
    site = flask.Flask(__name__)
    site.config["PROPAGATE_EXCEPTIONS"] = False
    site.after_request(lambda response: 1 / 0)
    browser = (await serve(fill(Flash(__name__, server=site)))).browser()
    response = await browser.get("/_dash-layout")
    assert (response.status_code, "Internal Server Error" in response.text) == (500, True)


async def test_a_flask_app_that_passes_exceptions_on_is_answered_for(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    site = flask.Flask(__name__)
    site.config["PROPAGATE_EXCEPTIONS"] = True

    @site.teardown_request
    def fail(error: BaseException | None) -> None:
        if flask.request.args.get("fail"):
            raise ValueError("at the end")

    site.add_url_rule("/own", "own", lambda: str(1 / 0))
    page = await (await serve(fill(Flash(__name__, server=site)))).page()
    for response in (
        await page.client.get("/own"),
        await page.client.get("/_dash-layout?fail=1"),
        await page.start("plain"),
    ):
        assert (response.status_code, response.text) == (500, "Internal Server Error")
    assert [record.getMessage() for record in caplog.records if record.name == "flash.server"] == [
        "Flask failed at /own.",
        "Flask failed at the end of /_dash-layout.",
        "Flask failed at the end of /_dash-update-component.",
    ]


async def test_dev_tools_show_the_traceback_of_a_callback(serve: Serve) -> None:
    app = fill(Flash(__name__, server=flask.Flask(__name__)))
    app.enable_dev_tools(debug=True, dev_tools_hot_reload=False)
    page = await (await serve(app)).page()
    response = await page.start("plain")
    assert response.status_code == 500
    assert "a mistake" in response.text
    assert response.headers["content-type"].startswith("text/html")


async def test_responses_are_compressed_and_event_streams_are_not(serve: Serve) -> None:
    site = flask.Flask(__name__)
    site.route("/long")(lambda: "long " * 10_000)
    page = await (await serve(fill(Flash(__name__, server=site, compress=True)))).page()
    for path in ("/long", "/_dash-component-suites/dash/deps/react@18.3.1.min.js"):
        response = await page.client.get(path, headers={"Accept-Encoding": "gzip"})
        assert response.headers.get("content-encoding") == "gzip", path
    link = await page.connect()
    assert "content-encoding" not in link.headers
    await page.start("go")
    await link.expect("open")


async def test_updates_are_written_directly_with_a_flask_app(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    from flash.asgi.direct_writes import DirectWriter

    written: list[bytes] = []
    write = DirectWriter.write
    monkeypatch.setattr(DirectWriter, "write", lambda self, data: (written.append(data), write(self, data))[1])
    app = Flash(__name__, server=flask.Flask(__name__))
    app.layout = [html.Button(id="go"), html.Div(id="out")]

    @app.event_callback(Input("go", "n_clicks"))
    async def stream(clicks: int) -> AsyncIterator[Update]:
        for number in range(3):
            await trio.sleep(0.05)
            yield stream_props("out", {"children": number})

    page = await (await serve(app)).page()
    link = await page.connect()
    await page.start("go")
    await link.expect("open")
    for number in range(3):
        assert (await link.expect("props"))["props"] == [["out", {"children": number}]]
    assert written
