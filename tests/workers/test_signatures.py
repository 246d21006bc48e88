"""What signs a connection between two machines: which tags and proofs are right, and of what."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from flash.workers.frames import Decoder, encode
from flash.workers.signatures import TAG_SIZE, BadSignature, Signatures, new_number

SECRET = "a secret of forty characters, or nearly so"
HERE, THERE = new_number(), new_number()


def both(secret: str = SECRET, address: str = "a:1/x", receiver: bytes = HERE, sender: bytes = THERE) -> Signatures:
    return Signatures(secret, address, receiver, sender)


def test_both_sides_make_the_same_proof_and_the_same_tags() -> None:
    one, other = both(), both()
    assert one.prove(other.proof)
    for frame in (b"first", b"second"):
        other.of_sender.check(frame, one.of_sender.tag(frame))
        one.of_receiver.check(frame, other.of_receiver.tag(frame))


@pytest.mark.parametrize(
    "other",
    [both(secret="b" * 40), both(address="a:1/y"), both(receiver=THERE), both(sender=HERE)],
    ids=["secret", "address", "number of the receiver", "number of the sender"],
)
def test_each_part_of_a_connection_has_a_part_in_what_signs_it(other: Signatures) -> None:
    assert not other.prove(both().proof)
    with pytest.raises(BadSignature):
        other.of_sender.check(b"frame", both().of_sender.tag(b"frame"))
    with pytest.raises(BadSignature):
        other.of_receiver.check(b"frame", both().of_receiver.tag(b"frame"))


def test_a_frame_that_is_left_out_repeated_or_sent_back_is_not_signed() -> None:
    tags = [both().of_sender.tag(b"same")]
    sender = both()
    tags = [sender.of_sender.tag(b"same") for _ in range(3)]
    assert len(set(tags)) == 3
    left_out, repeated, sent_back = both().of_sender, both().of_sender, both().of_receiver
    with pytest.raises(BadSignature):
        left_out.check(b"same", tags[1])
    repeated.check(b"same", tags[0])
    with pytest.raises(BadSignature):
        repeated.check(b"same", tags[0])
    with pytest.raises(BadSignature):
        sent_back.check(b"same", tags[0])


@given(st.binary(max_size=200), st.data())
def test_a_decoder_takes_a_signed_message_however_it_is_cut_and_none_of_which_a_bit_is_another(
    body: bytes, data: st.DataObject
) -> None:
    message = {"type": "http.request", "body": body, "more_body": False}
    (frame,) = encode(message)
    signed = frame + both().of_sender.tag(frame)
    decoder = Decoder(["http.request"], both().of_sender)
    cut = data.draw(st.integers(0, len(signed)))
    decoder.feed(signed[:cut])
    early = decoder.next_message()
    decoder.feed(signed[cut:])
    assert (early or decoder.next_message()) == message
    # Sizes that are altered may have the decoder wait for more: what matters is that it gives out nothing.
    position = data.draw(st.integers(8, len(signed) - 1))
    altered = bytearray(signed)
    altered[position] ^= 1 << data.draw(st.integers(0, 7))
    decoder = Decoder(["http.request"], both().of_sender)
    decoder.feed(altered)
    with pytest.raises(BadSignature):
        decoder.next_message()


def test_a_message_is_given_out_only_when_its_tag_has_come() -> None:
    (frame,) = encode({"type": "http.disconnect"})
    decoder = Decoder(["http.disconnect"], both().of_sender)
    decoder.feed(frame + bytes(TAG_SIZE - 1))
    assert decoder.next_message() is None
