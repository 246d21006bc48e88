"""The inspector's page: it shows what runs, follows it, and ends a stream for who may."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import trio
from playwright.sync_api import BrowserContext, Page, expect

from flash import Flash, Input, Output, Update, html, stream_props
from tests.browser.conftest import Serve

Open = Callable[[object], tuple[Page, Page]]


@pytest.fixture
def open_both(context: BrowserContext, serving: Serve) -> Open:
    """Serves an app with a stream, and opens it and its inspector in two tabs."""

    def open_both(allowed: object) -> tuple[Page, Page]:
        app = Flash(__name__, inspect=lambda request: allowed)
        app.layout = html.Div([html.Div("-", id="out"), html.Div("-", id="status")])

        @app.event_callback(Input("out", "id"), prevent_initial_call=False)
        async def numbers(_: str) -> AsyncIterator[Update]:
            for number in range(1_000_000):
                yield stream_props("out", {"children": number})
                await trio.sleep(0.05)

        app.callback(Output("status", "children"), Input(numbers, "status"))(lambda status: status)
        url = serving(app).url
        page, inspector = context.new_page(), context.new_page()
        page.goto(url)
        expect(page.locator("#out")).not_to_have_text("-")
        inspector.goto(f"{url}/_flash/inspect/")
        return page, inspector

    return open_both


def test_what_runs_is_shown_and_ended_by_a_click(open_both: Open) -> None:
    page, inspector = open_both(True)
    row = inspector.locator(".page tr", has_text="numbers")
    expect(row.locator(".state")).to_have_text("running")
    expect(row).to_contain_text("test_inspector.py:")
    updates = row.locator("td").nth(4)
    before = updates.inner_text()
    expect(updates).not_to_have_text(before)
    row.get_by_role("button", name="End").click()
    end = inspector.locator("tr", has_text="revoked")
    expect(end).to_contain_text("numbers")
    expect(inspector.locator(".page tr", has_text="numbers")).to_have_count(0)
    expect(page.locator("#status")).to_have_text("revoked")


def test_who_may_only_look_has_no_buttons(open_both: Open) -> None:
    page, inspector = open_both("look")
    row = inspector.locator(".page tr", has_text="numbers")
    expect(row.locator(".state")).to_have_text("running")
    expect(inspector.get_by_role("button")).to_have_count(0)
    before = page.locator("#out").inner_text()
    expect(page.locator("#out")).not_to_have_text(before)
