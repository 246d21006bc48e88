"""The messages between a worker and its supervisor, as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from flash.workers.directory import Holder
from flash.workers.supervisor_messages import (
    AskWorkers,
    Chosen,
    Claim,
    GiveUp,
    Held,
    InvalidMessage,
    Message,
    MessageReader,
    Ready,
    Resigned,
    Stopping,
    Stops,
    Workers,
    encode,
)

QUESTION = st.integers(min_value=1, max_value=2**63)
HOLDER = st.builds(Holder, st.text(), st.text(), st.booleans())
MESSAGE: st.SearchStrategy[Message] = st.one_of(
    st.just(Ready()),
    st.just(Resigned()),
    st.just(Chosen()),
    st.builds(Claim, QUESTION, st.text()),
    st.builds(GiveUp, st.text()),
    st.builds(AskWorkers, QUESTION),
    st.builds(Held, QUESTION, st.none() | HOLDER),
    st.builds(Workers, QUESTION, st.lists(HOLDER).map(tuple)),
    st.builds(Stopping, QUESTION),
    st.builds(Stops, QUESTION, st.booleans(), st.booleans()),
)


@given(st.lists(MESSAGE), st.data())
@settings(deadline=None)
def test_messages_are_read_as_they_were_written_however_their_bytes_are_cut(
    messages: list[Message], data: st.DataObject
) -> None:
    reader = MessageReader()
    sent = b"".join(encode(message) for message in messages)
    read: list[Message] = []
    while sent:
        size = data.draw(st.integers(1, len(sent)))
        read += reader.feed(sent[:size])
        sent = sent[size:]
    assert read == messages


@pytest.mark.parametrize(
    "line", [b"", b"x", b"{}", b"[]", b'["Nonsense"]', b'["Claim", "7", "a"]', b'["Held", 1, [1, 2, 3]]', b"\xff"]
)
def test_a_line_that_is_no_message_is_an_error_that_shows_it(line: bytes) -> None:
    with pytest.raises(InvalidMessage) as raised:
        MessageReader().feed(line + b"\n")
    assert repr(line) in str(raised.value)
