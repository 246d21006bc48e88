"""What a stream, or an open websocket, has of Flask's request: to be read, as the response has been sent.

A stream goes on when the request that started it has been answered. What it wrote to `flask.session` would reach no
cookie and no store, what it set in `flask.g` no `teardown_request` would close, and a function given to
`flask.after_this_request` would never be called. So each of these is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NoReturn, cast

from flask.sessions import SessionMixin

from .._flask import use_in_context
from ..errors import FlashError

_WHERE = "in a stream or an open websocket, whose request has been answered"


class EndedSession(dict[str, Any], SessionMixin):
    """What a session held when its request started a stream. It cannot be written to."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise FlashError(
            f"flask.session was written to {_WHERE}, so that nothing would save it. Write to it in a plain callback of "
            "the same Input, or keep the value elsewhere."
        )

    __setitem__ = __delitem__ = clear = pop = popitem = setdefault = update = __ior__ = cast("Any", _refuse)

    @property
    def modified(self) -> bool:
        """False: nothing can modify it."""
        return False

    @modified.setter
    def modified(self, value: bool) -> None:
        self._refuse()


class EndedGlobals:
    """What `flask.g` held when its request started a stream: a part of the class that an app has for `flask.g`.

    Names that begin with an underscore can be set. Under such names extensions keep what they have found out, as
    flask-login does with the current user; the stream has these for itself.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            self._refuse(name)
        self.__dict__[name] = value

    def __delattr__(self, name: str) -> None:
        if not name.startswith("_"):
            self._refuse(name)
        self.__dict__.pop(name)

    def pop(self, name: str, *default: Any) -> Any:
        """Refused, as deleting is."""
        if not name.startswith("_"):
            self._refuse(name)
        return self.__dict__.pop(name, *default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """The value of a name that is there."""
        if name not in self.__dict__:
            setattr(self, name, default)
        return self.__dict__[name]

    def _refuse(self, name: str) -> NoReturn:
        raise FlashError(
            f"flask.g.{name} was set or deleted {_WHERE}, so that no teardown_request would see it. Keep it in a "
            "variable, or write `with server.app_context():` around what needs a flask.g of its own."
        )


class _EndedFunctions(list[Any]):
    """Where Flask keeps the functions that are to be called with the response."""

    def append(self, function: Any) -> None:
        raise FlashError(
            f"flask.after_this_request was called {_WHERE}, so that the function would never be called. Call it in a "
            "plain callback of the same Input."
        )


def end_request() -> None:
    """For the rest of the current `contextvars.Context`, let what Flask has of the request be read only."""
    use_in_context(
        session=lambda session: EndedSession(cast("Mapping[str, Any]", session)),
        flask_globals=_ended_globals,
        after_request=_EndedFunctions(),
    )


def _ended_globals(flask_globals: object) -> object:
    ended = _ended_class(type(flask_globals))()
    vars(ended).update(vars(flask_globals))
    return ended


@cache
def _ended_class(kind: type[object]) -> Callable[[], object]:
    """The class of an app's `flask.g`, whose objects cannot be written to."""
    return type(kind.__name__, (EndedGlobals, kind), {})
