"""Refuses requests that pages of other sites send in the browser's name.

Browsers mark them by `Sec-Fetch-Site` over HTTPS and on the machine itself. Elsewhere there is no such header, and what
keeps other sites out is that the cookie is `SameSite`, and that a request with JSON needs a permission that the app
does not give.
"""

from __future__ import annotations

from quart import Request, Websocket

from ..errors import RequestRefused


def refuse_other_sites(incoming: Request | Websocket) -> None:
    """Raise RequestRefused if the request comes from a page of another site."""
    if incoming.headers.get("Sec-Fetch-Site", "").strip().lower() == "cross-site":
        raise RequestRefused(403, "Requests from other sites are refused.")
