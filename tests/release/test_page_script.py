"""What a page loads of a package that was built: one compressed script, and what is seldom needed when it is needed."""

from __future__ import annotations

import gzip
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import brotli
import httpx
import pytest
from playwright.sync_api import expect

import flash
from flash.page_scripts import BUILT, CLIENT, CODINGS, PAGE
from tests.support.chromium import launched
from tests.support.processes import python

APP = """
from flash import Flash, Input, html, stream_props

app = Flash(__name__)
app.layout = html.Div([html.Button(id="go"), html.Button(id="wrong"), html.P(id="out")])

@app.event_callback(Input("go", "n_clicks"))
async def count(clicks):
    yield stream_props("out", {"children": f"{clicks} clicks"})

@app.event_callback(Input("wrong", "n_clicks"))
async def mistake(clicks):
    yield stream_props("out", {"childern": clicks})
"""

JOINED = "\n".join((CLIENT / name).read_text() for name in PAGE).encode()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the app is served by a package as a wheel has it, but that its script is not minified."""
    folder = tmp_path_factory.mktemp("package")
    client = folder / "flash" / "client"
    shutil.copytree(Path(flash.__file__).parent, folder / "flash", ignore=shutil.ignore_patterns("__pycache__"))
    (client / BUILT).write_bytes(JOINED)
    (client / f"{BUILT}.br").write_bytes(brotli.compress(JOINED))
    (client / f"{BUILT}.gz").write_bytes(gzip.compress(JOINED))
    (folder / "served.py").write_text(APP)
    command = ("-m", "flash", "run", "served:app", "--port", "0")
    with python(folder, *command, environment={"PYTHONPATH": str(folder)}) as process:
        yield f"http://127.0.0.1:{process.wait_for_port()}/"


def scripts_in(html: str) -> list[str]:
    return re.findall(r'src="/(_dash-component-suites/flash/client/[^"]*)"', html)


def test_a_page_has_one_script_in_the_best_encoding_that_its_browser_takes(url: str) -> None:
    with httpx.Client(base_url=url) as browser:
        (script,) = scripts_in(browser.get("/").text)
        for accepted, coding in (("gzip, br", "br"), ("gzip", "gzip"), ("br;q=0, gzip", "gzip"), ("identity", None)):
            served = browser.get(script, headers={"Accept-Encoding": accepted})
            assert served.headers.get("content-encoding") == coding
            assert served.content == JOINED
            assert served.headers["vary"] == "Accept-Encoding"
            assert "max-age=31536000" in served.headers["cache-control"]
    assert set(CODINGS) == {"br", "gzip"}


def test_its_streams_run_and_what_tells_mistakes_is_loaded_with_the_first(url: str) -> None:
    with launched() as chromium:
        page = chromium.new_page()
        loaded: list[str] = []
        page.on("request", lambda request: loaded.append(request.url.rpartition("/")[2].partition(".")[0]))
        page.goto(url)
        page.click("#go")
        expect(page.locator("#out")).to_have_text("1 clicks")
        assert "page" in loaded
        assert not {name.partition(".")[0] for name in PAGE} & set(loaded)
        assert "mistake_checks" not in loaded
        with page.expect_console_message(lambda message: '"out.childern"' in message.text):
            page.click("#wrong")
        assert loaded.count("mistake_checks") == 1
