"""Shared streams in a served app: whose pages follow one run, what it is given, and what each page keeps for itself."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import pytest
import quart
import trio
from dash.exceptions import PreventUpdate
from werkzeug.exceptions import Forbidden
from werkzeug.local import LocalProxy

from flash import (
    ALL,
    MATCH,
    Flash,
    Input,
    Output,
    Patch,
    State,
    StreamCancelled,
    Update,
    ctx,
    html,
    stream_props,
)
from flash.asgi import direct_writes
from flash.channels import Channels
from tests.http.pages import Page
from tests.http.servers import Serve, Server
from tests.support.eventually import TIMEOUT, eventually
from tests.support.link import Link


class Runs:
    """The runs of a shared generator.

    Attributes:
        given: what each was called with.
        open: how many have not ended.
        orders: what those that run have been told, one after the other.
    """

    def __init__(self) -> None:
        self.given: list[Any] = []
        self.open = 0
        self.orders: list[str] = []
        self._ordered = trio.Event()

    async def run(self, *given: Any) -> AsyncIterator[Update]:
        self.given.append(given)
        self.open += 1
        begin = len(self.orders)
        try:
            yield stream_props("out", {"children": str(given)})
            for count in itertools.count(1):
                while len(self.orders) < begin + count:
                    await self._ordered.wait()
                order = self.orders[begin + count - 1]
                if order == "end":
                    return
                if order == "fail":
                    raise ValueError("the secret of the app")
                yield stream_props("out", {"children": f"{order} {count}"})
        finally:
            self.open -= 1

    def say(self, order: str) -> None:
        self.orders.append(order)
        event, self._ordered = self._ordered, trio.Event()
        event.set()


def layout() -> list[Any]:
    return [
        html.Button(id="go", n_clicks=0),
        html.Button(id="stop"),
        html.Div(id="name", children="A"),
        html.Div(id="out"),
    ]


def make_app(runs: Runs, shared: Any, *, declare: dict[str, Any] | None = None, **options: Any) -> Flash:
    app = Flash(__name__, reconnect_grace=0, **options)
    app.layout = layout()

    @app.event_callback(Input("go", "n_clicks"), State("name", "children"), shared=shared, **(declare or {}))
    async def live(clicks: int, name: str, **more: str) -> AsyncIterator[Update]:
        async for update in runs.run(name, *sorted(more.items())):
            yield update

    return app


async def follow(server: Server, page: Page | None = None, *, browser: Any = None) -> tuple[Page, Link, str]:
    """A page that has started the stream and seen its first update; the page, its link, and the stream."""
    page = page or await server.page(browser=browser)
    link = await page.connect()
    await page.start("go")
    opened = await link.expect("open")
    await link.expect("props")
    return page, link, opened["stream"]


async def test_pages_of_two_browsers_follow_one_run_with_all_and_counters_do_not_count(serve: Serve) -> None:
    runs = Runs()
    server = await serve(make_app(runs, "all"))
    links = [(await follow(server))[1] for _ in range(2)]
    page = await server.page()
    page.set("go", n_clicks=41)
    links.append((await follow(server, page))[1])
    runs.say("news")
    assert [(await link.expect("props"))["props"] for link in links] == [[["out", {"children": "news 1"}]]] * 3
    assert runs.given == [("A",)]
    [info] = server.app.shared_streams()
    assert (info.followers, info.updates, info.state, info.can_be_joined) == (3, 2, "running", True)
    assert info.source.endswith("live(1, 'A')")
    assert {stream.source for stream in server.app.streams()} == {info.id}
    assert server.app.feeds() == []
    other = await server.page()
    other.set("name", children="B")
    await follow(server, other)
    assert runs.given == [("A",), ("B",)]


async def test_with_browser_its_tabs_follow_one_run_and_another_browser_has_its_own(serve: Serve) -> None:
    runs = Runs()
    server = await serve(make_app(runs, "browser"))
    first = await server.page()
    second = await server.page(browser=first.client)
    for page in (first, second, await server.page()):
        await follow(server, page)
    assert runs.given == [("A",)] * 2
    assert sorted(info.followers for info in server.app.shared_streams()) == [1, 2]


@pytest.mark.parametrize("kind", ["plain", "async", "dict"])
async def test_with_a_function_those_share_a_run_for_whom_it_returns_the_same(serve: Serve, kind: str) -> None:
    asked: list[str] = []

    def of_user(request: Any) -> str:
        asked.append(request.headers["X-User"])
        return asked[-1]

    async def of_user_later(request: Any) -> str:
        await trio.lowlevel.checkpoint()
        return of_user(request)

    def of_user_in_a_dict(request: Any) -> dict[str, str]:
        return {"user": of_user(request)}

    runs = Runs()
    functions = {"plain": of_user, "async": of_user_later, "dict": of_user_in_a_dict}
    server = await serve(make_app(runs, functions[kind]))
    for user in ("ada", "bob", "ada"):
        page = await server.page()
        page.client.headers["X-User"] = user
        await follow(server, page)
    assert asked == ["ada", "bob", "ada"]
    more = [(("user", user),) if kind == "dict" else () for user in ("ada", "bob")]
    assert runs.given == [("A", *keywords) for keywords in more]


@pytest.mark.parametrize("is_plain", [False, True], ids=["async", "plain"])
@pytest.mark.parametrize("kind", ["proxy", "dict of proxies"])
async def test_what_the_function_returns_may_be_a_proxy_of_the_request_and_outlives_it_as_text(
    serve: Serve, kind: str, is_plain: bool
) -> None:
    proxy = LocalProxy(lambda: quart.request.headers["X-User"])

    def of_user(request: Any) -> Any:
        return proxy if kind == "proxy" else {"user": proxy}

    async def of_user_later(request: Any) -> Any:
        return of_user(request)

    runs = Runs()
    server = await serve(make_app(runs, of_user if is_plain else of_user_later))
    pages: list[tuple[Page, Link]] = []
    for user in ("ada", "bob", "ada"):
        page = await server.page()
        page.client.headers["X-User"] = user
        pages.append((await follow(server, page))[:2])
    more = [() if kind == "proxy" else (("user", user),) for user in ("ada", "bob")]
    assert runs.given == [("A", *keywords) for keywords in more]
    # When a run is over, another one can start.
    runs.say("end")
    for _, link in pages:
        await link.expect("end")
    for page, link in pages[:2]:
        await page.start("go")
        await link.expect("open")
        await link.expect("props")
    assert runs.given == [("A", *keywords) for keywords in more * 2]


@pytest.mark.parametrize(
    ("answer", "status", "logged"),
    [
        (Forbidden("not you"), 403, "It has answered 403"),
        (PermissionError("not you"), 500, "its function in shared= raised"),
        (7, 500, "returned a int"),
        (LocalProxy(lambda: 7), 500, "returned a int"),
        ({"user": 7}, 500, "returned a dict"),
        ({"clicks": "x"}, 500, "it would be called as"),
    ],
)
async def test_a_function_that_raises_or_returns_something_else_refuses_the_start_and_touches_nobody_else(
    serve: Serve, caplog: pytest.LogCaptureFixture, answer: Any, status: int, logged: str
) -> None:
    answers: list[Any] = ["ada"]

    def of_user(request: Any) -> Any:
        if isinstance(answers[0], Exception):
            raise answers[0]
        return answers[0]

    runs = Runs()
    server = await serve(make_app(runs, of_user))
    _, link, _ = await follow(server)
    answers[0] = answer
    other = await server.page()
    other_link = await other.connect()
    with caplog.at_level(logging.INFO):
        response = await other.start("go")
    assert response.status_code == status
    assert "was not started: its function in shared=" in response.text
    assert "not you" not in response.text
    assert (await other_link.expect("refused"))["message"] == response.text
    assert any(logged in record.getMessage() for record in caplog.records)
    runs.say("news")
    await link.expect("props")
    assert len(runs.given) == 1


async def test_who_joins_late_gets_the_state_first_and_what_adds_up_adds_up(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = layout()
    more = trio.Event()

    @app.event_callback(Input("go", "n_clicks"), shared="all")
    async def live(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": ["first"], "title": "old"})
        for number in range(3):
            patch = Patch()
            patch.append(number)
            yield stream_props("out", {"children": patch, "title": str(number)})
        await more.wait()
        yield stream_props("out", {"title": "later"})

    server = await serve(app)
    await follow(server)
    await eventually(lambda: app.shared_streams()[0].updates == 4)
    page = await server.page()
    link = await page.connect()
    await page.start("go")
    await link.expect("open")
    given = (await link.expect("props"))["props"]
    assert given[0] == ["out", {"children": ["first"]}]
    assert given[-1] == ["out", {"title": "2"}]
    assert len(given) == 1 + 3 + 1
    more.set()
    props, end = await link.to_end()
    assert props == [["out", {"title": "later"}]]
    assert end["reason"] == "completed"


async def test_a_page_that_would_have_to_be_given_too_much_is_refused_with_a_sentence(serve: Serve) -> None:
    app = Flash(__name__, stream_buffer_bytes=500)
    app.layout = layout()

    @app.event_callback(Input("go", "n_clicks"), shared="all")
    async def live(clicks: int) -> AsyncIterator[Update]:
        for number in range(10):
            patch = Patch()
            patch.append("x" * 50 + str(number))
            yield stream_props("out", {"children": patch})
            await trio.sleep(0.01)
        await trio.sleep_forever()

    server = await serve(app)
    await follow(server)
    await eventually(lambda: not app.shared_streams()[0].can_be_joined)
    late = await server.page()
    link = await late.connect()
    response = await late.start("go")
    assert response.status_code == 409
    assert "too large for a page that joins now" in response.text
    assert (await link.expect("refused"))["message"] == response.text


@pytest.mark.parametrize("overlap", ["supersede", "queue"])
async def test_the_only_page_of_a_run_that_nobody_can_join_any_more_can_start_another_one(
    serve: Serve, overlap: Literal["supersede", "queue"]
) -> None:
    runs = 0
    app = Flash(__name__, stream_buffer_bytes=500)
    app.layout = layout()
    to_its_end = trio.Event()

    @app.event_callback(Input("go", "n_clicks"), shared="all", overlap=overlap)
    async def live(clicks: int) -> AsyncIterator[Update]:
        nonlocal runs
        runs += 1
        yield stream_props("out", {"children": [f"run {runs}"]})
        for _ in range(10):
            patch = Patch()
            patch.append("x" * 50)
            yield stream_props("out", {"children": patch})
            await trio.sleep(0.01)
        await to_its_end.wait()

    server = await serve(app)
    page, link, _ = await follow(server)
    await eventually(lambda: not app.shared_streams()[0].can_be_joined)
    assert (await page.start("go")).status_code == 204
    if overlap == "queue":
        to_its_end.set()
    _, end = await link.to_end()
    assert end["reason"] == ("superseded" if overlap == "supersede" else "completed")
    await link.expect("open")
    assert (await link.expect("props"))["props"] == [["out", {"children": ["run 2"]}]]
    to_its_end.set()


async def test_stop_in_one_tab_ends_the_run_of_its_browser_in_every_tab(serve: Serve) -> None:
    runs = Runs()
    errors: list[StreamCancelled] = []
    options = {"cancel": [Input("stop", "n_clicks")], "linger": 100, "on_error": errors.append}
    server = await serve(make_app(runs, "browser", declare=options))
    first, first_link, stream = await follow(server)
    _, second_link, _ = await follow(server, browser=first.client)
    await follow(server)
    await first.cancel(stream)
    for link in (first_link, second_link):
        assert (await link.expect("end"))["reason"] == "cancelled"
    assert [(error.condition, error.value) for error in errors] == [("stop.n_clicks", 1)] * 2
    await eventually(lambda: runs.open == 1)


async def test_stop_in_one_tab_stops_the_starts_that_wait_their_turn_in_another(serve: Serve) -> None:
    runs = Runs()
    options = {"cancel": [Input("stop", "n_clicks")], "overlap": "queue"}
    server = await serve(make_app(runs, "browser", declare=options))
    first, first_link, stream = await follow(server)
    second, second_link, _ = await follow(server, browser=first.client)
    for _ in range(2):
        assert (await second.start("go")).status_code == 204
    await first.cancel(stream)
    assert (await first_link.expect("end"))["reason"] == "cancelled"
    for _ in range(2):
        refused = await second_link.expect("refused")
        assert (refused["status"], "in another tab" in refused["message"]) == ("idle", True)
    assert (await second_link.expect("end"))["reason"] == "cancelled"
    await eventually(lambda: runs.open == 0)
    await second.start("go")
    await second_link.expect("open")
    await second_link.expect("props")
    assert len(runs.given) == 2


@pytest.mark.parametrize("shared", ["all", lambda request: "the same"], ids=["all", "function"])
async def test_unless_it_is_by_browser_stop_is_each_pages_own_until_the_last(serve: Serve, shared: Any) -> None:
    runs = Runs()
    options = {"cancel": [Input("stop", "n_clicks")], "linger": 100}
    server = await serve(make_app(runs, shared, declare=options))
    first, first_link, first_stream = await follow(server)
    second, second_link, second_stream = await follow(server)
    await first.cancel(first_stream)
    assert (await first_link.expect("end"))["reason"] == "cancelled"
    runs.say("news")
    await second_link.expect("props")
    await second.cancel(second_stream)
    assert (await second_link.expect("end"))["reason"] == "cancelled"
    await eventually(lambda: runs.open == 0)


async def test_streams_that_the_app_ends_are_counted_and_their_source_ends_with_the_last(serve: Serve) -> None:
    runs = Runs()
    server = await serve(make_app(runs, "all", declare={"linger": 100}))
    (first, first_link, _), (_, second_link, _) = [await follow(server) for _ in range(2)]
    assert server.app.end_streams(page=first.token[:8], why="tested") == 1
    assert (await first_link.expect("end"))["reason"] == "revoked"
    runs.say("news")
    await second_link.expect("props")
    # The source itself does not count.
    assert server.app.end_streams(where=lambda info: True) == 1
    assert (await second_link.expect("end"))["reason"] == "revoked"
    await eventually(lambda: server.app.shared_streams() == [])
    assert runs.open == 0


async def test_a_run_lingers_for_a_page_that_is_lost_and_who_comes_back_follows_it(serve: Serve) -> None:
    runs = Runs()
    server = await serve(make_app(runs, "browser", declare={"linger": 100}))
    page, _, _ = await follow(server)
    await page.leave()
    await eventually(lambda: [info.state for info in server.app.shared_streams()] == ["lingering"])
    runs.say("meanwhile")
    await eventually(lambda: server.app.shared_streams()[0].updates == 2)
    again = await server.page(browser=page.client)
    link = await again.connect()
    await again.start("go")
    await link.expect("open")
    assert (await link.expect("props"))["props"] == [["out", {"children": "meanwhile 1"}]]
    assert len(runs.given) == 1
    await server.stop()
    assert runs.open == 0


async def test_what_a_page_declares_for_itself_stays_its_own(serve: Serve) -> None:
    app = Flash(__name__, reconnect_grace=0)
    app.layout = layout()

    async def on_error(error: Exception) -> Update:
        # This is still the context of the page's own start.
        return stream_props("out", {"title": f"{ctx.triggered_id}: {error!r}"})

    @app.event_callback(
        Input("go", "n_clicks"),
        shared="all",
        on_error=on_error,
        reset_props=[("out", {"lang": ""})],
        running=[(Output("go", "disabled"), True, False)],
    )
    async def live(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": "here"})
        await fail.wait()
        raise ValueError("broken")

    fail = trio.Event()
    server = await serve(app)
    links = [(await follow(server))[1] for _ in range(2)]
    fail.set()
    for link in links:
        end = await link.expect("end")
        assert end["reason"] == "failed"
        assert end["handled"]
        title, reset, off = end["props"]
        assert title == ["out", {"title": "go: ValueError('broken')"}]
        assert reset == ["out", {"lang": ""}]
        assert off == ["go", {"disabled": False}]


async def test_end_users_are_told_nothing_of_a_failure_and_the_log_has_it_once(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    runs = Runs()
    server = await serve(make_app(runs, "all"))
    links = [(await follow(server))[1] for _ in range(3)]
    with caplog.at_level(logging.WARNING):
        runs.say("fail")
        for link in links:
            assert "secret" not in str(await link.expect("end"))
    assert [record.name for record in caplog.records if record.exc_info] == ["flash.feeds"]


@pytest.mark.parametrize(
    "asks",
    [lambda: ctx.triggered_id, lambda: quart.request.path, lambda: quart.session.get("user")],
    ids=["ctx", "request", "session"],
)
async def test_the_run_has_no_page_no_request_and_no_session_and_says_so(
    serve: Serve, caplog: pytest.LogCaptureFixture, asks: Any
) -> None:
    app = Flash(__name__)
    app.layout = layout()

    @app.event_callback(Input("go", "n_clicks"), shared="all")
    async def live(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": str(asks())})

    server = await serve(app)
    page = await server.page()
    link = await page.connect()
    with caplog.at_level(logging.WARNING):
        await page.start("go")
        assert (await link.until("end"))["reason"] == "failed"
    assert "it has no page, no request, no session and no ctx" in caplog.text


async def test_a_plain_generator_runs_in_one_thread_for_all(serve: Serve) -> None:
    app = Flash(__name__, stream_threads=1)
    app.layout = layout()

    @app.event_callback(Input("go", "n_clicks"), State("name", "children"), shared="all")
    def live(clicks: int, name: str) -> Iterator[Update]:
        yield stream_props("out", {"children": name})
        trio.from_thread.run(trio.sleep_forever)

    server = await serve(app)
    for _ in range(3):
        await follow(server)
    other = await server.page()
    other.set("name", children="B")
    response = await other.start("go")
    assert response.status_code == 503
    assert "stream_threads=" in response.text


async def test_streaming_callbacks_share_a_run_per_outputs(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Div(id="out"), html.Div(id="more")]
    runs: list[int] = []
    more = trio.Event()

    @app.callback(
        Output("out", "children"),
        Output("more", "children"),
        Input("go", "n_clicks"),
        prevent_initial_call=True,
        shared="all",
    )
    async def live(clicks: int) -> AsyncIterator[tuple[str, int]]:
        runs.append(clicks)
        yield "first", 1
        await more.wait()
        yield "second", 2

    server = await serve(app)
    links = [(await follow(server))[1] for _ in range(2)]
    more.set()
    for link in links:
        props, end = await link.to_end()
        assert props == [["out", {"children": "second"}], ["more", {"children": 2}]]
        assert end["reason"] == "completed"
    assert runs == [1]


async def test_outputs_that_are_other_components_are_another_run(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), *(html.Div(id={"row": row}) for row in range(3))]
    runs: list[int] = []

    @app.callback(Output({"row": ALL}, "children"), Input("go", "n_clicks"), prevent_initial_call=True, shared="all")
    async def live(clicks: int) -> AsyncIterator[list[str]]:
        runs.append(clicks)
        yield ["here", "there"]
        await trio.sleep_forever()

    server = await serve(app)
    for rows in ((0, 1), (0, 2), (0, 1)):
        page = await server.page()
        link = await page.connect()
        body = page.request("go")
        body["outputs"] = [{"id": {"row": row}, "property": "children"} for row in rows]
        assert (await page.post("_dash-update-component", body)).status_code == 204
        await link.expect("open")
        assert [component_id for component_id, _ in (await link.expect("props"))["props"]] == [
            {"row": row} for row in rows
        ]
    assert len(runs) == 2


async def test_prevent_update_ends_a_run_without_a_failure(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    app = Flash(__name__)
    app.layout = layout()

    @app.event_callback(Input("go", "n_clicks"), shared="all")
    async def live(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": "here"})
        raise PreventUpdate

    server = await serve(app)
    page = await server.page()
    link = await page.connect()
    await page.start("go")
    assert (await link.until("end"))["reason"] == "completed"
    await eventually(lambda: app.shared_streams() == [])
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_what_match_has_matched_tells_runs_apart(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id={"n": number}) for number in (1, 2)] + [html.Div(id="out")]
    runs: list[None] = []

    @app.event_callback(Input({"n": MATCH}, "n_clicks"), shared="all")
    async def live(clicks: int) -> AsyncIterator[Update]:
        runs.append(None)
        yield stream_props("out", {"children": "here"})
        await trio.sleep_forever()

    server = await serve(app)
    for number in (1, 2, 1):
        page = await server.page()
        link = await page.connect()
        await page.start({"n": number})
        await link.until("props")
    assert len(runs) == 2


async def test_a_browser_may_start_so_many_runs_and_no_more(serve: Serve) -> None:
    runs = Runs()
    server = await serve(make_app(runs, "all", sources_per_browser=2, sources_per_server=3))
    first = await server.page()
    statuses: list[int] = []
    for name in ("A", "B", "C", "A"):
        page = await server.page(browser=first.client)
        page.set("name", children=name)
        statuses.append((await page.start("go")).status_code)
        await eventually(lambda: len(runs.given) == len(server.app.shared_streams()))
    for name in ("C", "D"):
        other = await server.page()
        other.set("name", children=name)
        statuses.append((await other.start("go")).status_code)
        await eventually(lambda: len(runs.given) == len(server.app.shared_streams()))
    assert statuses[:4] == [204, 204, 429, 204]
    assert statuses[4] == 204
    assert statuses[5] == 503


@pytest.mark.parametrize("bound", ["sources_per_browser", "sources_per_server", "stream_threads"])
async def test_a_start_that_ends_a_run_of_its_own_has_its_place(serve: Serve, bound: str) -> None:
    runs = Runs()
    bounds: dict[str, Any] = {bound: 1, "cleanup_timeout": TIMEOUT}
    app = Flash(__name__, reconnect_grace=0, **bounds)
    app.layout = layout()
    cleaned_up = threading.Event()

    @app.event_callback(Input("go", "n_clicks"), State("name", "children"), shared="all")
    def live(clicks: int, name: str) -> Iterator[Update]:
        runs.given.append(name)
        try:
            yield stream_props("out", {"children": name})
            trio.from_thread.run(trio.sleep_forever)
        finally:
            # The place is free only when clean-up is over.
            cleaned_up.wait(TIMEOUT)

    server = await serve(app)
    page, link, _ = await follow(server)
    page.set("name", children="B")
    assert (await page.start("go")).status_code == 204
    assert (await link.expect("end"))["reason"] == "superseded"
    await link.expect("open")
    assert [info.state for info in app.shared_streams()] == ["ending"]
    cleaned_up.set()
    assert (await link.expect("props"))["props"] == [["out", {"children": "B"}]]
    # Where others follow the run as well, its place is not free.
    await follow(server, await page_like(server, page))
    page.set("name", children="C")
    assert (await page.start("go")).status_code == (429 if bound == "sources_per_browser" else 503)
    assert "was not started" in (await link.expect("refused"))["message"]
    assert runs.given == ["A", "B"]


async def page_like(server: Server, page: Page) -> Page:
    """Another tab, with the same value in its State."""
    other = await server.page(browser=page.client)
    other.set("name", children="B")
    return other


# Pages that are loaded again


async def resume(page: Page) -> int:
    """Ask for the run that is still going, as the page's script does when it is loaded; returns the status."""
    body = page.request("go", value=0) | {"changedPropIds": [], "resume": True}
    return (await page.post("_dash-update-component", body)).status_code


