"""A page whose server goes away under its streams, and comes back."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from tests.engines.errors import take_errors
from tests.engines.tabs import Browser, Tab
from tests.support.connections import free_port
from tests.support.processes import Process, python

Start = Callable[[], Process]

EXPECTED = ("Flash: no connection", "Error: Callback failed: the server did not respond", "TypeError: ")
"""What a page logs for requests that the server does not live to answer. The last is the browser's, of `fetch`."""


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def start(port: int, browser: Browser, tmp_path: Path) -> Generator[Start]:
    """Starts the app in a process of its own, always on the same port, and returns when it accepts connections."""
    with contextlib.ExitStack() as processes:

        def start() -> Process:
            process = processes.enter_context(python(tmp_path, "-m", "tests.engines.apps.counting", str(port)))
            process.wait_for_port()
            return process

        yield start
        assert not [error for error in take_errors(browser) if not error.startswith(EXPECTED)]
        for tab in list(browser.tabs):
            tab.close()


def load(browser: Browser, port: int) -> Tab:
    tab = browser.open(f"http://127.0.0.1:{port}")
    tab.click("#start")
    expect_running(tab, 1)
    return tab


def expect_running(tab: Tab, run: int) -> None:
    tab.expect("#count", f"run {run} is well under way")
    tab.expect("#clock", f"ticking since click {run}")
    tab.wait_for("return document.querySelector('#start').title === 'running'")


def expect_known_good(tab: Tab) -> None:
    tab.expect("#count", "idle")
    tab.expect("#clock", "no server")
    tab.wait_for("return document.querySelector('#start').title === 'ready'")


def stream_status(tab: Tab) -> str:
    return tab.evaluate(
        """
        const paths = Object.keys(dash_stores[0].getState().paths.strs);
        const id = paths.find(id => id.startsWith('_flash-') && id.endsWith('-count'));
        return dash_component_api.getLayout(id).props.status;
        """
    )


def test_a_page_puts_itself_right_when_its_server_is_killed_and_works_again_with_the_next(
    browser: Browser, port: int, start: Start
) -> None:
    server = start()
    tab = load(browser, port)
    server.send(signal.SIGKILL)
    server.wait()

    expect_known_good(tab)
    assert stream_status(tab) == "disconnected"

    start()
    tab.click("#start")
    expect_running(tab, 2)
    tab.expect("#status", "running")
    tab.click("#ask")
    tab.expect("#answer", "answer 1")


def test_a_server_that_is_stopped_says_so_to_its_pages_before_it_goes(
    browser: Browser, port: int, start: Start
) -> None:
    server = start()
    tab = load(browser, port)
    server.send(signal.SIGTERM)
    expect_known_good(tab)
    assert stream_status(tab) == "shutdown"
    tab.load("about:blank")
    assert server.wait() == 0
