"""Fixtures: one Chromium for all tests of this package, a fresh profile and a server for each of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, WebError, expect

from flash import Flash, page_registry
from tests.browser.tabs import OpenTab
from tests.support.browser import Serve as Serve, browsing, context as context, serving as serving

Visit = Callable[[Flash], Page]


class Console:
    """The errors that the pages of a test have logged, uncaught exceptions included. A test takes those it expects."""

    def __init__(self, context: BrowserContext) -> None:
        self._context = context
        self._errors: list[str] = []
        context.on("console", self._on_message)
        context.on("weberror", self._on_exception)

    def take(self) -> list[str]:
        """Remove and return what has been logged so far."""
        for page in self._context.pages:
            # Whatever a page has logged is here when the page has answered.
            page.evaluate("0")
        taken, self._errors = self._errors, []
        return taken

    def _on_message(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._errors.append(message.text)

    def _on_exception(self, error: WebError) -> None:
        self._errors.append(str(error.error))


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    with browsing(back_forward_cache=False) as browser:
        yield browser


@pytest.fixture(autouse=True)
def console(context: BrowserContext) -> Iterator[Console]:
    console = Console(context)
    yield console
    assert console.take() == []


@pytest.fixture
def visit(context: BrowserContext, serving: Serve) -> Visit:
    """Serves an app and loads it in a new tab."""

    def visit(app: Flash) -> Page:
        page = context.new_page()
        page.goto(serving(app).url)
        return page

    return visit


@pytest.fixture
def open_tab(context: BrowserContext) -> OpenTab:
    """Loads the address of an app of many tabs in a new tab, and waits for its first update."""

    def open_tab(url: str) -> Page:
        page = context.new_page()
        page.goto(url)
        expect(page.locator("#out")).not_to_have_text("-")
        return page

    return open_tab


@pytest.fixture
def own_page_registry() -> Iterator[None]:
    """The pages that `register_page` keeps for all apps of the process are those of the test alone."""
    page_registry.clear()
    yield
    page_registry.clear()
    for name in [name for name in sys.modules if name.startswith("pages.")]:
        del sys.modules[name]
