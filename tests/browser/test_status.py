"""What a page can know of its streams: status and error, `running`, and what an end user sees of a failure."""

from __future__ import annotations

from typing import Any, cast

import pytest
import trio
from playwright.sync_api import BrowserContext, Page, expect
from quart import request

from flash import MATCH, Flash, Input, Output, State, dcc, html, stream_props
from flash.event_callbacks import EventCallback
from tests.browser.conftest import Console, Visit
from tests.support.browser import without_hub
from tests.support.callback_context import triggered_id
from tests.support.serving import Gate, Journal

SECRET = "the password is 1234"
GENERIC = "The stream failed on the server."


def record(page: Page, event_callback: EventCallback[..., object], prop: str) -> None:
    """Note each value of a property of an event callback's hidden component, for `recorded`."""
    page.evaluate(
        """([id, prop]) => {
            window.recorded = [];
            const look = () => {
                const now = JSON.stringify(dash_component_api.getLayout(id).props[prop]);
                if (now !== recorded.at(-1)) recorded.push(now);
            };
            dash_stores[0].subscribe(look);
            look();
        }""",
        [event_callback.stream.id, prop],
    )


def recorded(page: Page) -> list[object]:
    return page.evaluate("recorded.map(entry => JSON.parse(entry))")


def buttons(*more: Any) -> html.Div:
    return html.Div([html.Button("Start", id="start"), html.Button("Stop", id="stop"), *more])


def test_status_and_error_are_inputs_of_callbacks(visit: Visit, console: Console) -> None:
    go_on = Gate()
    app = Flash(__name__)
    app.layout = buttons(html.Div(id="status"), html.Div(id="error"))

    @app.event_callback(Input("start", "n_clicks"), cancel=[Input("stop", "n_clicks")])
    async def work(n_clicks: int):
        yield stream_props([])
        if n_clicks == 1:
            await trio.sleep_forever()
        if n_clicks == 2:
            await go_on.wait()
            raise ValueError(SECRET)

    @app.callback(Output("status", "children"), Input(work.stream, "status"))
    def show_status(status: str) -> str:
        return f"is {status}"

    @app.callback(Output("error", "children"), Input(work.stream, "error"))
    async def show_error(error: str | None) -> str:
        return f"error: {error}"

    page = visit(app)
    status, error = page.locator("#status"), page.locator("#error")
    expect(status).to_have_text("is idle")
    expect(error).to_have_text("error: None")

    page.click("#start")
    expect(status).to_have_text("is running")
    page.click("#stop")
    expect(status).to_have_text("is cancelled")
    expect(error).to_have_text("error: None")

    page.click("#start")
    expect(status).to_have_text("is running")
    go_on.open()
    expect(status).to_have_text("is failed")
    expect(error).to_have_text(f"error: {GENERIC}")
    assert len(console.take()) == 1

    page.click("#start")
    expect(status).to_have_text("is completed")
    expect(error).to_have_text("error: None")


def test_a_superseded_run_ends_before_the_next_one_opens(visit: Visit) -> None:
    app = Flash(__name__)
    app.layout = buttons(html.Div("idle", id="count"))

    @app.event_callback(
        Input("start", "n_clicks"),
        cancel=[Input("stop", "n_clicks")],
        running=[(Output("count", "title"), "on", "off")],
    )
    async def work(n_clicks: int):
        try:
            yield stream_props("count", {"children": f"run {n_clicks}"})
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.05)

    page = visit(app)
    page.wait_for_selector("#start")
    record(page, work, "status")
    page.click("#start")
    expect(page.locator("#count")).to_have_text("run 1")
    page.click("#start")
    expect(page.locator("#count")).to_have_text("run 2")
    expect(page.locator("#count")).to_have_attribute("title", "on")
    page.click("#stop")
    expect(page.locator("#count")).to_have_attribute("title", "off")
    assert recorded(page) == ["idle", "running", "superseded", "running", "cancelled"]


def test_running_sets_and_restores_properties_whatever_the_end(visit: Visit, console: Console) -> None:
    go_on = Gate()
    app = Flash(__name__)
    app.layout = buttons(html.Div("ready", id="state"))

    @app.event_callback(
        Input("start", "n_clicks"),
        cancel=[Input("stop", "n_clicks")],
        running=[(Output("start", "disabled"), True, False), (Output("state", "children"), "busy", "ready")],
    )
    async def work(n_clicks: int):
        if n_clicks == 1:
            yield stream_props("state", {"children": "in between"})
            await go_on.wait()
        elif n_clicks == 2:
            yield stream_props([])
            await trio.sleep_forever()
        else:
            raise ValueError(SECRET)

    page = visit(app)
    start, state = page.locator("#start"), page.locator("#state")

    start.click()
    expect(state).to_have_text("in between")
    expect(start).to_be_disabled()
    go_on.open()
    expect(state).to_have_text("ready")
    expect(start).to_be_enabled()

    start.click()
    expect(state).to_have_text("busy")
    page.click("#stop")
    expect(state).to_have_text("ready")

    record(page, work, "status")
    start.click()
    page.wait_for_function("recorded.at(-1) === '\"failed\"'")
    expect(state).to_have_text("ready")
    expect(start).to_be_enabled()
    assert recorded(page) == ["cancelled", "running", "failed"]
    assert len(console.take()) == 1


