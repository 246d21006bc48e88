"""Fixtures: servers on free ports (see `tests/http/servers.py`), and Dash's own, on the Chromium of the system."""

from __future__ import annotations

import os

from dash.testing.application_runners import BaseDashRunner
from selenium.webdriver.chrome.options import Options

from tests.browser.conftest import own_page_registry as own_page_registry
from tests.http.conftest import serve as serve
from tests.support import chromium

# Dash's fixtures count their ports up from the same one in each process, and pytest-xdist runs several. Dash's own
# begins among those that the system gives to clients' connections, any of which may have it.
BaseDashRunner._next_port = 20_050 + 1_000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def pytest_setup_options() -> Options:
    """The hook by which the fixtures of `dash.testing` ask for the options of the browser."""
    options = Options()
    options.binary_location = chromium.PATH
    for flag in ("--headless", *chromium.FLAGS):
        options.add_argument(flag)
    return options
