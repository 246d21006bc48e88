"""Flask's request, session and `g` in callbacks, layouts and streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import flask
import pytest
import trio
import trio.lowlevel

from flash import Flash, Input, Output, Update, html, set_props, stream_props
from flash.errors import FlashError
from tests.flask_apps.twins import Build, MakeTwins
from tests.http.servers import Serve
from tests.support.calls import calls_into
from tests.support.eventually import eventually
from tests.websocket.sockets import Connect


def make_app(**options: Any) -> Flash:
    server = flask.Flask(__name__)
    server.secret_key = "secret"
    app = Flash(__name__, server=server, **options)
    app.layout = [html.Button(id="go"), html.Div(id="out")]

    @server.before_request
    def know_user() -> None:
        flask.g.user = flask.request.headers.get("X-User", "nobody")

    @server.route("/session")
    def session() -> dict[str, Any]:
        return dict(flask.session)

    return app


def seen() -> list[Any]:
    """What Flask's globals say."""
    return [flask.request.path, flask.g.user, flask.session.get("name"), flask.current_app.name]


SEEN = ["/_dash-update-component", "Ada", "A.", __name__]


async def test_plain_and_async_callbacks_and_layouts_have_the_request_of_their_page(serve: Serve) -> None:
    app = make_app()
    app.layout = lambda: [
        html.Div(flask.has_request_context() and flask.g.user, id="who"),
        *(html.Button(id=name) for name in ("plain", "async", "go")),
        html.Div(id="out"),
    ]

    @app.callback(Output("out", "title"), Input("plain", "n_clicks"))
    def plain(clicks: int) -> list[Any]:
        flask.session["name"] = "A."
        return seen()

    @app.callback(Output("out", "lang"), Input("async", "n_clicks"))
    async def waits(clicks: int) -> list[Any]:
        await trio.lowlevel.checkpoint()
        flask.session["clicks"] = clicks
        return [*seen(), await trio.to_thread.run_sync(seen)]

    page = await (await serve(app)).page()
    page.client.headers["X-User"] = "Ada"
    assert "Ada" in (await page.get("_dash-layout")).text
    assert (await page.call("plain"))["out"]["title"] == SEEN
    assert (await page.call("async", value=5))["out"]["lang"] == [*SEEN, SEEN]
    assert (await page.get("session")).json() == {"name": "A.", "clicks": 5}


async def test_requests_at_the_same_time_do_not_mix(serve: Serve) -> None:
    app = make_app()
    waiting = 0

    @app.callback(Output("out", "title"), Input("go", "n_clicks"))
    async def slow(clicks: int) -> list[Any]:
        nonlocal waiting
        waiting += 1
        await eventually(lambda: waiting == 5)
        flask.session["clicks"] = clicks
        return [flask.g.user, clicks]

    server = await serve(app)
    answers: dict[int, Any] = {}

    async def ask(number: int) -> None:
        page = await server.page()
        page.client.headers["X-User"] = f"user {number}"
        answer = await page.call("go", value=number)
        answers[number] = [answer["out"]["title"], (await page.get("session")).json()]

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(ask, number)
    assert answers == {number: [[f"user {number}", number], {"clicks": number}] for number in range(5)}


def streams(app: Flash, write: Callable[[], None]) -> list[str]:
    """Give an app an async and a plain event callback, which show what they see, and what writing says; their names."""

    def updates() -> Iterator[Update]:
        yield stream_props("out", {"children": seen()})
        try:
            write()
        except FlashError as error:
            yield stream_props("out", {"children": str(error)})
        yield stream_props("out", {"children": dict(flask.session)})

    async def in_task(clicks: int) -> AsyncIterator[Update]:
        for update in updates():
            yield update

    def in_thread(clicks: int) -> Iterator[Update]:
        yield from updates()

    app.event_callback(Input("go", "n_clicks"))(in_task)
    app.event_callback(Input("go", "n_clicks"))(in_thread)
    return ["in_task", "in_thread"]


