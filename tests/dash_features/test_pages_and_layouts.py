"""Pages and layouts: plain ones run in threads, async ones on the event loop, and both have their request."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from quart import request

from flash import (
    Flash,
    Input,
    Output,
    Update,
    dcc,
    hooks,
    html,
    page_container,
    register_page,
    stream_props,
)
from tests.http.servers import Serve

FOLDER = {
    "home.py": """
import threading
from flash import html, register_page
register_page(__name__, path="/", title="Home")
def layout(**query):
    assert threading.current_thread() is not threading.main_thread()
    return html.P(f"home {query}", id="home")
""",
    "report.py": """
import trio
from flash import html, register_page
async def title(name=None):
    return f"Report {name}"
register_page(__name__, path_template="/report/<name>", title=title)
async def layout(name=None, **query):
    await trio.lowlevel.checkpoint()
    return html.P(f"{name} {query}", id="report")
""",
    "not_found_404.py": """
from flash import html, register_page
register_page(__name__)
layout = html.P("nothing here", id="nothing")
""",
}


pytestmark = pytest.mark.usefixtures("own_page_registry")


async def turn_to(server: Any, pathname: str, search: str = "") -> dict[str, Any]:
    """What the router answers a page that is at `pathname`."""
    page = await server.page()
    page.set("_pages_location", search=search)
    return await page.call("_pages_location", "pathname", pathname, callback="_pages_content")


@pytest.mark.parametrize("suppress", [False, True])
async def test_pages_of_a_folder(serve: Serve, tmp_path: Path, suppress: bool) -> None:
    (tmp_path / "pages").mkdir()
    for name, source in FOLDER.items():
        (tmp_path / "pages" / name).write_text(source)
    app = Flash(__name__, use_pages=True, pages_folder=str(tmp_path / "pages"), suppress_callback_exceptions=suppress)
    server = await serve(app)
    home = await turn_to(server, "/", "?a=b")
    assert home["_pages_content"]["children"]["props"]["children"] == "home {'a': 'b'}"
    assert home["_pages_store"]["data"] == {"title": "Home"}
    report = await turn_to(server, "/report/june", "?a=b")
    assert report["_pages_content"]["children"]["props"]["children"] == "june {'a': 'b'}"
    assert report["_pages_store"]["data"] == {"title": "Report june"}
    nothing = await turn_to(server, "/no/such/page")
    assert nothing["_pages_content"]["children"]["props"]["children"] == "nothing here"
    index = (await server.browser().get("/report/june")).text
    # Dash looks at all pages for the components of callbacks, unless it is told not to.
    assert ('"validation_layout"' in index) is not suppress


async def test_a_page_that_blocks_holds_nobody_up_and_many_async_ones_neither(serve: Serve) -> None:
    entered, go_on, waiting = threading.Event(), threading.Event(), list[str]()
    together = trio.Event()

    def blocking(**_: str) -> html.P:
        entered.set()
        assert go_on.wait(10)
        return html.P("blocking")

    async def joining(**_: str) -> html.P:
        waiting.append("")
        if len(waiting) == 30:
            together.set()
        await together.wait()
        return html.P("joined")

    register_page("blocking", path="/blocking", layout=blocking)
    register_page("joining", path="/joining", layout=joining)
    app = Flash(__name__, use_pages=True, pages_folder="", suppress_callback_exceptions=True)
    server = await serve(app)
    page = await server.page()
    answers: list[Any] = []

    async def ask(pathname: str) -> None:
        answers.append(await turn_to(server, pathname))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "/blocking")
        assert await trio.to_thread.run_sync(entered.wait, 10)
        assert (await page.get("_dash-layout")).status_code == 200
        for _ in range(30):
            nursery.start_soon(ask, "/joining")
        with trio.fail_after(10):
            await together.wait()
        go_on.set()
    assert len(answers) == 31


@pytest.mark.parametrize("suppress", [False, True])
async def test_an_async_layout_of_the_app_is_made_for_each_page(serve: Serve, suppress: bool) -> None:
    made: list[str] = []

    async def layout() -> Any:
        await trio.lowlevel.checkpoint()
        made.append("")
        return [html.P(len(made), id="number"), html.Button(id="go"), html.P(id="out")]

    app = Flash(__name__, suppress_callback_exceptions=suppress)
    app.layout = layout

    @app.event_callback(Input("go", "n_clicks"))
    async def stream(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": clicks})

    server = await serve(app)
    before = len(made)
    one, other = await server.page(), await server.page()
    assert len(made) == before + 2
    assert one.token != other.token
    events = await one.connect()
    await one.start("go")
    await events.expect("open")


async def test_more_async_layouts_than_threads_may_wait_for_each_other(serve: Serve) -> None:
    waiting, together = list[str](), trio.Event()

    async def layout() -> Any:
        waiting.append("")
        if len(waiting) == 30:
            together.set()
        await together.wait()
        # A thread of Trio's default limiter is free, though all these wait.
        return await trio.to_thread.run_sync(html.P, "late")

    app = Flash(__name__, suppress_callback_exceptions=True)
    app.layout = layout
    server = await serve(app)
    browser = server.browser()
    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(browser.get, "/_dash-layout")
    assert len(waiting) == 30


async def test_an_async_layout_with_pages(serve: Serve) -> None:
    async def layout() -> Any:
        await trio.lowlevel.checkpoint()
        return html.Div(page_container)

    register_page("home", path="/", layout=html.P("home"))
    app = Flash(__name__, use_pages=True, pages_folder="")
    app.layout = layout
    answer = await turn_to(await serve(app), "/")
    assert answer["_pages_content"]["children"]["props"]["children"] == "home"


async def test_a_layout_that_needs_its_request_does_not_keep_the_server_from_starting(serve: Serve) -> None:
    app = Flash(__name__, suppress_callback_exceptions=True)
    app.layout = lambda: html.P(request.args.get("nothing", request.path), id="path")
    page = await (await serve(app)).page()
    assert (await page.get("_dash-layout")).json()["props"]["children"] == "/_dash-layout"


async def test_a_page_that_needs_its_request_has_it_from_the_first(serve: Serve) -> None:
    register_page("home", path="/", layout=lambda **_: html.P(request.cookies.get("name", "nobody")))
    app = Flash(__name__, use_pages=True, pages_folder="")
    answer = await turn_to(await serve(app), "/")
    assert answer["_pages_content"]["children"]["props"]["children"] == "nobody"


async def test_pages_redirect_and_have_routing_callback_inputs(serve: Serve) -> None:
    from flash import State

    app = Flash(
        __name__,
        use_pages=True,
        pages_folder="",
        routing_callback_inputs={"theme": State("theme", "data")},
        url_base_pathname="/app/",
    )
    register_page("home", path="/", redirect_from=["/old"], layout=lambda theme=None, **_: html.P(theme))
    app.layout = [dcc.Store(id="theme", data="dark"), page_container]
    server = await serve(app)
    response = await server.browser().get("/app/old")
    assert (response.status_code, response.headers["location"]) == (301, "/app/")
    answer = await turn_to(server, "/app/")
    assert answer["_pages_content"]["children"]["props"]["children"] == "dark"


async def test_the_index_has_the_meta_tags_of_its_page(serve: Serve) -> None:
    register_page("home", path="/", layout=html.P(), title="Home", description="Where the heart is")
    app = Flash(__name__, use_pages=True, pages_folder="")
    text = (await (await serve(app)).browser().get("/")).text
    assert '<meta property="og:description" content="Where the heart is">' in text


async def test_callbacks_of_pages_work(serve: Serve) -> None:
    from flash import callback

    register_page("home", path="/", layout=html.Div([html.Button(id="go"), html.P(id="out")]))

    @callback(Output("out", "children"), Input("go", "n_clicks"), prevent_initial_call=True)
    async def count(clicks: int) -> int:
        return clicks

    app = Flash(__name__, use_pages=True, pages_folder="")
    page = await (await serve(app)).page()
    assert await page.call("go") == {"out": {"children": 1}}


async def test_hooks_of_layouts_are_given_the_users_layout(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    app = Flash(__name__)
    given: list[Any] = []

    def frame(layout: Any) -> Any:
        given.append(layout)
        return html.Div([html.B("banner"), layout])

    monkeypatch.setattr(hooks, "get_hooks", lambda name: [frame] if name == "layout" else [])
    layout = html.P(id="out")
    app.layout = layout

    @app.event_callback(Input("out", "n_clicks"))
    async def change(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": clicks})

    server = await serve(app)
    answer = (await server.browser().get("/_dash-layout")).json()
    assert given == [layout]
    assert [component["type"] for component in answer] == ["Div", "Page", "CallbackComponent"]


@pytest.mark.parametrize("debug", [False, True])
async def test_a_layout_with_an_id_twice_is_answered_with_its_cause(
    serve: Serve, caplog: pytest.LogCaptureFixture, debug: bool
) -> None:
    app = Flash(__name__)
    app.layout = html.Div([html.P(id="twice"), html.P(id="twice")])
    app.enable_dev_tools(debug=debug, dev_tools_hot_reload=False)
    server = await serve(app)
    for _ in range(3):
        for path in ("/", "/_dash-layout", "/some/page"):
            answer = await server.browser().get(path)
            assert answer.status_code == 500
            assert ("Duplicate component id found in the initial layout: `twice`" in answer.text) is debug
    assert "Duplicate component id found in the initial layout: `twice`" in caplog.text


async def test_a_mistake_of_one_app_leaves_the_others_of_its_server_alone(serve: Serve) -> None:
    good = Flash(__name__, url_base_pathname="/good/")
    good.layout = html.P("good", id="good")
    wrong = Flash(__name__, server=False, url_base_pathname="/wrong/")
    wrong.layout = [html.P(id="twice"), html.P(id="twice")]
    wrong.init_app(good.server)
    server = await serve(good)
    assert (await server.browser().get("/good/_dash-layout")).status_code == 200
    assert (await server.browser().get("/wrong/_dash-layout")).status_code == 500
