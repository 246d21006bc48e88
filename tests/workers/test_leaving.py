"""A worker that leaves while others go on: which requests are sent again, and where to."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from flash.wire import START_HEADER
from flash.workers.leaving import App, Leaving, Receive, Send

START = [(START_HEADER.lower().encode(), b"1")]


async def ask(
    served: App,
    path: str,
    *,
    headers: list[tuple[bytes, bytes]] | None = None,
    query: str = "",
    version: str = "1.1",
    kind: str = "http",
    body: list[bytes] | None = None,
    sent: list[Any] | None = None,
) -> dict[bytes, bytes] | None:
    """The headers of the answer that has a request sent again; None if the app has answered it."""
    scope = {
        "type": kind,
        "http_version": version,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": headers or [],
    }
    parts = body or [b""]
    sent = [] if sent is None else sent

    async def receive() -> Any:
        await trio.lowlevel.checkpoint()
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: Any) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    await served(scope, receive, send)
    begun, ended = sent
    if begun["status"] != 307:
        return None
    assert ended == {"type": "http.response.body", "body": b"", "more_body": False}
    assert not body or not parts, "the body was read to its end"
    return dict(begun["headers"])


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"the app", "more_body": False})


@pytest.fixture
def leaving() -> App:
    leaving = Leaving()
    leaving.begun = True
    return leaving.around(app)


async def test_a_start_is_sent_again_when_its_body_has_come(leaving: App) -> None:
    answer = await ask(leaving, "/some/_dash-update-component", headers=START, body=[b"a", b"b", b""])
    assert answer is not None
    assert answer[b"location"] == b"_dash-update-component"


async def test_a_link_is_sent_again_with_its_query(leaving: App) -> None:
    answer = await ask(leaving, "/_flash/events", query="page=a%20b&after=1.2")
    assert answer is not None
    assert answer[b"location"] == b"events?page=a%20b&after=1.2"
    assert answer[b"cache-control"] == b"no-store"


@pytest.mark.parametrize("path", ["/", "/_dash-update-component", "/_flash/ack", "/_flash/close", "/_flash/health"])
async def test_what_begins_nothing_is_answered_by_the_app(leaving: App, path: str) -> None:
    assert await ask(leaving, path) is None


async def test_websockets_and_http_2_are_left_to_the_server(leaving: App) -> None:
    assert await ask(leaving, "/_flash/events", kind="websocket") is None
    assert await ask(leaving, "/_flash/events", version="2") is None


async def test_a_worker_that_does_not_leave_answers_everything() -> None:
    assert await ask(Leaving().around(app), "/_flash/events") is None


@pytest.mark.parametrize("path", ["/_flash/events", "/_flash/ack"])
async def test_a_request_that_came_before_and_is_refused_is_sent_again_if_it_begins_something(path: str) -> None:
    leaving = Leaving()

    async def stop_and_refuse(scope: Any, receive: Receive, send: Send) -> None:
        leaving.begun = True
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b"The server is stopping.", "more_body": False})

    sent: list[Any] = []
    answer = await ask(leaving.around(stop_and_refuse), path, sent=sent)
    if path == "/_flash/events":
        assert answer is not None
    else:
        assert answer is None
        assert sent[0]["status"] == 503
        assert sent[1]["body"] == b"The server is stopping."
