"""Fixtures for tests in a browser: a profile of Chromium and servers for each test.

`context` asks for a `chromium`: the one here, which a module imports, or that of its package.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from flash import Flash
from tests.support.chromium import launched
from tests.support.eventually import TIMEOUT
from tests.support.serving import Server, serve

Serve = Callable[[Flash], Server]


@contextmanager
def browsing(*, back_forward_cache: bool) -> Generator[Browser]:
    """A Chromium whose pages are waited for as long as everything else."""
    with launched(back_forward_cache=back_forward_cache) as browser:
        expect.set_options(timeout=TIMEOUT * 1_000)
        yield browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Chromium as people have it: with the back/forward cache, which Playwright would turn off."""
    with browsing(back_forward_cache=True) as browser:
        yield browser


@pytest.fixture
def serving() -> Iterator[Serve]:
    """Serves apps until the test, and the browser's part in it, is over."""
    with ExitStack() as servers:
        yield lambda app: servers.enter_context(serve(app))


NO_HUB = "delete window.SharedWorker"
"""The script by which a page is one of a browser that has no SharedWorker."""


def without_hub(context: BrowserContext) -> None:
    """Give each page a link of its own, as in a browser that has no SharedWorker: the page then sees its requests."""
    context.add_init_script(NO_HUB)


@pytest.fixture
def context(chromium: Browser, serving: Serve) -> Iterator[BrowserContext]:
    """A browser profile of the test's own. It is closed before the servers are stopped."""
    context = chromium.new_context()
    context.set_default_timeout(TIMEOUT * 1_000)
    yield context
    context.close()
