"""Many tabs of one browser: the app that they have open, and what is to be seen in them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import quart
from playwright.sync_api import Page, expect

from flash import Flash, Input, Update, dcc, every, html, stream_props
from tests.support.browser import NO_HUB
from tests.support.eventually import eventually_sync
from tests.support.page_process import BURN, PageProcess
from tests.support.serving import Journal

OpenTab = Callable[[str], Page]
"""Loads an address in a new tab, and waits for its first update."""

COUNT = re.compile(r"^\d+$")
"""What a stream that runs shows."""


without_hub_in_each_way = pytest.mark.parametrize(
    ("lack", "reason"),
    [
        ("absent", "this browser has or allows none"),
        ("forbidden", "it could not be loaded"),
        ("silent", "it does not answer"),
    ],
)
"""Runs a test for each way in which pages can be without a hub, with the reason that they say: see `Tabs.lose_hub`."""

FORBIDDEN = "default-src 'self' 'unsafe-inline'; worker-src 'none'"

SILENT = "window.SharedWorker = class { constructor() { this.port = new MessageChannel().port1; } };"


class Tabs:
    """An app whose pages stream from when they are loaded, unless their address says `?quiet`; a click streams anew.

    Attributes:
        ended: the search part of the addresses of the pages whose streams have ended.
        acknowledged: of how many pages each acknowledgement was.
    """

    def __init__(self, *, restart: bool = False, **options: Any) -> None:
        self.ended = Journal[str]()
        self.acknowledged = Journal[int]()
        self.app = app = Flash(__name__, **options)
        app.layout = [
            dcc.Location(id="url"),
            html.Button("go", id="go"),
            html.Button("stop", id="stop"),
            html.P("-", id="out"),
        ]

        @app.event_callback(
            Input("url", "search"),
            Input("go", "n_clicks"),
            cancel=[Input("stop", "n_clicks")],
            reset_props=[("out", {"children": "stopped"})],
            restart=restart,
            prevent_initial_call=False,
        )
        async def run(search: str, clicks: int | None) -> AsyncIterator[Update]:
            if search == "?quiet" and not clicks:
                yield stream_props("out", {"children": "quiet"})
                return
            try:
                async for count in every(0.2):
                    yield stream_props("out", {"children": f"{count}"})
            finally:
                self.ended.note(search)

        @app.server.before_request
        async def listen() -> None:
            if quart.request.path.endswith("_flash/ack"):
                self.acknowledged.note(len((await quart.request.get_json())["events"]))

    def lose_hub(self, lack: str) -> str:
        """Have the pages be without a hub: it is `absent`, `forbidden` or `silent`.

        Returns:
            A script that each page has to run before anything else.
        """
        if lack != "forbidden":
            return {"absent": NO_HUB, "silent": SILENT}[lack]

        @self.app.server.after_request
        async def forbid(response: quart.Response) -> quart.Response:
            response.headers["Content-Security-Policy"] = FORBIDDEN
            return response

        return ""

    @property
    def links(self) -> list[Any]:
        """The links that stand."""
        # `pages` copies them: this is not the thread of the server.
        channels = self.app.stream_settings.channels.pages()
        attachments = [channel._liveness.attachment for channel in channels]
        return list({attachment.link for attachment in attachments if attachment is not None})

    def expect_links(self, *sizes: int) -> None:
        """Wait until the links that stand carry so many pages each."""
        wanted = sorted(sizes)
        eventually_sync(
            lambda: sorted(len(link.attachments) for link in self.links) == wanted,
            lambda: f"{wanted}, not {sorted(len(link.attachments) for link in self.links)}",
        )


def expect_going_on(page: Page) -> None:
    """Wait for another update."""
    shown = page.locator("#out").inner_text()
    assert COUNT.match(shown)
    expect(page.locator("#out")).not_to_have_text(shown)
    expect(page.locator("#out")).to_have_text(COUNT)


def process_of(page: Page) -> PageProcess:
    """The process that runs a page."""
    return PageProcess(lambda: page.evaluate(f"() => {{ {BURN} }}"))
