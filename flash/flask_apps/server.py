"""The Quart app behind a Flask app: it has the routes of Dash and Flash, which Flask gets, too.

Each route that is added here is added to the Flask app, with a view that lets the request through. So Flask finds the
routes of Dash among its own, as with Dash on Flask: hooks see their endpoints, and an app may wrap their views.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import quart
import quart_trio
from flask import Flask
from quart_trio.wrappers import TrioResponse as Response
from werkzeug.exceptions import HTTPException, NotFound

from .._flask import handles_kind
from ..errors import WrongServer
from .front import RULE, FlaskFront
from .request import current_request, install

_EXTENSION = "flash"
"""The name under which the extensions of a Flask app have the server behind it."""


class QuartBehindFlask(quart_trio.QuartTrio):
    """A QuartTrio whose requests pass a Flask app first.

    Attributes:
        flask_app: the Flask app.
    """

    def __init__(self, flask_app: Flask) -> None:
        self.flask_app = flask_app
        self._endpoints: set[str] = set()
        self._front = FlaskFront(flask_app, self._endpoints)
        install(flask_app)
        super().__init__(flask_app.import_name, static_folder=None)
        self.before_request(_find_what_flask_has_found)
        self.before_websocket(_find_what_flask_has_found)

    async def asgi_app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket"):
            limits = cast("Any", self.config)
            timeouts = limits["BODY_TIMEOUT"], limits["RESPONSE_TIMEOUT"]
            await self._front(scope, receive, send, super().asgi_app, *timeouts)
        else:
            await super().asgi_app(scope, receive, send)

    def add_url_rule(
        self,
        rule: str,
        endpoint: str | None = None,
        view_func: Callable[..., Any] | None = None,
        provide_automatic_options: bool | None = None,
        **options: Any,
    ) -> None:
        """Add a route here, and one to the Flask app."""
        super().add_url_rule(rule, endpoint, view_func, provide_automatic_options, **options)
        name = endpoint or cast("Any", view_func).__name__
        known = self.flask_app.view_functions.get(name) if name in self._endpoints else None
        self._endpoints.add(name)
        view = known or _letting_through(view_func)
        self.flask_app.add_url_rule(rule, name, view, provide_automatic_options, **options)

    def share_body_limit(self) -> None:
        """Give the Flask app the limit that the bodies of requests have here, unless it has one of its own."""
        limits: Any = self.flask_app.config
        if limits.get("MAX_CONTENT_LENGTH") is None:
            limits["MAX_CONTENT_LENGTH"] = cast("Any", self.config)["MAX_CONTENT_LENGTH"]

    # The arguments depend on the version of Quart: the last one is the exception.
    async def handle_user_exception(self, *arguments: Any, **keywords: Any) -> Any:
        """Leave an exception to Flask's error handlers, unless Dash itself has one for it.

        The dev tools have one for all exceptions; one of Flask's for exceptions of this kind comes before that.
        """
        request, error = current_request(), arguments[-1]
        # Over a websocket that is open, nothing is answered any more; and a cancellation is no failure.
        if request.is_over or not isinstance(error, Exception):
            raise error
        is_dashs = not isinstance(error, HTTPException | ExceptionGroup) and not handles_kind(self.flask_app, error)
        if is_dashs:
            try:
                return await super().handle_user_exception(*arguments, **keywords)
            except Exception as unhandled:
                error = unhandled
        request.failure = error
        return Response("", status=500)


def asgi_server_of(server: object) -> quart_trio.QuartTrio:
    """The server that answers for a user's `server=`: itself, or what stands behind it if it is a Flask app.

    All Flash apps of one Flask app have the same.

    Raises:
        WrongServer: it is something else.
    """
    if isinstance(server, quart_trio.QuartTrio):
        return server
    if not isinstance(server, Flask):
        raise WrongServer(
            f"Flash needs a server that runs on Trio, got server={server!r}. Give it a quart_trio.QuartTrio, or a "
            "flask.Flask, or leave server= out."
        )
    known = server.extensions.get(_EXTENSION)
    if known is None:
        known = server.extensions[_EXTENSION] = QuartBehindFlask(server)
    return known


def _letting_through(view: Callable[..., Any] | None) -> Callable[..., Any]:
    def let_through(**_: object) -> Any:
        return current_request().let_through()

    # CSRF protections, and others, know views by their names.
    let_through.__name__ = getattr(view, "__name__", let_through.__name__)
    let_through.__qualname__ = getattr(view, "__qualname__", let_through.__qualname__)
    let_through.__module__ = getattr(view, "__module__", __name__)
    return let_through


async def _find_what_flask_has_found() -> None:
    """Refuse a request for which Quart finds another route than Flask, whose hooks have allowed that one only."""
    asked: Any = quart.request if quart.has_request_context() else quart.websocket
    if asked.url_rule is None or asked.url_rule.rule != asked.scope.get(RULE):
        raise NotFound
