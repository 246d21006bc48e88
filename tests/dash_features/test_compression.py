"""`compress=True`: answers are compressed, streams are not."""

from __future__ import annotations

import gzip
import sys
from collections.abc import AsyncIterator

import pytest
from quart import Response

from flash import Flash, Input, InvalidOption, Output, html
from tests.http.apps import Waiting
from tests.http.pages import Page
from tests.http.servers import Serve

LONG = "A long text. " * 200


async def app_and_page(serve: Serve) -> Page:
    app = Waiting(compress=True).app

    @app.server.get("/text")
    async def text() -> Response:
        return Response(LONG, content_type="text/plain")

    @app.server.get("/as-it-is")
    async def as_it_is() -> Response:
        return Response(LONG, content_type="text/plain", headers={"Cache-Control": "no-transform"})

    @app.server.get("/events")
    async def events() -> Response:
        async def forever() -> AsyncIterator[bytes]:
            yield b"data: one\n\n"

        return Response(forever(), content_type="text/event-stream")

    return await (await serve(app)).page()


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
async def test_answers_are_compressed_as_the_browser_takes_them(serve: Serve, encoding: str) -> None:
    page = await app_and_page(serve)
    response = await page.client.get("/text", headers={"Accept-Encoding": encoding})
    assert response.headers["content-encoding"] == encoding
    assert int(response.headers.get("content-length", 0)) < 500
    if encoding == "gzip":
        assert response.text == LONG
    for path in ("", "_dash-layout", "_dash-dependencies", "_dash-component-suites/dash/deps/react@18.3.1.min.js"):
        answer = await page.client.get(f"/{path}", headers={"Accept-Encoding": encoding})
        assert answer.headers.get("content-encoding", "none") == encoding, (path, answer.status_code)


async def test_a_browser_that_takes_nothing_compressed_gets_nothing_compressed(serve: Serve) -> None:
    page = await app_and_page(serve)
    response = await page.client.get("/text", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in response.headers
    assert response.text == LONG


async def test_event_streams_are_neither_compressed_nor_held_back(serve: Serve) -> None:
    page = await app_and_page(serve)
    page.client.headers["Accept-Encoding"] = "gzip, br, zstd"
    events = await page.connect()
    await page.start("go")
    await events.expect("open")
    await events.expect("props")
    for path in ("/events", "/as-it-is"):
        assert "content-encoding" not in (await page.client.get(path)).headers


async def test_callbacks_answer_compressed(serve: Serve) -> None:
    app = Flash(__name__, compress=True)
    app.layout = [html.Button(id="go"), html.P(id="out")]

    @app.callback(Output("out", "children"), Input("go", "n_clicks"), prevent_initial_call=True)
    def text(clicks: int) -> str:
        return LONG

    page = await (await serve(app)).page()
    page.client.headers["Accept-Encoding"] = "gzip"
    response = await page.start("go")
    assert response.headers["content-encoding"] == "gzip"
    assert response.json()["response"]["out"]["children"] == LONG
    assert len(gzip.compress(response.content)) < len(response.content)


def test_without_its_compressor_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "starlette_compress", None)
    with pytest.raises(InvalidOption, match=r"pip install 'flash-trio\[compress\]'"):
        Flash(__name__, compress=True)
