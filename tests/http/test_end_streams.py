"""Whose a stream is, and ending streams from the app's own code, over real sockets."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import quart
import trio
from quart import abort, request

from flash import Flash, Input, Output, StreamCancelled, Update, html, stream_props
from tests.http.pages import Page
from tests.http.refusals import assert_refused
from tests.http.servers import Serve
from tests.support.eventually import eventually
from tests.support.link import Link

USER = "X-User"


def user_of(asked: Any) -> str | None:
    return asked.headers.get(USER)


class Users(Flash):
    """An app with streams of users, whom a header of their requests names.

    Attributes:
        told: the cancellations that `on_error` was told of.
        ended: what the plain callback `log-out` has made of ending the streams of its user.
    """

    def __init__(self, **options: Any) -> None:
        options.setdefault("identify", user_of)
        super().__init__(__name__, **options)
        self.told: list[StreamCancelled] = []
        self.ended: list[object] = []
        self.layout = [html.Button(id=name) for name in ("go", "log-out", "out")]
        self.event_callback(Input("go", "n_clicks"), on_error=self.note)(self.count)
        self.callback(Output("out", "title"), Input("log-out", "n_clicks"), prevent_initial_call=True)(self.log_out)

    async def note(self, error: StreamCancelled) -> None:
        self.told.append(error)

    async def count(self, clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": clicks})
        await trio.sleep_forever()

    def log_out(self, clicks: int) -> str:
        assert threading.current_thread() is not threading.main_thread()
        self.ended.append(self.end_streams(user=user_of(request), why="logged out"))
        return "logged out"


async def as_user(serve_page: Page, user: str | None) -> tuple[Page, Link]:
    """A page with a link, whose requests name a user."""
    if user is not None:
        serve_page.client.headers[USER] = user
    return serve_page, await serve_page.connect()


async def running(page: Page, link: Link, value: int | None = None) -> None:
    """Start a stream, and wait for its first update."""
    assert (await page.start("go", value=value)).status_code == 204
    await link.expect("open")
    await link.expect("props")


async def test_a_plain_callback_ends_the_streams_of_its_user_and_no_others(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    app = Users()
    server = await serve(app)
    links: dict[str, Link] = {}
    for name, user in {"1": "ada", "2": "ada", "3": "eve", "4": None}.items():
        page, links[name] = await as_user(await server.page(), user)
        await running(page, links[name])
    assert [info.user for info in app.streams()] == ["ada", "ada", "eve", None]
    other, _ = await as_user(await server.page(), "ada")
    with caplog.at_level(logging.INFO):
        assert await other.call("log-out") == {"out": {"title": "logged out"}}
        for name in "12":
            assert (await links[name].expect("end"))["reason"] == "revoked"
    assert app.ended == [2]
    assert [error.why for error in app.told] == ["logged out", "logged out"]
    assert [info.user for info in app.streams()] == ["eve", None]
    assert "Users.count of 'ada': revoked after" in caplog.text


async def test_on_the_event_loop_a_callback_names_the_streams_by_event_callback_page_and_where(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Button(id="end"), html.Div(id="out")]

    @app.event_callback(Input("go", "n_clicks"))
    async def count(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": clicks})
        await trio.sleep_forever()

    @app.callback(Output("out", "title"), Input("end", "n_clicks"), prevent_initial_call=True)
    async def end(clicks: int) -> list[int]:
        page = app.streams()[0].page
        return [
            app.end_streams("another", where=lambda info: True) if clicks > 1 else -1,
            app.end_streams(count, where=lambda info: False),
            app.end_streams(count, page=page),
            await app.end_all_streams(where=lambda info: info.page == page),
            await app.end_all_streams(count, where=lambda info: info.user is None, why="all"),
        ]

    server = await serve(app)
    pages = [await server.page() for _ in range(3)]
    links = [await page.connect() for page in pages]
    for page, link in zip(pages, links, strict=True):
        await running(page, link)
    answer = await pages[0].call("end", value=1)
    assert answer["out"]["title"] == [-1, 0, 1, 0, 2]
    for link in links:
        assert (await link.expect("end"))["reason"] == "revoked"
    assert app.streams() == []
    assert (await pages[0].start("end", value=2)).status_code == 500, "there is no such event callback"


async def test_a_stream_may_end_all_streams_its_own_included(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Div(id="out")]
    ended: list[int] = []

    @app.event_callback(Input("go", "n_clicks"))
    async def last(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": clicks})
        if clicks == 2:
            ended.append(await app.end_all_streams(where=lambda info: True))
        await trio.sleep_forever()

    server = await serve(app)
    (one, two) = [await server.page() for _ in range(2)]
    links = [await page.connect() for page in (one, two)]
    await running(one, links[0], 1)
    await two.start("go", value=2)
    for link in links:
        assert (await link.until("end"))["reason"] == "revoked"
    assert ended == [2]


# identify


async def test_an_async_function_may_say_whose_a_request_is(serve: Serve) -> None:
    async def from_session(asked: Any) -> str | None:
        await trio.lowlevel.checkpoint()
        assert asked.path.endswith("_dash-update-component")
        return quart.request.headers.get(USER)

    app = Users(identify=from_session)
    page, link = await as_user(await (await serve(app)).page(), "ada")
    await running(page, link)
    assert [info.user for info in app.streams()] == ["ada"]


async def test_a_plain_function_runs_in_a_thread_with_the_request_at_hand(serve: Serve) -> None:
    threads: list[threading.Thread] = []

    def blocking(asked: Any) -> str | None:
        threads.append(threading.current_thread())
        assert quart.request.path == asked.path
        return quart.session.get("user", "nobody")

    app = Users(identify=blocking)
    app.server.secret_key = "secret"
    page, link = await as_user(await (await serve(app)).page(), None)
    await running(page, link)
    assert [info.user for info in app.streams()] == ["nobody"]
    assert threads != [threading.main_thread()]


async def test_a_start_that_is_under_way_when_its_user_logs_out_ends_before_it_runs(serve: Serve) -> None:
    asked, answer, ran = trio.Event(), trio.Event(), list[int]()

    async def slowly(asked_of: Any) -> str | None:
        user = user_of(asked_of)
        asked.set()
        await answer.wait()
        return user

    class Running(Users):
        async def count(self, clicks: int) -> AsyncIterator[Update]:
            ran.append(clicks)
            yield stream_props("out", {"children": clicks})
            await trio.sleep_forever()

    app = Running(identify=slowly)
    server = await serve(app)
    ada, link = await as_user(await server.page(), "ada")
    eve, other = await as_user(await server.page(), "eve")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ada.start, "go", "n_clicks", 1)
        nursery.start_soon(eve.start, "go", "n_clicks", 2)
        await asked.wait()
        await eventually(lambda: len(app.channels._starts) == 2)
        assert app.end_streams(user="ada", why="logged out") == 0
        answer.set()
    await link.expect("open")
    assert (await link.expect("end"))["reason"] == "revoked"
    assert [error.why for error in app.told] == ["logged out"]
    await other.expect("open")
    await other.expect("props")
    assert ran == [2]
    # What begins later is another matter.
    await running(ada, link, 3)
    assert app.channels._starts == set()


async def test_what_identify_raises_refuses_the_start_only(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    def picky(asked: Any) -> Any:
        match user_of(asked):
            case "locked":
                abort(401)
            case "eve":
                raise SystemExit("the password is 1234")
            case "seven":
                return 7
            case user:
                return user
        return None

    app = Users(identify=picky)
    server = await serve(app)
    _, good = await as_user(first := await server.page(), "ada")
    await running(first, good)
    unknown = "'Users.count' was not started: the app does not say whose the request is."
    typed = "has returned something of the type int. It is to return a string, or None for nobody."
    for user, status, sentence in (("locked", 401, unknown), ("eve", 500, unknown), ("seven", 500, typed)):
        page, link = await as_user(await server.page(), user)
        answer = await page.start("go")
        assert_refused(answer, status, sentence)
        assert "1234" not in answer.text
        assert sentence in (await link.expect("refused"))["message"]
    assert caplog.text.count("the password is 1234") >= 1
    assert [info.user for info in app.streams()] == ["ada"]


async def test_a_start_beyond_the_streams_of_a_user_is_refused(serve: Serve) -> None:
    app = Users(streams_per_user=1)
    server = await serve(app)
    page, link = await as_user(await server.page(), "ada")
    await running(page, link)
    second, events = await as_user(await server.page(), "ada")
    assert_refused(await second.start("go"), 429, "raise streams_per_user= of Flash(...)")
    assert "1 streams of this user run already in this server process" in (await events.expect("refused"))["message"]
    other, events = await as_user(await server.page(), "eve")
    await running(other, events)
    # Once more on the same page takes the place of the first.
    await page.start("go")
    assert (await link.expect("end"))["reason"] == "superseded"
    await link.expect("open")
