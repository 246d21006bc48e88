"""The same app twice: with `dash.Dash` on Flask, served by Werkzeug, and with Flash, served by Hypercorn.

def build(app: Any) -> None:                    # of either class; `app.server` is a Flask app
    app.layout = html.Div(id="out")

pair = await twins(Build(build))
answer = await pair.get("/")                    # of Flash; Dash's is the same, or the test fails
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, Protocol

import dash
import flask
import httpx
import trio
from itsdangerous import URLSafeTimedSerializer
from werkzeug.serving import make_server

from flash import Flash
from flash.asgi.browser_cookie import COOKIE
from tests.http.servers import Server

PORTLESS = "http://host"


class Build:
    """How both apps are built.

    Args:
        declare: declares layout, callbacks and routes of an app.
        prepare: configures the Flask app, before the app has it.
        options: of either app.
    """

    def __init__(
        self, declare: Callable[[Any], object], prepare: Callable[[flask.Flask], object] | None = None, **options: Any
    ) -> None:
        self._declare = declare
        self._prepare = prepare
        self._options = options

    def flash(self) -> Flash:
        return self._build(Flash)

    def dash(self) -> dash.Dash:
        return self._build(dash.Dash)

    def _build(self, kind: Any) -> Any:
        server = flask.Flask(__name__)
        server.secret_key = "secret"
        if self._prepare is not None:
            self._prepare(server)
        app = kind(__name__, server=server, **self._options)
        assert app.server is server
        self._declare(app)
        return app


@contextlib.contextmanager
def running_dash(build: Build) -> Generator[int]:
    """Serve the app that is Dash's while the block runs; the port."""
    server = make_server("127.0.0.1", 0, build.dash().server, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class MakeTwins(Protocol):
    """The type of the `twins` fixture."""

    def __call__(self, build: Build) -> Awaitable[Twins]: ...


class Twins:
    """One browser of each of the two apps.

    Attributes:
        server: of Flash's app.
        flash: its browser.
        dash: the browser of Dash's.
    """

    def __init__(self, server: Server, flash: httpx.AsyncClient, dash: httpx.AsyncClient) -> None:
        self.server = server
        self.flash = flash
        self.dash = dash

    async def ask(self, method: str, path: str, *, same_body: bool = True, **options: Any) -> httpx.Response:
        """Send both apps the same request, and return Flash's answer, which is to be the same as Dash's."""
        answers: dict[str, httpx.Response] = {}

        async def ask(name: str, client: httpx.AsyncClient) -> None:
            answers[name] = await client.request(method, path, **options)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "flash", self.flash)
            nursery.start_soon(ask, "dash", self.dash)
        flash, dash = answers["flash"], answers["dash"]
        of_flash, of_dash = told(flash, same_body), told(dash, same_body)
        assert of_flash == of_dash, f"{method} {path}: {of_flash} with Flash, {of_dash} with Dash"
        return flash

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.ask("GET", path, **options)

    async def click(self, component: str, value: Any = 1, **options: Any) -> httpx.Response:
        """Call the callback that has one Output, the children of `out`, and one Input, the clicks of `component`."""
        return await self.ask("POST", "/_dash-update-component", json=click(component, value), **options)


def click(component: str, value: Any = 1, output: str = "out") -> dict[str, Any]:
    """What Dash's renderer sends for a callback with one Output and one Input."""
    return {
        "output": f"{output}.children",
        "outputs": {"id": output, "property": "children"},
        "inputs": [{"id": component, "property": "n_clicks", "value": value}],
        "changedPropIds": [f"{component}.n_clicks"],
        "state": [],
        "parsedChangedPropsIds": [f"{component}.n_clicks"],
    }


def told(response: httpx.Response, same_body: bool) -> dict[str, Any]:
    """What a response tells the client, without what differs between any two servers."""
    headers: Mapping[str, Any] = {
        name: value
        for name, value in response.headers.items()
        if name
        not in ("date", "server", "connection", "content-length", "set-cookie", "transfer-encoding", "server-timing")
        # The page of a Flash app has the secret of its page, and is not to be cached.
        and (name, value) != ("cache-control", "no-store")
    }
    return {
        "status": response.status_code,
        "headers": {
            name: sorted(value.split(", ")) if name in ("allow", "vary") else _without_port(response, value)
            for name, value in headers.items()
        },
        "cookies": sorted(
            _cookie(value) for value in response.headers.get_list("set-cookie") if not value.startswith(COOKIE)
        ),
        "body": _without_port(response, _body(response)) if same_body else None,
    }


def _without_port(response: httpx.Response, text: str) -> str:
    url = response.request.url
    return text.replace(f"http://{url.host}:{url.port}", PORTLESS).replace(f"{url.host}:{url.port}", "host")


def _body(response: httpx.Response) -> str:
    if response.headers.get("content-type", "") == "application/json":
        return json.dumps(response.json())
    return response.content.decode("latin-1")


def _cookie(value: str) -> str:
    """A cookie with its attributes; of a session what it holds, which is signed with the time."""
    name, _, rest = value.partition("=")
    signed, semicolon, attributes = rest.partition(";")
    attributes = "; ".join(
        each for each in attributes.split("; ") if not each.strip().lower().startswith(("expires", "max-age"))
    )
    if name == "session":
        # Signed with the time, if it is Flask's own; else a random number, by which the server finds the session.
        of_flask = signed.count(".") >= 2
        signed = str(URLSafeTimedSerializer("secret").loads_unsafe(signed)[1]) if of_flask else ""
    return f"{name}={signed}{semicolon}{attributes}"
