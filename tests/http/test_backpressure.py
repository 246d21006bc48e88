"""A page that does not read: its own generators wait, in bounded memory, and nobody else's do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import trio
import trio.testing

from flash import BufferOverrun, Flash, Input, StreamInfo, Update, html, set_props, stream_props
from tests.http.servers import Serve
from tests.support.connections import reset
from tests.support.eventually import eventually

SMALL_WINDOW = 4_096
"""Bytes that the socket of a page that does not read takes in."""

FILLER = "x" * 10_000


def endless(app: Flash) -> list[int]:
    """An event callback that yields without end; counts what it has yielded."""
    app.layout = [html.Button(id="go"), html.Div(id="out")]
    yielded = [0]

    @app.event_callback(Input("go", "n_clicks"))
    async def flood(clicks: int) -> AsyncIterator[Update]:
        while True:
            yielded[0] += 1
            yield stream_props("out", {"children": FILLER})

    return yielded


def stream_of(app: Flash, token: str) -> StreamInfo | None:
    return next((info for info in app.streams() if info.page == token[:8]), None)


async def until_it_waits(yielded: list[int], app: Flash, token: str) -> StreamInfo:
    """What is known of the page's stream when its generator does not get on any more."""
    await eventually(lambda: (info := stream_of(app, token)) is not None and info.buffered > 0)
    while True:
        before = yielded[0]
        await trio.testing.wait_all_tasks_blocked(0.02)
        if yielded[0] == before:
            found = stream_of(app, token)
            assert found is not None
            return found


async def test_a_generator_waits_at_its_yield_when_as_many_updates_wait_as_may(serve: Serve) -> None:
    app = Flash(__name__, stream_buffer_updates=20)
    yielded = endless(app)
    page = await (await serve(app)).page()
    await page.connect(receive_buffer=SMALL_WINDOW)
    await page.start("go")
    info = await until_it_waits(yielded, app, page.token)
    assert info.buffered == 20
    assert yielded[0] == info.updates + 21


async def test_a_generator_waits_at_its_yield_when_as_many_bytes_wait_as_may(serve: Serve) -> None:
    app = Flash(__name__, stream_buffer_bytes=95_000)
    yielded = endless(app)
    page = await (await serve(app)).page()
    await page.connect(receive_buffer=SMALL_WINDOW)
    await page.start("go")
    info = await until_it_waits(yielded, app, page.token)
    assert info.buffered == 10
    assert yielded[0] == info.updates + 11


async def test_a_generator_goes_on_when_the_page_reads_again_and_nothing_is_lost(serve: Serve) -> None:
    app = Flash(__name__, stream_buffer_updates=10, window=10**9)
    app.layout = [html.Button(id="go"), html.Div(id="out")]
    yielded = [0]
    total = 1_000

    @app.event_callback(Input("go", "n_clicks"))
    async def count(clicks: int) -> AsyncIterator[Update]:
        for n in range(total):
            yielded[0] += 1
            yield stream_props("out", {"children": n, "title": FILLER})

    page = await (await serve(app)).page()
    events = await page.connect(receive_buffer=SMALL_WINDOW)
    await page.start("go")
    await until_it_waits(yielded, app, page.token)
    assert yielded[0] < total
    await events.expect("open")
    received, end = await events.to_end()
    assert [props["children"] for _, props in received] == list(range(total))
    assert end["reason"] == "completed"


async def test_a_blocking_generator_waits_too(serve: Serve) -> None:
    app = Flash(__name__, stream_buffer_updates=5)
    app.layout = [html.Button(id="go"), html.Div(id="out")]
    yielded = [0]

    @app.event_callback(Input("go", "n_clicks"))
    def flood(clicks: int) -> Iterator[Update]:
        while True:
            yielded[0] += 1
            yield stream_props("out", {"children": FILLER})

    page = await (await serve(app)).page()
    await page.connect(receive_buffer=SMALL_WINDOW)
    await page.start("go")
    await eventually(lambda: (info := stream_of(app, page.token)) is not None and info.buffered >= 5)
    info = stream_of(app, page.token)
    assert info is not None
    assert info.buffered == 5
    # One more is in the thread's hands.
    assert yielded[0] <= info.updates + 6


