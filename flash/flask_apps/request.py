"""Runs one request through a Flask app, in two parts if Flask lets it through to Dash.

    begin     ── Flask: context, session, before_request, view ──┬── one of the app's own: its response
                                                                 └── one of Dash's: the request is let through
                 Dash answers it on the event loop: no thread waits meanwhile
    conclude  ── Flask: after_request, cookies, the session is saved, teardown_request

Both parts are the work of Flask itself, and of the WSGI middleware around it. They run in worker threads, and in the
same `contextvars.Context`, where Flask keeps its own context. In between, copies of it are what Dash's code runs in.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import flask
from flask import Flask, Response
from werkzeug.datastructures import Headers

from .._flask import current_context, forget_body, step_into_finalizing
from ..errors import FlashError, WrongServer

KEY = "flash.request"
"""Where the environ of a request has its `FlaskRequest`."""

ByteHeaders = list[tuple[bytes, bytes]]


class Answer(NamedTuple):
    """What Dash answers.

    Attributes:
        status: the HTTP status.
        headers: the headers.
        body: all of the body; None if it is sent in parts, after the headers.
    """

    status: int
    headers: ByteHeaders
    body: bytes | None


class _LaterBody:
    """Stands in Flask's response for a body that is sent in parts, past Flask."""

    def __iter__(self) -> Iterator[bytes]:
        return iter(())


