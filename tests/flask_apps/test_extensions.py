"""Extensions of Flask that Dash apps live on: each answers as with Dash on Flask, and guards streams as well."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import dash_uploader
import flask
import flask_login
import flask_session
import httpx
import pytest
from cachelib import FileSystemCache
from dash_auth import BasicAuth, OIDCAuth
from joserfc import jwt
from joserfc.jwk import OctKey
from werkzeug.serving import make_server

from flash import Flash, Input, Output, Update, html, stream_props
from flash.errors import FlashError
from tests.flask_apps.twins import Build, MakeTwins, Twins, click, told
from tests.http.pages import Page


def declare_page(app: Any, who: Any) -> None:
    """Give an app a page, a plain and an async callback, and for Flash a stream, which show what `who` says."""
    app.layout = html.Div([html.Div(id="out"), html.Button(id="go"), html.Button(id="wait"), html.Button(id="stream")])

    @app.callback(Output("out", "children"), Input("go", "n_clicks"))
    def plain(clicks: int) -> Any:
        return who()

    @app.callback(Output("out", "title"), Input("wait", "n_clicks"))
    async def waits(clicks: int) -> Any:
        return who()

    if isinstance(app, Flash):

        @app.event_callback(Input("stream", "n_clicks"))
        async def stream(clicks: int) -> AsyncIterator[Update]:
            yield stream_props("out", {"children": who()})


async def called(pair: Twins) -> list[Any]:
    """What the plain callback, the async one, and the stream have shown."""
    body = click("wait")
    body["output"], body["outputs"]["property"] = "out.title", "title"
    answers = [await pair.click("go"), await pair.ask("POST", "/_dash-update-component", json=body)]
    page = await pair.server.page(browser=pair.flash)
    page.more_headers = [("Cookie", "; ".join(f"{name}={value}" for name, value in pair.flash.cookies.items()))]
    page.more_headers += [(name, value) for name, value in pair.flash.headers.items() if name == "authorization"]
    link = await page.connect(headers={})
    await page.start("stream")
    await link.expect("open")
    streamed = (await link.expect("props"))["props"][0][1]["children"]
    await link.close()
    shown = [answer.json()["response"]["out"] for answer in answers]
    return [shown[0]["children"], shown[1]["title"], streamed]


async def assert_stream_refused(pair: Twins, status: int) -> None:
    """Nobody who is not known starts a stream, opens a link, or is told anything."""
    page = Page(pair.flash, pair.server.port)
    assert (await pair.click("stream")).status_code == status
    assert (await page.get("_flash/events?page=x:0")).status_code == status
    assert (await page.post("_flash/ack", {})).status_code == status
    assert pair.server.app.streams() == []


class User(flask_login.UserMixin):
    def __init__(self, name: str) -> None:
        self.id = name


def declare_login(app: Any) -> None:
    login: Any = flask_login.LoginManager(app.server)
    login.login_view, login.login_message = "enter", None
    login.user_loader(User)
    declare_page(app, lambda: flask_login.current_user.get_id())

    @app.server.before_request
    def guard() -> Any:
        if not flask_login.current_user.is_authenticated and flask.request.endpoint != "enter":
            return login.unauthorized()
        return None

    @app.server.route("/enter", methods=["GET", "POST"])
    def enter() -> Any:
        if flask.request.method == "GET":
            return "who are you?"
        flask_login.login_user(User(flask.request.form["name"]), remember=True)
        return flask.redirect(flask.request.args.get("next", "/"))

    @app.server.route("/profile")
    @flask_login.login_required
    def profile() -> str:
        return flask_login.current_user.get_id()

    @app.callback(Output("out", "lang"), Input("leave", "n_clicks"))
    def leave(clicks: int) -> str:
        flask_login.logout_user()
        return "gone"


async def test_flask_login(twins: MakeTwins) -> None:
    pair = await twins(Build(declare_login, suppress_callback_exceptions=True))
    for path in ("/", "/_dash-layout", "/profile", "/_dash-dependencies"):
        answer = await pair.get(path)
        assert (answer.status_code, answer.headers["location"]) == (302, f"/enter?next={path.replace('/', '%2F')}")
    await assert_stream_refused(pair, 302)
    answer = await pair.ask("POST", "/enter?next=/profile", data={"name": "ada"})
    assert (answer.headers["location"], "remember_token" in answer.cookies) == ("/profile", True)
    assert (await pair.get("/profile")).text == "ada"
    assert await called(pair) == ["ada", "ada", "ada"]
    # Who comes back is known by the cookie that remembers, and has a new session.
    for client in (pair.flash, pair.dash):
        client.cookies.delete("session")
    assert "session" in (await pair.click("go")).cookies
    body = click("leave")
    body["output"], body["outputs"]["property"] = "out.lang", "lang"
    await pair.ask("POST", "/_dash-update-component", json=body)
    assert (await pair.click("go")).status_code == 302
    await assert_stream_refused(pair, 302)


async def test_basic_auth_of_dash_auth(twins: MakeTwins) -> None:
    def declare(app: Any) -> None:
        BasicAuth(app, {"ada": "secret"}, public_routes=["/open"], user_groups={"ada": ["admin"]})
        declare_page(app, lambda: flask.session["user"])
        app.server.route("/open", endpoint="open")(lambda: "open to all")
        app.server.route("/closed", endpoint="closed")(lambda: "closed")

    pair = await twins(Build(declare))
    for path in ("/", "/closed", "/any/page"):
        answer = await pair.get(path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Basic realm="User Visible Realm"')
    assert (await pair.get("/open")).text == "open to all"
    assert (await pair.get("/_dash-layout", same_body=False)).status_code == 200
    assert (await pair.get("/closed", auth=("ada", "wrong"))).status_code == 401
    assert (await pair.ask("POST", "/_dash-update-component", content=b"{")).status_code == 415
    await assert_stream_refused(pair, 401)
    for client in (pair.flash, pair.dash):
        client.headers["Authorization"] = "Basic YWRhOnNlY3JldA=="
    assert (await pair.get("/closed")).text == "closed"
    assert await called(pair) == [{"email": "ada", "groups": ["admin"]}] * 3


SECRET = "a secret of sixteen bytes or more"


@contextlib.contextmanager
def identity_provider() -> Generator[str]:
    """A provider that knows one user, while the block runs; its address. The code that it takes is the nonce."""
    provider = flask.Flask("provider")

    @provider.post("/token")
    def token() -> dict[str, Any]:
        claims = {"iss": "provider", "sub": "1", "aud": "client", "email": "ada@example.org"}
        claims |= {"iat": int(time.time()), "exp": int(time.time()) + 60, "nonce": flask.request.form["code"]}
        signed = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET), algorithms=["HS256"])
        return {"access_token": "a", "token_type": "Bearer", "id_token": signed}

    server = make_server("127.0.0.1", 0, provider, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_oidc_of_dash_auth(twins: MakeTwins) -> None:
    with identity_provider() as address:

        def declare(app: Any) -> None:
            auth = OIDCAuth(app, secret_key="secret")
            auth.register_provider(
                "idp",
                client_id="client",
                client_secret=SECRET,
                authorize_url=f"{address}/authorize",
                access_token_url=f"{address}/token",
                issuer="provider",
                jwks={"keys": [OctKey.import_key(SECRET).as_dict()]},
                id_token_signing_alg_values_supported=["HS256"],
            )
            declare_page(app, lambda: flask.session["user"]["email"])

        pair = await twins(Build(declare))
        steps = [await _log_in(client) for client in (pair.flash, pair.dash)]
        assert steps[0] == steps[1]
        assert await called(pair) == ["ada@example.org"] * 3
        assert "Logged out" in (await pair.get("/oidc/logout")).text
        assert (await pair.flash.get("/")).status_code == 302


async def _log_in(client: httpx.AsyncClient) -> list[Any]:
    """Log in at the provider; what the app told on the way, without what is random."""
    sent = await client.get("/")
    query = parse_qs(urlsplit(sent.headers["location"]).query)
    refused = await client.get("/oidc/idp/callback", params={"code": "x", "state": "another"})
    code, state = query.pop("nonce")[0], query.pop("state")[0]
    entered = await client.get("/oidc/idp/callback", params={"code": code, "state": state})
    assert (sent.status_code, refused.status_code, entered.status_code) == (302, 401, 302), entered.text
    host = f"127.0.0.1:{client.base_url.port}"
    return [str(query).replace(host, "host"), told(refused, same_body=True), entered.headers["location"]]


async def test_flask_session(twins: MakeTwins, tmp_path: Path) -> None:
    def keep_sessions_in_files(server: flask.Flask) -> None:
        server.config |= {"SESSION_TYPE": "cachelib", "SESSION_CACHELIB": FileSystemCache(str(tmp_path))}
        flask_session.Session(server)

    def declare(app: Any) -> None:
        declare_page(app, count)
        app.server.route("/count")(lambda: str(flask.session.get("count")))

    def count() -> int:
        with contextlib.suppress(FlashError):
            flask.session["count"] = flask.session.get("count", 0) + 1
        return flask.session["count"]

    pair = await twins(Build(declare, keep_sessions_in_files))
    assert (await pair.get("/count")).text == "None"
    assert await called(pair) == [1, 2, 2]
    assert (await pair.get("/count")).text == "2"


def parts_of(content: bytes, size: int) -> Iterator[tuple[dict[str, Any], bytes]]:
    """What the page of dash-uploader sends for a file: form and content of each part."""
    count = max(1, len(content) // size)
    for number in range(count):
        part = content[number * size : None if number == count - 1 else (number + 1) * size]
        form = {
            "resumableChunkNumber": number + 1,
            "resumableTotalChunks": count,
            "resumableCurrentChunkSize": len(part),
            "resumableTotalSize": len(content),
            "resumableIdentifier": f"{len(content)}-data",
            "resumableFilename": "data",
            "upload_id": "ada",
        }
        yield form, part


@pytest.mark.parametrize("size", [1_000, 2_000_000])
async def test_uploads_with_dash_uploader(twins: MakeTwins, tmp_path: Path, size: int) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    waiting = iter(folders)

    def declare(app: Any) -> None:
        declare_page(app, lambda: "nobody")
        dash_uploader.configure_upload(app, str(next(waiting)))
        app.layout.children.append(dash_uploader.Upload(id="files"))

        @dash_uploader.callback(output=Output("out", "lang"), id="files")
        def show(names: list[str]) -> str:
            return f"{Path(names[0]).name} has come"

    content = bytes(range(250)) * (size * 5 // 2 // 250)
    pair = await twins(Build(declare))
    for form, part in parts_of(content, size):
        sent = await pair.ask("POST", "/API/resumable", data=form, files={"file": ("blob", part)})
        assert (sent.status_code, sent.text) == (200, "data")
    assert [(folder / "ada" / "data").read_bytes() == content for folder in folders] == [True, True]
    body = click("files", True)
    body["output"], body["outputs"]["property"] = "out.lang", "lang"
    body["inputs"][0]["property"], body["changedPropIds"] = "isCompleted", ["files.isCompleted"]
    body["state"] = [
        {"id": "files", "property": "fileNames", "value": ["data"]},
        {"id": "files", "property": "upload_id", "value": "ada"},
    ]
    shown = await pair.ask("POST", "/_dash-update-component", json=body)
    assert shown.json()["response"] == {"out": {"lang": "data has come"}}
