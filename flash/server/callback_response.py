"""The response to a callback request, as `ctx.response` has it: Dash's interface to a response of Quart's.

Dash makes the response before the callback runs. Most callbacks do not touch it, and one over a websocket has none, so
here it is made when it is first used.
"""

from __future__ import annotations

from typing import Any

from quart_trio.wrappers import TrioResponse as Response

JSON = "application/json"


class CallbackResponse:
    """What Dash, and the user's callbacks, call of `ctx.response`."""

    def __init__(self) -> None:
        self._response: Response | None = None

    @property
    def callback_response(self) -> Response:
        """The response itself."""
        if self._response is None:
            self._response = Response(content_type=JSON)
        return self._response

    def set_cookie(self, key: str, value: str = "", **options: Any) -> None:
        """Set a cookie, with the options of Quart's `set_cookie`."""
        self.callback_response.set_cookie(key, value, **options)

    def append_header(self, key: str, value: str) -> None:
        """Add a header, beside others of the same name."""
        self.callback_response.headers.add(key, value)

    def set_header(self, key: str, value: str) -> None:
        """Set a header, in place of others of the same name."""
        self.callback_response.headers.set(key, value)

    def set_response(self, *, data: str | bytes = "", **_: Any) -> Response:
        """Give the response its body, and return it."""
        if self._response is None:
            return Response(data, content_type=JSON)
        self._response.set_data(data)
        return self._response
