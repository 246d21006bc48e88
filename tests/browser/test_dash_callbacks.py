"""Dash's own callbacks on Trio, beside streams."""

from __future__ import annotations

import threading
from typing import Any

import trio
import trio.lowlevel
from dash.exceptions import PreventUpdate
from playwright.sync_api import expect

from flash import Flash, Input, Output, State, ctx, dcc, html, set_props, stream_props
from tests.browser.conftest import Console, Visit
from tests.support.serving import Journal


def test_a_plain_callback_runs_in_a_thread_with_its_request_and_context(visit: Visit) -> None:
    facts = Journal[dict[str, object]]()
    app = Flash(__name__)
    app.layout = html.Div(
        [html.Button("Go", id="go"), html.Div(id="shown"), html.Div(id="aside"), html.Div(id="again")]
    )

    def gather() -> dict[str, object]:
        return {
            "trio": trio.lowlevel.in_trio_run(),
            "thread": threading.current_thread().name,
            "triggered": ctx.triggered_id,
            "cookies": ctx.cookies.get("visited"),
            "path": ctx.path,
        }

    @app.callback(Output("shown", "children"), Input("go", "n_clicks"), prevent_initial_call=True)
    def plain(n_clicks: int) -> str:
        facts.note(gather())
        set_props("aside", {"children": f"set by click {n_clicks}"})
        ctx.response.set_cookie("visited", "yes")
        return f"click {n_clicks}"

    @app.callback(Output("again", "children"), Input("shown", "children"), prevent_initial_call=True)
    async def on_trio(text: str) -> str:
        await trio.lowlevel.checkpoint()
        facts.note(gather())
        return f"after {text}"

    page = visit(app)
    page.click("#go")
    expect(page.locator("#again")).to_have_text("after click 1")
    expect(page.locator("#shown")).to_have_text("click 1")
    expect(page.locator("#aside")).to_have_text("set by click 1")
    first, second = facts.next(), facts.next()
    assert (first["trio"], first["triggered"], first["cookies"]) == (False, "go", None)
    assert first["thread"] != "the server of a test"
    assert (second["trio"], second["triggered"], second["cookies"]) == (True, "shown", "yes")
    assert second["thread"] == "the server of a test"
    assert all(str(seen["path"]).startswith("/_dash-update-component") for seen in (first, second))


def test_a_plain_callback_that_blocks_holds_up_neither_streams_nor_callbacks(visit: Visit) -> None:
    let_go = threading.Event()
    app = Flash(__name__)
    app.layout = html.Div(
        [
            html.Button("Block", id="block"),
            html.Button("Start", id="start"),
            html.Div("idle", id="blocked"),
            html.Div("idle", id="streamed"),
            html.Div("idle", id="answered"),
        ]
    )

    @app.callback(
        Output("blocked", "children"),
        Input("block", "n_clicks"),
        running=[(Output("blocked", "title"), "blocking", "done")],
        prevent_initial_call=True,
    )
    def block(n_clicks: int) -> str:
        let_go.wait()
        return "over"

    @app.event_callback(Input("start", "n_clicks"))
    async def stream(n_clicks: int):
        yield stream_props("streamed", {"children": "one"})
        await trio.lowlevel.checkpoint()
        yield stream_props("streamed", {"children": "two"})

    @app.callback(Output("answered", "children"), Input("start", "n_clicks"), prevent_initial_call=True)
    def answer(n_clicks: int) -> str:
        return "answered"

    page = visit(app)
    try:
        page.click("#block")
        expect(page.locator("#blocked")).to_have_attribute("title", "blocking")
        page.click("#start")
        expect(page.locator("#streamed")).to_have_text("two")
        expect(page.locator("#answered")).to_have_text("answered")
        expect(page.locator("#blocked")).to_have_text("idle")
    finally:
        let_go.set()
    expect(page.locator("#blocked")).to_have_text("over")


def test_clientside_callbacks_and_several_outputs_work_as_in_dash(visit: Visit) -> None:
    app = Flash(__name__)
    app.layout = html.Div(
        [
            dcc.Input(id="name", value=""),
            html.Div(id="shouted"),
            html.Div("nobody", id="first"),
            html.Div("nobody", id="second"),
        ]
    )
    app.clientside_callback(
        "function (name) { return name.toUpperCase(); }", Output("shouted", "children"), Input("name", "value")
    )

    @app.callback(
        output={"first": Output("first", "children"), "second": Output("second", "children")},
        inputs={"name": Input("name", "value"), "before": State("first", "children")},
        prevent_initial_call=True,
    )
    async def greet(name: str, before: str) -> dict[str, str]:
        if name == "nobody":
            raise PreventUpdate
        return {"first": name, "second": f"{name} after {before}"}

    page = visit(app)
    page.fill("#name", "Ada")
    expect(page.locator("#shouted")).to_have_text("ADA")
    expect(page.locator("#second")).to_have_text("Ada after nobody")
    page.fill("#name", "nobody")
    expect(page.locator("#shouted")).to_have_text("NOBODY")
    page.fill("#name", "Bob")
    expect(page.locator("#second")).to_have_text("Bob after Ada")


def test_a_callback_that_raises_is_answered_with_500_and_nothing_of_the_exception(
    visit: Visit, console: Console
) -> None:
    app = Flash(__name__)
    app.layout = html.Div(
        [html.Button("Go", id="go"), html.Div("idle", id="shown"), html.Button("OK", id="ok"), html.Div(id="fine")]
    )

    @app.callback(Output("shown", "children"), Input("go", "n_clicks"), prevent_initial_call=True)
    def explode(n_clicks: int) -> str:
        raise ValueError("the password is 1234")

    @app.callback(Output("fine", "children"), Input("ok", "n_clicks"), prevent_initial_call=True)
    def work(n_clicks: int) -> str:
        return "still works"

    page = visit(app)
    with page.expect_response("**/_dash-update-component*") as response:
        page.click("#go")
    assert response.value.status == 500
    assert "1234" not in response.value.text()
    page.click("#ok")
    expect(page.locator("#fine")).to_have_text("still works")
    assert not any("1234" in line for line in console.take())


def test_the_layout_is_issued_anew_for_each_page_and_kept_by_no_cache(visit: Visit) -> None:
    app = Flash(__name__)
    app.layout = html.Div([html.Button("Start", id="start"), html.Div("idle", id="shown")])
    tokens: list[str] = []

    @app.event_callback(Input("start", "n_clicks"))
    async def show(n_clicks: int):
        yield stream_props("shown", {"children": "streamed"})

    page = visit(app)
    for _ in range(2):
        with page.expect_response("**/_dash-layout") as layout:
            page.reload()
        assert layout.value.headers["cache-control"] == "no-store"
        page.click("#start")
        expect(page.locator("#shown")).to_have_text("streamed")
        tokens.append(page.evaluate("dash_component_api.getLayout('_flash').props.token"))
    assert len(set(tokens)) == 2
    cookies: dict[str, Any] = {cookie.get("name", ""): cookie for cookie in page.context.cookies()}
    assert cookies["flash_browser"]["httpOnly"]
    assert cookies["flash_browser"]["sameSite"] == "Lax"
