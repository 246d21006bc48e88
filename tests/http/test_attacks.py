"""What a client can send over HTTP to take the server's memory, time or sockets, and what it gets for it."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import trio

from flash import MATCH, Flash, Input, Output, State, Update, dcc, html, stream_props
from flash.asgi import body_progress, client_json
from tests.http.pages import Page
from tests.http.servers import Serve
from tests.support.eventually import TIMEOUT, eventually

JSON = {"Content-Type": "application/json"}


def make_app(**options: Any) -> Flash:
    app = Flash(__name__, **options)
    app.layout = [html.Button(id="go"), html.Div(id="out"), dcc.Store(id="data")]

    @app.callback(Output("out", "children"), Input("go", "n_clicks"), State("data", "data"))
    def count(clicks: int, data: Any) -> Any:
        return len(data) if isinstance(data, list | str) else clicks

    return app


async def post(page: Page, body: bytes, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await page.client.post(
        "/_dash-update-component", content=body, headers={"Content-Type": "application/json", **named}
    )


def with_data(page: Page, data: str) -> bytes:
    """The body of a callback request whose State is `data`, as JSON."""
    page.set("data", data="@@")
    return json.dumps(page.request("go")).replace('"@@"', data).encode()


# Bombs


@pytest.mark.parametrize("unit", ["[],", "{},", '{"a":1},', "[[]],", '"",', "1,"])
@pytest.mark.parametrize("packed", [True, False])
async def test_json_that_would_take_many_times_its_size_is_refused_before_it_is_read(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, unit: str, packed: bool
) -> None:
    page = await (await serve(make_app())).page()
    read: list[int] = []
    monkeypatch.setattr(client_json, "MAX_OBJECTS", 5_000_000)
    monkeypatch.setattr(client_json.json, "loads", lambda data: read.append(len(data)) or {})
    bomb = ("[" + unit * 400_000 + "1]").encode()
    answer = await (post(page, gzip.compress(bomb), Content_Encoding="gzip") if packed else post(page, bomb))
    assert answer.status_code == 413
    assert answer.text.startswith("The request has too many values")
    assert not read


async def test_a_large_body_of_text_is_as_good_as_ever(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    page = await (await serve(make_app())).page()
    monkeypatch.setattr(client_json, "MAX_OBJECTS", 1_000_000)
    answer = await post(page, with_data(page, json.dumps("x" * 3_000_000)))
    assert answer.json()["response"] == {"out": {"children": 3_000_000}}


async def test_large_bodies_are_read_off_the_event_loop_some_at_a_time(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = await (await serve(make_app())).page()
    body = with_data(page, json.dumps("x" * 300_000))
    loads, threads = json.loads, set[bool]()

    def note(data: Any) -> Any:
        threads.add(trio.lowlevel.in_trio_run())
        return loads(data)

    monkeypatch.setattr(client_json.json, "loads", note)
    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(post, page, body)
        with trio.fail_after(TIMEOUT):
            while not threads:
                assert client_json._READERS.borrowed_tokens <= 2
                await trio.sleep(0.001)
    assert threads == {False}


# Bodies that do not come


async def answer_to(port: int, head: str, *pieces: bytes, every: float = 0.0) -> bytes:
    """What the server says to a request that comes in pieces, until it closes the connection."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    received = b""
    async with stream, trio.open_nursery() as nursery:

        async def send() -> None:
            await stream.send_all(head.encode())
            try:
                for piece in pieces:
                    await trio.sleep(every)
                    await stream.send_all(piece)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass

        nursery.start_soon(send)
        with trio.fail_after(TIMEOUT):
            try:
                while data := await stream.receive_some():
                    received += data
            except trio.BrokenResourceError:
                pass
        nursery.cancel_scope.cancel()
    return received


@pytest.mark.parametrize("path", ["_flash/ack", "_flash/cancel", "_flash/close", "_dash-update-component"])
@pytest.mark.parametrize("framing", ["Content-Length: 200000", "Transfer-Encoding: chunked"])
async def test_a_body_that_does_not_come_along_is_given_up(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, path: str, framing: str
) -> None:
    monkeypatch.setattr(body_progress, "INTERVAL", 0.2)
    server = await serve(make_app())
    page = await server.page()
    head = (
        f"POST /{path} HTTP/1.1\r\nHost: x\r\nCookie: flash_browser={page.cookie}\r\n"
        f"Content-Type: application/json\r\n{framing}\r\n\r\n"
    )
    pieces = [b" " if "Length" in framing else b"1\r\n \r\n"] * 100
    received = await answer_to(server.port, head, *pieces, every=0.05)
    assert received.startswith(b"HTTP/1.1 408 ")
    assert received.endswith(b"The body of the request has not come along.")


