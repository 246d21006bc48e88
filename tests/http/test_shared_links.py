"""One event stream that carries several pages of a browser, on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from flash import Flash, Input, Update, html, stream_props
from flash.asgi import direct_writes
from tests.http.pages import Page
from tests.http.refusals import assert_refused
from tests.http.servers import Serve
from tests.support.eventually import eventually


def counting(**options: Any) -> Flash:
    """An app whose stream yields numbers, one for each time that the test lets it."""
    app = Flash(__name__, **options)
    app.layout = [html.Button(id="go"), html.Div(id="out")]

    @app.event_callback(Input("go", "n_clicks"))
    async def count(clicks: int) -> AsyncIterator[Update]:
        number = 0
        while True:
            yield stream_props("out", {"children": number})
            number += 1
            await trio.sleep(0.01)

    return app


async def tabs(serve: Serve, count: int, **options: Any) -> tuple[Flash, list[Page]]:
    """An app, and so many tabs of one browser that show it."""
    app = counting(**options)
    server = await serve(app)
    first = await server.page()
    return app, [first, *[await server.page(browser=first.client) for _ in range(count - 1)]]


async def test_one_event_stream_carries_the_streams_of_all_pages(serve: Serve) -> None:
    _, pages = await tabs(serve, 3)
    for page in pages[:2]:
        assert (await page.start("go")).status_code == 204
    events = await pages[0].connect(*pages[1:])
    lives: dict[str, str] = {}
    numbers: dict[str, list[int]] = {}
    names: list[str] = []
    assert (await pages[2].start("go")).status_code == 204
    while len(numbers) < 3 or min(map(len, numbers.values())) < 20:
        event = await events.next_of_all()
        names.append(event.name)
        if event.name == "hello":
            lives[event.data["life"]] = event.data["page"]
        elif event.name == "props":
            assert event.id is not None
            page = lives[event.id.partition(".")[0]]
            numbers.setdefault(page, []).extend(props["children"] for _, props in event.data["props"])
    assert names[:3] == ["hello"] * 3
    assert set(lives.values()) == {page.token for page in pages}
    assert all(got == list(range(len(got))) for got in numbers.values())


async def test_updates_of_several_pages_are_written_directly(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[bool | None] = []
    write = direct_writes.DirectWriter.write

    def note(self: direct_writes.DirectWriter, data: bytes) -> bool | None:
        writes.append(write(self, data))
        return writes[-1]

    monkeypatch.setattr(direct_writes.DirectWriter, "write", note)
    _, pages = await tabs(serve, 2)
    events = await pages[0].connect(pages[1])
    for page in pages:
        await page.start("go")
    opened = [(await events.until("open"))["stream"] for _ in range(2)]
    assert len(set(opened)) == 2
    await eventually(lambda: writes.count(True) > 20)


async def test_a_page_that_is_refused_is_told_and_the_others_go_on(serve: Serve) -> None:
    app, (page, other, stranger) = await tabs(serve, 3)
    channel = await app.channels.open(app.server.nursery, stranger.token, "another browser's secret")
    events = await page.connect(stranger, other)
    hellos = [(await events.next_of_all()).data["page"] for _ in range(2)]
    assert hellos == [page.token, other.token]
    over = await events.expect("over")
    assert (over["page"], over["life"], over["status"]) == (stranger.token, None, 403)
    assert over["message"] == "This page was opened by another browser."
    await other.start("go")
    await events.expect("open")
    assert not channel.closing
    # Alone it is refused as a whole.
    assert (await stranger.connect(ok=False)).status == 403


async def test_a_page_that_leaves_is_said_to_be_over_and_the_others_go_on(serve: Serve) -> None:
    _, (page, other) = await tabs(serve, 2)
    events = await page.connect(other)
    assert (await page.leave()).status_code == 204
    over = await events.expect("over")
    assert (over["page"], over["status"]) == (page.token, 410)
    await other.start("go")
    await events.expect("open")
    assert (await other.leave()).status_code == 204
    assert [event.name for event in await events.until_closed() if event.name == "over"] == []


async def test_a_newer_link_of_one_page_takes_that_page_alone(serve: Serve) -> None:
    app, (page, other) = await tabs(serve, 2)
    await page.start("go")
    await other.start("go")
    both = await page.connect(other)
    own = await page.connect(turn=1)
    over = await both.until("over")
    assert (over["page"], over["status"]) == (page.token, 409)
    assert await own.until("props")
    assert await both.until("props")
    assert (await page.connect(ok=False)).status == 409
    assert_refused(await page.get(f"_flash/status?page={page.token}:0"), 409, "newer connection")
    assert (await page.get(f"_flash/status?page={page.token}:1")).status_code == 200
    assert [info.state for info in app.streams()] == ["running"] * 2


async def test_a_link_that_its_hub_has_given_up_takes_no_page_from_a_newer_one_when_it_comes_late(serve: Serve) -> None:
    app, (page, other) = await tabs(serve, 2)
    await page.start("go")
    await other.start("go")
    newer = await page.connect(other, link=2)
    assert await newer.until("props")
    late = await page.connect(other, link=1, ok=False)
    assert late.status == 409
    assert await newer.until("props")
    newest = await page.connect(link=3)
    over = await newer.until("over")
    assert (over["page"], over["status"]) == (page.token, 409)
    assert await newest.until("props")
    # A page that asks why it has no link does not know how many its hub has opened.
    assert (await page.get(f"_flash/status?page={page.token}:0")).status_code == 200
    # One that has its events by another way is above them all.
    own = await page.connect(turn=1)
    assert await own.until("props")
    assert (await page.connect(link=4, ok=False)).status == 409
    assert [info.state for info in app.streams()] == ["running"] * 2


async def test_pages_acknowledge_together_and_what_is_refused_is_said_of_each(serve: Serve) -> None:
    app, (page, other) = await tabs(serve, 2)
    for each in (page, other):
        await each.start("go")
    events = await page.connect(other)
    last: dict[str, str] = {}
    while len(last) < 2:
        event = await events.next_of_all()
        if event.name == "props" and event.id is not None:
            last[event.id.partition(".")[0]] = event.id
    channels = [app.channels.find(each.token, each.cookie) for each in (page, other)]
    said = {channel.page: last[channel.life] for channel in channels if channel is not None}
    assert (await page.post("_flash/ack", {"events": said})).status_code == 204
    assert all(channel is not None and channel.outbox.acknowledged > 0 for channel in channels)
    gone = "t" * 32
    partly = await page.post("_flash/ack", {"events": {**said, gone: "0badcafe.1"}})
    assert partly.status_code == 200
    assert partly.json() == {"refused": [{"page": gone, "status": 404, "message": "This server has no such page."}]}
    assert_refused(await page.post("_flash/ack", {"events": {gone: "0badcafe.1"}}), 404, "no such page")
    assert_refused(await page.post("_flash/ack", {"events": {}}), 400, "events")
    assert_refused(await page.post("_flash/ack", {"events": {page.token: "nothing"}}), 400, "malformed")


async def test_the_secrets_of_several_pages_prove_them_although_the_cookie_has_changed(serve: Serve) -> None:
    app, pages = await tabs(serve, 4)
    for page in pages:
        assert (await page.start("go")).status_code == 204
    pages[0].client.cookies.clear()
    pages[0].client.cookies.set("flash_browser", "overtaken" * 4, domain="127.0.0.1")
    assert (await pages[0].connect(*pages[1:], ok=False)).status == 403
    tickets: list[str] = []
    proofs = [page.values["_flash"]["secret"] for page in pages]
    for page, proof in zip(pages, proofs, strict=True):
        issued = await page.client.post("/_flash/ticket", json={"page": page.token}, headers={"X-Flash-Proof": proof})
        tickets.append(issued.json()["ticket"])
    events = await pages[0].connect(*pages[1:], tickets=tickets)
    hellos = [(await events.next_of_all()).data for _ in pages]
    assert [hello["page"] for hello in hellos] == [page.token for page in pages]
    said = {hello["page"]: f"{hello['life']}.0" for hello in hellos}
    told = await pages[0].client.post(
        "/_flash/ack", json={"events": said}, headers={"X-Flash-Proof": ", ".join(proofs)}
    )
    assert told.status_code == 204
    assert len(app.streams()) == 4


async def test_the_first_ticket_counts_although_a_second_was_asked_for_and_a_spent_one_does_not(serve: Serve) -> None:
    """A page asks by a request and over the control websocket, and goes by the answer that comes first."""
    _, (page,) = await tabs(serve, 1)
    assert (await page.start("go")).status_code == 204

    async def change_cookie(cookie: str) -> None:
        page.client.cookies.clear()
        page.client.cookies.set("flash_browser", cookie * 4, domain="127.0.0.1")
        assert (await page.connect(ok=False)).status == 403

    async def ask() -> str:
        proof = {"X-Flash-Proof": page.values["_flash"]["secret"]}
        return (await page.client.post("/_flash/ticket", json={"page": page.token}, headers=proof)).json()["ticket"]

    await change_cookie("overtaken")
    first, second = await ask(), await ask()
    assert first == second
    await (await page.connect(tickets=[first])).expect("hello")
    await change_cookie("onceagain")
    assert (await page.connect(tickets=[first], ok=False)).status == 403
    third = await ask()
    assert third != first
    await (await page.connect(tickets=[third])).expect("hello")


@pytest.mark.parametrize(
    "query",
    [
        "",
        "page=",
        "page={token}",
        "page={token}:",
        "page={token}:x",
        "page={token}:0:1",
        "page={token}:0&page={token}:1",
    ],
)
async def test_a_malformed_address_is_refused_and_changes_nothing(serve: Serve, query: str) -> None:
    app, (page,) = await tabs(serve, 1)
    for route in ("events", "status"):
        assert (await page.get(f"_flash/{route}?{query.format(token=page.token)}")).status_code == 400
    assert len(app.channels) == 0


async def test_one_page_that_acknowledges_nothing_does_not_delay_the_others(serve: Serve) -> None:
    app = Flash(__name__, window=20_000, stream_buffer_bytes=10_000)
    app.layout = [html.Button(id="go"), html.Button(id="flood"), html.Div(id="out")]

    @app.event_callback(Input("flood", "n_clicks"))
    async def flood(clicks: int) -> AsyncIterator[Update]:
        while True:
            yield stream_props("out", {"children": "x" * 1_000})

    @app.event_callback(Input("go", "n_clicks"))
    async def clock(clicks: int) -> AsyncIterator[Update]:
        while True:
            yield stream_props("out", {"children": trio.current_time()})
            await trio.sleep(0.005)

    server = await serve(app)
    silent = await server.page()
    other = await server.page(browser=silent.client)
    events = await silent.connect(other)
    await silent.start("flood")
    await other.start("go")
    late: list[float] = []
    while len(late) < 200:
        event = await events.next_of_all()
        if event.name == "props" and event.data["props"][0][1]["children"] != "x" * 1_000:
            late.append(trio.current_time() - event.data["props"][0][1]["children"])
            if len(late) % 20 == 0:
                await other.acknowledge(event.id or "")
    assert sorted(late)[190] < 0.5