def failing_app() -> Flash:
    app = Flash(__name__)
    app.layout = buttons(html.Div("fine", id="message"))

    @app.event_callback(Input("start", "n_clicks"), reset_props=[("message", {"children": "it failed"})])
    async def explode(n_clicks: int):
        yield stream_props("message", {"children": "about to fail"})
        raise ValueError(SECRET)

    return app


def test_a_failure_is_one_generic_line_in_the_console_of_an_end_user(
    context: BrowserContext, visit: Visit, console: Console
) -> None:
    seen: list[str] = []
    without_hub(context)
    context.on("console", lambda message: seen.append(message.text))
    context.add_init_script(
        """
        window.heard = [];
        const listen = EventSource.prototype.addEventListener;
        EventSource.prototype.addEventListener = function (name, listener) {
            return listen.call(this, name, event => {
                heard.push(`${name} ${event.data}`);
                listener(event);
            });
        };
        """
    )
    page = visit(failing_app())
    page.click("#start")
    expect(page.locator("#message")).to_have_text("it failed")

    (line,) = console.take()
    assert line.startswith("Flash: a stream of ")
    assert "explode" in line
    seen += page.evaluate("heard")
    assert [entry.partition(" ")[0] for entry in seen if '"stream"' in entry] == ["open", "props", "end"]
    seen += [page.content(), page.evaluate("JSON.stringify(dash_stores[0].getState())")]
    assert not any(SECRET in entry or "ValueError" in entry for entry in seen)


def test_the_dev_tools_show_a_failure_with_its_traceback(visit: Visit, console: Console) -> None:
    app = failing_app()
    app.enable_dev_tools(debug=True, dev_tools_hot_reload=False, dev_tools_disable_version_check=True)
    page = visit(app)
    page.click("#start")
    expect(page.locator("#message")).to_have_text("it failed")

    card = page.locator(".dash-fe-error__title", has_text=SECRET)
    expect(card).to_have_text(f"Stream failed: ValueError: {SECRET}")
    card.click()
    traceback = page.frame_locator("iframe").locator("body")
    expect(traceback).to_contain_text("explode")
    expect(traceback).to_contain_text("raise ValueError(SECRET)")
    expect(traceback).not_to_contain_text("generators.py")
    console.take()


def test_the_statuses_of_a_callback_with_match_are_told_apart(visit: Visit, console: Console) -> None:
    app = Flash(__name__)
    app.layout = html.Div(
        [
            *[html.Button(f"Start {n}", id={"type": "start", "index": n}) for n in (1, 2, 3)],
            html.Button("Stop", id={"type": "stop", "index": 1}),
            html.Pre(id="statuses"),
        ]
    )

    @app.event_callback(
        Input({"type": "start", "index": MATCH}, "n_clicks"),
        cancel=[Input({"type": "stop", "index": MATCH}, "n_clicks")],
    )
    async def work(n_clicks: int):
        yield stream_props([])
        assert triggered_id()["index"] != 3, SECRET
        await trio.sleep_forever()

    @app.callback(Output("statuses", "children"), Input(work.stream, "statuses"))
    def show(statuses: dict[str, dict[str, str | None]]) -> str:
        return "\n".join(f"{key} {entry['status']} {entry['error']}" for key, entry in sorted(statuses.items()))

    page = visit(app)
    statuses = page.locator("#statuses")
    page.get_by_text("Start 1").click()
    expect(statuses).to_have_text('{"index":1} running None')
    page.get_by_text("Start 2").click()
    expect(statuses).to_have_text('{"index":1} running None\n{"index":2} running None')
    page.get_by_text("Stop").click()
    expect(statuses).to_have_text('{"index":1} cancelled None\n{"index":2} running None')
    page.get_by_text("Start 3").click()
    expect(statuses).to_have_text(
        f'{{"index":1}} cancelled None\n{{"index":2}} running None\n{{"index":3}} failed {GENERIC}'
    )
    assert len(console.take()) == 1


