"""Feeds in a served app: streams of several pages, views, callbacks and background tasks follow one source."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trio

from flash import Feed, FeedUnavailable, Flash, Input, Output, State, Update, cleanup, feed, html, stream_props
from tests.http.servers import Serve
from tests.support.eventually import eventually

NUMBERS = 0.01
"""Seconds between two numbers of the feed."""


class Log(list[str]):
    """What has happened, in its order."""


def make_feed(log: Log, **options: Any) -> Feed[[str], str]:
    @feed(**options)
    async def numbers(name: str) -> AsyncIterator[str]:
        log.append(f"{name} begins")
        try:
            number = 0
            while True:
                yield f"{name}{number}"
                number += 1
                await trio.sleep(NUMBERS)
        finally:
            with cleanup():
                await trio.sleep(NUMBERS)
            log.append(f"{name} ends")

    return numbers


def make_app(log: Log, numbers: Feed[[str], str], **options: Any) -> Flash:
    app = Flash(__name__, reconnect_grace=0, **options)
    app.layout = [
        html.Button(id="go"),
        html.Button(id="plain"),
        html.Button(id="ask"),
        html.Div(id="name"),
        html.Div(id="out"),
        html.Div(id="answer"),
    ]

    @app.event_callback(Input("go", "n_clicks"), State("name", "children"))
    async def live(clicks: int, name: str) -> AsyncIterator[Update]:
        try:
            async with numbers(name) as values:
                async for value in values:
                    yield stream_props("out", {"children": value})
        finally:
            log.append("stream ends")

    @app.event_callback(Input("plain", "n_clicks"), State("name", "children"))
    def plainly(clicks: int, name: str) -> Iterator[Update]:
        with numbers(name) as values:
            for value in values:
                yield stream_props("out", {"children": value})

    @app.callback(Output("answer", "children"), Input("ask", "n_clicks"), State("name", "children"))
    async def ask(clicks: int, name: str) -> str:
        async with numbers(name) as values:
            return await anext(values)

    @app.server.get("/first/<name>")
    async def first(name: str) -> str:
        async with numbers(name) as values:
            return await anext(values)

    return app


async def test_streams_of_two_browsers_a_view_a_callback_and_a_thread_follow_one_source(serve: Serve) -> None:
    log = Log()
    app = make_app(log, make_feed(log, keep=1))
    server = await serve(app)
    pages = [await server.page() for _ in range(2)]
    for page, button in zip(pages, ("go", "plain"), strict=True):
        page.set("name", children="A")
        events = await page.connect()
        await page.start(button)
        await events.expect("open")
        assert "A" in str(await events.expect("props"))
    followers = {"stream of make_app.live", "thread of make_app.plainly"}
    await eventually(lambda: {each.task for each in app.feeds()[0].followers} == followers)
    [info] = app.feeds()
    assert info.feed.endswith("numbers('A')")
    assert (await pages[0].get("first/A")).text.startswith("A")
    assert "A" in (await pages[0].start("ask")).text
    assert log == ["A begins"]
    # Pages that go take their followers along, and the last one the source.
    for page in pages:
        await page.leave()
    await eventually(lambda: log[-1] == "A ends")
    assert app.feeds() == []
    assert log.count("A begins") == 1


async def test_background_work_of_the_app_follows_a_source_beside_a_stream(serve: Serve) -> None:
    log, seen = Log(), list[str]()
    numbers = make_feed(log, keep=1)
    app = make_app(log, numbers)

    @app.background
    async def store() -> None:
        async with numbers("A") as values:
            async for value in values:
                seen.append(value)

    page = await (await serve(app)).page()
    page.set("name", children="A")
    link = await page.connect()
    await page.start("go")
    await link.expect("open")
    await link.expect("props")
    await eventually(lambda: len(seen) > 1)
    assert len(app.feeds()[0].followers) == 2
    assert log == ["A begins"]
    # The stream leaves, and the source goes on for the other one.
    await page.leave()
    await eventually(lambda: len(app.feeds()[0].followers) == 1)
    before = len(seen)
    await eventually(lambda: len(seen) > before)


async def test_at_shutdown_streams_end_first_then_the_followers_that_are_left_then_the_sources(serve: Serve) -> None:
    log = Log()
    numbers = make_feed(log, linger=100)
    app = make_app(log, numbers)

    async def background() -> None:
        try:
            async with numbers("A") as values:
                async for _ in values:
                    pass
        except FeedUnavailable:
            log.append("task ends")

    @app.server.before_serving
    async def start() -> None:
        app.server.nursery.start_soon(background)

    server = await serve(app)
    page = await server.page()
    page.set("name", children="A")
    events = await page.connect()
    await page.start("go")
    await events.expect("open")
    await events.expect("props")
    await server.stop()
    assert log == ["A begins", "stream ends", "task ends", "A ends"]
    assert app.feeds() == []


async def test_a_source_that_needs_a_page_fails_its_streams_and_says_why(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    @feed
    async def asks(name: str) -> AsyncIterator[str]:
        from flash import ctx

        yield str(ctx.triggered_id)

    app = make_app(Log(), asks)
    server = await serve(app)
    page = await server.page()
    page.set("name", children="A")
    events = await page.connect()
    with caplog.at_level(logging.ERROR):
        await page.start("go")
        await events.expect("open")
        assert (await events.expect("end"))["reason"] == "failed"
    assert "no page, no request, no session" in caplog.text


async def test_the_apps_of_one_server_share_a_source(serve: Serve) -> None:
    log = Log()
    numbers = make_feed(log)
    first = make_app(log, numbers)
    second = Flash("second", server=first.server, url_base_pathname="/second/")
    second.layout = [html.Button(id="go"), html.Div(id="out")]

    @second.event_callback(Input("go", "n_clicks"))
    async def live_there(clicks: int) -> AsyncIterator[Update]:
        async with numbers("A") as values:
            async for value in values:
                yield stream_props("out", {"children": value})

    server = await serve(first)
    page, other = await server.page(), await server.page(prefix="/second/")
    page.set("name", children="A")
    for each in (page, other):
        events = await each.connect()
        await each.start("go")
        await events.expect("open")
        await events.expect("props")
    assert log == ["A begins"]
    assert [info.feed for info in first.feeds()] == [info.feed for info in second.feeds()]
    assert len(first.feeds()[0].followers) == 2
