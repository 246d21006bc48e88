"""Lifts Quart's limits on a request's size and time, which Flask and so Dash have not, unless the app asks for them.

By default Quart answers a body of more than 16 MB with 413, cuts one that takes longer than 60 s, and cuts a response
that takes longer than 60 s to be taken, in the middle, under its status 200. An upload of `dcc.Upload` is larger, and a
phone on a train is slower.

On a server of the user's what has been set to something else than Quart's default stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from quart import Quart

from ..options import DEFAULTS


@dataclass(frozen=True, slots=True)
class QuartLimits:
    """The limits of a request and its response; None for no limit.

    Attributes:
        max_body_bytes: bytes of its body; one that is larger is answered with 413.
        body_timeout: seconds in which its body has to come.
        response_timeout: seconds in which its response has to be taken.
    """

    max_body_bytes: int | None = DEFAULTS.max_body_bytes
    body_timeout: float | None = DEFAULTS.body_timeout
    response_timeout: float | None = DEFAULTS.response_timeout

    def apply(self, server: Quart) -> None:
        """Configure a server: with what was asked for, and else with no limit in place of Quart's defaults."""
        for key, value in (
            ("MAX_CONTENT_LENGTH", self.max_body_bytes),
            ("BODY_TIMEOUT", self.body_timeout),
            ("RESPONSE_TIMEOUT", self.response_timeout),
        ):
            if value is not None or server.config[key] == server.default_config[key]:
                server.config[key] = value
