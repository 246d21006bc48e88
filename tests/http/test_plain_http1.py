"""What `plain_http1` takes h11 takes in the same way, and what it writes h11 writes in the same bytes."""

from __future__ import annotations

from typing import Any

import h11
import pytest
from hypothesis import given, settings, strategies as st

from flash.plain_http1 import PlainRequest, read_request, write_answer

PLAIN = (
    b"POST /_dash-update-component?a=1 HTTP/1.1\r\nHost: here:8050\r\nContent-Type: application/json\r\n"
    b"Cookie:  a=b; c=d \r\nX-Empty:\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc"
)

NOT_PLAIN = {
    "nothing": b"",
    "a part of the head": PLAIN[:40],
    "a part of the body": PLAIN[:-1],
    "the next request behind it": PLAIN + b"G",
    "another method": PLAIN.replace(b"POST", b"HEAD"),
    "HTTP/1.0": PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no host": PLAIN.replace(b"Host: here:8050\r\n", b""),
    "two hosts": PLAIN.replace(b"Host: here:8050", b"Host: here\r\nHost: there"),
    "two lengths": PLAIN.replace(b"Content-Length: 3", b"Content-Length: 3\r\nContent-Length: 3"),
    "two lengths that differ": PLAIN.replace(b"Content-Length: 3", b"Content-Length: 3\r\nContent-Length: 30"),
    "two lengths, the first of which is empty": PLAIN.replace(
        b"Content-Length: 3", b"Content-Length:\r\nContent-Length: 3"
    ),
    "two lengths in one": PLAIN.replace(b"Content-Length: 3", b"Content-Length: 3, 3"),
    "a length with a sign": PLAIN.replace(b"Content-Length: 3", b"Content-Length: +3"),
    "a length that is not decimal": PLAIN.replace(b"Content-Length: 3", b"Content-Length: 0x3"),
    "a length of many digits": PLAIN.replace(b"Content-Length: 3", b"Content-Length: 00000000003"),
    "chunks": PLAIN.replace(b"Content-Length: 3", b"Transfer-Encoding: chunked"),
    "chunks and a length": PLAIN.replace(b"Content-Length: 3", b"Content-Length: 3\r\nTransfer-Encoding: chunked"),
    "another coding": PLAIN.replace(b"Content-Length: 3", b"Content-Length: 3\r\nTransfer-Encoding: identity"),
    "the end of the connection": PLAIN.replace(b"keep-alive", b"close"),
    "the end of the connection among others": PLAIN.replace(b"keep-alive", b"keep-alive, close"),
    "an upgrade": PLAIN.replace(b"Connection: keep-alive", b"Connection: upgrade\r\nUpgrade: h2c"),
    "an expectation": PLAIN.replace(b"X-Empty:", b"Expect: 100-continue"),
    "a space before a colon": PLAIN.replace(b"Content-Length: 3", b"Content-Length : 3"),
    "a space in a name": PLAIN.replace(b"X-Empty:", b"X Empty:"),
    "a line without a colon": PLAIN.replace(b"X-Empty:", b"X-Empty"),
    "a folded line": PLAIN.replace(b"X-Empty:", b"X-Empty: a\r\n b"),
    "a line that ends in LF": PLAIN.replace(b"X-Empty:\r\n", b"X-Empty:\n"),
    "a line with a CR in it": PLAIN.replace(b"X-Empty:", b"X-Empty: a\rContent-Length: 5"),
    "a NUL": PLAIN.replace(b"X-Empty:", b"X-Empty: \x00"),
    "a tab": PLAIN.replace(b"X-Empty:", b"X-Empty: a\tb"),
    "more than ASCII": PLAIN.replace(b"X-Empty:", "X-Empty: \xe4".encode()),
    "a space in the target": PLAIN.replace(b"/_dash", b"/ _dash"),
    "two spaces before the version": PLAIN.replace(b" HTTP", b"  HTTP"),
    "an empty line before it": b"\r\n" + PLAIN,
    "no header": b"GET / HTTP/1.1\r\n\r\n",
}


def read_by_h11(data: bytes) -> PlainRequest | None:
    """The request that some bytes are, by h11; None if they are none, or not exactly one."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    try:
        request: Any = connection.next_event()
        if not isinstance(request, h11.Request):
            return None
        body = b""
        while isinstance(event := connection.next_event(), h11.Data):
            body += event.data
    except h11.RemoteProtocolError:
        return None
    if not isinstance(event, h11.EndOfMessage) or connection.trailing_data != (b"", False):
        return None
    return PlainRequest(request.method.decode(), request.target, list(request.headers), body)


def written_by_h11(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes | None:
    """The bytes of a response, by h11, to a request that asks for nothing else; None if h11 refuses to write it."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
    assert [type(connection.next_event()) for _ in range(2)] == [h11.Request, h11.EndOfMessage]
    try:
        parts = [
            connection.send(h11.Response(status_code=status, headers=headers)),
            connection.send(h11.Data(data=body)) if body else b"",
            connection.send(h11.EndOfMessage()),
        ]
    except h11.LocalProtocolError:
        return None
    assert connection.our_state is h11.DONE
    return b"".join(part or b"" for part in parts)


