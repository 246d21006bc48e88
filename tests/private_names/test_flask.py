"""The undocumented names of Flask and Werkzeug that Flash uses: an upgrade that drops one fails here, by name."""

from __future__ import annotations

import inspect

import flask
import flask.sessions
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


def test_a_context_of_flasks_is_still_made_of_a_request_and_a_session() -> None:
    parameters = inspect.signature(RequestContext).parameters
    assert [*parameters] == ["app", "environ", "request", "session"]
    with make_app().test_request_context() as context:
        other: dict[str, str] = {"name": "other"}
        context.session["name"] = "own"
        token = flask.globals._cv_request.set(context)
        _flask.use_session(lambda session: flask.sessions.SecureCookieSession({**session, **other}))
        assert dict(flask.session) == other
        assert flask.request.path == context.request.path
        flask.globals._cv_request.reset(token)
        assert dict(flask.session) == {"name": "own"}


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