async def test_a_page_that_does_not_read_slows_no_other_page(serve: Serve) -> None:
    app = Flash(__name__, stream_buffer_updates=20)
    yielded = endless(app)
    app.layout = [*app.layout, html.Button(id="count")]

    @app.event_callback(Input("count", "n_clicks"))
    async def count(clicks: int) -> AsyncIterator[Update]:
        for n in range(2_000):
            yield stream_props("out", {"children": n})

    server = await serve(app)
    asleep, awake = await server.page(), await server.page()
    await asleep.connect(receive_buffer=SMALL_WINDOW)
    await asleep.start("go")
    stands_at = (await until_it_waits(yielded, app, asleep.token)).updates
    events = await awake.connect()
    await awake.start("count")
    await events.expect("open")
    received, end = await events.to_end()
    assert [props["children"] for _, props in received] == list(range(2_000))
    assert end["reason"] == "completed"
    still = stream_of(app, asleep.token)
    assert still is not None
    assert still.updates == stands_at


async def test_a_page_that_does_not_read_and_goes_ends_its_waiting_stream(serve: Serve) -> None:
    app = Flash(__name__, stream_buffer_updates=20)
    yielded = endless(app)
    page = await (await serve(app)).page()
    events = await page.connect(receive_buffer=SMALL_WINDOW)
    await page.start("go")
    await until_it_waits(yielded, app, page.token)
    reset(events.stream)
    await eventually(lambda: app.streams() == [] and not len(app.stream_settings.channels))


async def test_a_stream_is_superseded_and_cancelled_while_it_waits(serve: Serve) -> None:
    app = Flash(__name__, stream_buffer_updates=20)
    yielded = endless(app)
    page = await (await serve(app)).page()
    await page.connect(receive_buffer=SMALL_WINDOW)
    await page.start("go")
    first = (await until_it_waits(yielded, app, page.token)).id
    await page.start("go")
    second = (await until_it_waits(yielded, app, page.token)).id
    assert second != first
    assert (await page.leave()).status_code == 204
    await eventually(lambda: app.streams() == [])


async def test_open_and_end_of_short_streams_that_nobody_reads_are_bounded_too(serve: Serve) -> None:
    app = Flash(__name__, stream_buffer_bytes=20_000)
    app.layout = [html.Button(id="go")]

    @app.event_callback(Input("go", "n_clicks"), reset_props=[("go", {"title": FILLER})])
    async def short(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("go", {"children": clicks})
        if not clicks:
            raise ValueError

    page = await (await serve(app)).page()
    await page.connect(receive_buffer=SMALL_WINDOW)
    # What the socket's buffers take in on the way is some megabytes at the most.
    started = 0
    while (response := await page.start("go")).status_code == 204:
        started += 1
        assert started < 2_000
    assert response.status_code == 429
    assert "does not read" in response.text


async def test_set_props_without_a_yield_fails_the_stream_at_twice_the_bound(serve: Serve) -> None:
    app = Flash(__name__, stream_buffer_updates=10)
    app.layout = [html.Button(id="go"), html.Div(id="out")]
    raised: list[Any] = []
    errors: list[BaseException] = []

    @app.event_callback(Input("go", "n_clicks"), on_error=errors.append)
    async def flood(clicks: int) -> AsyncIterator[Update]:
        n = 0
        try:
            while True:
                n += 1
                set_props("out", {"children": n})
        except BufferOverrun as overrun:
            raised.append((n, overrun))
            raise
        yield stream_props("out", {"children": "never"})

    page = await (await serve(app)).page()
    events = await page.connect()
    await page.start("go")
    await events.expect("open")
    sent, ended = await events.to_end()
    assert [props["children"] for _, props in sent] == list(range(1, 21))
    assert ended["reason"] == "failed"
    assert raised[0][0] == 21
    assert errors == [raised[0][1]]
    assert "yield" in str(raised[0][1])
    assert "stream_buffer_updates" in str(raised[0][1])


async def test_a_page_that_is_behind_gets_the_newest_value_of_a_stream_that_conflates(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Div(id="out")]
    sent, go_on = trio.Event(), trio.Event()

    @app.event_callback(Input("go", "n_clicks"), conflate=True)
    async def ticker(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": "first"})
        await go_on.wait()
        for n in range(5_000):
            yield stream_props("out", {"children": n})
        sent.set()
        await trio.sleep_forever()

    page = await (await serve(app)).page()
    events = await page.connect()
    await page.start("go")
    await events.expect("open")
    first = await events.next()
    assert first.id is not None
    assert first.data["props"] == [["out", {"children": "first"}]]
    # It asks whether the page has it, and sends no other before it knows.
    assert (await events.next(pings=True)).name == "ping"
    go_on.set()
    await sent.wait()
    assert (await page.acknowledge(first.id)).status_code == 204
    assert (await events.expect("props"))["props"] == [["out", {"children": 4_999}]]
