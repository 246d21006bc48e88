"""Fixtures: each test once for each engine, with one browser of it for all tests."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator
from contextlib import ExitStack

import pytest

from flash import Flash
from tests.engines.errors import noting_errors, take_errors
from tests.engines.launching import ENGINES
from tests.engines.tabs import Browser, Tab
from tests.support.serving import Server, serve

Serve = Callable[[Flash], Server]
Visit = Callable[[Flash], Tab]

LONG_GRACE = 600.0
"""Seconds: a stream that ends within a test does not end by this."""

HOSTS = (f"127.0.{n // 200 + 1}.{n % 200 + 1}" for n in itertools.count())
"""Addresses of this machine. To a browser each is a host that it has no cookies of and no connections to."""


@pytest.fixture(scope="package", params=ENGINES, ids=lambda engine: engine.__name__)
def running_browser(request: pytest.FixtureRequest) -> Generator[Browser]:
    with request.param() as browser:
        yield browser


@pytest.fixture
def host() -> str:
    """The address of the test's servers."""
    return next(HOSTS)


@pytest.fixture
def serving(host: str) -> Generator[Serve]:
    """Serves apps until the test, and the browser's part in it, is over. Their pages note their errors."""
    with ExitStack() as servers:
        yield lambda app: servers.enter_context(serve(noting_errors(app), host))


@pytest.fixture
def browser(running_browser: Browser, serving: Serve) -> Generator[Browser]:
    """The browser. The test's tabs are closed before its servers are stopped, and may have no errors by then."""
    yield running_browser
    errors = take_errors(running_browser)
    for tab in list(running_browser.tabs):
        tab.close()
    assert errors == []


@pytest.fixture
def visit(browser: Browser, serving: Serve) -> Visit:
    """Serves an app and loads it in a new tab."""
    return lambda app: browser.open(serving(app).url)