async def test_a_page_that_resumes_follows_the_run_that_is_there_and_starts_none(serve: Serve) -> None:
    runs = Runs()
    server = await serve(make_app(runs, "browser", declare={"linger": 100, "resume": True}))
    page = await server.page()
    assert await resume(page) == 204
    assert (runs.given, server.app.shared_streams(), len(server.app.channels)) == ([], [], 0)
    await follow(server, page)
    await page.leave()
    await eventually(lambda: [info.state for info in server.app.shared_streams()] == ["lingering"])
    again = await server.page(browser=page.client)
    link = await again.connect()
    assert await resume(again) == 204
    await link.expect("open")
    assert (await link.expect("props"))["props"] == [["out", {"children": "('A',)"}]]
    # One that asks when it has the stream already does nothing, and neither does a page of somebody else.
    assert await resume(again) == 204
    runs.say("news")
    await link.expect("props")
    stranger = await server.page()
    assert await resume(stranger) == 204
    assert [info.followers for info in server.app.shared_streams()] == [1]
    # Other values are another run, which is not there.
    again.set("name", children="B")
    other = await server.page(browser=page.client)
    other.set("name", children="B")
    assert await resume(other) == 204
    assert runs.given == [("A",)]


async def test_what_is_kept_of_a_run_is_for_who_resumes_and_a_click_starts_another(serve: Serve) -> None:
    runs = Runs()
    server = await serve(make_app(runs, "browser", declare={"linger": 100, "resume": True}))
    page, _, _ = await follow(server)
    await page.leave()
    await eventually(lambda: [info.state for info in server.app.shared_streams()] == ["lingering"])
    runs.say("news")
    await eventually(lambda: server.app.shared_streams()[0].updates == 2)
    runs.say("end")
    await eventually(lambda: [info.state for info in server.app.shared_streams()] == ["kept"])
    again = await server.page(browser=page.client)
    link = await again.connect()
    await resume(again)
    await link.expect("open")
    props, end = await link.to_end()
    assert (props, end["reason"]) == ([["out", {"children": "news 1"}]], "completed")
    await again.start("go")
    await link.expect("open")
    await link.expect("props")
    assert len(runs.given) == 2