async def test_a_browser_without_a_cookie_is_refused_before_its_body_has_come(serve: Serve) -> None:
    server = await serve(make_app())
    received = await answer_to(server.port, "POST /_flash/ack HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
    assert received.startswith(b"HTTP/1.1 403 ")


async def test_a_browser_may_have_so_many_bodies_on_their_way_and_no_more(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_progress, "PER_BROWSER", 3)
    server = await serve(make_app())
    page, other = await server.page(), await server.page()

    def head(cookie: str) -> str:
        return f"POST /_flash/ack HTTP/1.1\r\nHost: x\r\nCookie: flash_browser={cookie}\r\nContent-Length: 2\r\n\r\n"

    async with contextlib.AsyncExitStack() as sockets:
        held: list[trio.SocketStream] = []
        for _ in range(3):
            stream = await sockets.enter_async_context(await trio.open_tcp_stream("127.0.0.1", server.port))
            await stream.send_all(head(page.cookie).encode() + b"{")
            held.append(stream)
        counts = body_progress.UnfinishedBody._counts
        await eventually(lambda: counts[page.cookie] == 3)
        refused = await answer_to(server.port, head(page.cookie), b"{")
        assert refused.startswith(b"HTTP/1.1 429 ")
        assert refused.endswith(b"already whose bodies have not come.")
        answer = await other.post("ack", {"events": {other.token: "?"}})
        assert answer.status_code != 429
        for stream in held:
            await stream.send_all(b"}")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 400 ")
        assert page.cookie not in counts


async def test_an_upload_may_take_as_long_as_it_comes_along(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_progress, "INTERVAL", 0.2)
    server = await serve(make_app())
    page = await server.page()
    body = with_data(page, json.dumps("x" * 30_000))
    head = (
        f"POST /_dash-update-component HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    pieces = [body[begin : begin + 3_000] for begin in range(0, len(body), 3_000)]
    received = await answer_to(server.port, head, *pieces, every=0.1)
    assert received.startswith(b"HTTP/1.1 200 ")


async def test_a_connection_that_says_http2_and_asks_for_nothing_is_closed_as_idle(serve: Serve) -> None:
    server = await serve(make_app(), keep_alive_timeout=0.3)
    preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
    await answer_to(server.port, preface)


# What a stream keeps


async def test_the_values_of_a_pages_streams_are_bounded_together(serve: Serve) -> None:
    app = Flash(__name__, values_per_page=3_000_000)
    app.layout = [*[html.Button(id={"go": number}) for number in range(4)], html.Div(id="out"), dcc.Store(id="data")]

    @app.event_callback(Input({"go": MATCH}, "n_clicks"), State("data", "data"))
    async def keep(clicks: int, data: Any) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": len(data)})
        await trio.sleep_forever()

    page = await (await serve(app)).page()
    await page.connect()
    statuses: list[int] = []
    for number, size in enumerate((10_000, 10_000, 10_000, 10)):
        page.set("data", data=[[]] * size)
        statuses.append((await page.start({"go": number})).status_code)
    # Each of the large ones takes over a megabyte. What is small goes on.
    assert statuses == [204, 204, 413, 204]
    assert len(app.streams()) == 3
    await page.leave()
    await eventually(lambda: not app.streams())


async def test_a_start_from_another_site_is_refused(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Div(id="out")]

    @app.event_callback(Input("go", "n_clicks"))
    async def count(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": clicks})

    page = await (await serve(app)).page()
    await page.connect()
    for site, status in (
        ("cross-site", 403),
        ("Cross-Site", 403),
        ("same-origin", 204),
        ("same-site", 204),
        ("none", 204),
    ):
        answer = await page.client.post(
            "/_dash-update-component", json=page.request("go"), headers={"Sec-Fetch-Site": site}
        )
        assert answer.status_code == status, site


# Malformed callback requests


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("outputs", value) for value in (None, {}, [], "a@b", {"id": "out"}, {"id": "x", "property": "y"}, 7)],
        *[("outputs", [{"id": "out", "property": "children"}])],
        *[("inputs", value) for value in (None, {}, [], "x", [None], [7], [{"id": "go"}], [{"property": "n"}], [[]])],
        *[("state", value) for value in (None, {}, [], "x", [None], [[7]], [{"id": None, "property": None}])],
        *[("output", value) for value in (None, {}, [], 7, "", "..", "nothing.here", "..a.b...c.d..", "\ud800", "\0")],
        *[("changedPropIds", value) for value in (None, 7, {"a": 1}, [None], [7], [[]], [{}])],
    ],
)
async def test_a_callback_request_that_no_page_sends_is_no_failure_of_the_server(
    serve: Serve, caplog: pytest.LogCaptureFixture, name: str, value: Any
) -> None:
    page = await (await serve(make_app())).page()
    for request in ({**page.request("go"), name: value}, {k: v for k, v in page.request("go").items() if k != name}):
        answer = await page.client.post("/_dash-update-component", content=json.dumps(request), headers=JSON)
        assert answer.status_code in (200, 400), (request, answer.text)
    assert "Traceback" not in caplog.text
    # The server goes on.
    assert await page.call("go")


async def test_a_page_that_never_had_anything_gives_its_place_back_when_its_connection_goes(serve: Serve) -> None:
    app = make_app(reconnect_grace=60)
    server = await serve(app)
    page = await server.page()
    page.token = "t" * 32
    events = await page.connect()
    await eventually(lambda: len(app.channels) == 1)
    await events.close()
    await eventually(lambda: len(app.channels) == 0)
