"""Start Chromium, with the same flags for every test and benchmark that needs a browser.

Does not import pytest, which the benchmarks do without.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator

from playwright.sync_api import Browser, sync_playwright

PATH = os.environ.get("CHROMIUM", "/usr/bin/chromium")
INSECURE_HOST = "insecure.test"
"""A name of this machine, as each that ends in `.test`. A browser does not trust its pages as it trusts those of
127.0.0.1: they have no locks."""

FLAGS = (
    "--host-resolver-rules=MAP *.test 127.0.0.1",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextlib.contextmanager
def launched(*, back_forward_cache: bool = False) -> Generator[Browser]:
    """A Chromium without a window, which Playwright drives while the block runs.

    Args:
        back_forward_cache: whether a page that is left is kept for the way back, as people's browsers do and
            Playwright's do not.
    """
    ignored = ["--disable-back-forward-cache"] if back_forward_cache else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PATH, args=list(FLAGS), ignore_default_args=ignored)
        try:
            yield browser
        finally:
            browser.close()