async def test_a_run_that_ends_while_a_page_resumes_gives_it_state_and_end(serve: Serve) -> None:
    runs = Runs()
    server = await serve(make_app(runs, "browser", declare={"resume": True}))
    page, link, _ = await follow(server)
    again = await server.page(browser=page.client)
    again_link = await again.connect()
    await again_link.expect("hello")
    sources = server.app.sources
    [source] = sources.running()
    # It ends in the moment between the look and the start.
    admit = server.app.channels.open

    async def open_later(*args: Any, **options: Any) -> Any:
        if source in sources.running():
            runs.say("end")
            await eventually(lambda: source not in sources.running())
        return await admit(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Channels, "open", lambda channels, *args, **options: open_later(*args, **options))
        assert await resume(again) == 204
    await link.expect("end")
    await again_link.expect("open")
    props, end = await again_link.to_end()
    assert (props, end["reason"]) == ([["out", {"children": "('A',)"}]], "completed")
    assert runs.given == [("A",)]


async def test_resume_is_refused_by_identify_without_a_word_on_the_page_and_a_start_with_one(serve: Serve) -> None:
    def identify(request: Any) -> str:
        raise Forbidden

    server = await serve(make_app(Runs(), "all", declare={"resume": True}, identify=identify))
    page = await server.page()
    assert await resume(page) == 403
    assert len(server.app.channels) == 0
    link = await page.connect()
    assert await resume(page) == 403
    assert (await page.start("go")).status_code == 403
    # It is the first thing that the page is told.
    assert "was not started" in (await link.expect("refused"))["message"]


