"""The body of a callback request: JSON, and gzip around it where the page sends that (`compress_payload=` of Dash 4.5).

Neither is trusted: what is malformed, or unpacks to more than `MAX_UNPACKED` bytes, is refused.
"""

from __future__ import annotations

import json
import os
import zlib
from typing import Any, cast

import trio
from quart import Request, current_app

from .errors import RequestRefused
from .exchange import body_at_hand

MAX_UNPACKED = int(os.environ.get("DASH_MAX_PAYLOAD_SIZE_MB", "64")) * 1024 * 1024
"""Bytes that a compressed body may unpack to; the variable is Dash's."""


async def read_body(incoming: Request) -> dict[str, Any]:
    """The JSON object that a callback request carries.

    Raises:
        RequestRefused: it carries none.
    """
    body: object
    try:
        data = body_at_hand(incoming)
        if data is None:
            data = cast("bytes", await incoming.get_data(as_text=False))
        if "gzip" in incoming.headers.get("Content-Encoding", ""):
            body = await trio.to_thread.run_sync(_unpack, data)
        else:
            # Not by `get_json`, which would keep what it gives for as long as there are streams of the request.
            body = current_app.json.loads(data) if incoming.is_json else None
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise RequestRefused(400, "A callback request is a JSON object.")
    return cast("dict[str, Any]", body)


def _unpack(packed: bytes) -> object:
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        unpacked = unpacker.decompress(packed, MAX_UNPACKED + 1)
    except zlib.error as error:
        raise ValueError("this is not gzip") from error
    if len(unpacked) > MAX_UNPACKED:
        raise RequestRefused(413, f"The body unpacks to more than {MAX_UNPACKED} bytes: see DASH_MAX_PAYLOAD_SIZE_MB.")
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError("this is not one gzip member")
    return json.loads(unpacked)
