"""Typed access to the private names of Flask and Werkzeug that Flash uses, where `server=` is a Flask app.

`step_into_finalizing` is what Flash changes in that app.

`tests/private_names/test_flask.py` fails with the name when an upgrade drops one.
"""
# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import flask
from flask import Flask, Request
from flask.ctx import AppContext, RequestContext
from flask.globals import _cv_app, _cv_request
from flask.sessions import SessionMixin


def current_context() -> RequestContext | None:
    """Flask's context of the current request; None without a request."""
    return _cv_request.get(None)


def use_in_context(
    session: Callable[[SessionMixin], SessionMixin], flask_globals: Callable[[Any], Any], after_request: list[Any]
) -> None:
    """Give the current request another session, and more, for the rest of the current `contextvars.Context` only.

    Args:
        session: takes the session that the request has, and returns the other one.
        flask_globals: takes what `flask.g` is, and returns what it is to be.
        after_request: takes the functions that are given to `flask.after_this_request`.
    """
    context = current_context()
    if context is None:
        return
    # Flask's property counts as an access, for which the response varies by cookie. Until 3.1.2 it was no property.
    known: SessionMixin = vars(context)["_session" if "_session" in vars(context) else "session"]
    other = RequestContext(context.app, context.request.environ, request=context.request, session=session(known))
    other._after_request_functions = after_request
    app_context = AppContext(context.app)
    app_context.g = flask_globals(_cv_app.get().g)
    _cv_request.set(other)
    _cv_app.set(app_context)


def handles_kind(app: Flask, error: Exception) -> bool:
    """Whether an app has an error handler for exceptions of this kind, and not only one for all exceptions.

    Args:
        app: the Flask app, in whose request this is asked.
        error: the exception.
    """
    handler = app._find_error_handler(error, flask.request.blueprints)
    return handler is not None and handler is not app.error_handler_spec[None][None].get(Exception)


def forget_body(request: Request) -> None:
    """Drop what a request keeps of its body."""
    request.__dict__.pop("_cached_data", None)
    request._cached_json = (Ellipsis, Ellipsis)


def step_into_finalizing(app: Flask, step: Callable[[Callable[..., Any], Any, bool], Any]) -> None:
    """Have Flask call `step` where it turns what a view has returned into the response, and runs `after_request`.

    Args:
        app: the Flask app.
        step: takes Flask's own function, and its two arguments: what the view has returned, and whether the error
            handlers are at work. It returns the WSGI app that is the response.
    """
    original = app.finalize_request

    def finalize_request(rv: Any, from_error_handler: bool = False) -> Any:
        return step(original, rv, from_error_handler)

    cast("Any", app).finalize_request = finalize_request
