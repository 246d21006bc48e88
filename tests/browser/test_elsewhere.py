"""A stream that runs in another worker than the one that the page has its link with."""

from __future__ import annotations

from collections.abc import AsyncIterator

import trio
from playwright.sync_api import expect

from flash import Flash, Input, Update, html, stream_props
from tests.browser.conftest import Visit
from tests.support.serving import Journal


class OtherWorkers:
    """What the channels of a process know of others that serve the app, too."""

    def enter(self, secret: str) -> None: ...
    def leave(self, secret: str) -> None: ...
    def has_come(self, page: str) -> None: ...


def test_it_is_found_by_another_link_though_the_first_one_stands(visit: Visit) -> None:
    ended = Journal[int]()
    app = Flash(__name__, reconnect_grace=0.5)
    app.channels.holding = OtherWorkers()
    app.layout = [html.Button("go", id="go"), html.P(id="out")]

    @app.event_callback(Input("go", "n_clicks"), prevent_initial_call=True)
    async def run(clicks: int) -> AsyncIterator[Update]:
        try:
            yield stream_props("out", {"children": f"run {clicks}"})
            await trio.sleep_forever()
        finally:
            ended.note(clicks)

    page = visit(app)
    page.click("#go")
    expect(page.locator("#out")).to_have_text("run 1")
    # As if that channel, with its link, were in a worker which does not hear that the page has come to another one.
    app.channels._open.clear()
    page.click("#go")
    expect(page.locator("#out")).to_have_text("run 2")
    assert ended.next() == 1
    page.click("#go")
    expect(page.locator("#out")).to_have_text("run 3")
    assert ended.next() == 2
