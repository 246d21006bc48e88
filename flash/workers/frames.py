"""Encodes the messages that workers send each other: those of ASGI, and a few of Flash's own.

    frame    size of the JSON (4 bytes) │ size of the payload (4 bytes) │ JSON │ payload
    JSON     the message, a dict with a "type", without its payload; a bytes object in it is {"bytes": "latin-1"}
    payload  what of a message may be large, unchanged: its "body" or "bytes", or its "text" as UTF-8

Between machines a tag follows each frame, which signs it: see `signatures`.

A request that is sent on keeps the form in which the server has given it to the app, so nothing of it is lost: the
client's address, the scheme, the version of HTTP, the headers as bytes and in order.

The other end is another process, maybe on another machine. So a `Decoder` takes only the types of messages that it is
told to expect, and only sizes within bounds, which it checks before it waits for the bytes. Whatever else comes raises
`MalformedFrame`. There is no I/O here: who has a connection feeds the decoder what has come from it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from typing import Any, Protocol, cast

from ..errors import FlashError

Message = dict[str, Any]
"""A message of ASGI, or a scope. Its "type" is a string."""

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

JSON_LIMIT = 1_000_000
"""Bytes of the JSON of one message. Servers bound the headers of a request by less."""

PAYLOAD_LIMIT = 64_000_000
"""Bytes of a payload: more than a server accepts in one message of a websocket. Bodies are sent in pieces."""

HELD, NOT_HELD, OVER = "flash.held", "flash.not_held", "flash.over"
"""The types of what a worker says of a request that another one sends on: it takes it, or does not; the app has done
with it."""

PIECE = 65_536
"""Bytes of a body in one frame at most."""

_HEAD = struct.Struct("!II")

_PAYLOADS = ("body", "bytes", "text")
"""The fields that may be a payload. A message has one of them at most."""

_BODIES = ("http.request", "http.response.body", "websocket.http.response.body")
"""The messages that are a part of a body, and may be sent in pieces."""


class MalformedFrame(FlashError):
    """Another worker has sent something that is no message, or none that is expected."""


def encode(message: Message) -> Iterator[bytes]:
    """The frames of a message: one, or one for each piece of a large body.

    Raises:
        TypeError: the message has something that is neither JSON nor bytes.
    """
    rest, name, payload = _split(message)
    if len(payload) <= PIECE or message["type"] not in _BODIES:
        yield _frame(rest, name, payload)
        return
    for begin in range(0, len(payload), PIECE):
        is_last = begin + PIECE >= len(payload)
        piece = {**rest, "more_body": not is_last or rest.get("more_body", False)}
        yield _frame(piece, name, payload[begin : begin + PIECE])


def _split(message: Message) -> tuple[Message, str | None, bytes]:
    """A message without its payload, the name of the payload's field, and the payload."""
    for name in _PAYLOADS:
        payload = message.get(name)
        if payload is not None:
            rest = {key: value for key, value in message.items() if key != name}
            # Half a surrogate pair, which JSON may contain, has no encoding of its own.
            return rest, name, payload.encode(errors="surrogatepass") if name == "text" else bytes(payload)
    return message, None, b""


def _frame(rest: Message, name: str | None, payload: bytes) -> bytes:
    fields = rest if name is None else {**rest, "payload": name}
    encoded = _to_json(fields).encode()
    if len(encoded) > JSON_LIMIT or len(payload) > PAYLOAD_LIMIT:
        raise MalformedFrame(f"A message of {len(encoded) + len(payload)} bytes is too large for another worker.")
    return b"%b%b%b" % (_HEAD.pack(len(encoded), len(payload)), encoded, payload)


def _encode_bytes(value: object) -> dict[str, str]:
    if isinstance(value, bytes | bytearray | memoryview):
        return {"bytes": bytes(cast("bytes", value)).decode("latin-1")}
    raise TypeError(f"A message for another worker has a {type(value).__name__}, which cannot be sent.")


class TagCheck(Protocol):
    """Checks the tags of the frames that come, in their order; `size` is the number of bytes of each."""

    @property
    def size(self) -> int: ...
    def check(self, frame: bytes, tag: bytes) -> None: ...


