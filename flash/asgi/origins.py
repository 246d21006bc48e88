"""Refuses requests that pages of other sites send in the browser's name.

Over HTTPS, and from the machine itself, browsers mark such requests with the header `Sec-Fetch-Site`. Elsewhere that
header is missing. There the cookie's `SameSite` attribute keeps other sites out, and so does CORS: a request with JSON
needs a permission that the app does not give.
"""

from __future__ import annotations

from quart import Request, Websocket

from ..errors import RequestRefused


def refuse_other_sites(incoming: Request | Websocket) -> None:
    """Raise RequestRefused if the request comes from a page of another site."""
    if incoming.headers.get("Sec-Fetch-Site", "").strip().lower() == "cross-site":
        raise RequestRefused(403, "Requests from other sites are refused.")
