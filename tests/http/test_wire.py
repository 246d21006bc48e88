"""What is on the wire of an event stream, byte by byte."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from flash import Flash, Input, Output, Update, html, stream_props
from tests.http.servers import Serve
from tests.support.connections import open_connection
from tests.support.http1 import Http1
from tests.support.link import Link
from tests.support.wire_client import parse_event


def make_app(**options: Any) -> Flash:
    app = Flash(__name__, **options)
    app.layout = [html.Button(id="go"), html.Div(id="out")]

    @app.event_callback(
        Input("go", "n_clicks"), running=[(Output("go", "disabled"), True, False)], reset_props=[("out", {"title": ""})]
    )
    async def greet(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": "grüß\n\rGott\u2028"})
        yield stream_props({"index": 1, "type": "b"}, {"children": clicks})

    return app


async def test_the_head_forbids_caches_and_buffers(serve: Serve) -> None:
    server = await serve(make_app())
    events = await (await server.page()).connect()
    assert events.status == 200
    assert events.headers["content-type"].partition(";")[0] == "text/event-stream"
    assert events.headers["cache-control"] == "no-cache, no-store, no-transform"
    assert events.headers["x-accel-buffering"] == "no"
    assert "content-length" not in events.headers
    assert "content-encoding" not in events.headers


async def test_the_first_lines_say_when_to_retry_in_digits_only(serve: Serve) -> None:
    server = await serve(make_app())
    events = await (await server.page()).connect()
    name, value = (await events.block()).split(b": ")
    assert name == b"retry"
    assert value.isdigit()


async def test_a_stream_is_open_then_props_then_end(serve: Serve) -> None:
    server = await serve(make_app())
    page = await server.page()
    events = await page.connect()
    assert (await events.block()).startswith(b"retry: ")
    hello = parse_event(await events.block())
    assert (hello.name, hello.data["ping"], hello.data["reconnect_grace"]) == ("hello", 15, 5)
    assert (await page.start("go")).status_code == 204
    blocks = [await events.block() for _ in range(4)]
    opened, first, second, ended = map(parse_event, blocks)
    stream = opened.data["stream"]
    assert isinstance(stream, str)
    assert opened.name == "open"
    assert opened.data["match"] is None
    assert opened.data["conditions"] == []
    assert (opened.data["components"], opened.data["conflate"]) == (["go"], False)
    assert opened.data["props"] == [["go", {"disabled": True}]]
    assert opened.data["reset"] == [["out", {"title": ""}], ["go", {"disabled": False}]]
    assert (first.name, first.data) == (
        "props",
        {"stream": stream, "props": [["out", {"children": "grüß\n\rGott\u2028"}]]},
    )
    assert (second.name, second.data["props"]) == ("props", [[{"index": 1, "type": "b"}, {"children": 1}]])
    assert (ended.name, ended.data) == (
        "end",
        {"stream": stream, "reason": "completed", "props": [["go", {"disabled": False}]], "error": None},
    )


async def test_every_event_is_three_lines_of_utf_8_and_its_id_counts_up(serve: Serve) -> None:
    server = await serve(make_app())
    page = await server.page()
    events = await page.connect()
    assert (await events.block()).startswith(b"retry: ")
    hello = parse_event(await events.block())
    assert hello.id == f"{hello.data['life']}.0"
    await page.start("go")
    for number in range(1, 5):
        block = await events.block()
        identifier, name, data = block.decode().split("\n")
        assert identifier == f"id: {hello.data['life']}.{number}"
        assert name.startswith("event: ")
        assert data.startswith("data: {")
        assert "\r" not in data
        json.loads(data.removeprefix("data: "))


async def test_silence_is_filled_with_pings_that_carry_no_id(serve: Serve) -> None:
    server = await serve(make_app(ping_interval=0.02))
    page = await server.page()
    events = await page.connect()
    for _ in range(3):
        ping = await events.next(pings=True)
        assert events.hello is not None
        assert (ping.name, ping.data, ping.id) == ("ping", {"lives": [events.hello.data["life"]]}, None)
    await page.start("go")
    assert (await events.expect("open"))["props"]


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "PATCH"])
async def test_events_are_for_get_only(serve: Serve, method: str) -> None:
    server = await serve(make_app())
    page = await server.page()
    response = await page.client.request(method, f"/_flash/events?page={page.token}:0")
    assert response.status_code == 405
    assert len(server.app.stream_settings.channels) == 0


@pytest.mark.parametrize("name", ["cancel", "close"])
async def test_what_changes_something_is_for_post_only(serve: Serve, name: str) -> None:
    page = await (await serve(make_app())).page()
    response = await page.get(f"_flash/{name}")
    assert response.status_code == 405


async def test_the_newest_connection_of_a_page_replaces_the_older(serve: Serve) -> None:
    server = await serve(make_app())
    page = await server.page()
    old = await page.connect()
    new = await page.connect()
    over = await old.expect("over")
    assert new.hello is None or over["life"] == new.hello.data["life"]
    assert (over["page"], over["status"]) == (page.token, 409)
    assert "taken over" in over["message"]
    assert await old.until_closed() == []
    await page.start("go")
    names = [(await new.next()).name for _ in range(4)]
    assert names == ["open", "props", "props", "end"]


async def test_a_replaced_connection_leaves_the_streams_alone(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Div(id="out")]
    go_on = trio.Event()

    @app.event_callback(Input("go", "n_clicks"))
    async def count(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": "before"})
        await go_on.wait()
        yield stream_props("out", {"children": "after"})

    server = await serve(app)
    page = await server.page()
    old = await page.connect()
    await page.start("go")
    await old.expect("open")
    await old.expect("props")
    new = await page.connect()
    assert (await old.expect("over"))["status"] == 409
    await old.close()
    go_on.set()
    # The newer connection has not said that the page had any of it.
    await new.expect("open")
    assert (await new.expect("props"))["props"] == [["out", {"children": "before"}]]
    assert (await new.expect("props"))["props"] == [["out", {"children": "after"}]]
    assert (await new.expect("end"))["reason"] == "completed"


async def test_two_pages_of_one_browser_do_not_see_each_other(serve: Serve) -> None:
    server = await serve(make_app())
    one = await server.page()
    two = await server.page(browser=one.client)
    assert one.token != two.token
    first, second = await one.connect(), await two.connect()
    await two.start("go")
    assert (await second.expect("open"))["stream"]
    await one.start("go")
    opened = await first.expect("open")
    names = [event.name for event in [await first.next() for _ in range(3)] if event.data["stream"] == opened["stream"]]
    assert names == ["props", "props", "end"]


async def test_a_page_can_come_back_with_the_token_that_it_has(serve: Serve) -> None:
    """A server that was restarted knows nothing of the page, and takes it."""
    old = await serve(make_app())
    page = await old.page()
    await old.stop()
    new = await serve(make_app())
    target = f"/_flash/events?page={page.token}:0"
    events = await Link.open(Http1(await open_connection(new.port)), target, page.identity.headers)
    assert events.status == 200
    await events.close()