class FlaskRequest:
    """One request in a Flask app.

    Attributes:
        context: what Flask's own context of the request is kept in.
        environ: the WSGI environ, as the middleware has left it.
        is_let_through: whether Flask lets the request through to Dash.
        is_over: whether `conclude` has been called.
        rule: of the route that Flask has found.
        body: the bytes that came with the request.
        failure: what the code that Dash calls has raised, which Flask's error handlers are to answer.
    """

    def __init__(self, app: Flask, environ: dict[str, Any]) -> None:
        self.context = contextvars.copy_context()
        self.environ = environ
        self.is_let_through = False
        self.is_over = False
        self.rule = ""
        self.body = b""
        self.failure: Exception | None = None
        self._app = app
        self._flask_context: Any = None
        self._placeholder: Response | None = None
        self._answer: Answer | None = None
        self._response: Iterable[bytes] = ()
        self._status = 500
        self._headers: ByteHeaders = []
        self._written: list[bytes] = []
        self._unhandled: Exception | None = None
        self._is_unchanged = False
        environ[KEY] = self

    def begin(self) -> None:
        """Call Flask. Afterwards the request is let through, or its response is to be sent with `send`."""
        self._response = self.context.run(self._app, self.environ, self._start_response)

    def send(self, start: Callable[[int, ByteHeaders], object], send: Callable[[bytes], bool]) -> None:
        """Send the response of one of the app's own routes.

        Args:
            start: sends status and headers.
            send: sends some of the body; returns whether the client is there to take more.
        """
        self.context.run(self._send, start, send)

    def conclude(self, answer: Answer) -> Answer:
        """Have Flask conclude a request that it has let through.

        Args:
            answer: what Dash has answered.

        Returns:
            What the client is to be sent. If its body is None, that of `answer` goes on.
        """
        self.is_over = True
        self._answer = answer
        return self.context.run(self._conclude)

    def let_through(self) -> Response:
        """Let the current request through to Dash: the view of each of Dash's routes in Flask.

        Returns:
            A placeholder. The app may have wrapped the view, and set headers of it.
        """
        if self.is_let_through:
            raise FlashError("A view of Dash's was called a second time in one request.")
        # Flask refuses what exceeds its limits here. The hooks of the app may have read the body already.
        self.body = flask.request.get_data()
        self.rule = str(flask.request.url_rule)
        self._placeholder = self._app.response_class()
        return self._placeholder

    def step(self, finalize: Callable[..., Any], returned: Any, handling_error: bool) -> Any:
        """Take Flask's step from what a view has returned to the response; see `step_into_finalizing`."""
        if self._placeholder is None or self.is_over:
            return finalize(returned, handling_error)
        response = self._app.make_response(returned)
        if response is not self._placeholder:
            # The app has wrapped the view, and has answered in its place.
            return finalize(response, handling_error)
        self.is_let_through = True
        # Flask takes its context away once, at the end of `begin`, and calls `teardown_request` the second time.
        self._flask_context = current_context()
        self._flask_context.push()
        return self._conclude_response

    def _start_response(self, status: str, headers: Sequence[tuple[str, str]], exc_info: Any = None) -> Any:
        self._status = int(status.split(maxsplit=1)[0])
        self._headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return self._written.append

    def _send(self, start: Callable[[int, ByteHeaders], object], send: Callable[[bytes], bool]) -> None:
        response, begun, goes_on = self._response, False, True
        try:
            for chunk in response:
                if not begun:
                    begun = True
                    start(self._status, self._headers)
                    goes_on = all(send(written) for written in self._written)
                goes_on = goes_on and (not chunk or send(chunk))
                if not goes_on:
                    break
            if not begun:
                start(self._status, self._headers)
        finally:
            _close(response)

    def _conclude(self) -> Answer:
        assert self._answer is not None
        try:
            body = b"".join(self._response)
        finally:
            try:
                _close(self._response)
            finally:
                request = self._flask_context.request
                self._flask_context.pop(self._unhandled)
                forget_body(request)
                # What is left lives as long as the response, which may be an event stream.
                self.body, self._response, self._flask_context = b"", (), None
        later = self._answer.body is None and not self._written and body == b""
        return Answer(self._status, self._headers, None if later and self._is_unchanged else body)

    def _conclude_response(self, environ: Any, start_response: Any) -> Iterator[bytes]:
        """The WSGI app that is the response to a request that was let through."""
        if self._answer is None:
            raise FlashError(
                "A WSGI middleware of the Flask app reads the response as soon as it is called. Around a Flash app it "
                "has to wait until the response is iterated."
            )
        response = self._finalize(self._answer)
        self._is_unchanged = isinstance(response.response, _LaterBody)
        yield from response(environ, start_response)

    def _finalize(self, answer: Answer) -> Response:
        """What Flask does with the value or exception of a view, from its error handlers on."""
        app: Any = self._app
        try:
            try:
                if self.failure is not None:
                    raise self.failure
                value = self._as_response(answer)
            except Exception as error:
                value = app.handle_user_exception(error)
            return app.finalize_request(value)
        except Exception as error:
            self._unhandled = error
            return app.handle_exception(error)

    def _as_response(self, answer: Answer) -> Response:
        assert self._placeholder is not None
        body = cast("Any", _LaterBody()) if answer.body is None else answer.body
        headers = Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers])
        for name, value in self._placeholder.headers:
            if name.lower() not in ("content-type", "content-length"):
                headers.add(name, value)
        response = self._app.response_class(body, status=answer.status, headers=headers)
        if answer.body is None:
            # Hooks that change bodies leave such a response alone, as they do with the files of `send_file`.
            response.direct_passthrough = True
        if "content-type" not in headers:
            response.headers.pop("content-type", None)
        return response


def install(app: Flask) -> None:
    """Let the requests to a Flask app be `FlaskRequest`s."""

    def step(finalize: Callable[..., Any], returned: Any, handling_error: bool) -> Any:
        request: FlaskRequest | None = flask.request.environ.get(KEY)
        return (
            finalize(returned, handling_error) if request is None else request.step(finalize, returned, handling_error)
        )

    step_into_finalizing(app, step)


def current_request() -> FlaskRequest:
    """The current request, in a view of Flask's, or in what Dash calls for it.

    Raises:
        WrongServer: Flask is served without Flash.
    """
    request: FlaskRequest | None = flask.request.environ.get(KEY)
    if request is None:
        raise WrongServer(
            "This route is Dash's, and the Flask app is served without Flash. Serve the Flash app: `app.run()`, "
            "`flash run module:app` or `hypercorn -k trio module:app`."
        )
    return request


def _close(response: Iterable[bytes]) -> None:
    """Close the response of a WSGI app, as a server has to."""
    close = getattr(response, "close", None)
    if close is not None:
        close()
