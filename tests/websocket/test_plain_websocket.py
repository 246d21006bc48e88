"""A websocket whose plain messages pass wsproto by is, for its app and its client, what Hypercorn's own is."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import pytest
from hypercorn.config import Config
from hypercorn.protocol.events import Data, StreamClosed
from hypercorn.protocol.ws_stream import ASGIWebsocketState, WSStream
from hypercorn.utils import UnexpectedMessageError
from hypothesis import example, given, settings, strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from flash._hypercorn_websocket import BoundedMessage, FlashWSStream
from flash.plain_websocket import FrameEnds, read_texts, write_text

LIMIT = 300
TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0


def frame(
    kind: int,
    payload: bytes,
    *,
    fin: bool = True,
    mask: bytes | None = b"\x01\xfe\x7f\x80",
    reserved: int = 0,
    form: int = 0,
) -> bytes:
    """A frame of a client; `form` writes its length in more bytes than it needs."""
    size, masked = len(payload), 0x80 if mask is not None else 0
    head = bytes([(0x80 if fin else 0) | reserved | kind])
    if size < 126 and form == 0:
        head += bytes([masked | size])
    elif size < 1 << 16 and form < 2:
        head += bytes([masked | 126]) + struct.pack("!H", size)
    else:
        head += bytes([masked | 127]) + struct.pack("!Q", size)
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


PLAIN = [
    frame(TEXT, text.encode()) for text in ("", "a", "ä\N{GRINNING FACE}", '{"type":"heartbeat"}' * 8, "x" * LIMIT)
]
OTHERS = [
    frame(TEXT, b"fra", fin=False) + frame(CONTINUATION, b"gment"),
    frame(TEXT, "ä".encode()[:1], fin=False) + frame(PING, b"1") + frame(CONTINUATION, "ä".encode()[1:]),
    frame(TEXT, b"", fin=False) + frame(CONTINUATION, b""),
    frame(BINARY, b"\x00\xff"),
    frame(PING, b"are you there"),
    frame(PONG, b""),
    frame(TEXT, b"an open one", fin=False),
    frame(CONTINUATION, b"a lost one"),
    frame(TEXT, b"x" * (LIMIT + 1)),
    frame(TEXT, b"y" * (LIMIT - 1), fin=False) + frame(CONTINUATION, b"zz"),
    frame(TEXT, b"unmasked", mask=None),
    frame(TEXT, b"reserved", reserved=0x40),
    frame(TEXT, b"long", form=1),
    frame(TEXT, b"longer", form=2),
    frame(TEXT, b"\xff\xfe"),
    frame(TEXT, "ä".encode()[:1]),
    frame(3, b"no such kind"),
    frame(CLOSE, struct.pack("!H", 1000) + b"bye"),
    frame(CLOSE, b""),
]


class Stream:
    """A websocket whose handshake is over, of Hypercorn's class or Flash's.

    Attributes:
        events: what its app was given, and its client was sent, in order.
    """

    def __init__(self, kind: type[WSStream]) -> None:
        self.events: list[Any] = []
        make: Any = WSStream
        made = make(None, Config(), None, None, False, None, None, self._send, 1)
        made.__class__ = kind
        made.handshake = type("Handshake", (), {"accepted": True})
        if isinstance(made, FlashWSStream):
            made.set_up(None)
        made.buffer = BoundedMessage(LIMIT)
        made.state, made.connection = ASGIWebsocketState.CONNECTED, Connection(ConnectionType.SERVER, [])
        made.app_put = self._put
        self._stream = made

    async def _send(self, event: Any) -> None:
        self.events.append(event)
        if isinstance(event, StreamClosed):
            self._stream.closed = True

    async def _put(self, message: Any) -> None:
        self.events.append(message)

    def _run(self, coroutine: Any) -> None:
        # Nothing of it waits.
        with pytest.raises(StopIteration):
            coroutine.send(None)

    def receive(self, data: bytes) -> None:
        try:
            self._run(self._stream.handle(Data(1, data)))
        except Exception as error:
            self.events.append(type(error))

    def send(self, message: dict[str, Any]) -> None:
        self._run(self._stream.app_send(message))


WITHIN_ANOTHER = frame(BINARY, PLAIN[1] * 2, mask=bytes(4))
LIKE_ONE = frame(BINARY, b"abc", mask=b"\x81\x81\x00\x00")
PARTS = [
    *PLAIN,
    *OTHERS,
    # A frame by frame, and plain frames that are not what they seem.
    frame(TEXT, b"begun", fin=False),
    frame(TEXT, b"x" * (LIMIT + 1), fin=False),
    frame(CONTINUATION, b"ended"),
    frame(TEXT, b"", fin=False),
    LIKE_ONE[:2],
    LIKE_ONE[2:],
    WITHIN_ANOTHER[: -len(PLAIN[1])],
    WITHIN_ANOTHER[-len(PLAIN[1]) :],
    b"close",
]


@settings(max_examples=300, deadline=None)
@example([LIKE_ONE[:2], LIKE_ONE[2:], PLAIN[1]], [0] * 8)
@example([frame(TEXT, b"", fin=False), PLAIN[1]], [0] * 8)
@example([frame(TEXT, b"x" * (LIMIT + 1)), PLAIN[1]], [0] * 8)
@given(
    st.lists(st.one_of(st.sampled_from(PLAIN), st.sampled_from(PARTS)), min_size=1, max_size=8),
    st.lists(st.one_of(st.just(0), st.integers(0, 20)), min_size=8, max_size=8),
)
def test_whatever_a_client_sends_comes_as_with_hypercorn_by_itself(parts: list[bytes], kept: list[int]) -> None:
    """`kept`: how many bytes of each part come with the next one."""
    ours, hypercorns = Stream(FlashWSStream), Stream(WSStream)
    for stream in (ours, hypercorns):
        rest = b""
        for part, keep in zip(parts, kept, strict=False):
            if part == b"close":
                stream.send({"type": "websocket.close", "code": 1000})
                continue
            data = rest + part
            data, rest = data[: max(0, len(data) - keep)], data[max(0, len(data) - keep) :]
            if data:
                stream.receive(data)
            with contextlib.suppress(UnexpectedMessageError):
                stream.send({"type": "websocket.send", "text": "between", "bytes": None})
        if rest:
            stream.receive(rest)
    assert ours.events == hypercorns.events


@pytest.mark.parametrize("sent", PLAIN, ids=range(len(PLAIN)))
def test_a_plain_message_passes_wsproto_by(sent: bytes) -> None:
    texts = read_texts(sent + sent, LIMIT)
    assert texts is not None
    assert len(texts) == 2
    assert [read_texts(sent[:at], LIMIT) for at in range(1, len(sent))] == [None] * (len(sent) - 1)


@pytest.mark.parametrize("sent", OTHERS, ids=range(len(OTHERS)))
def test_another_one_does_not(sent: bytes) -> None:
    assert read_texts(sent, LIMIT) is None
    assert read_texts(PLAIN[1] + sent, LIMIT) is None


@pytest.mark.parametrize("sent", PLAIN + OTHERS, ids=range(len(PLAIN + OTHERS)))
@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
def test_the_end_of_each_frame_is_known_however_it_comes(sent: bytes, size: int) -> None:
    ends = FrameEnds()
    for whole in (sent, frame(TEXT, bytes(1_000)), sent):
        assert ends.is_between_frames
        for at in range(0, len(whole) - 1, size):
            ends.pass_on(whole[at : min(at + size, len(whole) - 1)])
        assert not ends.is_between_frames
        ends.pass_on(whole[-1:])
    assert ends.is_between_frames


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_a_message_is_written_as_wsproto_writes_it(size: int) -> None:
    for text in ("x" * size, "ä" * size):
        assert write_text(text) == Connection(ConnectionType.SERVER, []).send(TextMessage(data=text))
