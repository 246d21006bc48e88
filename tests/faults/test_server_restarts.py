"""A server that is killed, or stopped, under load, and another one in its place: `flash run` in processes."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.faults.browsing import prop_of
from tests.support.browser import chromium, context, serving
from tests.support.connections import free_port
from tests.support.eventually import eventually_sync
from tests.support.processes import Process, python

__all__ = ["chromium", "context", "serving"]

APPS = Path(__file__).with_name("test_server_restarts_apps")

PAGES = 3

Start = Callable[[str], Process]


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def start(port: int, context: BrowserContext) -> Iterator[Start]:
    """Starts a server of that name, always on the same port, and returns when it accepts connections."""
    with contextlib.ExitStack() as processes:

        def start(name: str) -> Process:
            command = ("-m", "flash", "run", "stations:app", "--host", "127.0.0.1", "--port", str(port))
            process = processes.enter_context(python(APPS, *command, environment={"STATIONS_SERVER": name}))
            process.wait_for_port()
            return process

        yield start
        context.close()


def open_pages(context: BrowserContext, port: int) -> list[Page]:
    """Pages on which every stream runs but the second gauge's."""
    pages = [context.new_page() for _ in range(PAGES)]
    for page in pages:
        page.goto(f"http://127.0.0.1:{port}")
        page.click("#start")
        page.click(".go-1")
    return pages


def expect_streaming(page: Page, city: str, clicks: int, server: str) -> None:
    expect(page.locator("#endless")).to_have_text(f"{city}, click {clicks}, server {server}")
    expect(page.locator("#running")).to_have_text("running")
    before = beats(page)
    eventually_sync(lambda: beats(page) != before, "more beats")


def beats(page: Page) -> object:
    return prop_of(page, "beats", "children")


def expect_known_good(page: Page) -> None:
    for shown in ("#endless", "#once", ".gauge-1", ".gauge-2"):
        expect(page.locator(shown)).to_have_text("idle")
    expect(page.locator("#running")).to_have_text("ready")
    expect(page.locator("#beats")).to_have_text("0")


def status_of(page: Page, callback: str) -> object:
    """The status of an event callback's hidden component."""
    return prop_of(page, f"_flash-stations-{callback}", "status")


@pytest.mark.parametrize(("number", "reason"), [(signal.SIGKILL, "disconnected"), (signal.SIGTERM, "shutdown")])
def test_every_page_puts_itself_right_and_what_is_to_go_on_goes_on_with_the_next_server(
    context: BrowserContext, port: int, start: Start, number: signal.Signals, reason: str
) -> None:
    first = start("A")
    pages = open_pages(context, port)
    for page in pages:
        expect_streaming(page, "Oslo", 1, "A")
        expect(page.locator(".gauge-1")).to_have_text("unit 1, server A")
        expect(page.locator("#once")).to_have_text("server A")

    first.send(number)
    status = first.wait()
    assert status == (0 if number == signal.SIGTERM else -number)
    for page in pages:
        expect_known_good(page)
        assert [status_of(page, name) for name in ("endless", "once", "gauge")] == [reason] * 3
    # What the streams are to start with is what it is when the next server answers.
    for page, city in zip(pages, ("Rome", "Riga", "Rio"), strict=True):
        page.fill("#city", city)
        page.fill(".unit-1 input", f"{city} unit")

    start("B")
    for page, city in zip(pages, ("Rome", "Riga", "Rio"), strict=True):
        expect_streaming(page, city, 1, "B")
        expect(page.locator(".gauge-1")).to_have_text(f"{city} unit, server B")
        # Nobody has asked for these.
        expect(page.locator("#once")).to_have_text("idle")
        expect(page.locator(".gauge-2")).to_have_text("idle")
        assert status_of(page, "once") == reason
        # And the page works as it did.
        page.click("#start")
        expect_streaming(page, city, 2, "B")
        expect(page.locator("#once")).to_have_text("server B")


def test_a_page_survives_one_server_after_the_other(context: BrowserContext, port: int, start: Start) -> None:
    server = start("A")
    (page, *_) = open_pages(context, port)
    expect_streaming(page, "Oslo", 1, "A")
    for name in ("B", "C"):
        server.send(signal.SIGKILL)
        server.wait()
        server = start(name)
        expect_streaming(page, "Oslo", 1, name)
        expect(page.locator(".gauge-1")).to_have_text(f"unit 1, server {name}")


def test_pages_go_on_with_the_workers_of_new_code(context: BrowserContext, port: int, tmp_path: Path) -> None:
    source = (APPS / "stations.py").read_text().replace('os.environ["STATIONS_SERVER"]', "'SERVER'")
    command = ("-m", "flash", "run", "stations:app", "--workers", "2", "--port", str(port))
    (tmp_path / "stations.py").write_text(source.replace("SERVER'", "A'"))
    with python(tmp_path, *command) as process:
        process.wait_for_port()
        pages = open_pages(context, port)
        for page in pages:
            expect_streaming(page, "Oslo", 1, "A")
        (tmp_path / "stations.py").write_text(source.replace("SERVER'", "B'"))
        process.send(signal.SIGHUP)
        for page in pages:
            expect_streaming(page, "Oslo", 1, "B")
            # This one is not to be started again, and ended once.
            expect(page.locator("#once")).to_have_text("idle")
            assert status_of(page, "once") == "shutdown"
            page.click("#start")
            expect_streaming(page, "Oslo", 2, "B")
            expect(page.locator("#once")).to_have_text("server B")
        context.close()
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert "Traceback" not in process.output
