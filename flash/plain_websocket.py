"""Reads the messages of a websocket that are plain, and writes messages: each in one go.

    bytes ── read_texts ──┬── messages
                          └── None: wsproto reads them, and `FrameEnds` says when the next may be plain

Nearly all messages of a page are short texts, each in one frame, and whole in what one read of the socket brings. What
is here takes those, and nothing else. Whatever has anything more to it, such as a fragment, a ping, a frame that is not
masked or whose length is written in more bytes than it needs, or a text that is not UTF-8, is left to wsproto, as is
every mistake. `tests/websocket/test_plain_websocket.py` holds this module to wsproto.
"""

from __future__ import annotations

_WHOLE_TEXT = 0x81
"""The first byte of a frame that is a whole message of text, and has no extension."""

_MASKED = 0x80
_TWO_BYTES, _EIGHT_BYTES = 126, 127
"""In the second byte of a frame: whether it is masked, and in how many bytes its length follows."""

_MASK_SIZE = 4


def read_texts(data: bytes, limit: int) -> list[str] | None:
    """The messages that some bytes are; None if they are not exactly frames that are plain.

    Args:
        data: what a client has sent, from the beginning of a message.
        limit: the most characters of a message.
    """
    texts: list[str] = []
    at, end = 0, len(data)
    while at < end:
        if end - at < 2 or data[at] != _WHOLE_TEXT or not data[at + 1] & _MASKED:
            return None
        size = data[at + 1] & ~_MASKED
        at += 2
        if size == _TWO_BYTES:
            size = int.from_bytes(data[at : at + 2], "big")
            at += 2
            if size < _TWO_BYTES:
                return None
        elif size == _EIGHT_BYTES:
            return None
        mask, start = data[at : at + _MASK_SIZE], at + _MASK_SIZE
        at = start + size
        if at > end:
            return None
        try:
            text = _unmasked(data[start:at], mask).decode()
        except UnicodeDecodeError:
            return None
        if len(text) > limit:
            return None
        texts.append(text)
    return texts


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    key = (mask * (size // _MASK_SIZE + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


def write_text(text: str) -> bytes:
    """The frame of a server that is a whole message of text."""
    payload = text.encode()
    size = len(payload)
    if size < _TWO_BYTES:
        return bytes((_WHOLE_TEXT, size)) + payload
    if size < 1 << 16:
        return bytes((_WHOLE_TEXT, _TWO_BYTES)) + size.to_bytes(2, "big") + payload
    return bytes((_WHOLE_TEXT, _EIGHT_BYTES)) + size.to_bytes(8, "big") + payload


class FrameEnds:
    """Follows what a client has sent from one frame to the next, without reading any."""

    __slots__ = ("_head", "_missing")

    def __init__(self) -> None:
        # The part of the head of a frame that has come, and the bytes of its payload that have not.
        self._head = b""
        self._missing = 0

    @property
    def is_between_frames(self) -> bool:
        """Whether a frame has ended with what came last."""
        return not self._head and not self._missing

    def pass_on(self, data: bytes) -> None:
        """Some bytes more have come."""
        while data:
            if not self._missing:
                data, self._head = self._head + data, b""
                head = _head_size(data)
                if len(data) < head:
                    self._head = data
                    return
                self._missing = _payload_size(data)
                data = data[head:]
            passed = min(self._missing, len(data))
            self._missing -= passed
            data = data[passed:]


def _head_size(data: bytes) -> int:
    """The size of the head of the frame that begins with `data`, as far as that says."""
    if len(data) < 2:
        return 2
    size = {_TWO_BYTES: 4, _EIGHT_BYTES: 10}.get(data[1] & ~_MASKED, 2)
    return size + _MASK_SIZE if data[1] & _MASKED else size


def _payload_size(head: bytes) -> int:
    size = head[1] & ~_MASKED
    if size == _TWO_BYTES:
        return int.from_bytes(head[2:4], "big")
    return int.from_bytes(head[2:10], "big") if size == _EIGHT_BYTES else size
