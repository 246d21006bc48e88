"""The session of a stream, or of an open websocket: readable, although the response has been sent.

A stream goes on when the request that started it has been answered. What it wrote to `flask.session` would reach no
cookie and no store, so writing is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, cast

from flask.sessions import SessionMixin

from .._flask import use_session
from ..errors import FlashError


class EndedSession(dict[str, Any], SessionMixin):
    """What a session held when its request started a stream. It cannot be written to."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise FlashError(
            "flask.session was written to in a stream or an open websocket, whose request has been answered, so that "
            "nothing would save it. Write to it in a plain callback of the same Input, or keep the value elsewhere."
        )

    __setitem__ = __delitem__ = clear = pop = popitem = setdefault = update = __ior__ = cast("Any", _refuse)

    @property
    def modified(self) -> bool:
        """False: nothing can modify it."""
        return False

    @modified.setter
    def modified(self, value: bool) -> None:
        self._refuse()


def end_session() -> None:
    """For the rest of the current `contextvars.Context`, let `flask.session` be read only."""
    use_session(lambda session: EndedSession(cast("Mapping[str, Any]", session)))