async def test_resume_is_refused_by_the_function_without_a_word_on_the_page(serve: Serve) -> None:
    def of_user(request: Any) -> str:
        raise Forbidden

    server = await serve(make_app(Runs(), of_user, declare={"resume": True}))
    assert await resume(await server.page()) == 403
    assert len(server.app.channels) == 0


async def test_a_page_in_step_with_its_source_that_loses_its_link_gets_all_that_it_has_missed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A write that follows another too soon would be left to the link's task: then a page is not in step.
    monkeypatch.setattr(direct_writes, "DIRECT_WRITE_INTERVAL", 0)
    runs = Runs()
    app = Flash(__name__)
    app.layout = layout()

    @app.event_callback(Input("go", "n_clicks"), shared="all")
    async def live(clicks: int) -> AsyncIterator[Update]:
        async for update in runs.run():
            yield update

    server = await serve(app)
    page, link, _ = await follow(server)
    [channel] = app.stream_settings.channels.pages()
    said = 0

    async def say() -> None:
        nonlocal said
        said += 1
        runs.say("news")
        assert (await link.expect("props"))["props"] == [["out", {"children": f"news {said}"}]]

    async def get_in_step() -> None:
        with trio.fail_after(TIMEOUT):
            while channel.outbox.in_step is None:
                await say()
        for _ in range(5):
            await say()

    await get_in_step()
    [info] = app.streams()
    assert info.updates == said + 1
    assert (await page.acknowledge(link.applied)).status_code == 204
    await get_in_step()
    last = link.applied
    for _ in range(5):
        await say()
    await link.close()
    # What was read of the first link since `last` did not reach the page.
    said -= 5
    link = await page.connect(last=last)
    for _ in range(5):
        said += 1
        assert (await link.expect("props"))["props"] == [["out", {"children": f"news {said}"}]]
    await get_in_step()
    assert channel.outbox.acknowledged > 0
