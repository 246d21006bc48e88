"""Signs what workers on different machines send each other, with a secret that the machines share.

    sender                                        receiver
      connects ─────────────────────────────────►
      ◄────────────────────────────── challenge     a random number of the receiver
      opening ──────────────────────────────────►   the name of a worker, a random number of the sender, a proof
      frame │ tag ──────────────────────────────►
      ◄───────────────────────────── frame │ tag

The secret does not travel. Out of the secret, both numbers and the address of the receiver, either side makes the keys
of this one connection. The proof shows that the sender has them; it has a fixed size, so that nothing of unknown length
is read from a stranger. The tag of a frame is a hash, keyed, of the frame and of its number in its direction. So these
are refused: a frame that was altered, left out, repeated, moved, or sent back to where it came from; an answer of
somebody who has not got the secret; and a recording of another connection, since the receiver's number is a new one
each time. No clock has a part in that, and nothing needs to be remembered of earlier connections.

What is signed is not encrypted. Nothing here does I/O.
"""

from __future__ import annotations

import hmac
import os

from .frames import MalformedFrame

PROTOCOL = b"flash/2\n"
"""What a challenge begins with: the other end is a worker, and speaks as this one does."""

NUMBER_SIZE = 16

CHALLENGE_SIZE = len(PROTOCOL) + NUMBER_SIZE

NAME_SIZE = 12
"""Bytes of the name by which a worker is found behind the address of its machine."""

TAG_SIZE = 32

OPENING_SIZE = NAME_SIZE + NUMBER_SIZE + TAG_SIZE


REFUSED = "flash.refused"
"""The type of the message with which a receiver answers what is not signed as it should be."""


GONE = "flash.gone"
"""The type of the message with which a machine answers that it has no such worker any more."""


class BadSignature(MalformedFrame):
    """Something was not signed with the secret of this machine, or was altered on its way."""


def new_number() -> bytes:
    """A random number, for one connection."""
    return os.urandom(NUMBER_SIZE)


class Tags:
    """The tags of the frames in one direction, which are asked for in the order of the frames."""

    size = TAG_SIZE

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._number = 0

    def tag(self, frame: bytes) -> bytes:
        """The tag of the next frame."""
        self._number += 1
        return _hash(self._key, self._number.to_bytes(8) + frame)

    def check(self, frame: bytes, tag: bytes) -> None:
        """Take the next frame.

        Raises:
            BadSignature: the tag is not that of the frame.
        """
        if not hmac.compare_digest(self.tag(frame), tag):
            raise BadSignature("A frame is not signed as it should be.")


class Signatures:
    """What signs one connection.

    Attributes:
        proof: shows that the sender has the secret.
        of_sender: the tags of the frames that the sender sends.
        of_receiver: the tags of the frames that the receiver sends.
    """

    def __init__(self, secret: str, address: str, receiver: bytes, sender: bytes) -> None:
        """
        Args:
            secret: is shared by the machines.
            address: of the receiver, as the directory says it.
            receiver: the random number of the receiver.
            sender: the random number of the sender.
        """
        key = _hash(secret.encode(), receiver + sender + address.encode())
        self.proof = _hash(key, b"proof")
        self.of_sender = Tags(_hash(key, b"sender"))
        self.of_receiver = Tags(_hash(key, b"receiver"))

    def prove(self, proof: bytes) -> bool:
        """Whether this is the proof, compared in a time that does not tell how much of it is right."""
        return hmac.compare_digest(self.proof, proof)


def _hash(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")
