"""Translates a request from ASGI to WSGI: the environ, and the body as a file that blocks.

A body that has come by the time the request starts is at hand in memory. What is larger, or still on its way, is
received as it is read, by the thread that reads it.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from math import inf
from typing import Any

import trio
from werkzeug.exceptions import ClientDisconnected, RequestTimeout

Receive = Callable[[], Awaitable[Any]]

AHEAD = 1_000_000
"""Bytes of a body that are waited for before a thread gets the request."""

_OF_THE_CONNECTION = ("connection", "upgrade")
"""Headers that are for the server, which has read them."""

_ORIGIN = re.compile(r"^[a-z][a-z0-9+.-]*://[^/]*/?", re.IGNORECASE)
"""What a target in absolute form, as for a proxy, has before its path: `GET http://host/path`.

A parser of URLs does not do: the target has been decoded, so that `?`, `#`, `;` and `[` are characters of its path.
"""

_SCHEMES = {"ws": "http", "wss": "https"}


class IncomingBody(io.RawIOBase):
    """The body of one request, which a thread reads, and the event loop receives.

    Attributes:
        is_complete: whether all of it has been received.
    """

    def __init__(self, receive: Receive, timeout: float | None) -> None:
        """
        Args:
            receive: the `receive` of the ASGI server.
            timeout: seconds in which all of the body has to come; None for no limit.
        """
        super().__init__()
        self.is_complete = False
        self._receive = receive
        self._deadline = inf if timeout is None else trio.current_time() + timeout
        self._received = bytearray()

    async def receive_ahead(self) -> None:
        """Receive the body, but not more of it than `AHEAD`.

        Raises:
            ClientDisconnected: the client has disconnected.
            RequestTimeout: the body has not come in time.
        """
        while not self.is_complete and len(self._received) < AHEAD:
            await self._receive_more()

    def file(self) -> io.BufferedIOBase:
        """The body as a file, for a worker thread of Trio."""
        return io.BytesIO(self._received) if self.is_complete else io.BufferedReader(self, 65_536)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._received and not self.is_complete:
            trio.from_thread.run(self._receive_more)
        chunk = self._received[: len(buffer)]
        buffer[: len(chunk)] = chunk
        del self._received[: len(chunk)]
        return len(chunk)

    async def _receive_more(self) -> None:
        with trio.move_on_at(self._deadline) as scope:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            self._received += message.get("body", b"")
            self.is_complete = not message.get("more_body", False)
        if scope.cancelled_caught:
            raise RequestTimeout


def environ_of(scope: Mapping[str, Any], body: io.BufferedIOBase) -> dict[str, Any]:
    """The WSGI environ of a request. The handshake of a websocket is a GET.

    Args:
        scope: the ASGI scope.
        body: the file that becomes `wsgi.input`.
    """
    path: str = scope["path"]
    if not path.startswith("/"):
        path = "/" + _ORIGIN.sub("", path)
    root: str = scope.get("root_path", "").rstrip("/")
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :]
    host, port = (scope.get("server") or (None, None))[:2]
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.get("method", "GET"),
        "SCRIPT_NAME": _as_wsgi(root),
        "PATH_INFO": _as_wsgi(path),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "REQUEST_URI": scope.get("raw_path", b"").decode("latin-1"),
        "SERVER_NAME": host or "localhost",
        "SERVER_PORT": str(port or 80),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_SOFTWARE": "Hypercorn",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": _SCHEMES.get(scope["scheme"], scope["scheme"]),
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    client = scope.get("client")
    if client and client[0]:
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = client[0], str(client[1])
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if "_" in name or name.lower() in _OF_THE_CONNECTION:
            # With "_", a header could not be told in the environ from the one with "-", which a proxy may have checked.
            continue
        key = name.upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        if key in environ:
            # HTTP/2 divides the cookies among several headers.
            value = environ[key] + ("; " if key == "HTTP_COOKIE" else ",") + value
        environ[key] = value
    if scope["type"] == "websocket":
        # By these Werkzeug tells a handshake, whatever version of HTTP it comes over.
        environ["HTTP_CONNECTION"], environ["HTTP_UPGRADE"] = "Upgrade", "websocket"
    return environ


def path_of(environ: Mapping[str, Any]) -> str:
    """The path below the root of the app, as text: the one that Flask finds a route for.

    It begins with one slash, as `flask.request.path` does. Quart takes a path without one for a URL, and would serve
    `/secret` where Flask has been asked for `/a:/secret`.
    """
    return "/" + environ["PATH_INFO"].encode("latin-1").decode(errors="replace").lstrip("/")


def _as_wsgi(text: str) -> str:
    """A text as WSGI has it: each character is a byte."""
    return text.encode().decode("latin-1")
