"""`app.run(debug=True)` in a browser: the streams of the open pages run again when the program has started again."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import Console
from tests.support.connections import free_port
from tests.support.processes import Process, python

PROGRAM = """
import sys

from flash import Flash, event_callback, every, html, stream_props

app = Flash(__name__)
app.layout = html.Div([html.H1("{title}"), html.P("-", id="restarted"), html.P("-", id="plain")])


@event_callback(restart=True)
async def restarted():
    async for number in every(0.1):
        yield stream_props("restarted", {{"children": f"{title} {{number}}"}})


@event_callback()
async def plain():
    async for number in every(0.1):
        yield stream_props("plain", {{"children": f"{title} {{number}}"}})


if __name__ == "__main__":
    app.run(
        port=int(sys.argv[1]),
        debug=True,
        dev_tools_hot_reload_interval=0.2,
        dev_tools_disable_version_check=True,
    )
"""


def expect_streams_of(page: Page, title: str) -> None:
    """Both streams of the program with this title run: they are seen to go on."""
    expect(page.locator("h1")).to_have_text(title, timeout=20_000)
    for stream in ("restarted", "plain"):
        shown = page.locator(f"#{stream}")
        expect(shown).to_have_text(re.compile(rf"{title} \d+"))
        expect(shown).not_to_have_text(shown.inner_text())


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def program(tmp_path: Path, port: int) -> Generator[Process]:
    (tmp_path / "program.py").write_text(PROGRAM.format(title="First"))
    with python(tmp_path, "program.py", str(port)) as process:
        process.wait_for_port()
        yield process


def open_pages(context: BrowserContext, port: int) -> list[Page]:
    pages = [context.new_page(), context.new_page()]
    for page in pages:
        page.goto(f"http://127.0.0.1:{port}/")
        expect_streams_of(page, "First")
    return pages


def close_pages(pages: list[Page], console: Console) -> None:
    """Close them. All that they have said is that nothing answered while the program was starting."""
    assert all("net::ERR_" in error or "Failed to fetch" in error for error in console.take())
    for page in pages:
        page.close()


def test_each_open_page_has_its_streams_again_when_the_code_is_saved(
    context: BrowserContext, console: Console, program: Process, port: int
) -> None:
    pages = open_pages(context, port)
    (program.folder / "program.py").write_text(PROGRAM.format(title="Second"))
    for page in pages:
        expect_streams_of(page, "Second")
    close_pages(pages, console)


def test_each_open_page_has_its_streams_again_when_the_program_is_stopped_and_run_again(
    context: BrowserContext, console: Console, program: Process, port: int
) -> None:
    pages = open_pages(context, port)
    # Ctrl-C in a terminal reaches the reloader and the server.
    os.killpg(program.pid, signal.SIGINT)
    assert program.wait() == 0
    (program.folder / "program.py").write_text(PROGRAM.format(title="Second"))
    with python(program.folder, "program.py", str(port)):
        for page in pages:
            expect_streams_of(page, "Second")
        close_pages(pages, console)
