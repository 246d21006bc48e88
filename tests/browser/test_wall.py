"""The gallery's Wall in Chromium: a button opens it in a second window, which follows the same source."""

from __future__ import annotations

import importlib

from playwright.sync_api import expect

from tests.browser.conftest import Visit


def test_the_button_opens_a_second_window_that_follows_the_same_generator(visit: Visit) -> None:
    # Its callbacks are declared without an app: imported earlier, another test's app would get them.
    page = visit(importlib.import_module("examples.gallery.app").app)
    page.get_by_text("Wall", exact=True).click()
    expect(page.locator("#wall-status")).to_have_text("running")
    expect(page.locator("#wall-audience")).to_have_text("1 window follows, 1 generator runs")
    with page.expect_popup() as opening:
        page.click("#wall-open")
    window = opening.value
    expect(window.locator("#wall-status")).to_have_text("running")
    expect(window.locator("#wall-started")).to_have_text(page.locator("#wall-started").inner_text())
    for each in (page, window):
        expect(each.locator("#wall-audience")).to_have_text("2 windows follow, 1 generator runs")
    window.close()
    expect(page.locator("#wall-audience")).to_have_text("1 window follows, 1 generator runs")
