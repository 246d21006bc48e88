"""A page whose server goes away under its streams, and comes back."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import Console
from tests.support.connections import free_port
from tests.support.processes import Process, python

APP = Path(__file__).with_name("apps") / "counting.py"

Start = Callable[[], Process]


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def start(port: int, context: BrowserContext, tmp_path: Path) -> Iterator[Start]:
    """Starts the app in a process of its own, always on the same port, and returns when it accepts connections."""
    with contextlib.ExitStack() as processes:

        def start() -> Process:
            process = processes.enter_context(python(tmp_path, str(APP), str(port)))
            process.wait_for_port()
            return process

        yield start
        for page in context.pages:
            page.close()


def load(context: BrowserContext, port: int) -> Page:
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{port}")
    page.click("#start")
    expect_running(page, 1)
    return page


def expect_running(page: Page, run: int) -> None:
    expect(page.locator("#count")).to_have_text(f"run {run} is well under way")
    expect(page.locator("#clock")).to_have_text(f"ticking since click {run}")
    expect(page.locator("#start")).to_have_attribute("title", "running")


def expect_known_good(page: Page) -> None:
    expect(page.locator("#count")).to_have_text("idle")
    expect(page.locator("#clock")).to_have_text("no server")
    expect(page.locator("#start")).to_have_attribute("title", "ready")


def stream_status(page: Page) -> str:
    return page.evaluate(
        """() => {
            const paths = Object.keys(dash_stores[0].getState().paths.strs);
            const id = paths.find(id => id.startsWith('_flash-') && id.endsWith('-count'));
            return dash_component_api.getLayout(id).props.status;
        }"""
    )


def test_a_page_puts_itself_right_when_its_server_is_killed_and_works_again_with_the_next(
    context: BrowserContext, port: int, start: Start, console: Console
) -> None:
    server = start()
    page = load(context, port)
    for run in (2, 3):
        server.send(signal.SIGKILL)
        server.wait()

        expect_known_good(page)
        assert stream_status(page) == "disconnected"

        server = start()
        page.click("#start")
        expect_running(page, run)
        expect(page.locator("#status")).to_have_text("running")
        page.click("#ask")
        expect(page.locator("#answer")).to_have_text(f"answer {run - 1}")
    # Requests that the server did not live to answer are told of by Chromium and Dash; nothing else went wrong.
    expected = ("Failed to load resource", "Flash: no connection", "Error: Callback failed: the server did not respond")
    assert not [line for line in console.take() if not line.startswith(expected)]


def test_a_server_that_is_stopped_says_so_to_its_pages_before_it_goes(
    context: BrowserContext, port: int, start: Start, console: Console
) -> None:
    server = start()
    page = load(context, port)
    server.send(signal.SIGTERM)
    expect_known_good(page)
    assert stream_status(page) == "shutdown"
    page.close()
    assert server.wait() == 0
    console.take()
