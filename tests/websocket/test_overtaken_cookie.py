"""A page whose cookie another tab has overtaken: its secret proves it, and a ticket opens its link."""

from __future__ import annotations

from typing import Any

import trio

from flash import Flash, Input, StreamCancelled, html, stream_props
from tests.http.pages import Page
from tests.http.refusals import assert_refused
from tests.http.servers import Serve


async def prove(page: Page, secret: str, name: str, **message: Any) -> Any:
    """Post a message with a secret."""
    headers = {b"X-Flash-Proof": secret.encode("latin1")}
    return await page.client.post(f"/_flash/{name}", json={"page": page.token, **message}, headers=headers)


class TestOvertakenCookie:
    """A browser without the cookie was given several by tabs that were opened together: the last one wins."""

    @staticmethod
    def make_app() -> tuple[Flash, list[str]]:
        app = Flash(__name__, ping_interval=5)
        app.layout = [html.Button(id="go"), html.Button(id="stop"), html.Div(id="out")]
        log: list[str] = []

        def on_error(error: StreamCancelled) -> None:
            log.append(error.reason)

        @app.event_callback(Input("go", "n_clicks"), cancel=[Input("stop", "n_clicks")], on_error=on_error)
        async def run(clicks: int) -> Any:
            yield stream_props("out", {"children": clicks})
            await trio.sleep_forever()

        return app, log

    async def test_the_page_goes_on(self, serve: Serve) -> None:
        app, log = self.make_app()
        page = await (await serve(app)).page()
        secret = page.values["_flash"]["secret"]
        events = await page.connect()
        page.client.cookies.clear()
        page.client.cookies.set("flash_browser", "overtaken" * 4, domain="127.0.0.1")
        assert (await page.start("go")).status_code == 204
        opened = await events.expect("open")
        update = await events.next()
        assert (await prove(page, secret, "ack", events={page.token: update.id})).status_code == 204
        cancelled = await prove(page, secret, "cancel", stream=opened["stream"], condition=0, value=1)
        assert cancelled.status_code == 204
        assert (await events.expect("end"))["reason"] == "cancelled"
        assert (await prove(page, secret, "close")).status_code == 204
        assert log == ["cancelled"]

    async def test_a_ticket_gives_the_page_to_the_new_cookie_once_and_the_streams_go_on(self, serve: Serve) -> None:
        app, log = self.make_app()
        page = await (await serve(app)).page()
        secret = page.values["_flash"]["secret"]
        first = await page.connect()
        await page.start("go")
        await first.expect("open")
        assert first.hello is not None
        own = page.cookie
        page.client.cookies.clear()
        page.client.cookies.set("flash_browser", "overtaken" * 4, domain="127.0.0.1")
        status = f"_flash/status?page={page.token}:0"
        assert_refused(await page.get(status), 403, "another browser")
        issued = await prove(page, secret, "ticket")
        ticket = issued.json()["ticket"]
        assert issued.headers["cache-control"].startswith("no-cache, no-store")
        link = f"_flash/events?page={page.token}:0&ticket="
        assert_refused(await page.get(link + "t" * 32), 403, "another browser")
        second = await page.connect(tickets=["t" * 32, ticket])
        await second.expect("open")
        assert second.hello is not None
        assert second.hello.data["life"] == first.hello.data["life"]
        # From now on the page belongs to that cookie, not to the one that has opened it, for which the ticket is spent.
        assert (await page.get(status)).status_code == 200
        page.client.cookies.clear()
        page.client.cookies.set("flash_browser", own, domain="127.0.0.1")
        assert_refused(await page.get(status), 403, "another browser")
        assert_refused(await page.get(link + ticket), 403, "another browser")
        assert app.stream_settings.channels.load.pages == {"overtaken" * 4: 1}
        assert log == []

    async def test_neither_the_token_nor_another_pages_secret_opens_anything(self, serve: Serve) -> None:
        app, _ = self.make_app()
        server = await serve(app)
        page, thief = await server.page(), await server.page()
        events = await page.connect()
        await page.start("go")
        stream = (await events.expect("open"))["stream"]
        own, thief.token = thief.values["_flash"]["secret"], page.token
        for secret in (own, page.token, "", "x" * 5_000, "\xff" * 32):
            assert_refused(await prove(thief, secret, "ticket"), 403)
            assert_refused(await prove(thief, secret, "close"), 403)
            assert_refused(await prove(thief, secret, "cancel", stream=stream, condition=0, value=1), 403)
        assert [info.state for info in app.streams()] == ["running"]

    async def test_without_any_cookie_the_secret_does_not_do(self, serve: Serve) -> None:
        app, _ = self.make_app()
        page = await (await serve(app)).page()
        page.client.cookies.clear()
        assert_refused(await prove(page, page.values["_flash"]["secret"], "ticket"), 403, "cookies")
        assert_refused(await page.start("go"), 403, "cookies")

    async def test_a_page_without_a_channel_needs_no_ticket(self, serve: Serve) -> None:
        app, _ = self.make_app()
        page = await (await serve(app)).page()
        assert (await prove(page, page.values["_flash"]["secret"], "ticket")).json() == {"ticket": None}
