"""Lifts Quart's limits on the size and the time of requests, unless the app sets limits of its own.

Flask, and so Dash, has no such limits. By default Quart answers a body of more than 16 MB with 413, gives up a body
that takes longer than 60 s, and cuts a response that takes the client longer than 60 s, although its status was 200.
An upload of `dcc.Upload` is larger, and a phone on a train is slower.

A value that the user has set on a server of their own, other than Quart's default, stays as it is.
"""

from __future__ import annotations

from typing import NamedTuple

from quart import Quart

from ..options import DEFAULTS


class QuartLimits(NamedTuple):
    """The limits of a request and its response; None for no limit.

    Attributes:
        max_body_bytes: bytes of the body; a larger one is answered with 413.
        body_timeout: seconds in which the body has to arrive.
        response_timeout: seconds in which the client has to receive the response.
    """

    max_body_bytes: int | None = DEFAULTS.max_body_bytes
    body_timeout: float | None = DEFAULTS.body_timeout
    response_timeout: float | None = DEFAULTS.response_timeout

    def apply(self, server: Quart) -> None:
        """Configure a server with these limits, and with no limit in place of Quart's defaults."""
        for key, value in (
            ("MAX_CONTENT_LENGTH", self.max_body_bytes),
            ("BODY_TIMEOUT", self.body_timeout),
            ("RESPONSE_TIMEOUT", self.response_timeout),
        ):
            if value is not None or server.config[key] == server.default_config[key]:
                server.config[key] = value
