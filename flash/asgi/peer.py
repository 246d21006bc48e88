"""What the server knows of the other end of a link, besides what the page itself says.

A page whose script does not get to run, since a dialog is open or the browser's connections are held by slow callbacks,
acknowledges nothing, and yet it is there. Where nothing lies between the server and the browser the kernel knows: it
has been told that everything written to the link has arrived. Behind a proxy this says that the proxy is there, which
would be so without any page; over HTTP/2 it says nothing of the link, which shares its connection.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterable

from quart import Request

from .. import _hypercorn
from .http_exchange import EXCHANGE, headers_in_progress

try:
    import fcntl
    import termios
except ImportError:
    # Windows does not tell.
    fcntl = termios = None

_PROXIES = ("Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via")
"""Headers by which a proxy gives itself away."""


class Peer:
    """The browser at the other end of a link.

    Args:
        connection: the connection of the link.
        browser: the secret in the browser's cookie.
    """

    def __init__(self, connection: _hypercorn.DirectConnection, browser: str) -> None:
        self._connection = connection
        self._browser = browser.encode()

    @classmethod
    def of_request(cls, request: Request, browser: str) -> Peer | None:
        """The peer of the request at hand; None if nothing can be known of it."""
        exchange = EXCHANGE.get()
        if exchange is None or any(name in request.headers for name in _PROXIES):
            return None
        connection = _hypercorn.direct_connection(exchange.server_send())
        return None if connection is None else cls(connection, browser)

    def has_taken_all(self) -> bool:
        """Whether everything that was written to the link has arrived at the peer's machine."""
        if fcntl is None or termios is None:
            return False
        with contextlib.suppress(OSError, ValueError):
            left = fcntl.ioctl(self._connection.fileno, termios.TIOCOUTQ, bytes(4))
            return struct.unpack("i", left) == (0,)
        return False

    def is_asking(self) -> bool:
        """Whether another request of the browser is being answered."""
        return any(self._browser in cookie for headers in headers_in_progress() for cookie in _cookies(headers))


def _cookies(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[bytes]:
    return (value for name, value in headers if name.lower() == b"cookie")