def test_a_start_that_is_refused_shows_why(visit: Visit, console: Console) -> None:
    app = Flash(__name__, streams_per_page=1)
    app.layout = buttons(html.Div("idle", id="first"), html.Div(id="status"), html.Div(id="error"))

    @app.event_callback(Input("start", "n_clicks"))
    async def first(n_clicks: int):
        yield stream_props("first", {"children": "running"})
        await trio.sleep_forever()

    @app.event_callback(Input("stop", "n_clicks"))
    async def second(n_clicks: int):
        yield stream_props("first", {"children": "overwritten"})

    @app.callback(
        Output("status", "children"),
        Output("error", "children"),
        Input(second.stream, "status"),
        Input(second.stream, "error"),
    )
    def show(status: str, error: str | None) -> tuple[str, str | None]:
        return status, error

    page = visit(app)
    page.click("#start")
    expect(page.locator("#first")).to_have_text("running")
    page.click("#stop")
    expect(page.locator("#status")).to_have_text("failed")
    expect(page.locator("#error")).to_contain_text("the page runs 1 streams already")
    expect(page.locator("#first")).to_have_text("running")
    assert any("429" in line for line in console.take())


def test_a_page_that_is_one_too_many_shows_why_as_the_error_of_its_streams(visit: Visit, console: Console) -> None:
    app = Flash(__name__, pages_per_browser=1, reconnect_grace=0)
    app.layout = buttons(html.Div(id="error"))

    @app.event_callback(Input("start", "n_clicks"))
    async def work(n_clicks: int):
        yield stream_props([])
        await trio.sleep_forever()

    @app.callback(Output("error", "children"), Input(work.stream, "error"))
    def show(error: str | None) -> str:
        return error or "none"

    linked = Journal[str]()

    @app.server.before_request
    async def listen() -> None:
        if request.path == "/_flash/events":
            linked.note(request.path)

    first = visit(app)
    expect(first.locator("#error")).to_have_text("none")
    linked.next()
    first.reload()
    linked.next()
    second = first.context.new_page()
    second.goto(first.url)
    expect(second.locator("#error")).to_contain_text("1 pages open already")
    # It comes by itself when there is room.
    first.close()
    expect(second.locator("#error")).to_have_text("none")
    console.take()


@pytest.mark.parametrize("kind", ["event", "initial", "streaming", "streaming, two outputs"])
def test_a_start_that_never_gets_to_its_callback_shows_why(visit: Visit, console: Console, kind: str) -> None:
    app = Flash(__name__, max_body_bytes=20_000)
    app.layout = buttons(
        dcc.Store(id="large", data="x" * 30_000),
        dcc.Store(id="small"),
        html.Div(id="first"),
        html.Div(id="second"),
        html.Div(id="status"),
        html.Div(id="other"),
    )

    async def numbers(n_clicks: int, data: str):
        yield 1

    outputs = {"streaming": ["first"], "streaming, two outputs": ["first", "second"]}.get(kind)
    inputs = [Input("start", "n_clicks"), State("large", "data")]
    if outputs is None:
        work: Any = app.event_callback(*inputs, prevent_initial_call=kind == "event")(numbers)
    else:
        work = app.callback(*[Output(out, "children") for out in outputs], *inputs, prevent_initial_call=True)(numbers)

    @app.event_callback(Input("start", "n_clicks"))
    async def other(n_clicks: int):
        yield stream_props("other", {"children": "runs"})
        await trio.sleep_forever()

    @app.callback(Output("status", "children"), Input(work.stream, "status"), Input(work.stream, "error"))
    def show(status: str, error: str | None) -> str:
        return f"{status}: {error}"

    page = visit(app)
    page.click("#start")
    expect(page.locator("#status")).to_have_text(
        "failed: The request is larger than 20,000 bytes: send less, or raise max_body_bytes= of Flash(...)."
    )
    expect(page.locator("#other")).to_have_text("runs")
    lines = console.take()
    assert any("413" in line for line in lines)
    assert any("max_body_bytes" in line or "Callback error" in line for line in lines)


def test_a_start_that_a_hook_refuses_shows_the_answer(visit: Visit, console: Console) -> None:
    app = Flash(__name__)
    app.layout = buttons(html.Div(id="status"))
    answers = {1: "Log in first.", 2: "<html><title>Forbidden</title></html>"}

    @app.server.before_request
    async def refuse() -> tuple[str, int] | None:
        if request.method != "POST" or b'"start"' not in cast("bytes", await request.get_data(as_text=False)):
            return None
        # A start that is not answered at once comes over the websocket as well, so this may be called twice for it.
        return answers[(await request.get_json())["inputs"][0]["value"]], 403

    @app.event_callback(Input("start", "n_clicks"))
    async def work(n_clicks: int):
        yield stream_props([])

    @app.callback(Output("status", "children"), Input(work.stream, "status"), Input(work.stream, "error"))
    def show(status: str, error: str | None) -> str:
        return f"{status}: {error}"

    page = visit(app)
    page.click("#start")
    expect(page.locator("#status")).to_have_text("failed: Log in first.")
    page.click("#start")
    expect(page.locator("#status")).to_have_text("failed: The server has not started it, and answered 403.")
    assert any("403" in line for line in console.take())
