"""A Chromium for the benchmarks that need a page's own clock."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from playwright.sync_api import Page, sync_playwright

PATH = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 60_000
"""Milliseconds."""


@contextlib.contextmanager
def browse(url: str) -> Iterator[Page]:
    """A page that is open while the block runs. What it logs as an error ends the benchmark."""
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PATH, args=FLAGS)
        try:
            page = browser.new_page()
            page.set_default_timeout(PATIENCE)
            page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto(url)
            yield page
            if errors:
                raise RuntimeError(f"the page has logged errors: {errors[:3]}")
        finally:
            browser.close()
