"""Chromium for the fault tests of a module: its fixtures are imported by the modules that browse."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from flash import Flash
from tests.browser.serving import Server, serve
from tests.support.eventually import TIMEOUT

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

Serve = Callable[[Flash], Server]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Chromium as people have it: with the back/forward cache, which Playwright would turn off."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS, ignore_default_args=["--disable-back-forward-cache"]
        )
        expect.set_options(timeout=TIMEOUT * 1_000)
        yield browser
        browser.close()


@pytest.fixture
def serving() -> Iterator[Serve]:
    """Serves apps until the test, and the browser's part in it, is over."""
    with ExitStack() as servers:
        yield lambda app: servers.enter_context(serve(app))


@pytest.fixture
def context(chromium: Browser, serving: Serve) -> Iterator[BrowserContext]:
    """A browser profile of the test's own. It is closed before the servers are stopped."""
    context = chromium.new_context()
    context.set_default_timeout(TIMEOUT * 1_000)
    yield context
    context.close()


def prop_of(page: Page, component_id: str, name: str) -> object:
    """A property of a component, as the page has it now."""
    return page.evaluate(
        "([id, name]) => dash_component_api.getLayout(id)?.props?.[name] ?? null", [component_id, name]
    )


def free_port() -> int:
    """A port that no outgoing connection is given, so that it stays free while nothing listens there."""
    while True:
        port = random.randint(20_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
