"""Websocket callbacks with Dash's own renderer at the other end."""

from __future__ import annotations

from collections.abc import AsyncIterator

import trio
from playwright.sync_api import expect

from flash import Flash, Input, Output, Update, dcc, html, set_props, stream_props
from tests.browser.conftest import Visit
from tests.support.callback_context import websocket
from tests.support.serving import Gate, Journal


def test_callbacks_go_over_the_socket_and_show_what_they_set_before_they_end(visit: Visit) -> None:
    gate = Gate()
    app = Flash(__name__, websocket_callbacks=True)
    app.layout = html.Div(
        [
            html.Button("Go", id="go"),
            dcc.Input(id="name", value="Ada"),
            html.Div(id="upper"),
            html.Div(id="bar"),
            html.Div(id="out"),
        ]
    )

    @app.callback(
        Output("out", "children"),
        Input("go", "n_clicks"),
        running=[(Output("go", "disabled"), True, False)],
        prevent_initial_call=True,
    )
    async def work(clicks: int) -> str:
        name = await websocket().get_prop("name", "value")
        for step in range(5):
            set_props("bar", {"children": f"{name} {step}"})
            await trio.sleep(0.001)
        await gate.wait()
        return f"done {clicks}"

    @app.callback(Output("upper", "children"), Input("name", "value"))
    def plain(value: str) -> str:
        set_props("out", {"title": f"{websocket().get_prop_sync('bar', 'id')}"})
        return value.upper()

    posts: list[str] = []
    page = visit(app)
    page.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)
    expect(page.locator("#out")).to_have_attribute("title", "bar")
    page.fill("#name", "Grace")
    expect(page.locator("#upper")).to_have_text("GRACE")
    page.click("#go")
    expect(page.locator("#bar")).to_have_text("Grace 4")
    expect(page.locator("#go")).to_be_disabled()
    expect(page.locator("#out")).to_have_text("")
    gate.open()
    expect(page.locator("#out")).to_have_text("done 1")
    expect(page.locator("#go")).to_be_enabled()
    assert posts == []


def test_a_persistent_callback_starts_again_after_a_cut_and_ends_with_the_last_tab(visit: Visit) -> None:
    journal = Journal[str]()
    tokens: list[trio.lowlevel.TrioToken] = []
    app = Flash(__name__)
    app.layout = html.Div(id="out")

    @app.callback(persistent=True, websocket=True)
    async def clock() -> None:
        tokens.append(trio.lowlevel.current_trio_token())
        journal.note("started")
        try:
            while True:
                set_props("out", {"children": "runs"})
                await trio.sleep(0.05)
        finally:
            journal.note("finally")

    page = visit(app)
    context = page.context
    expect(page.locator("#out")).to_have_text("runs")
    assert journal.next() == "started"
    # Another tab of the browser shares the socket.
    other = context.new_page()
    other.goto(page.url)
    expect(other.locator("#out")).to_have_text("runs")
    assert journal.next() == "started"
    (connection,) = app.websockets
    tokens[0].run_sync_soon(connection.stop)
    assert [journal.next() for _ in range(4)] == ["finally", "finally", "started", "started"]
    page.close()
    other.close()
    assert [journal.next() for _ in range(2)] == ["finally", "finally"]


def test_event_callbacks_stream_in_a_page_whose_callbacks_go_over_the_socket(visit: Visit) -> None:
    app = Flash(__name__, websocket_callbacks=True)
    app.layout = html.Div(
        [html.Button("Go", id="go"), html.Button("Stop", id="stop"), html.Div(id="out"), html.Div(id="copy")]
    )

    @app.event_callback(
        Input("go", "n_clicks"), cancel=[Input("stop", "n_clicks")], reset_props=[("out", {"title": ""})]
    )
    async def count(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"title": "on"})
        set_props("out", {"children": "streaming"})
        await trio.sleep_forever()

    @app.callback(Output("copy", "children"), Input("out", "children"))
    async def copy(text: str) -> str:
        return f"copy of {text}"

    page = visit(app)
    page.click("#go")
    expect(page.locator("#copy")).to_have_text("copy of streaming")
    expect(page.locator("#out")).to_have_attribute("title", "on")
    page.click("#stop")
    expect(page.locator("#out")).to_have_attribute("title", "")
