"""Fixtures: servers on free ports (see `tests/http/servers.py`), and Dash's own, on the Chromium of the system."""

from __future__ import annotations

import os

from selenium.webdriver.chrome.options import Options

from tests.http.conftest import serve as serve

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")


def pytest_setup_options() -> Options:
    """The hook by which the fixtures of `dash.testing` ask for the options of the browser."""
    options = Options()
    options.binary_location = CHROMIUM
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"):
        options.add_argument(flag)
    return options
