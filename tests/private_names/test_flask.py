"""The undocumented names of Flask and Werkzeug that Flash uses: an upgrade that drops one fails here, by name."""

from __future__ import annotations

import contextvars
import inspect
import types
from typing import Any

import flask
import flask.sessions
import pytest
from flask.ctx import RequestContext

from flash import _flask


def make_app() -> flask.Flask:
    app = flask.Flask(__name__)
    app.secret_key = "secret"
    return app


def test_flask_still_keeps_the_request_where_flash_looks_for_it() -> None:
    assert _flask.current_context() is None
    with make_app().test_request_context("/path") as context:
        assert _flask.current_context() is context
        assert context.request.path == "/path"


def test_contexts_of_flasks_are_still_made_of_what_a_request_has() -> None:
    parameters = inspect.signature(RequestContext).parameters
    assert [*parameters] == ["app", "environ", "request", "session"]
    with make_app().test_request_context() as context:
        functions: list[object] = []
        context.session["name"] = "own"
        flask.g.name = "own"
        copied = contextvars.copy_context()
        copied.run(
            _flask.use_in_context,
            lambda session: flask.sessions.SecureCookieSession({**session, "name": "other"}),
            lambda flask_globals: types.SimpleNamespace(name=f"not {flask_globals.name}"),
            functions,
        )
        assert copied.run(lambda: (flask.session["name"], flask.g.name, flask.request.path)) == (
            "other",
            "not own",
            "/",
        )
        assert copied.run(flask.after_this_request, str) is str
        assert functions == [str]
        assert (flask.session["name"], flask.g.name, context._after_request_functions) == ("own", "own", [])


@pytest.mark.parametrize(
    ("handled", "found"),
    [([], False), ([Exception], False), ([LookupError], True), ([Exception, KeyError], True), ([404], False)],
)
def test_flask_still_finds_error_handlers_by_the_classes_of_exceptions(handled: list[Any], found: bool) -> None:
    app = make_app()
    for each in handled:
        app.register_error_handler(each, lambda error: "answer")
    with app.test_request_context():
        assert _flask.handles_kind(app, KeyError()) is found


def test_a_context_of_flasks_is_still_over_when_it_was_taken_away_as_often_as_it_was_entered() -> None:
    app, over = make_app(), list[str]()
    app.teardown_request(lambda error: over.append(type(error).__name__))
    context = app.test_request_context()
    context.push()
    context.push()
    context.pop(None)
    assert over == []
    context.pop(ValueError())
    assert over == ["ValueError"]


def test_werkzeug_still_keeps_a_body_where_flash_drops_it() -> None:
    with make_app().test_request_context(method="POST", json={"a": 1}):
        request = flask.request
        assert (request.get_data(), request.get_json()) == (b'{"a": 1}', {"a": 1})
        _flask.forget_body(request)
        assert (request.get_data(), request.get_json(silent=True)) == (b"", None)


def test_flask_still_finalizes_a_response_in_a_method_of_its_own() -> None:
    app = make_app()
    steps: list[object] = []
    app.route("/")(lambda: "answer")

    def step(finalize: object, returned: object, handling_error: bool) -> object:
        steps.append((returned, handling_error))
        return flask.Response("another")

    _flask.step_into_finalizing(app, step)
    assert app.test_client().get("/").text == "another"
    assert steps == [("answer", False)]
