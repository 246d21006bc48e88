"""Fixtures: servers on free ports (see `tests/http/servers.py`), and Dash's own, on the Chromium of the system."""

from __future__ import annotations

from selenium.webdriver.chrome.options import Options

from tests.browser.conftest import own_page_registry as own_page_registry
from tests.http.conftest import serve as serve
from tests.support import chromium


def pytest_setup_options() -> Options:
    """The hook by which the fixtures of `dash.testing` ask for the options of the browser."""
    options = Options()
    options.binary_location = chromium.PATH
    for flag in ("--headless", *chromium.FLAGS):
        options.add_argument(flag)
    return options
