"""An event callback without any Input starts when the page is loaded, once, and is like any other from then on."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from playwright.sync_api import BrowserContext, Page, expect
from quart import request

from flash import EndReason, Flash, Input, Output, State, StreamCancelled, ctx, dcc, html, stream_props
from tests.browser.conftest import Console, Visit
from tests.browser.tabs import COUNT, Tabs, expect_going_on
from tests.support.browser import Serve, without_hub
from tests.support.serving import Gate, Journal

HOLD = """
(() => {
    const {setTimeout, requestAnimationFrame} = window;
    window.held = {searches: [], frames: [], holdsFrames: false, hasHello: false};
    window.setTimeout = (call, delay, ...more) => {
        const kept = delay === 3_000 ? held.searches : delay === 100 && held.holdsFrames ? held.frames : null;
        return kept === null ? setTimeout(call, delay, ...more) : kept.push(call);
    };
    window.requestAnimationFrame = call => held.holdsFrames ? 0 : requestAnimationFrame(call);
    window.EventSource = class extends EventSource {
        constructor(...of) {
            super(...of);
            this.addEventListener('hello', () => (held.hasHello = true));
        }
    };
})();
"""
"""Holds back what is done three seconds after a start; and what is done with the next frame, if `holdsFrames`."""


@pytest.mark.parametrize("options", [{}, {"prevent_initial_callbacks": True}], ids=["", "prevent_initial_callbacks"])
@pytest.mark.parametrize("is_async", [True, False], ids=["async", "plain"])
def test_it_starts_once_with_its_states_and_shows_its_status(
    visit: Visit, options: dict[str, Any], is_async: bool
) -> None:
    app = Flash(__name__, **options)
    app.layout = [
        dcc.Input(id="name", value="Ada"),
        html.Button("Change", id="change"),
        html.P(id="out"),
        html.P(id="status"),
    ]
    started = Journal[str]()

    def first(name: str):
        started.note(name)
        yield stream_props("out", {"children": f"Hello, {name}: {ctx.triggered_id}"})

    async def first_async(name: str):
        started.note(name)
        yield stream_props("out", {"children": f"Hello, {name}: {ctx.triggered_id}"})

    greet = app.event_callback(State("name", "value"))(first_async if is_async else first)

    @app.callback(Output("status", "children"), Input(greet.stream, "status"), prevent_initial_call=False)
    def show(status: str) -> str:
        return status

    @app.callback(Output("name", "value"), Input("change", "n_clicks"), prevent_initial_call=True)
    def change(clicks: int) -> str:
        return "Grace"

    page = visit(app)
    expect(page.locator("#out")).to_have_text("Hello, Ada: None")
    expect(page.locator("#status")).to_have_text("completed")
    page.click("#change")
    expect(page.locator("#name")).to_have_value("Grace")
    page.reload()
    expect(page.locator("#out")).to_have_text("Hello, Ada: None")
    expect(page.locator("#status")).to_have_text("completed")
    assert [started.next(), *started.rest()] == ["Ada", "Ada"]


def test_it_needs_nothing_and_ends_with_its_page_or_its_condition(visit: Visit) -> None:
    app = Flash(__name__)
    app.layout = html.Div([html.Button("Stop", id="stop"), html.P(id="out"), html.P(id="values")])
    errors = Journal[StreamCancelled]()

    @app.event_callback(cancel=[Input("stop", "n_clicks")], on_error=errors.note)
    async def wait():
        yield stream_props("out", {"children": "waits"})
        await trio.sleep_forever()

    @app.callback(Output("values", "children"))
    async def values():
        yield "of a streaming callback"

    page: Page = visit(app)
    expect(page.locator("#out")).to_have_text("waits")
    expect(page.locator("#values")).to_have_text("of a streaming callback")
    page.reload()
    expect(page.locator("#out")).to_have_text("waits")
    page.click("#stop")
    assert {errors.next().reason, errors.next().reason} == {EndReason.DISCONNECTED, EndReason.CANCELLED}


def test_twelve_that_start_when_the_page_is_loaded_run_over_http_1_before_one_updates_or_the_link_is_there(
    visit: Visit,
) -> None:
    """A browser has six connections to a host: a start that waited for the link, or another start, would hold one.

    Where nothing else runs, all of them run within a second of the first. Here none waits for another one, or the link,
    however long they take: nothing is to be seen until all have begun.
    """
    # A start that waited for the link would wait for so long.
    app = Flash(__name__, start_timeout=60)
    count = 12
    app.layout = [html.P(id=f"out-{index}") for index in range(count)]
    began = 0
    all_have_begun = trio.Event()

    def declare(index: int) -> None:
        @app.event_callback(Input(f"out-{index}", "id"), prevent_initial_call=False)
        async def run(_: str):
            nonlocal began
            began += 1
            if began == count:
                all_have_begun.set()
            await all_have_begun.wait()
            yield stream_props(f"out-{index}", {"children": f"runs {index}"})
            await trio.sleep_forever()

    @app.server.before_request
    async def hold_link_up() -> None:
        if request.path.endswith("_flash/events"):
            await all_have_begun.wait()

    for index in range(count):
        declare(index)
    page = visit(app)
    for index in range(count):
        expect(page.locator(f"#out-{index}")).to_have_text(f"runs {index}")
    assert began == count
    assert len(app.channels) == 1


def test_a_page_that_comes_late_to_its_hello_does_not_take_its_stream_for_one_of_another_server(
    context: BrowserContext, serving: Serve, console: Console
) -> None:
    """The three seconds in which a start waits for its link may end when `hello` has come, and waits for a frame."""
    tabs, may_link = Tabs(start_timeout=60), Gate()

    @tabs.app.server.before_request
    async def hold_link_up() -> None:
        if request.path.endswith("_flash/events"):
            await may_link.wait()

    without_hub(context)
    context.add_init_script(HOLD)
    page = context.new_page()
    page.goto(serving(tabs.app).url)
    page.wait_for_function("held.searches.length === 1")
    page.evaluate("held.holdsFrames = true")
    may_link.open()
    # Not with each frame, as it is by default: there are none.
    page.wait_for_function("held.hasHello", polling=50)
    page.evaluate("held.searches.splice(0).forEach(search => search())")
    page.evaluate("held.holdsFrames = false; held.frames.splice(0).forEach(draw => draw())")
    expect(page.locator("#out")).to_have_text(COUNT)
    expect_going_on(page)
    assert page.evaluate("held.searches.length") == 0
    assert console.take() == []
