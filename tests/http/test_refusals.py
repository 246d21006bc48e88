"""Requests that no page of the app sends: each is refused in one sentence and changes nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
import trio

from tests.http.apps import Waiting
from tests.http.pages import Page
from tests.http.refusals import assert_refused
from tests.http.servers import Serve, Server
from tests.support.link import Link

TOKEN = "t" * 32
"""Well-formed, and nobody's."""

BODY_LIMIT = 256_000

Send = Callable[["Running"], Awaitable[httpx.Response]]


class Running:
    """A page with a stream that runs, and others that would like to interfere.

    Attributes:
        page: has the stream.
        events: of the page, read up to the stream's first update.
        stream: its id.
        stranger: another browser.
    """

    def __init__(self, server: Server, page: Page, events: Link, stream: str) -> None:
        self.server = server
        self.page = page
        self.events = events
        self.stream = stream
        self.stranger = server.browser()

    def cancel(self, **changes: Any) -> dict[str, Any]:
        """The body of a proper cancel request, with changes."""
        return {"page": self.page.token, "stream": self.stream, "condition": 0, "value": 1, **changes}

    async def raw(self, path: str, content: bytes, *, announced: bool = True) -> httpx.Response:
        """POST `content` as it is, whether or not its size is announced."""
        client = self.page.client
        size = {"Content-Length": str(len(content))} if announced else {"Transfer-Encoding": "chunked"}
        headers = {"Content-Type": "application/json", **size}
        request = client.build_request("POST", path, headers=headers)
        request.stream = Body(content)
        return await client.send(request)


class Body(httpx.AsyncByteStream):
    """A body that the server may leave unread: nothing of it is left to the garbage collector then."""

    def __init__(self, content: bytes) -> None:
        self._chunks = iter([content[at : at + 30_000] for at in range(0, len(content), 30_000)])

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration


@pytest.fixture
async def waiting() -> Waiting:
    return Waiting()


@pytest.fixture
async def running(serve: Serve, waiting: Waiting) -> AsyncIterator[Running]:
    """The stream goes on, whatever the test did, and the server takes new pages."""
    server = await serve(waiting.app)
    page = await server.page()
    events = await page.connect()
    assert (await page.start("go")).status_code == 204
    stream = (await events.expect("open"))["stream"]
    await events.expect("props")
    yield Running(server, page, events, stream)
    assert waiting.log == ["started"]
    assert [info.state for info in waiting.app.streams()] == ["running"]
    assert len(waiting.app.stream_settings.channels) == 1
    waiting.go_on.set()
    assert (await events.expect("props"))["props"] == [["out", {"children": "after"}]]
    assert (await events.expect("end"))["reason"] == "completed"
    newcomer = await server.page()
    newcomers_events = await newcomer.connect()
    await newcomer.start("go")
    await newcomers_events.expect("open")


async def events_without_page(running: Running) -> httpx.Response:
    return await running.page.get("_flash/events")


async def status_without_page(running: Running) -> httpx.Response:
    return await running.page.get("_flash/status")


async def cancel_with_a_bad_page(running: Running) -> httpx.Response:
    return await running.page.post("_flash/cancel", running.cancel(page=["a list"]))


async def cancel_without_page(running: Running) -> httpx.Response:
    return await running.page.post("_flash/cancel", {"stream": running.stream, "condition": 0, "value": 1})


async def close_without_page(running: Running) -> httpx.Response:
    return await running.page.post("_flash/close", {})


async def start_without_page(running: Running) -> httpx.Response:
    body = running.page.request("go")
    del body["state"][-1]["value"]
    return await running.page.post("_dash-update-component", body)