WRITES: dict[str, Callable[[], None]] = {
    "set": lambda: flask.session.__setitem__("name", "B."),
    "pop": lambda: flask.session.pop("name"),
    "clear": lambda: flask.session.clear(),
    "update": lambda: flask.session.update(name="B."),
    "modified": lambda: setattr(flask.session, "modified", True),
    "permanent": lambda: setattr(flask.session, "permanent", True),
    "flash": lambda: flask.flash("saved"),
}


@pytest.mark.parametrize("write", WRITES)
async def test_a_stream_has_the_request_that_started_it_and_a_session_to_read(serve: Serve, write: str) -> None:
    app = make_app()
    names = streams(app, WRITES[write])
    app.server.route("/login")(lambda: flask.session.update(name="A.") or "")
    page = await (await serve(app)).page()
    page.client.headers["X-User"] = "Ada"
    await page.get("login")
    for name in names:
        link = await page.connect()
        await page.start("go", callback=name)
        await link.expect("open")
        shown = [(await link.expect("props"))["props"][0][1]["children"] for _ in range(3)]
        assert shown[0] == SEEN
        assert "flask.session was written to in a stream" in shown[1]
        assert shown[2] == {"name": "A."}
        await link.expect("end")
        await link.close()
    assert (await page.get("session")).json() == {"name": "A."}


def open_database() -> list[str]:
    """The tutorial of Flask opens its database so."""
    if "database" not in flask.g:
        flask.g.database = []
    return flask.g.database


REFUSED: dict[str, Callable[[], object]] = {
    "flask.g.database was set": open_database,
    "flask.g.user was set or deleted": lambda: flask.g.pop("user"),
    "flask.g.user was set or": lambda: delattr(flask.g, "user"),
    "flask.g.other was set": lambda: flask.g.setdefault("other", 1),
    "flask.after_this_request was called": lambda: flask.after_this_request(lambda response: response),
}


@pytest.mark.parametrize("sentence", REFUSED)
async def test_a_stream_reads_flasks_g_and_is_told_that_nothing_would_see_what_it_writes(
    serve: Serve, sentence: str
) -> None:
    app = make_app()
    app.server.before_request(lambda: setattr(flask.g, "closed", False))

    @app.server.teardown_request
    def close(error: BaseException | None) -> None:
        flask.g.closed = True

    def steps() -> Iterator[Update]:
        yield stream_props("out", {"children": [flask.g.user, flask.g.setdefault("user", ""), [*flask.g]]})
        with pytest.raises(FlashError) as caught:
            REFUSED[sentence]()
        yield stream_props("out", {"children": str(caught.value)})
        # What extensions keep is the stream's own, as is a context of its own with what its end tears down.
        flask.g._login_user = "Ada"
        del flask.g._login_user
        with app.server.app_context():
            open_database().append("row")
            yield stream_props("out", {"children": flask.g.database})

    @app.event_callback(Input("go", "n_clicks"))
    def in_thread(clicks: int) -> Iterator[Update]:
        yield from steps()

    @app.event_callback(Input("go", "n_clicks"))
    async def in_task(clicks: int) -> AsyncIterator[Update]:
        for update in steps():
            yield update
            await trio.lowlevel.checkpoint()

    page = await (await serve(app)).page()
    page.client.headers["X-User"] = "Ada"
    for name in ("in_task", "in_thread"):
        link = await page.connect()
        await page.start("go", callback=name)
        await link.expect("open")
        shown = [(await link.expect("props"))["props"][0][1]["children"] for _ in range(3)]
        assert shown[0][:2] == ["Ada", "Ada"]
        assert {"user", "closed"} <= {*shown[0][2]}
        assert sentence in shown[1]
        assert shown[2] == ["row"]
        assert (await link.expect("end"))["reason"] == "completed"
        await link.close()


