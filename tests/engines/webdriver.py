"""Drives Chromium and WebKit by WebDriver's HTTP requests, which `chromedriver` and `WebKitWebDriver` answer."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from tests.engines.tabs import ANSWER_TIMEOUT, LOAD_TIMEOUT, DriverError


class WebDriver:
    """A session with a driver that listens on a port of 127.0.0.1: https://www.w3.org/TR/webdriver2/

    Args:
        capabilities: what the session is asked to be like.
    """

    def __init__(self, port: int, capabilities: dict[str, Any]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_TIMEOUT)
        self._session = ""
        self._is_chromium = "goog:chromeOptions" in capabilities
        session = self._ask("POST", "/session", capabilities={"alwaysMatch": capabilities})
        self._session = f"/session/{session['sessionId']}"
        self._ask("POST", "/timeouts", script=LOAD_TIMEOUT * 1_000, pageLoad=LOAD_TIMEOUT * 1_000)
        # The browser goes with its last tab, so its first one stays. Commands go to the tab switched to last.
        self._first = self._current = self._ask("GET", "/window")

    def open(self) -> str:
        return self._tell(self._first, "POST", "/window/new", type="window")["handle"]

    def close(self, tab: str) -> None:
        self._tell(tab, "DELETE", "/window")
        self._current = ""

    def load(self, tab: str, url: str) -> None:
        self._tell(tab, "POST", "/url", url=url)

    def reload(self, tab: str) -> None:
        self._tell(tab, "POST", "/refresh")

    def traverse(self, tab: str, steps: int) -> None:
        for _ in range(abs(steps)):
            self._tell(tab, "POST", "/forward" if steps > 0 else "/back")

    def run(self, tab: str, script: str, arguments: list[Any]) -> Any:
        return self._tell(tab, "POST", "/execute/sync", script=script, args=arguments)

    def click(self, tab: str, selector: str) -> None:
        [element] = self._tell(tab, "POST", "/element", using="css selector", value=selector).values()
        self._tell(tab, "POST", f"/element/{element}/click")

    def freezing(self, tab: str) -> AbstractContextManager[None] | None:
        return self._freezing(tab) if self._is_chromium else None

    @contextmanager
    def _freezing(self, tab: str) -> Generator[None]:
        """Chromium freezes only what is hidden: here by another tab of the same window."""
        front = self._tell(tab, "POST", "/window/new", type="tab")["handle"]
        self._tell(front, "POST", "/url", url="about:blank")
        self._set_lifecycle_state(tab, "frozen")
        yield
        self._set_lifecycle_state(tab, "active")
        self.close(front)

    def _set_lifecycle_state(self, tab: str, state: str) -> None:
        self._tell(tab, "POST", "/goog/cdp/execute", cmd="Page.setWebLifecycleState", params={"state": state})

    def screenshot(self, tab: str) -> bytes:
        return base64.b64decode(self._tell(tab, "GET", "/screenshot"))

    def quit(self) -> None:
        try:
            self._ask("DELETE", "")
        except DriverError as error:
            # WebKit's driver has ended the session and the browser when the process of a page was gone.
            if error.code != "invalid session id":
                raise
        finally:
            self._connection.close()

    def _tell(self, tab: str, method: str, path: str, **body: Any) -> Any:
        if tab != self._current:
            self._ask("POST", "/window", handle=tab)
            self._current = tab
        return self._ask(method, path, **body)

    def _ask(self, method: str, path: str, **body: Any) -> Any:
        self._connection.request(method, self._session + path, json.dumps(body) if method == "POST" else None)
        value = json.loads(self._connection.getresponse().read())["value"]
        if isinstance(value, dict) and "error" in value:
            raise DriverError(value["error"], value["message"])
        return value
