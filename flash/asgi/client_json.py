"""Reads JSON that a client has sent: in a thread when it is large, and not at all when it would not fit.

A byte of JSON costs more than a byte of memory: `[],` takes three bytes and a hundred bytes of Python objects, and no
other thread runs while Python reads it. So what a document would take is estimated from how many brackets, commas and
quotes it has, which is counted in a moment, and a document beyond `MAX_OBJECTS` is refused before it is read. Large
ones are read in threads, so many at a time that they have a bound together.
"""

from __future__ import annotations

import json
import os
import zlib
from contextvars import ContextVar

import trio

from ..errors import RequestRefused

MAX_UNPACKED = int(os.environ.get("DASH_MAX_PAYLOAD_SIZE_MB", "64")) * 1024 * 1024
"""Bytes that a compressed document may unpack to; the variable is Dash's."""

MAX_OBJECTS = 6 * MAX_UNPACKED
"""Bytes that the objects of a document may take, by the estimate; the text of its strings does not count."""

LARGE = 256_000
"""Bytes beyond which a document is read in a thread: some milliseconds' work."""

SMALL = 4_000
"""Bytes up to which a document takes no memory to speak of."""

DOCUMENT_SIZE: ContextVar[int] = ContextVar("flash_document_size", default=0)
"""About how many bytes of memory the document that was read last takes; 0 if it is small."""

_READERS = trio.CapacityLimiter(2)
"""How many large documents are read at a time."""

_COSTS = {"[": 88, "{": 200, ",": 40, '"': 25}
"""About how many bytes of memory go with each such character."""

_COSTS_OF_BYTES = {character.encode(): cost for character, cost in _COSTS.items()}


async def read_json(data: bytes | str) -> object:
    """What a JSON document says.

    Raises:
        ValueError: it is none. RecursionError is, too: the document is nested too deeply.
        RequestRefused: it would take too much memory.
    """
    if len(data) <= LARGE:
        DOCUMENT_SIZE.set(0 if len(data) <= SMALL else len(data) + cost_of(data))
        return json.loads(data)
    document, size = await trio.to_thread.run_sync(_read, data, limiter=_READERS)
    DOCUMENT_SIZE.set(size)
    return document


async def read_gzipped_json(packed: bytes) -> object:
    """The same, of a document in one gzip member.

    Raises:
        ValueError: it is none.
        RequestRefused: it unpacks to too much, or would take too much memory.
    """
    document, size = await trio.to_thread.run_sync(_unpack, packed, limiter=_READERS)
    DOCUMENT_SIZE.set(size)
    return document


def _unpack(packed: bytes) -> tuple[object, int]:
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        unpacked = unpacker.decompress(packed, MAX_UNPACKED + 1)
    except zlib.error as error:
        raise ValueError("this is not gzip") from error
    if len(unpacked) > MAX_UNPACKED:
        raise RequestRefused(413, f"The body unpacks to more than {MAX_UNPACKED} bytes: see DASH_MAX_PAYLOAD_SIZE_MB.")
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError("this is not one gzip member")
    return _read(unpacked)


def _read(data: bytes | str) -> tuple[object, int]:
    cost = cost_of(data)
    if cost > MAX_OBJECTS:
        raise RequestRefused(
            413, "The request has too many values to be read: see DASH_MAX_PAYLOAD_SIZE_MB, by which the bound grows."
        )
    return json.loads(data), len(data) + cost


def cost_of(data: bytes | str) -> int:
    """Bytes that the objects of a document would take, about."""
    if isinstance(data, str):
        return sum([cost * data.count(character) for character, cost in _COSTS.items()])
    return sum([cost * data.count(character) for character, cost in _COSTS_OF_BYTES.items()])
