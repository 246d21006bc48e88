"""What workers send each other: every message comes back as it was, and nothing else is taken for one."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given, strategies as st

from flash.workers import frames
from flash.workers.frames import Decoder, MalformedFrame, decode_scope, encode, encode_scope

SCOPE: dict[str, Any] = {
    "type": "http",
    "http_version": "2",
    "asgi": {"spec_version": "2.1", "version": "3.0"},
    "method": "POST",
    "scheme": "https",
    "path": "/é/_flash/ack",
    "raw_path": b"/%C3%A9/_flash/ack",
    "query_string": b"a=%ff",
    "root_path": "/é",
    "headers": [(b"cookie", b"flash_browser=\xff\xfe"), (b"host", b"a"), (b"cookie", b"again=1")],
    "client": ("2001:db8::1", 4321),
    "server": ("127.0.0.1", 443),
    "state": {"of": "this worker"},
    "extensions": {"http.response.trailers": {}},
}

MESSAGES: list[dict[str, Any]] = [
    {"type": "http.request", "body": b"\x00\xff", "more_body": True},
    {"type": "http.request", "body": b"", "more_body": False},
    {"type": "http.disconnect"},
    {"type": "http.response.start", "status": 200, "headers": [[b"content-type", b"text/plain"], [b"x", b"\xe9"]]},
    {"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True},
    {"type": "websocket.connect"},
    {"type": "websocket.accept", "subprotocol": None, "headers": []},
    {"type": "websocket.receive", "bytes": None, "text": "é \ud83d \U0001f600"},
    {"type": "websocket.send", "bytes": b"\xff", "text": None},
    {"type": "websocket.disconnect", "code": 1006},
    {"type": "websocket.close", "code": 1000, "reason": "over"},
]
TYPES = {message["type"] for message in MESSAGES} | {"http", "websocket"}


def decode(data: bytes, expected: Any = TYPES) -> list[dict[str, Any]]:
    decoder = Decoder(expected)
    decoder.feed(data)
    messages: list[dict[str, Any]] = []
    while (message := decoder.next_message()) is not None:
        messages.append(message)
    return messages


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message["type"])
def test_a_message_comes_back_as_it_was(message: dict[str, Any]) -> None:
    assert decode(b"".join(encode(message))) == [message]


def test_a_scope_comes_back_as_the_server_made_it_but_for_the_state_of_its_lifespan() -> None:
    (message,) = decode(b"".join(encode(encode_scope(SCOPE))))
    scope = decode_scope(message)
    assert scope == {name: value for name, value in SCOPE.items() if name != "state"}
    assert [type(pair) for pair in scope["headers"]] == [tuple] * 3
    assert type(scope["client"]) is type(scope["server"]) is tuple


def test_the_body_of_a_request_may_come_with_its_scope() -> None:
    (message,) = decode(b"".join(encode(encode_scope(SCOPE, b"\x00\xff"))))
    scope = decode_scope(message)
    assert scope.pop("body") == b"\x00\xff"
    assert scope == {name: value for name, value in SCOPE.items() if name != "state"}


def test_the_client_of_a_unix_socket_has_no_address() -> None:
    (message,) = decode(b"".join(encode(encode_scope({**SCOPE, "client": None, "server": ("unix", None)}))))
    assert (decode_scope(message)["client"], decode_scope(message)["server"]) == (None, ("unix", None))


@given(st.lists(st.sampled_from(MESSAGES), max_size=8), st.integers(1, 40))
def test_messages_come_out_however_their_bytes_are_cut(messages: list[dict[str, Any]], size: int) -> None:
    data = b"".join(frame for message in messages for frame in encode(message))
    decoder = Decoder(TYPES)
    found: list[dict[str, Any]] = []
    for begin in range(0, len(data), size):
        decoder.feed(data[begin : begin + size])
        while (message := decoder.next_message()) is not None:
            found.append(message)
    assert found == messages


@pytest.mark.parametrize("more", [True, False])
def test_a_large_body_is_sent_in_pieces(more: bool) -> None:
    body = bytes(range(256)) * 1_000
    pieces = decode(b"".join(encode({"type": "http.response.body", "body": body, "more_body": more})))
    assert b"".join(piece["body"] for piece in pieces) == body
    assert max(len(piece["body"]) for piece in pieces) <= frames.PIECE
    assert [piece["more_body"] for piece in pieces] == [True] * (len(pieces) - 1) + [more]


def test_a_message_of_a_websocket_is_never_cut() -> None:
    (message,) = decode(b"".join(encode({"type": "websocket.send", "bytes": None, "text": "x" * 300_000})))
    assert len(message["text"]) == 300_000


def raw(said: object, payload: bytes = b"") -> bytes:
    encoded = said if isinstance(said, bytes) else json.dumps(said).encode()
    return struct.pack("!II", len(encoded), len(payload)) + encoded + payload


@pytest.mark.parametrize(
    "data",
    [
        raw(b"\xff"),
        raw(b"[" * 100_000),
        raw([]),
        raw({}),
        raw({"type": 1}),
        raw({"type": ["http"]}),
        raw({"type": "http.response.push"}),
        raw({"type": "http.request"}, b"body"),
        raw({"type": "http.request", "payload": "headers"}, b"body"),
        raw({"type": "http.request", "payload": ["body"]}, b"body"),
        raw({"type": "websocket.receive", "payload": "text"}, b"\xff"),
        raw({"type": "http.request", "x": {"bytes": "\u0100"}}),
        struct.pack("!II", frames.JSON_LIMIT + 1, 0),
        struct.pack("!II", 2, frames.PAYLOAD_LIMIT + 1),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_message_is_refused_without_waiting_for_more(data: bytes) -> None:
    with pytest.raises(MalformedFrame):
        decode(data)


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    try:
        decode(data)
        decode(raw(data))
    except MalformedFrame:
        pass


def test_a_message_that_is_not_expected_is_refused() -> None:
    data = b"".join(encode({"type": "http.disconnect"}))
    with pytest.raises(MalformedFrame, match=r"'http\.disconnect' is not expected"):
        decode(data, {"http.request"})


@pytest.mark.parametrize(
    "change",
    [
        {"headers": [["a", "b"]]},
        {"headers": [5, 5]},
        {"headers": None},
        {"headers": ["a", "b", "c"]},
        {"headers": ["a", "\u20ac"]},
        {"path": 1},
        {"raw_path": b"/"},
        {"query_string": None},
        {"scheme": None},
        {"client": "here"},
        {"type": "websocket"},
        {"method": None},
    ],
    ids=str,
)
def test_a_scope_that_no_server_makes_is_refused(change: dict[str, Any]) -> None:
    (message,) = decode(b"".join(encode({**encode_scope(SCOPE), **change})))
    with pytest.raises(MalformedFrame):
        decode_scope(message)


def test_a_websocket_that_has_a_body_is_refused() -> None:
    scope = {name: value for name, value in SCOPE.items() if name != "method"}
    (message,) = decode(b"".join(encode(encode_scope({**scope, "type": "websocket"}, b""))))
    with pytest.raises(MalformedFrame):
        decode_scope(message)


def test_a_scope_without_a_path_is_refused() -> None:
    (message,) = decode(b"".join(encode({"type": "http", "method": "GET", "headers": []})))
    with pytest.raises(MalformedFrame):
        decode_scope(message)


def test_what_cannot_be_sent_is_an_error_of_the_sender() -> None:
    with pytest.raises(TypeError, match="has a object"):
        list(encode({"type": "http.response.start", "status": object()}))
    with pytest.raises(MalformedFrame, match="too large"):
        list(encode({"type": "http.response.start", "headers": [("x", "y" * frames.JSON_LIMIT)]}))
