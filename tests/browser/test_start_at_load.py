"""An event callback without any Input starts when the page is loaded, once, and is like any other from then on."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from playwright.sync_api import Page, expect
from quart import request

from flash import EndReason, Flash, Input, Output, State, StreamCancelled, ctx, dcc, html, stream_props
from tests.browser.conftest import Visit
from tests.support.serving import Journal


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