async def test_whose_a_stream_is_may_be_asked_of_flask(serve: Serve) -> None:
    app = make_app(identify=lambda request: flask.session.get("name"))
    app.server.route("/login")(lambda: flask.session.update(name="A.") or "")
    app.server.route("/logout", endpoint="logout")(lambda: flask.session.clear() or "")

    @app.event_callback(Input("go", "n_clicks"))
    async def wait(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": clicks})
        await trio.sleep_forever()

    page = await (await serve(app)).page()
    link = await page.connect()
    users: list[str | None] = []
    for path in ("login", "logout"):
        await page.get(path)
        await page.start("go")
        await link.expect("open")
        await link.expect("props")
        users.append(app.streams()[-1].user)
        if path == "login":
            assert app.end_streams(user="A.") == 1
            assert (await link.expect("end"))["reason"] == "revoked"
    assert users == ["A.", None]


async def test_a_stream_keeps_nothing_of_the_body_of_its_request(serve: Serve) -> None:
    app = make_app()
    kept: list[Any] = []

    @app.event_callback(Input("go", "n_clicks"))
    async def wait(clicks: Any) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": "started"})
        await eventually(lambda: flask.request.environ.get("werkzeug.request") is None)
        kept.extend([flask.request.get_data(), flask.request.get_json(silent=True)])
        yield stream_props("out", {"children": "looked"})

    page = await (await serve(app)).page()
    link = await page.connect()
    await page.start("go", value="x" * 100_000)
    await link.expect("open")
    await link.expect("props")
    await link.expect("props")
    assert kept == [b"", None]


async def test_an_open_websocket_has_its_handshake_and_a_session_to_read(serve: Serve, connect: Connect) -> None:
    app = make_app(websocket_callbacks=True)

    @app.callback(Output("out", "title"), Input("go", "n_clicks"))
    def plain(clicks: int) -> list[Any]:
        set_props("out", {"lang": "x"})
        try:
            flask.session["name"] = "A."
        except FlashError as error:
            return [flask.request.path, flask.g.user, str(error)]
        return []

    page = await (await serve(app)).page()
    socket = await connect(page)
    answer = await socket.call(page.request("go"))
    path, user, sentence = answer["data"]["response"]["out"]["title"]
    assert (path, user) == ("/_dash-ws-callback", "nobody")
    assert "open websocket" in sentence


async def test_what_teardown_closes_is_closed_after_the_callback(twins: MakeTwins) -> None:
    order: list[str] = []

    def declare(app: Any) -> None:
        app.layout = html.Div([html.Div(id="out"), html.Button(id="go")])

        @app.server.before_request
        def open_database() -> None:
            flask.g.log = []

        @app.server.after_request
        def say(response: flask.Response) -> flask.Response:
            response.headers["X-Log"] = ",".join(flask.g.log)
            flask.g.log.append("after")
            return response

        @app.server.teardown_request
        def close_database(error: BaseException | None) -> None:
            order.append(f"{','.join(flask.g.log)} {type(error).__name__}")

        @app.callback(Output("out", "children"), Input("go", "n_clicks"))
        def use(clicks: int) -> int:
            flask.g.log.append("used")
            if clicks < 0:
                raise ValueError("negative")
            return clicks

    pair = await twins(Build(declare))
    assert (await pair.click("go")).headers["x-log"] == "used"
    await eventually(lambda: len(order) == 2)
    assert set(order) == {"used,after NoneType"}
    del order[:]
    assert (await pair.click("go", -1)).status_code == 500
    await eventually(lambda: len(order) == 2)
    assert set(order) == {"used,after ValueError"}


@pytest.mark.parametrize("with_flask", [False, True])
async def test_an_app_without_flask_runs_nothing_of_what_is_for_flask_apps(serve: Serve, with_flask: bool) -> None:
    app = Flash(__name__, server=flask.Flask(__name__)) if with_flask else Flash(__name__)
    app.layout = [html.Button(id="go"), html.Button(id="stream"), html.Div(id="out")]
    app.callback(Output("out", "title"), Input("go", "n_clicks"))(lambda _: flask.has_request_context())

    @app.event_callback(Input("stream", "n_clicks"))
    async def stream(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": flask.has_request_context()})

    server = await serve(app)
    with calls_into("flask_apps") as called:
        page = await server.page()
        assert (await page.call("go"))["out"]["title"] is with_flask
        link = await page.connect()
        await page.start("stream")
        await link.expect("open")
        assert (await link.expect("props"))["props"][0][1]["children"] is with_flask
        await link.expect("end")
    assert ("FlaskFront.__call__" in called, bool(called)) == (with_flask, with_flask)
