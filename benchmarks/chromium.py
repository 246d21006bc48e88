"""A page in Chromium, for the benchmarks that need a page's own clock."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from playwright.sync_api import Browser, Page

TIMEOUT = 60_000
"""Milliseconds that a page is waited for."""


@contextlib.contextmanager
def browse(browser: Browser, url: str) -> Generator[Page]:
    """A page of a new profile that is open while the block runs. What it logs as an error ends the benchmark."""
    errors: list[str] = []
    with contextlib.closing(browser.new_context()) as context:
        page = context.new_page()
        page.set_default_timeout(TIMEOUT)
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        yield page
        if errors:
            raise RuntimeError(f"the page has logged errors: {errors[:3]}")
