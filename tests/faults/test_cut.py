"""Connections that are cut, delayed, truncated, half closed and half open, between Chromium and the server."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from typing import Any

import trio
from playwright.sync_api import BrowserContext, Page, expect

from flash import EndReason, Flash, Input, Patch, StreamCancelled, Update, dcc, html, stream_props
from tests.faults.browsing import prop_of
from tests.faults.cutting_proxy import CuttingProxy, cutting_proxy
from tests.support.browser import Serve, chromium, context, serving
from tests.support.eventually import eventually_sync
from tests.support.serving import Gate, Journal, Server

__all__ = ["chromium", "context", "serving"]

NAMES = ("one", "two", "three")


class Counting:
    """An app with three streams that count upwards; the page keeps every number that it has applied, in order.

    Attributes:
        app: the app.
        last: how many numbers there are.
        ended: the reasons for which streams have ended, but for completion.
        going_on: streams wait for it when they have come to `hold_at`.
    """

    def __init__(self, last: int, pause: float = 0.0, hold_at: int | None = None, **options: Any) -> None:
        self.app = Flash(__name__, **options)
        self.last = last
        self.ended = Journal[EndReason]()
        self.going_on = Gate()
        self._pause, self._hold_at = pause, hold_at
        self.app.layout = html.Div(
            [
                html.Button("Start", id="start"),
                *[dcc.Store(id=f"numbers-{name}", data=[]) for name in NAMES],
                *[html.Div("idle", id=f"shown-{name}", className="shown") for name in NAMES],
            ]
        )
        for name in NAMES:
            self._add(name)

    @property
    def numbers(self) -> list[int]:
        """What a page is to have in the end."""
        return list(range(self.last))

    def _add(self, name: str) -> None:
        @self.app.event_callback(
            Input("start", "n_clicks"),
            on_error=self._note,
            reset_props=[(f"numbers-{name}", {"data": "reset"}), (f"shown-{name}", {"children": "reset"})],
        )
        async def count(n_clicks: int) -> AsyncIterator[Update]:
            yield stream_props([(f"numbers-{name}", {"data": []}), (f"shown-{name}", {"children": "begun"})])
            for number in range(self.last):
                if number == self._hold_at:
                    yield stream_props(f"shown-{name}", {"children": "held"})
                    await self.going_on.wait()
                appended = Patch()
                appended.append(number)
                yield stream_props(f"numbers-{name}", {"data": appended})
                await trio.sleep(self._pause)
            yield stream_props(f"shown-{name}", {"children": "done"})

    def _note(self, error: StreamCancelled) -> None:
        self.ended.note(error.reason)


@contextmanager
def cut_off(app: Counting, context: BrowserContext, serving: Serve) -> Generator[tuple[Server, CuttingProxy, Page]]:
    """A page of the app behind a proxy, with its three streams started."""
    server = serving(app.app)
    with cutting_proxy(int(server.url.rpartition(":")[2])) as proxy:
        page = context.new_page()
        page.goto(proxy.url)
        page.click("#start")
        expect(page.locator(".shown")).not_to_have_text(["idle"] * 3)
        server.expect_streaming(*["count"] * 3)
        yield server, proxy, page
        page.close()


def numbers_of(page: Page) -> list[Any]:
    """What each stream has left on the page."""
    return [prop_of(page, f"numbers-{name}", "data") for name in NAMES]


def come_to(page: Page, number: int) -> None:
    """Wait until every stream has come that far on the page."""
    eventually_sync(
        lambda: all(isinstance(data, list) and len(data) > number for data in numbers_of(page)), f"number {number}"
    )


def test_a_cut_in_the_middle_leaves_no_gap_and_repeats_nothing(context: BrowserContext, serving: Serve) -> None:
    app = Counting(last=150, pause=0.02)
    with cut_off(app, context, serving) as (_, proxy, page):
        come_to(page, 20)
        assert proxy.cut() > 0
        expect(page.locator(".shown")).to_have_text(["done"] * 3)
        assert numbers_of(page) == [app.numbers] * 3
    assert app.ended.rest() == []


def test_what_was_lost_on_its_way_comes_again(context: BrowserContext, serving: Serve) -> None:
    app = Counting(last=60, hold_at=30)
    with cut_off(app, context, serving) as (server, proxy, page):
        expect(page.locator(".shown")).to_have_text(["held"] * 3)
        proxy.withhold()
        app.going_on.open()
        # The streams are over, for all that the server knows, and the page has had the half of them.
        server.expect_streaming()
        assert numbers_of(page) == [app.numbers[:30]] * 3
        proxy.cut()
        expect(page.locator(".shown")).to_have_text(["done"] * 3)
        assert numbers_of(page) == [app.numbers] * 3
    assert app.ended.rest() == []


def test_a_cut_that_outlasts_the_grace_ends_the_streams_on_both_sides(context: BrowserContext, serving: Serve) -> None:
    app = Counting(last=1_000_000, pause=0.02, reconnect_grace=1)
    with cut_off(app, context, serving) as (server, proxy, page):
        come_to(page, 10)
        proxy.refuse()
        proxy.cut()
        expect(page.locator(".shown")).to_have_text(["reset"] * 3)
        assert numbers_of(page) == ["reset"] * 3
        assert [app.ended.next() for _ in NAMES] == [EndReason.DISCONNECTED] * 3
        server.expect_streaming()

        proxy.accept()
        page.click("#start")
        expect(page.locator(".shown")).to_have_text(["begun"] * 3)
        come_to(page, 10)
    assert [app.ended.next() for _ in NAMES] == [EndReason.DISCONNECTED] * 3
    assert app.ended.rest() == []


def test_a_page_that_was_cut_off_for_longer_than_the_grace_follows_its_job_again_by_itself(
    context: BrowserContext, serving: Serve
) -> None:
    app = Flash(__name__, reconnect_grace=0.2)
    app.layout = [html.Button("Start", id="start"), html.Ol([], id="rows"), html.P("idle", id="state")]
    reset, last, runs = Gate(), Gate(), Journal[int]()

    @app.event_callback(
        Input("start", "n_clicks"),
        shared="browser",
        linger=60,
        resume=True,
        reset_props=[("state", {"children": "reset"}), ("rows", {"children": []})],
    )
    async def job(n_clicks: int) -> AsyncIterator[Update]:
        runs.note(n_clicks)
        yield stream_props("state", {"children": "running"})
        for gate, row in ((None, "one"), (reset, "two"), (last, "three")):
            if gate is not None:
                await gate.wait()
            appended = Patch()
            appended.append(html.Li(row))
            yield stream_props("rows", {"children": appended})
        await trio.sleep_forever()

    server = serving(app)
    with cutting_proxy(int(server.url.rpartition(":")[2])) as proxy:
        page = context.new_page()
        page.goto(proxy.url)
        page.click("#start")
        expect(page.locator("#rows li")).to_have_text(["one"])
        proxy.refuse()
        proxy.cut()
        expect(page.locator("#state")).to_have_text("reset")
        eventually_sync(lambda: [run.state for run in server.run(app.shared_streams)] == ["lingering"])
        reset.open()
        proxy.accept()
        expect(page.locator("#state")).to_have_text("running")
        expect(page.locator("#rows li")).to_have_text(["one", "two"])
        last.open()
        expect(page.locator("#rows li")).to_have_text(["one", "two", "three"])
        page.close()
    assert runs.rest() == [1]


def test_a_half_open_connection_is_noticed_and_made_anew(context: BrowserContext, serving: Serve) -> None:
    app = Counting(last=200, pause=0.02, ping_interval=0.5, stall_timeout=30)
    with cut_off(app, context, serving) as (_, proxy, page):
        come_to(page, 20)
        assert proxy.freeze("/_flash/events") == 1
        frozen_at = time.monotonic()
        expect(page.locator(".shown")).to_have_text(["done"] * 3)
        assert numbers_of(page) == [app.numbers] * 3
        # Three pings, and two seconds at the most until the watchdog looks; the rest is for a busy machine.
        assert time.monotonic() - frozen_at < 15
    assert app.ended.rest() == []


def test_whatever_a_network_does_the_page_has_every_number_once_and_in_order_or_is_reset(
    context: BrowserContext, serving: Serve
) -> None:
    app = Counting(last=400, pause=0.03, ping_interval=1, stall_timeout=30)
    with cut_off(app, context, serving) as (server, proxy, page):
        proxy.misbehave(seed=3)
        began = time.monotonic()

        def is_over() -> bool:
            for data in numbers_of(page):
                # At any time.
                assert data == "reset" or data == app.numbers[: len(data)], data
            if time.monotonic() - began > 12:
                proxy.behave()
            shown = page.locator(".shown").all_inner_texts()
            return all(text in ("done", "reset") for text in shown) and not server.run(app.app.streams)

        eventually_sync(is_over, "an end of each stream", timeout=60)
        assert proxy.done.total() - proxy.done["delay"] >= 3, proxy.done
        ends = page.locator(".shown").all_inner_texts()
        assert numbers_of(page) == [app.numbers if end == "done" else "reset" for end in ends]
        assert app.ended.rest() == [EndReason.DISCONNECTED] * ends.count("reset")
