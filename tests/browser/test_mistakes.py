"""Mistakes that raise nothing: the dev tools tell them, each once, with the callback and what to do."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import quart
import trio
from playwright.sync_api import BrowserContext, Page, Route, expect

from flash import ALL, Flash, Input, Output, Patch, Update, dcc, html, set_props, stream_props
from tests.browser.conftest import Console, Visit
from tests.support.serving import Gate

CLICKS = "n_clicks"


def make_app(**options: Any) -> Flash:
    app = Flash(__name__, **options)
    app.layout = html.Div(
        [
            *(html.Button(name, id=name) for name in ("go", "late", "inverted", "raises", "handled", "remove")),
            html.P(id="out"),
            html.P(id={"row": 1}),
            html.P(id={"row": 2}),
            html.Div(html.P(id="inner"), id="box"),
            dcc.Tabs(id="tabs", value="one", children=[dcc.Tab(value="one"), dcc.Tab(value="two")]),
            html.P(id="status"),
        ]
    )
    return app


def show_dev_tools(app: Flash) -> None:
    app.enable_dev_tools(debug=True, dev_tools_hot_reload=False, dev_tools_disable_version_check=True)


def shown(page: Page) -> list[str]:
    """What the dev tools show, oldest first."""
    seen: list[str] = page.evaluate(
        "() => dash_stores[0].getState().error.backEnd.map(entry => entry.error.message).reverse()"
    )
    return seen


def expect_shown(page: Page, *parts: list[str]) -> None:
    """Wait until the dev tools show these messages, in any order and no others; each is given by what it contains."""

    def found(messages: list[str]) -> bool:
        return len(messages) == len(parts) and all(
            any(all(part in message for part in expected) for message in messages) for expected in parts
        )

    page.wait_for_function(f"() => dash_stores[0].getState().error.backEnd.length >= {len(parts)}")
    page.wait_for_timeout(0)
    assert found(shown(page)), shown(page)


def test_what_options_and_updates_name_wrongly_is_told_once(visit: Visit, console: Console) -> None:
    app = make_app()
    show_dev_tools(app)

    @app.event_callback(
        Input("go", CLICKS),
        cancel=[Input("stopp", CLICKS), Input("tabs", "valeu")],
        reset_props=[("outt", {"children": ""}), ({"row": ALL}, {"titel": ""})],
        running=[(Output("go", "disabeld"), True, False)],
    )
    async def declared(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": "on"})

    @app.event_callback(Input("late", CLICKS))
    async def updating(clicks: int) -> AsyncIterator[Update]:
        for number in range(50):
            yield stream_props("outt", {"children": number})
            yield stream_props("out", {"childern": number, "data-x": "fine", "aria-label": "fine"})
        patch = Patch()
        patch.append("x")
        yield stream_props("out", {"title": patch})
        yield stream_props("box", {"children": html.P(id="new")})
        yield stream_props("new", {"children": "a component that the stream has added"})
        yield stream_props("status", {"children": "done"})

    page = visit(app)
    declarations = [
        ["cancel of", "declared", '"stopp.n_clicks"', "no component with the id"],
        ["cancel of", "declared", '"tabs.valeu"', "no property"],
        ["reset_props of", "declared", '"outt.children"', "no component with the id"],
        ["reset_props of", "declared", "titel", "no property"],
        ["running of", "declared", '"go.disabeld"', "no property"],
    ]
    expect_shown(page, *declarations)
    page.click("#late")
    expect(page.locator("#status")).to_have_text("done")
    expect_shown(
        page,
        *declarations,
        ["updating updates", '"outt.children"', "no component with the id"],
        ["updating updates", '"out.childern"', "no property", "children"],
        ["updating sent a Patch", '"out.title"', "no value"],
    )
    # Dash has its console say what its dev tools show.
    assert len(console.take()) == 8


def test_what_a_stream_says_too_late_or_wrongly_is_told(visit: Visit, console: Console) -> None:
    app, gate = make_app(), Gate()
    show_dev_tools(app)

    @app.event_callback(Input("late", CLICKS))
    async def late(clicks: int) -> AsyncIterator[Update]:
        async def later() -> None:
            await gate.wait()
            set_props("out", {"children": "too late"})
            set_props("out", {"children": "too late"})

        app.server.add_background_task(later)
        yield stream_props("status", {"children": "over"})

    @app.event_callback(Input("inverted", CLICKS), cancel=[(Input("tabs", "value"), "two")])
    async def inverted(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": "started"})

    def fussy(value: str) -> bool:
        raise KeyError(value)

    @app.event_callback(Input("raises", CLICKS), cancel=[(Input("tabs", "value"), fussy)])
    async def raises(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": "started"})

    @app.callback(Output("status", "children"), Input(inverted, "status"), Input(inverted, "error"))
    def show(status: str, error: str | None) -> str:
        return f"{status}: {error}"

    page = visit(app)
    page.click("#late")
    expect(page.locator("#status")).to_have_text("over")
    gate.open()
    expect_shown(page, ["late", "set_props", "after its stream had ended"])
    page.click("#raises")
    page.click("#inverted")
    expect(page.locator("#status")).to_contain_text("idle: ")
    expect(page.locator("#status")).to_contain_text("its condition on tabs.value is not met")
    expect_shown(
        page,
        ["set_props"],
        ["raises", "KeyError: 'one'"],
        ["inverted", "'one', not 'two'", "(Input('tabs', 'value'), lambda value: value != 'two')"],
    )
    # Dash has its console say what its dev tools show.
    assert len(console.take()) == 3


def test_an_error_that_on_error_has_handled_is_no_news(visit: Visit, console: Console) -> None:
    app = make_app()
    show_dev_tools(app)

    @app.callback(Output("out", "children"), Input("handled", CLICKS), on_error=str, prevent_initial_call=True)
    async def handled(clicks: int) -> AsyncIterator[str]:
        yield "working"
        raise ValueError("sorry")

    @app.callback(Output("status", "children"), Input(handled, "status"), Input(handled, "error"))
    def show(status: str, error: str | None) -> str:
        return f"{status} {error}"

    page = visit(app)
    page.click("#handled")
    expect(page.locator("#out")).to_have_text("sorry")
    expect(page.locator("#status")).to_have_text("failed ValueError: sorry")
    assert shown(page) == []


@pytest.mark.parametrize("way", ["request", "websocket"])
def test_a_start_that_the_server_refuses_shows_in_the_status(
    visit: Visit, console: Console, context: BrowserContext, way: str
) -> None:
    """A start that waits for a connection goes over the control websocket as well, and the first answer counts."""
    app = make_app(streams_per_server=1)

    @app.event_callback(Input("out", "children"), prevent_initial_call=False)
    async def holding(children: str | None) -> AsyncIterator[Update]:
        yield stream_props("out", {"title": "holds"})
        await trio.sleep_forever()

    @app.event_callback(Input("go", CLICKS))
    async def refused(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": "started"})

    @app.callback(Output("status", "children"), Input(refused, "status"), Input(refused, "error"))
    def show(status: str, error: str | None) -> str:
        return f"{status}: {error}"

    if way == "request":
        context.route_web_socket(re.compile("_flash/control"), lambda socket: socket.close())
    page = visit(app)
    expect(page.locator("#status")).to_have_text("idle: None")
    expect(page.locator("#out")).to_have_attribute("title", "holds")
    if way == "websocket":
        # The request is on its way for good.
        page.route(re.compile("_dash-update-component"), hang_starts)
    page.click("#go")
    name = "test_a_start_that_the_server_refuses_shows_in_the_status.refused"
    sentence = f"'{name}' was not started: the server holds as many streams as it may."
    expect(page.locator("#status")).to_have_text(f"failed: {sentence}")
    # Dash's line on the error, and for a request the browser's on the answer.
    assert len(console.take()) == (2 if way == "request" else 1)


def hang_starts(route: Route) -> None:
    if '"id":"_flash","property":"token"' not in (route.request.post_data or ""):
        route.continue_()


def test_a_component_that_is_removed_under_its_stream_is_named(visit: Visit, console: Console) -> None:
    app, gate = make_app(), Gate()
    show_dev_tools(app)

    @app.event_callback(Input("go", CLICKS))
    async def goes_on(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("inner", {"children": "there"})
        await gate.wait()
        while True:
            yield stream_props("inner", {"children": "gone"})
            await trio.sleep(0.02)

    @app.callback(Output("box", "children"), Input("remove", CLICKS), prevent_initial_call=True)
    def remove(clicks: int) -> str:
        return "removed"

    page = visit(app)
    page.click("#go")
    expect(page.locator("#inner")).to_have_text("there")
    page.click("#remove")
    expect(page.locator("#box")).to_have_text("removed")
    gate.open()
    expect_shown(page, ["goes_on", '"inner.children"', "removed from the layout"])
    # Dash has its console say what its dev tools show.
    assert len(console.take()) == 1


def test_a_stream_that_takes_away_what_it_has_brought_is_no_mistake(visit: Visit, console: Console) -> None:
    app = make_app()
    show_dev_tools(app)

    @app.event_callback(Input("go", CLICKS))
    async def brings_and_takes(clicks: int) -> AsyncIterator[Update]:
        row = {"children": html.P(id="new")}
        yield stream_props([("box", row), ("new", {"children": "brought"}), ("new", {"title": "together"})])
        yield stream_props("box", {"children": []})
        yield stream_props("box", row)
        yield stream_props("new", {"className": "again"})
        yield stream_props("box", {"children": "taken"})
        yield stream_props("out", {"childern": "the last one"})

    page = visit(app)
    page.click("#go")
    expect(page.locator("#box")).to_have_text("taken")
    expect_shown(page, ["brings_and_takes", '"out.childern"'])
    # Dash has its console say what its dev tools show.
    assert len(console.take()) == 1


def test_a_stream_that_ends_with_its_components_is_no_mistake(visit: Visit, console: Console) -> None:
    app, gate = make_app(), Gate()
    show_dev_tools(app)
    app.layout.children.append(html.Div([html.Button(id="start"), html.P(id="shown")], id="tab"))
    off = [(Output("start", "disabled"), True, False)]

    @app.event_callback(Input("start", CLICKS), reset_props=[("shown", {"children": "", "title": ""})], running=off)
    async def left(clicks: int) -> AsyncIterator[Update]:
        while True:
            yield stream_props("shown", {"children": "on"})
            await trio.sleep(0.01)

    @app.callback(Output("tab", "children"), Input("remove", CLICKS), prevent_initial_call=True)
    def swap(clicks: int) -> str:
        return "another tab"

    @app.callback(Output("out", "children"), Input("remove", CLICKS), prevent_initial_call=True)
    async def keep_busy(clicks: int) -> str:
        # While callbacks run that may insert the components again, their stream ends a second after they have left.
        await trio.sleep(2)
        return ""

    @app.callback(Output("status", "children"), Input(left, "status"), prevent_initial_call=True)
    def show(status: str) -> str:
        return status

    @app.event_callback(Input("late", CLICKS))
    async def marks(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("outt", {"children": "looked at after all the others"})
        await gate.wait()

    @app.server.before_request
    async def come_late() -> None:
        # Longer than a component may take to appear before a mistake is told.
        if quart.request.path == "/_flash/cancel":
            await trio.sleep(1)

    page = visit(app)
    page.click("#start")
    expect(page.locator("#shown")).to_have_text("on")
    page.click("#remove")
    expect(page.locator("#status")).to_have_text("cancelled")
    page.click("#late")
    expect_shown(page, ["marks", '"outt.children"'])
    gate.open()
    assert len(console.take()) == 1


def test_without_dev_tools_the_console_is_told_and_suppressing_is_respected(visit: Visit) -> None:
    for options, expected in (({}, 2), ({"suppress_callback_exceptions": True}, 1)):
        app = make_app(**options)

        @app.event_callback(Input("go", CLICKS))
        async def updating(clicks: int) -> AsyncIterator[Update]:
            yield stream_props("outt", {"children": 1})
            yield stream_props("out", {"childern": 1})

        page = visit(app)
        warnings: list[str] = []
        page.on("console", lambda message, into=warnings: into.append(message.text))
        page.click("#go")
        page.wait_for_event("console", lambda message: "childern" in message.text)
        assert len([text for text in warnings if text.startswith("Flash: ")]) == expected