@pytest.mark.parametrize(
    "send",
    [
        events_without_page,
        status_without_page,
        cancel_with_a_bad_page,
        cancel_without_page,
        close_without_page,
        start_without_page,
    ],
)
async def test_a_request_that_names_no_page_is_refused(running: Running, send: Send) -> None:
    assert_refused(await send(running), 400, "page")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "short",
        "t" * 21,
        "t" * 65,
        "t" * 5_000,
        "t" * 31 + "!",
        "t" * 31 + "é",
        "t" * 31 + "\n",
        "../" * 10,
        "t t" * 10,
    ],
)
async def test_a_malformed_token_is_refused(running: Running, token: str) -> None:
    refused = [
        await running.page.get("_flash/events", params={"page": token}),
        await running.page.get("_flash/status", params={"page": token}),
        await running.page.post("_flash/cancel", running.cancel(page=token)),
        await running.page.post("_flash/close", {"page": token}),
    ]
    running.page.set("_flash", token=token)
    refused.append(await running.page.start("go"))
    for response in refused:
        assert_refused(response, 400)


async def test_a_token_that_is_sent_twice_is_not_mistaken(running: Running) -> None:
    url = f"_flash/status?page=short&page={running.page.token}:0"
    assert_refused(await running.page.get(url), 400)


@pytest.mark.parametrize("has_cookie", [True, False], ids=["another cookie", "no cookie"])
async def test_another_browser_cannot_use_the_token_of_a_page(running: Running, has_cookie: bool) -> None:
    thief = await running.server.page(browser=running.stranger, load=has_cookie)
    thief.token = running.page.token
    thief.dependencies = running.page.dependencies
    thief.set("_flash", token=running.page.token)
    assert bool(thief.cookie) == has_cookie
    for response in (
        await thief.get(f"_flash/events?page={thief.token}:0"),
        await thief.get(f"_flash/status?page={thief.token}:0"),
        await thief.cancel(running.stream),
        await thief.leave(),
        await thief.start("go"),
    ):
        assert_refused(response, 403)
        assert running.page.token not in response.text
        assert running.page.cookie not in response.text


@pytest.mark.parametrize("cookie", ["", "short", "t" * 31 + "!", "t" * 65, '"quoted"'])
async def test_a_malformed_cookie_is_no_cookie(running: Running, cookie: str) -> None:
    headers = {"Cookie": f"flash_browser={cookie}"}
    response = await running.stranger.get(f"/_flash/events?page={running.page.token}:0", headers=headers)
    assert_refused(response, 403, "flash_browser")


async def test_a_page_that_the_server_does_not_know_has_nothing_to_cancel(running: Running) -> None:
    assert_refused(await running.page.post("_flash/cancel", running.cancel(page=TOKEN)), 404, "page")
    assert_refused(await running.page.post("_flash/close", {"page": TOKEN}), 404, "page")


async def test_another_page_of_the_same_browser_cannot_cancel(running: Running) -> None:
    other = await running.server.page(browser=running.page.client)
    events = await other.connect()
    assert_refused(await other.cancel(running.stream), 404, "stream")
    await other.leave()
    await events.until_closed()
    assert (await running.page.get(f"_flash/status?page={running.page.token}:0")).json() == {"message": None}


async def test_a_stream_that_the_page_does_not_have_cannot_be_cancelled(running: Running) -> None:
    for stream in ("", "no-such", "é" * 50, "0"):
        assert_refused(await running.page.cancel(stream), 404, "stream")


async def test_a_cancel_request_with_a_malformed_field_is_refused(running: Running) -> None:
    streams: list[Any] = [None, 1, True, ["x"], {}]
    conditions: list[Any] = [None, "0", 0.0, True, False, {}, 1, -1, 10**30]
    for changes in (*({"stream": value} for value in streams), *({"condition": value} for value in conditions)):
        assert_refused(await running.page.post("_flash/cancel", running.cancel(**changes)), 400, "condition")
    for number in ("1", 1.5, True, -1, [1]):
        assert_refused(await running.page.post("_flash/cancel", running.cancel(change=number)), 400, "change")


@pytest.mark.parametrize("field", ["stream", "condition", "value"])
async def test_a_cancel_request_that_lacks_a_field_is_refused(running: Running, field: str) -> None:
    body = running.cancel()
    del body[field]
    assert_refused(await running.page.post("_flash/cancel", body), 400, field)


BODIES_THAT_ARE_NOT_JSON = {
    "empty": b"",
    "text": b"page",
    "cut": b'{"page": "',
    "two": b"{}{}",
    "form": b"page=" + TOKEN.encode(),
    "invalid UTF-8": b'{"page": "\xff\xfe"}',
    "UTF-16": '{"page": "x"}'.encode("utf-16"),
    "deep": b"[" * 30_000,
}