class Decoder:
    """Makes messages of the bytes that have come over one connection."""

    def __init__(self, expected: Collection[str], tags: TagCheck | None = None) -> None:
        """
        Args:
            expected: the types of the messages that may come. It may be replaced as the conversation goes on.
            tags: check the frames; None if they are not signed.
        """
        self.expected = expected
        self._tags = tags
        self._received = bytearray()

    @property
    def has_begun(self) -> bool:
        """Whether something has come that was not taken."""
        return bool(self._received)

    def feed(self, data: bytes | bytearray) -> None:
        """Take bytes that have come."""
        self._received += data

    def next_message(self) -> Message | None:
        """The next message; None if not all of it has come.

        Raises:
            MalformedFrame: it is none that is expected, or too large, or not signed. Nothing that comes after it can be
                read.
        """
        if len(self._received) < _HEAD.size:
            return None
        json_size, payload_size = cast("tuple[int, int]", _HEAD.unpack_from(self._received))
        if json_size > JSON_LIMIT or payload_size > PAYLOAD_LIMIT:
            raise MalformedFrame(f"A message of {json_size + payload_size} bytes is too large.")
        end = _HEAD.size + json_size + payload_size
        whole = end if self._tags is None else end + self._tags.size
        if len(self._received) < whole:
            return None
        if self._tags is not None:
            self._tags.check(bytes(self._received[:end]), bytes(self._received[end:whole]))
        message = self._read(bytes(self._received[_HEAD.size : _HEAD.size + json_size]))
        self._put_payload(message, bytes(self._received[end - payload_size : end]))
        del self._received[:whole]
        return message

    def _read(self, encoded: bytes) -> Message:
        try:
            message: object = _parse(encoded.decode())
        except (ValueError, RecursionError) as error:
            raise MalformedFrame("A message is no JSON.") from error
        if not isinstance(message, dict):
            raise MalformedFrame("A message is no JSON object.")
        message = cast("Message", message)
        if not isinstance(message.get("type"), str) or message["type"] not in self.expected:
            raise MalformedFrame(f"A message of the type {str(message.get('type'))[:40]!r} is not expected here.")
        return message

    @staticmethod
    def _put_payload(message: Message, payload: bytes) -> None:
        name = message.pop("payload", None)
        if name is None:
            if payload:
                raise MalformedFrame("A message has a payload without a name.")
        elif name not in _PAYLOADS:
            raise MalformedFrame("A message has a payload that is no body, bytes or text.")
        else:
            try:
                message[name] = payload.decode(errors="surrogatepass") if name == "text" else payload
            except ValueError as error:
                raise MalformedFrame("The text of a message is no UTF-8.") from error


def _decode_bytes(value: dict[str, Any]) -> Any:
    if len(value) == 1 and isinstance(value.get("bytes"), str):
        try:
            return cast("str", value["bytes"]).encode("latin-1")
        except UnicodeEncodeError as error:
            raise MalformedFrame("The bytes in a message are no latin-1.") from error
    return value


# Made once: `json.dumps` and `json.loads` make one for each message.
_to_json = json.JSONEncoder(default=_encode_bytes, separators=(",", ":")).encode
_parse = json.JSONDecoder(object_hook=_decode_bytes).decode


SCOPE_TYPES = ("http", "websocket")
"""The types of scopes that are sent on."""

_TEXT_IN_MESSAGE = ("raw_path", "query_string")
"""The fields of a scope that are bytes, and Latin-1 in its message. So are the headers, without their pairs."""


def encode_scope(scope: Message, body: bytes | None = None) -> Message:
    """The message for a scope, without the state of the server's lifespan: that is another one in each worker.

    Args:
        scope: of the request.
        body: all of the request's body; None if that is sent by messages of its own.
    """
    message = {key: value for key, value in scope.items() if key != "state"}
    # A request has dozens of headers, and JSON takes four times as long for a pair of objects that stand for bytes.
    message["headers"] = [part.decode("latin-1") for header in scope["headers"] for part in header]
    for name in _TEXT_IN_MESSAGE:
        message[name] = message[name].decode("latin-1")
    if body is not None:
        message["body"] = body
    return message


def decode_scope(message: Message) -> Message:
    """The scope in a message, as a server would have made it. All of the request's body may be in it, as "body".

    Raises:
        MalformedFrame: it is none.
    """
    try:
        scope = {
            **message,
            **{name: _bytes(message[name]) for name in _TEXT_IN_MESSAGE},
            "headers": _headers(message["headers"]),
            "client": _address(message.get("client")),
            "server": _address(message.get("server")),
        }
        is_scope = (
            message["type"] in SCOPE_TYPES
            and all(isinstance(message[name], str) for name in ("path", "scheme", "http_version"))
            and isinstance(message.get("method", ""), str)
            and isinstance(message.get("body", b""), bytes)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedFrame("A request has no form of ASGI's.") from error
    is_http = message.get("type") == "http"
    if not is_scope or is_http != ("method" in message) or ("body" in message and not is_http):
        raise MalformedFrame("A request has no form of ASGI's.")
    return scope


def _headers(parts: Iterable[object]) -> list[tuple[bytes, bytes]]:
    """The headers whose names and values these are, in turn."""
    encoded = [_bytes(part) for part in parts]
    return list(zip(encoded[::2], encoded[1::2], strict=True))


def _bytes(value: object) -> bytes:
    if not isinstance(value, str):
        raise TypeError
    return value.encode("latin-1")


def _address(value: object) -> tuple[Any, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise TypeError
    return tuple(cast("list[Any]", value))
