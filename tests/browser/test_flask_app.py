"""A page of an app whose server is a Flask app with flask-login: who has logged in gets streams, and nobody else."""

from __future__ import annotations

from typing import Any

import flask
import flask_login
import trio
from playwright.sync_api import BrowserContext, expect

from flash import Flash, Input, Output, html, stream_props
from tests.browser.conftest import Console
from tests.support.browser import Serve


class User(flask_login.UserMixin):
    def __init__(self, name: str) -> None:
        self.id = name


def make_app() -> Flash:
    server = flask.Flask(__name__)
    server.secret_key = "secret"
    login: Any = flask_login.LoginManager(server)
    login.login_view = "enter"
    login.user_loader(User)

    @server.before_request
    def guard() -> Any:
        known = flask_login.current_user.is_authenticated or flask.request.endpoint == "enter"
        return None if known else login.unauthorized()

    @server.route("/enter", methods=["GET", "POST"])
    def enter() -> Any:
        if flask.request.method == "GET":
            return '<form method="post"><input name="name"><button>Log in</button></form>'
        flask_login.login_user(User(flask.request.form["name"]))
        return flask.redirect("/")

    app = Flash(__name__, server=server)
    app.layout = html.Div(
        [html.Button("Go", id="go"), html.P(id="out"), html.Button("Log out", id="leave"), html.P(id="left")]
    )

    @app.event_callback(Input("go", "n_clicks"))
    async def count(clicks: int):
        for number in range(1, 4):
            yield stream_props("out", {"children": f"{number} for {flask_login.current_user.get_id()}"})
            await trio.sleep(0.05)

    @app.callback(Output("left", "children"), Input("leave", "n_clicks"), prevent_initial_call=True)
    def leave(clicks: int) -> str:
        flask_login.logout_user()
        return "gone"

    return app


def test_who_has_logged_in_gets_streams_until_they_log_out(
    serving: Serve, context: BrowserContext, console: Console
) -> None:
    page = context.new_page()
    page.goto(serving(make_app()).url)
    page.fill("input", "ada")
    page.click("button")
    page.click("#go")
    expect(page.locator("#out")).to_have_text("3 for ada")
    page.click("#leave")
    expect(page.locator("#left")).to_have_text("gone")
    page.reload()
    expect(page.locator("form")).to_be_visible()
