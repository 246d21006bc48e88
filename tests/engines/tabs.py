"""A browser and its tabs, as the tests use them, whatever the engine."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from tests.support.eventually import TIMEOUT, eventually_sync
from tests.support.page_process import BURN, PageProcess

LOAD_TIMEOUT = int(TIMEOUT)
"""Seconds that a page may take to load."""

ANSWER_TIMEOUT = 2 * LOAD_TIMEOUT
"""Seconds that a browser may take to answer: longer than its own timeouts, so that it says what went wrong."""


class DriverError(Exception):
    """A browser has refused what it was asked for.

    Attributes:
        code: the word of WebDriver's standards for what went wrong, such as "no such element".
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Driver(Protocol):
    """Makes a browser do things, one after the other. Tabs go by handles. Each call returns when the thing is done."""

    def open(self) -> str:
        """Open an empty tab, in a window of its own, so that it is not hidden behind another; returns its handle."""
        ...

    def close(self, tab: str) -> None: ...

    def load(self, tab: str, url: str) -> None:
        """Returns when the page has been loaded."""
        ...

    def reload(self, tab: str) -> None: ...

    def traverse(self, tab: str, steps: int) -> None:
        """Go through the tab's history: back if negative. May return before a page has been loaded."""
        ...

    def run(self, tab: str, script: str, arguments: list[Any]) -> Any:
        """What `script`, the body of a function of these arguments, returns; values of JSON."""
        ...

    def click(self, tab: str, selector: str) -> None:
        """Click with the mouse on the middle of an element."""
        ...

    def freezing(self, tab: str) -> AbstractContextManager[None] | None:
        """Has the browser freeze a tab, as it does with those that were not looked at for long; None if it cannot."""
        ...

    def screenshot(self, tab: str) -> bytes:
        """A PNG of what is to be seen of the page."""
        ...

    def quit(self) -> None:
        """Have the browser close."""
        ...


class Browser:
    """A browser that runs.

    Attributes:
        engine: "chromium", "firefox" or "webkit".
        tabs: those that a test has opened and not closed.
    """

    def __init__(self, engine: str, driver: Driver) -> None:
        self.engine = engine
        self._driver = driver
        self.tabs: list[Tab] = []

    def open(self, url: str) -> Tab:
        """Load a page in a new tab."""
        tab = Tab(self._driver, self.tabs)
        tab.load(url)
        return tab


class Tab:
    """One tab of a browser."""

    def __init__(self, driver: Driver, tabs: list[Tab]) -> None:
        self._driver = driver
        self._handle = driver.open()
        self._tabs = tabs
        tabs.append(self)

    def load(self, url: str) -> None:
        self._driver.load(self._handle, url)

    def reload(self) -> None:
        self._driver.reload(self._handle)

    def back(self) -> None:
        self._driver.traverse(self._handle, -1)

    def forward(self) -> None:
        self._driver.traverse(self._handle, 1)

    def close(self) -> None:
        self._driver.close(self._handle)
        self._tabs.remove(self)

    def click(self, selector: str) -> None:
        """Click, as a user does, on an element, once it is there."""
        self.wait_for("return document.querySelector(arguments[0]) !== null", selector)
        self._driver.click(self._handle, selector)

    def evaluate(self, script: str, *arguments: Any) -> Any:
        """What `script`, the body of a function, returns."""
        return self._driver.run(self._handle, script, list(arguments))

    def wait_for(self, script: str, *arguments: Any) -> None:
        """Wait until `script`, the body of a function, returns something true."""
        eventually_sync(lambda: self.evaluate(script, *arguments), script)

    def texts(self, selector: str) -> list[str]:
        """The texts of the elements that match."""
        return self.evaluate(
            "return Array.from(document.querySelectorAll(arguments[0]), element => element.innerText)", selector
        )

    def expect(self, selector: str, *texts: str) -> None:
        """Wait until the elements that match have these texts."""
        eventually_sync(
            lambda: self.texts(selector) == list(texts),
            lambda: f"{selector} says {list(texts)}, not {self.texts(selector)}",
        )

    def process(self) -> PageProcess:
        """The process that runs the tab's page."""
        return PageProcess(lambda: self.evaluate(BURN))

    def standing_still(self) -> AbstractContextManager[None]:
        """Have the page stand still: the browser freezes it, or the system stops its process."""
        return self._driver.freezing(self._handle) or self.process().standing_still()

    def screenshot(self, path: Path) -> None:
        path.write_bytes(self._driver.screenshot(self._handle))