@pytest.mark.parametrize("content", BODIES_THAT_ARE_NOT_JSON.values(), ids=BODIES_THAT_ARE_NOT_JSON.keys())
async def test_a_body_that_is_not_json_is_refused(running: Running, content: bytes) -> None:
    for name in ("cancel", "close"):
        assert_refused(await running.raw(f"/_flash/{name}", content), 400, "JSON")


@pytest.mark.parametrize("name", ["cancel", "close"])
async def test_a_body_that_is_not_an_object_is_refused(running: Running, name: str) -> None:
    for content in (b"null", b"1", b'"text"', b"[]", b"true"):
        assert_refused(await running.raw(f"/_flash/{name}", content), 400, "object")


@pytest.mark.parametrize("name", ["cancel", "close"])
async def test_a_body_that_is_too_large_is_refused(running: Running, name: str) -> None:
    content = json.dumps(running.cancel(value="x" * BODY_LIMIT)).encode()
    assert_refused(await running.raw(f"/_flash/{name}", content), 413, str(BODY_LIMIT))


@pytest.mark.parametrize("name", ["cancel", "close"])
async def test_a_body_whose_size_is_not_announced_is_refused_when_it_becomes_too_large(
    running: Running, name: str
) -> None:
    content = b" " * (BODY_LIMIT // 8 * 10)
    assert_refused(await running.raw(f"/_flash/{name}", content, announced=False), 413, str(BODY_LIMIT))


async def test_a_body_of_any_size_can_be_announced(running: Running) -> None:
    """Nothing of it is awaited: the answer comes at once."""
    request = (
        f"POST /_flash/cancel HTTP/1.1\r\nHost: x\r\nCookie: flash_browser={running.page.cookie}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {10**15}\r\n\r\n"
    )
    async with await trio.open_tcp_stream("127.0.0.1", running.page.port) as stream:
        await stream.send_all(request.encode())
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 413 ")


async def test_requests_from_other_sites_are_refused(running: Running) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    client, token = running.page.client, running.page.token
    for response in (
        await client.get(f"/_flash/events?page={token}:0", headers=headers),
        await client.get(f"/_flash/status?page={token}:0", headers=headers),
        await client.post("/_flash/cancel", json=running.cancel(), headers=headers),
        await client.post("/_flash/close", json={"page": token}, headers=headers),
    ):
        assert_refused(response, 403, "other sites")


async def test_requests_from_the_own_site_are_not_refused(running: Running) -> None:
    url = f"/_flash/status?page={running.page.token}:0"
    for site in ("same-origin", "same-site", "none"):
        response = await running.page.client.get(url, headers={"Sec-Fetch-Site": site})
        assert response.status_code == 200


async def test_the_page_can_ask_why_it_is_refused(running: Running) -> None:
    thief = await running.server.page(browser=running.stranger)
    url = f"_flash/status?page={running.page.token}:0"
    assert_refused(await thief.get(url), 403, "another browser")
    accepted = await running.page.get(url)
    assert (accepted.status_code, accepted.json()) == (200, {"message": None})
    assert "no-store" in accepted.headers["cache-control"]


@pytest.mark.parametrize(
    "content",
    [
        *BODIES_THAT_ARE_NOT_JSON.values(),
        b"null",
        b"[]",
        b"{}",
        b'{"output": "no.such", "inputs": [], "state": []}',
        b'{"output": 1, "inputs": 1, "state": 1}',
    ],
)
async def test_a_malformed_callback_request_is_an_error_that_shows_nothing_of_the_server(
    running: Running, content: bytes
) -> None:
    response = await running.raw("/_dash-update-component", content)
    assert response.status_code >= 400
    assert "Traceback" not in response.text
    assert ".py" not in response.text


@pytest.mark.parametrize("missing", ["inputs", "state"])
async def test_a_start_that_lacks_its_values_starts_nothing(running: Running, missing: str) -> None:
    body = running.page.request("go") | {missing: []}
    response = await running.page.post("_dash-update-component", body)
    assert response.status_code >= 400
    assert "Traceback" not in response.text
