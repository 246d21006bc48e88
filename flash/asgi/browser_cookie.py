"""Sets and reads the cookie that tells browsers apart: a channel belongs to the browser that opened it.

    over HTTPS                flash_browser as __Host-flash_browser; HttpOnly; Secure; SameSite=Lax; Path=/
    over HTTP                 flash_browser; HttpOnly; SameSite=Lax; Path= the app's
    in frames of other sites  as over HTTPS, with SameSite=None; Partitioned

A browser accepts a cookie whose name begins with `__Host-` only over HTTPS and from the host itself: no sibling domain,
no page without TLS and nobody on the network can plant one. Flash therefore prefers it to the other cookie. Over HTTP
no cookie is protected like that. There Flash can do no more than replace a cookie whose value does not have the length
of the secrets that it makes.

`Secure` depends on the scheme that the browser uses, which a proxy with TLS has to forward: see `forwarded`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from quart import Request, Websocket
from quart_trio.wrappers import TrioResponse as Response
from werkzeug.sansio.http import parse_cookie

from ..errors import RequestRefused
from .tokens import is_token, new_token

COOKIE = "flash_browser"
"""The cookie's name over HTTP."""

HOST_COOKIE = f"__Host-{COOKIE}"
"""Its name over HTTPS."""

_SECRET_LENGTH = len(new_token())
"""Characters of the secrets that Flash makes."""


def browser_of(incoming: Request | Websocket) -> str:
    """The secret of the browser that sent the request.

    Raises:
        RequestRefused: the request has no such cookie.
    """
    browser = _secret_in(incoming.cookies)
    if browser is None:
        raise RequestRefused(
            403,
            f"The cookie {COOKIE!r} is missing: streams need cookies. Load the page again. If it is in a frame of "
            "another site, the app needs Flash(..., cross_site_frames=True) and HTTPS.",
        )
    return browser


def browser_in(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The secret of the browser that sent a request with these headers, as ASGI has them; None if it has no cookie."""
    cookies = b";".join(value for name, value in headers if name.lower() == b"cookie")
    return _secret_in(parse_cookie(cookies.decode(errors="replace"))) if COOKIE.encode() in cookies else None


def _secret_in(cookies: Mapping[str, str]) -> str | None:
    secret = cookies.get(HOST_COOKIE) or cookies.get(COOKIE)
    return secret if is_token(secret) else None


def browser_or_address(incoming: Request | Websocket) -> str:
    """A name for the sender of a request: the secret of its browser, or its address if it has no cookie."""
    try:
        return browser_of(incoming)
    except RequestRefused:
        return f"at {incoming.remote_addr}"


def set_browser_cookie(incoming: Request, response: Response, path: str, cross_site_frames: bool = False) -> Response:
    """Set the cookie in `response`, unless the request has brought it.

    Args:
        incoming: the request for a document or a layout.
        response: the response to it, which is changed.
        path: the path of the app, as the browser sees it.
        cross_site_frames: whether the app has to work in frames of other sites.

    Returns:
        `response`.
    """
    is_secure = incoming.scheme == "https"
    name = HOST_COOKIE if is_secure else COOKIE
    known = incoming.cookies.get(name)
    if is_token(known) and known is not None and len(known) == _SECRET_LENGTH:
        return response
    # Without TLS, browsers accept a Secure cookie only from the machine that they run on.
    in_frames = cross_site_frames and (is_secure or _is_loopback(incoming.host))
    response.set_cookie(
        name,
        new_token(),
        path="/" if is_secure else path,
        httponly=True,
        secure=is_secure or in_frames,
        samesite="None" if in_frames else "Lax",
        partitioned=in_frames,
    )
    return response


def _is_loopback(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or name.endswith(".localhost") or ip_address(name).is_loopback
    except ValueError:
        return False
