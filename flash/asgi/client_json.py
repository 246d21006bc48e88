"""Parses JSON that a client has sent, within bounds of memory, and in a thread if it is large.

Parsing JSON can take much more memory than the text: `[],` has three bytes, and becomes a hundred bytes of Python
objects. And no other thread runs while Python parses it. So Flash first estimates the memory that a document takes,
from its number of brackets, commas and quotes, which are quick to count. A document beyond `MAX_OBJECTS` is refused
without being parsed. Large documents are parsed in threads, a few at a time, so that their sum is bounded, too.
"""

from __future__ import annotations

import json
import os
import zlib
from contextvars import ContextVar

import trio

from ..errors import RequestRefused

MAX_UNPACKED = int(os.environ.get("DASH_MAX_PAYLOAD_SIZE_MB", "64")) * 1024 * 1024
"""Bytes that a compressed document may unpack to; the environment variable is Dash's."""

MAX_OBJECTS = 6 * MAX_UNPACKED
"""Bytes that the objects of a document may take by the estimate, which does not count the text of strings."""

LARGE = 256_000
"""Bytes beyond which a document is parsed in a thread: parsing that much takes some milliseconds."""

SMALL = 4_000
"""Bytes up to which the memory of a document is taken for 0."""

DOCUMENT_SIZE: ContextVar[int] = ContextVar("flash_document_size", default=0)
"""Bytes of memory, by the estimate, that the document parsed last takes; 0 for up to `SMALL` bytes of JSON."""

_READERS = trio.CapacityLimiter(2)
"""Limits how many large documents are parsed at a time."""

_COSTS = {"[": 88, "{": 200, ",": 40, '"': 25}
"""Bytes of memory, roughly, that an object takes for each such character."""

_COSTS_OF_BYTES = {character.encode(): cost for character, cost in _COSTS.items()}


async def read_json(data: bytes | str) -> object:
    """Parse a JSON document.

    Raises:
        ValueError: `data` is not JSON.
        RecursionError: the document is nested too deeply.
        RequestRefused: the document would take too much memory.
    """
    if len(data) <= LARGE:
        DOCUMENT_SIZE.set(0 if len(data) <= SMALL else len(data) + cost_of(data))
        return json.loads(data)
    document, size = await trio.to_thread.run_sync(_read, data, limiter=_READERS)
    DOCUMENT_SIZE.set(size)
    return document


async def read_gzipped_json(packed: bytes) -> object:
    """Parse a JSON document that is compressed with gzip, as one member.

    Raises:
        ValueError: `packed` is not one gzip member, or does not contain JSON.
        RecursionError: the document is nested too deeply.
        RequestRefused: the document unpacks to more than `MAX_UNPACKED` bytes, or would take too much memory.
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
    """Bytes of memory, by the estimate, that the objects of a document would take."""
    if isinstance(data, str):
        return sum([cost * data.count(character) for character, cost in _COSTS.items()])
    return sum([cost * data.count(character) for character, cost in _COSTS_OF_BYTES.items()])
