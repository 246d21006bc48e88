"""Streams that the app's own code ends, as their pages show it."""

from __future__ import annotations

from typing import Any

import quart
import trio
from playwright.sync_api import Browser, BrowserContext, Page, expect
from quart import request, session

from flash import EndReason, Flash, Input, Output, StreamCancelled, html, stream_props
from flash.errors import RequestRefused
from tests.browser.conftest import Console, Serve
from tests.support.eventually import eventually_sync
from tests.support.serving import Journal


def test_who_logs_out_ends_their_streams_in_all_browsers_and_no_others(
    serving: Serve, context: BrowserContext, chromium: Browser, console: Console
) -> None:
    app = Flash(__name__, identify=lambda request: session.get("user"))
    app.server.secret_key = "secret"
    app.layout = [
        html.Button(id="go"),
        html.Button(id="log-out"),
        *(html.P(id=name) for name in ("out", "end", "status")),
    ]

    def last_words(error: StreamCancelled) -> Any:
        return stream_props("end", {"children": f"{error.reason}, {error.why}"})

    @app.event_callback(Input("go", "n_clicks"), on_error=last_words, reset_props=[("out", {"children": "reset"})])
    async def count(clicks: int):
        yield stream_props("out", {"children": "running"})
        await trio.sleep_forever()

    @app.callback(Output("log-out", "title"), Input("log-out", "n_clicks"), prevent_initial_call=True)
    def log_out(clicks: int) -> str:
        return f"{app.end_streams(user=session.pop('user', None), why='logged out')} ended"

    @app.callback(Output("status", "children"), Input(count, "status"))
    def show(status: str) -> str:
        return status

    @app.server.route("/log-in/<user>")
    async def log_in(user: str) -> quart.wrappers.Response | Any:
        session["user"] = user
        return quart.redirect("/")

    server = serving(app)
    other = chromium.new_context()

    def running(browser: BrowserContext, user: str) -> Page:
        page = browser.new_page()
        page.goto(f"{server.url}/log-in/{user}")
        page.click("#go")
        expect(page.locator("#out")).to_have_text("running")
        return page

    try:
        pages = [running(context, "ada"), running(context, "ada"), running(other, "ada"), running(other, "eve")]
        pages[0].click("#log-out")
        expect(pages[0].locator("#log-out")).to_have_attribute("title", "3 ended")
        for page in pages[:3]:
            expect(page.locator("#status")).to_have_text("revoked")
            expect(page.locator("#end")).to_have_text("revoked, logged out")
            expect(page.locator("#out")).to_have_text("reset")
        expect(pages[3].locator("#status")).to_have_text("running")
        assert [info.user for info in server.run(app.streams)] == ["eve"]
    finally:
        other.close()


def test_a_page_that_was_cut_off_shows_that_its_stream_was_revoked_and_does_not_start_it_again(
    serving: Serve, context: BrowserContext, console: Console
) -> None:
    app = Flash(__name__, reconnect_grace=0.2)
    names = ("revoked", "lost")
    app.layout = [
        html.Button(id="go"),
        *(html.P(id=name) for name in names),
        *(html.P(id=f"{name}-s") for name in names),
    ]
    started, is_cut = Journal[str](), [False]

    def declare(name: str) -> Any:
        @app.event_callback(Input("go", "n_clicks"), restart=True)
        async def stream(clicks: int):
            started.note(name)
            yield stream_props(name, {"children": "running"})
            await trio.sleep_forever()

        @app.callback(Output(f"{name}-s", "children"), Input(stream, "status"))
        def show(status: str) -> str:
            return status

        return stream

    revoked, _ = declare("revoked"), declare("lost")

    @app.server.before_request
    async def cut() -> None:
        if is_cut[0] and request.path.endswith("_flash/events"):
            quart.abort(503)

    server = serving(app)
    page = context.new_page()
    page.goto(server.url)
    page.click("#go")
    for name in names:
        expect(page.locator(f"#{name}")).to_have_text("running")
    assert sorted(started.rest()) == sorted(names)

    def cut_off_and_revoke() -> int:
        is_cut[0] = True
        [channel] = app.channels.pages()
        attachment = channel._liveness.attachment
        assert attachment is not None
        attachment.end(RequestRefused(503, "cut"))
        channel.detach(attachment, EndReason.DISCONNECTED)
        return app.end_streams(revoked)

    assert server.run(cut_off_and_revoke) == 1
    for name in names:
        expect(page.locator(f"#{name}-s")).to_have_text("disconnected")
    eventually_sync(lambda: server.run(lambda: len(app.channels)) == 0)
    is_cut[0] = False
    expect(page.locator("#revoked-s")).to_have_text("revoked")
    expect(page.locator("#lost-s")).to_have_text("running")
    assert started.rest() == ["lost"]
    console.take()
