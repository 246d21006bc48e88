"""Reads the JSON object that a request carries in its body.

The body of a callback request may be large, and is compressed with gzip where the app asks Dash 4.5 for that
(`compress_payload=`). The body of a request to one of Flash's own routes is small. Neither is trusted: a body that is
malformed, or would take too much memory, is refused (see `client_json`).
"""

from __future__ import annotations

import json
from typing import Any, cast

from quart import Request
from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout

from ..errors import RequestRefused
from .client_json import read_gzipped_json, read_json
from .http_exchange import arrived_body

BODY_LIMIT = 256_000
"""Bytes of a small body: the value of a cancel Input fits, an upload does not."""


async def read_body(incoming: Request) -> dict[str, Any]:
    """The JSON object that a callback request carries.

    Raises:
        RequestRefused: the body is not a JSON object, is too large, or did not arrive in time.
    """
    body: object
    try:
        data = arrived_body(incoming)
        if data is None:
            data = await _receive(incoming)
        if "gzip" in incoming.headers.get("Content-Encoding", ""):
            body = await read_gzipped_json(data)
        else:
            # `get_json` would keep the object in the request, and so for as long as its streams run.
            body = await read_json(data) if incoming.is_json else None
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise RequestRefused(400, "A callback request is a JSON object.")
    return cast("dict[str, Any]", body)


async def _receive(incoming: Request) -> bytes:
    """Wait for the body of a callback request.

    Raises:
        RequestRefused: the body exceeds the app's `max_body_bytes`, or did not arrive within its `body_timeout`.
    """
    try:
        return cast("bytes", await incoming.get_data(as_text=False))
    except RequestEntityTooLarge:
        limit = f"{incoming.max_content_length:,} bytes" if incoming.max_content_length else "this server takes"
        raise RequestRefused(
            413, f"The request is larger than {limit}: send less, or raise max_body_bytes= of Flash(...)."
        ) from None
    except RequestTimeout:
        raise RequestRefused(
            408, "The request did not come in within body_timeout= of Flash(...): try again, or raise it."
        ) from None


async def read_small_body(incoming: Request) -> dict[str, Any]:
    """The JSON object that a request to one of Flash's own routes carries.

    Raises:
        RequestRefused: the body has more than `BODY_LIMIT` bytes, or is not a JSON object.
    """
    if (incoming.content_length or 0) > BODY_LIMIT:
        raise _too_large()
    data = arrived_body(incoming)
    if data is None:
        data = bytearray()
        async for chunk in incoming.body:
            data += chunk
            if len(data) > BODY_LIMIT:
                break
        if not data:
            # A hook of the app may have awaited the body. Then there is nothing left to iterate.
            data = await incoming.body
    if len(data) > BODY_LIMIT:
        raise _too_large()
    try:
        body: object = json.loads(data.decode())
    except (ValueError, RecursionError):
        raise RequestRefused(400, "The body is not JSON.") from None
    if not isinstance(body, dict):
        raise RequestRefused(400, "The body is not a JSON object.")
    return cast("dict[str, Any]", body)


def _too_large() -> RequestRefused:
    return RequestRefused(413, f"The body is larger than {BODY_LIMIT} bytes.")
