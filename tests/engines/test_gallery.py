"""The gallery of examples opens in every engine, and its streams run."""

from __future__ import annotations

import importlib

import pytest

from flash import Flash
from tests.engines.conftest import Serve
from tests.engines.errors import take_errors
from tests.engines.tabs import Browser, Tab


@pytest.fixture(scope="module")
def gallery() -> Flash:
    """The gallery. Its callbacks are declared without an app: imported earlier, another test's app would get them."""
    app: Flash = importlib.import_module("examples.gallery.app").app
    # Its page is large, and opens its link late on a busy machine.
    app.channels.page_limits = app.channels.page_limits._replace(start_timeout=60)
    return app


def test_the_gallery_opens_and_its_streams_run_and_stop(browser: Browser, serving: Serve, gallery: Flash) -> None:
    tab = browser.open(serving(gallery).url)
    tab.click("#table-load")
    tab.wait_for("return document.querySelectorAll('#table-grid .ag-row').length > 5")

    show(tab, "Live")
    tab.expect("#live-status", "running")
    # A page that is loaded again opens the tab that is in its address.
    tab.wait_for("return location.hash === '#live'")
    tab.wait_for("return document.querySelector('#live-chart .scatterlayer path.js-line') !== null")
    for _ in range(2):
        clock = tab.texts("#live-clock")
        tab.wait_for("return document.querySelector('#live-clock').innerText !== arguments[0]", *clock)

    # The stream watches which lines are to be drawn.
    lines = "document.querySelectorAll('#live-chart .scatterlayer path.js-line').length"
    tab.wait_for(f"return {lines} === 5")
    tab.click(".mantine-Chip-root:nth-of-type(2) label")
    tab.wait_for(f"return {lines} === 4")
    tab.expect("#live-status", "running")

    show(tab, "Table")
    tab.wait_for("return !document.querySelector('#live-lamp').classList.contains('lit')")


def test_the_table_goes_on_loading_while_its_page_is_loaded_again(
    browser: Browser, serving: Serve, gallery: Flash
) -> None:
    server = serving(gallery)
    tab = browser.open(server.url)
    tab.click("#table-load")
    tab.wait_for("return document.querySelectorAll('#table-grid .ag-row').length > 5")
    [job] = server.run(gallery.shared_streams)
    tab.reload()
    # The page that is left may say of requests under way that they were cut.
    take_errors(browser)
    tab.expect("#table-status", "completed")
    tab.expect("#table-rows", "1,704")
    tab.wait_for("return dash_ag_grid.getApi('table-grid').getDisplayedRowCount() === 1704")
    # It is over, and was the only one.
    assert [kept.id for kept in server.run(gallery.shared_streams)] in ([], [job.id])


def test_windows_of_the_wall_follow_one_generator(browser: Browser, serving: Serve, gallery: Flash) -> None:
    url = f"{serving(gallery).url}#wall"
    first = browser.open(url)
    first.expect("#wall-status", "running")
    first.expect("#wall-audience", "1 window follows, 1 generator runs")
    [started] = first.texts("#wall-started")
    second = browser.open(url)
    # The run is that of the first window.
    second.expect("#wall-started", started)
    second.expect("#wall-audience", "2 windows follow, 1 generator runs")
    first.close()
    second.expect("#wall-audience", "1 window follows, 1 generator runs")
    second.expect("#wall-status", "running")


def show(tab: Tab, name: str) -> None:
    """Open one of the gallery's tabs."""
    tab.evaluate(
        """
        const tabs = [...document.querySelectorAll('.rail-tab')];
        tabs.find(tab => tab.innerText.trim() === arguments[0]).click();
        """,
        name,
    )
