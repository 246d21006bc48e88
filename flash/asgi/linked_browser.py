"""Finds out whether the browser at the other end of a link is still there, when the page itself acknowledges nothing.

A page's script may be blocked, by an open dialog or because slow callbacks hold all of the browser's connections. Such
a page acknowledges nothing, although it is open. Where the server is connected to the browser directly, the kernel
knows whether the browser's machine has acknowledged everything that was written to the link. Behind a proxy the kernel
knows that of the proxy only, which is there without any page. Over HTTP/2 it knows nothing of a single link, since the
link shares its connection.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterable

from quart import Request

from .. import _hypercorn
from .http_exchange import HTTP_EXCHANGE, headers_in_progress

try:
    import fcntl
    import termios
except ImportError:
    # Windows has neither module.
    fcntl = termios = None

_PROXIES = ("Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via")
"""Headers that proxies add to a request."""


class LinkedBrowser:
    """The browser at the other end of a link.

    Args:
        connection: the connection of the link.
        browser: the secret in the browser's cookie.
    """

    def __init__(self, connection: _hypercorn.PeerSocket, browser: str) -> None:
        self._connection = connection
        self._browser = browser.encode()

    @classmethod
    def of_request(cls, request: Request, browser: str) -> LinkedBrowser | None:
        """The browser of the current request; None behind a proxy, and where the connection is not the link's alone."""
        exchange = HTTP_EXCHANGE.get()
        if exchange is None or any(name in request.headers for name in _PROXIES):
            return None
        connection = _hypercorn.peer_socket(exchange.server_send())
        return None if connection is None else cls(connection, browser)

    def has_taken_all(self) -> bool:
        """Whether the browser's machine has acknowledged every byte written to the link; False if that is not known."""
        if fcntl is None or termios is None:
            return False
        with contextlib.suppress(OSError, ValueError):
            unacknowledged = fcntl.ioctl(self._connection.fileno, termios.TIOCOUTQ, bytes(4))
            return struct.unpack("i", unacknowledged) == (0,)
        return False

    def has_open_request(self) -> bool:
        """Whether the browser waits for the response to another request."""
        return any(self._browser in cookie for headers in headers_in_progress() for cookie in _cookies(headers))


def _cookies(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[bytes]:
    return (value for name, value in headers if name.lower() == b"cookie")
