"""`app.server` as tests written for Flask use it: without `await`.

Quart's `test_client` and `test_request_context` are asynchronous, Flask's are not. What is tested is what is answered.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any

import trio


class Client:
    """Flask's test client, in front of Quart's. Each request has the app started and stopped around it."""

    def __init__(self, server: Any, make: Callable[[], Any]) -> None:
        self._server = server
        self._client = make()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def open(self, path: str, *, method: str, content_type: str | None = None, **options: Any) -> Answer:
        if content_type is not None:
            options["headers"] = {**options.get("headers", {}), "Content-Type": content_type}

        async def ask() -> Answer:
            async with self._server.test_app():
                response = await self._client.open(path, method=method, **options)
                return Answer(response, await response.get_data())

        return trio.run(ask)

    def get(self, path: str, **options: Any) -> Answer:
        return self.open(path, method="GET", **options)

    def head(self, path: str, **options: Any) -> Answer:
        return self.open(path, method="HEAD", **options)

    def post(self, path: str, **options: Any) -> Answer:
        return self.open(path, method="POST", **options)

    def delete(self, path: str, **options: Any) -> Answer:
        return self.open(path, method="DELETE", **options)


class Answer:
    """Flask's test response."""

    def __init__(self, response: Any, data: bytes) -> None:
        self._response = response
        self.data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._response, name)

    @property
    def text(self) -> str:
        return self.data.decode()

    @property
    def json(self) -> Any:
        return self.get_json()

    def get_data(self, as_text: bool = False) -> Any:
        return self.text if as_text else self.data

    def get_json(self, **_: Any) -> Any:
        import json

        return json.loads(self.data)


class Context:
    """A request context for a plain `with`."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def __enter__(self) -> Any:
        return _at_once(self._context.__aenter__())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _at_once(self._context.__aexit__(kind, error, traceback))


def _at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The value of a coroutine that does not wait. In the caller's context, where the context variables are to be."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise RuntimeError("a request context waited for something")


def put_on(server: type[Any]) -> None:
    """Give a class of servers Flask's face."""
    make_client, make_context = server.test_client, server.test_request_context

    def test_client(self: Any, *arguments: Any, **options: Any) -> Client:
        return Client(self, lambda: make_client(self, *arguments, **options))

    def test_request_context(self: Any, path: str = "/", **options: Any) -> Context:
        return Context(make_context(self, path, **options))

    server.test_client, server.test_request_context = test_client, test_request_context


QUARTS = ("Response", "abort", "g", "has_request_context", "jsonify", "redirect", "request", "session")
"""What a test may import from Flask and finds in Quart under the same name, with the same behaviour."""


def put_in_place_of_flask(server: type[Any]) -> None:
    """Let `flask.request` and the like mean Quart's, and servers be of the class that runs on Trio: see the docs."""
    import flask
    import quart
    from werkzeug.datastructures import Headers

    for name in QUARTS:
        setattr(flask, name, getattr(quart, name))

    def make_response(*arguments: Any) -> Any:
        return _at_once(quart.make_response(*arguments))

    flask.make_response = make_response
    with contextlib.suppress(ImportError):
        import flask_talisman  # pyright: ignore[reportMissingImports] - the suite brings it

        flask_talisman.Talisman = _send_policy
    Headers.environ = property(_environ)  # pyright: ignore[reportAttributeAccessIssue] - Flask has it
    flask.Flask = quart.Quart = server


def _send_policy(server: Any, *, content_security_policy: dict[str, Any], force_https: bool) -> None:
    """What tests want of the Flask extension Talisman."""
    del force_https
    values = {name: [value] if isinstance(value, str) else value for name, value in content_security_policy.items()}
    policy = "; ".join(f"{name} {' '.join(value)}" for name, value in values.items())

    @server.after_request
    def send(response: Any) -> Any:
        response.headers["Content-Security-Policy"] = policy
        return response


def honour_patched_run(backend: type[Any]) -> None:
    """Tests that patch `app.server.run` do not want anything served."""
    from unittest.mock import NonCallableMock

    serve = backend.run

    def run(self: Any, dash_app: Any, host: str, port: int, debug: bool, **options: Any) -> None:
        if isinstance(self.server.run, NonCallableMock):
            self.server.run(host=host, port=port, debug=debug, **options)
        else:
            serve(self, dash_app, host, port, debug, **options)

    backend.run = run


def _environ(headers: Any) -> dict[str, str]:
    """The headers of a request as WSGI names them: `request.headers.environ`."""
    return {"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers}