def test_a_plain_request_is_read_as_h11_reads_it() -> None:
    request = read_request(PLAIN)
    assert request == read_by_h11(PLAIN)
    assert request is not None
    assert (request.method, request.body) == ("POST", b"abc")
    assert dict(request.headers)[b"cookie"] == b"a=b; c=d"
    without_body = b"GET / HTTP/1.1\r\nhost:\r\n\r\n"
    assert read_request(without_body) == read_by_h11(without_body) == PlainRequest("GET", b"/", [(b"host", b"")], b"")


@pytest.mark.parametrize("data", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_what_is_not_plain_is_left_to_h11(data: bytes) -> None:
    assert data != PLAIN
    assert read_request(data) is None


PIECES = [
    *(b"\r\n", b"\r\n\r\n", b"\n", b"\r", b" ", b"\t", b":", b",", b"\x00", b"\x0b", b"\x85", b"\xff", b"0", b"3"),
    *(b"Host: a", b"Content-Length: 3", b"content-length:4", b"Transfer-Encoding: chunked", b"Connection: close"),
    *(
        b"X: y",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"3\r\nabc\r\n0\r\n\r\n",
        b"Upgrade: h2c",
        b"Expect: 100-continue",
    ),
]


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_whatever_is_read_of_a_request_that_was_tampered_with_h11_reads_too(data: st.DataObject) -> None:
    request = PLAIN
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(request)))
        end = data.draw(st.integers(start, min(len(request), start + data.draw(st.integers(0, 20)))))
        request = request[:start] + data.draw(st.sampled_from(PIECES) | st.binary(max_size=3)) + request[end:]
    read = read_request(request)
    assert read is None or read == read_by_h11(request)


NAMES = st.sampled_from(
    [
        b"content-length",
        b"Content-Length",
        b"Content-Type",
        b"connection",
        b"transfer-encoding",
        b"date",
        b"x y",
        b"",
        b"a:",
    ]
)
VALUES = st.sampled_from(
    [
        b"0",
        b"3",
        b"4",
        b"03",
        b"text/html",
        b"close",
        b"chunked",
        b"",
        b" 3",
        b"a b",
        b"a\r\nb: c",
        b"a\nb",
        b"a\r",
        b"\xe4",
        b"\x00",
    ]
)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from([200, 201, 204, 304, 404, 500, 599, 100, 101, 600]),
    st.lists(st.tuples(NAMES, VALUES), max_size=4),
    st.sampled_from([b"", b"abc", b"a\r\n"]),
)
def test_whatever_is_written_h11_writes_too(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    headers = [(b"content-length", b"%d" % len(body)), *headers]
    for some in (headers, headers[1:]):
        written = write_answer(status, some, body)
        assert written is None or written == written_by_h11(status, some, body)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, [(b"content-length", b"4")]),
        (200, [(b"content-length", b"3"), (b"content-length", b"3")]),
        (200, [(b"content-length", b"3"), (b"connection", b"close")]),
        (200, [(b"content-length", b"3"), (b"Connection", b"Close")]),
        (200, [(b"content-length", b"3"), (b"transfer-encoding", b"chunked")]),
        (200, [(b"content-length", b"3"), (b"x", b"a\r\nset-cookie: b")]),
        (200, []),
        (204, [(b"content-length", b"3")]),
        (304, [(b"content-length", b"3")]),
        (101, [(b"content-length", b"3")]),
    ],
)
def test_an_answer_that_is_not_plain_is_left_to_h11(status: int, headers: list[tuple[bytes, bytes]]) -> None:
    assert write_answer(status, headers, b"abc") is None


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"0")]])
def test_an_answer_without_content_is_written_as_h11_writes_it(headers: list[tuple[bytes, bytes]]) -> None:
    written = write_answer(204, [(b"date", b"now"), *headers], b"")
    assert written is not None
    assert written == written_by_h11(204, [(b"date", b"now"), *headers], b"")


def test_an_answer_is_written_as_h11_writes_it() -> None:
    headers = [
        (b"Content-Type", b"application/json"),
        (b"content-length", b"3"),
        (b"x", b""),
        (b"date", b"now or then"),
    ]
    assert write_answer(200, headers, b"abc") == written_by_h11(200, headers, b"abc")
    assert write_answer(200, headers, b"abc") is not None
