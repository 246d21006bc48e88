"""Reads a request of HTTP/1.1 that is plain, and writes an answer that is: each in one go.

    bytes ── read_request ──┬── PlainRequest
                            └── None: h11 reads them

Nearly all requests of a page are alike: GET or POST, whole in what one read of the socket brings, with a body of an
announced length. And nearly all answers are one piece. What is here takes those, and nothing else. It knows a small
part of HTTP, and knows it strictly. Whatever has anything more to it, such as a chunked body, an upgrade, a second
length, a character that is not ASCII, a line that does not end in CR LF, or the next request behind it, is left to h11,
as is every mistake: h11 decides what they mean, and how they are refused. `tests/http/test_plain_http1.py` holds this
module to h11: what it takes, h11 takes in the same way, and what it writes, h11 writes in the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

Headers = Sequence[tuple[bytes, bytes]]
"""Names and values of headers."""

_TOKEN = rb"[-!#$%&'*+.^_`|~0-9a-zA-Z]+"
_LINES_OF_REQUEST = rb"(?:" + _TOKEN + rb":[\x20-\x7e]*\r\n)+"

_REQUEST = re.compile(rb"(GET|POST) ([\x21-\x7e]+) HTTP/1\.1\r\n(" + _LINES_OF_REQUEST + rb")\r\n")
_LINES_OF_ANSWER = re.compile(rb"(?:" + _TOKEN + rb": (?:[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?\r\n)+")

_MAX_DIGITS = 10
"""The most digits of a plain length."""

_FRAMING = frozenset([b"connection", b"content-length", b"expect", b"host", b"transfer-encoding", b"upgrade"])
"""The headers that say where a message ends, or what becomes of its connection."""

NO_CONTENT, NOT_MODIFIED = 204, 304
"""The statuses whose responses have no body, whatever their headers say."""


class PlainRequest(NamedTuple):
    """A request that has come whole.

    Attributes:
        method: "GET" or "POST".
        target: the path, and the query after a `?`.
        headers: with names in lower case.
        body: all of it.
    """

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes


def read_request(data: bytes) -> PlainRequest | None:
    """The request that some bytes are; None if they are not exactly one, or it is not plain."""
    found = _REQUEST.match(data)
    if found is None:
        return None
    headers: list[tuple[bytes, bytes]] = []
    length, hosts = b"", 0
    for line in found[3].splitlines():
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip()
        headers.append((name, value))
        if name in _FRAMING:
            if name == b"host":
                hosts += 1
            elif name == b"content-length" and not length and value.isdigit() and len(value) <= _MAX_DIGITS:
                length = value
            elif name != b"connection" or value.lower() != b"keep-alive":
                return None
    end = found.end()
    if hosts != 1 or len(data) - end != int(length or b"0"):
        return None
    return PlainRequest(found[1].decode(), found[2], headers, data[end:])


def write_answer(status: int, headers: Headers, body: bytes) -> bytes | None:
    """The bytes of a response to a plain request; None if the response is not plain.

    Args:
        status: of the response.
        headers: all of them, the length of the body among them, unless the status is 204.
        body: all of it.
    """
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    # A value with a line break in it would be two lines.
    if _LINES_OF_ANSWER.fullmatch(lines) is None or lines.count(b"\r\n") != len(headers):
        return None
    framing = [(name.lower(), value) for name, value in headers if name.lower() in _FRAMING]
    announced = [(b"content-length", b"%d" % len(body))]
    is_plain = (framing in ([], announced) and not body) if status == NO_CONTENT else framing == announced
    if not is_plain or not 200 <= status <= 599 or status == NOT_MODIFIED:
        return None
    return b"HTTP/1.1 %d \r\n%b\r\n%b" % (status, lines, body)
