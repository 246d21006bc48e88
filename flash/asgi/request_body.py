"""The body of a callback request: JSON, and gzip around it where the page sends that (`compress_payload=` of Dash 4.5).

Neither is trusted: what is malformed, or too much for memory, is refused (see `client_json`).
"""

from __future__ import annotations

from typing import Any, cast

from quart import Request
from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout

from ..errors import RequestRefused
from .client_json import read_gzipped_json, read_json
from .http_exchange import body_at_hand


async def read_body(incoming: Request) -> dict[str, Any]:
    """The JSON object that a callback request carries.

    Raises:
        RequestRefused: it carries none.
    """
    body: object
    try:
        data = body_at_hand(incoming)
        if data is None:
            data = await _come(incoming)
        if "gzip" in incoming.headers.get("Content-Encoding", ""):
            body = await read_gzipped_json(data)
        else:
            # Not by `get_json`, which would keep what it gives for as long as there are streams of the request.
            body = await read_json(data) if incoming.is_json else None
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise RequestRefused(400, "A callback request is a JSON object.")
    return cast("dict[str, Any]", body)


async def _come(incoming: Request) -> bytes:
    """Wait for the body, within the limits of the app."""
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
