"""Streaming callbacks: what generators with Outputs yield, as it is on the wire, and how they end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trio
from flash.exceptions import PreventUpdate  # pyright: ignore[reportMissingImports] - lent by Dash, at run time

from flash import (
    ALL,
    EndReason,
    Flash,
    Input,
    Output,
    Patch,
    State,
    StreamCancelled,
    ctx,
    dcc,
    html,
    no_update,
    set_props,
    stream_props,
)
from tests.http.pages import Page
from tests.http.servers import Serve
from tests.support.link import Link

GO = Input("go", "n_clicks")
OUT = Output("out", "children")
TWO = [Output("out", "children"), Output("field", "value")]


def make_app(**options: Any) -> Flash:
    app = Flash(__name__, **options)
    app.layout = [
        html.Button(id="go"),
        html.Button(id="stop"),
        html.Div(id="out"),
        dcc.Input(id="field", value="field"),
        *(html.Div(id={"row": row}) for row in (1, 2)),
    ]
    return app


async def start(serve: Serve, app: Flash) -> tuple[Page, Link]:
    """A page of the app with its streaming callback started."""
    page = await (await serve(app)).page()
    events = await page.connect()
    assert (await page.start("go")).status_code == 204
    assert (await events.expect("open"))["stream"]
    return page, events


async def updates(events: Link) -> list[Any]:
    """The updates until the stream completes."""
    seen, end = await events.to_end()
    assert end["reason"] == "completed"
    return seen


async def test_each_value_goes_into_the_output_at_once(serve: Serve) -> None:
    app, go_on = make_app(), trio.Event()

    @app.callback(OUT, GO)
    async def count(clicks: int) -> AsyncIterator[Any]:
        yield "first"
        await go_on.wait()
        yield None
        yield ["a", html.B("list")]

    _, events = await start(serve, app)
    assert (await events.expect("props"))["props"] == [["out", {"children": "first"}]]
    go_on.set()
    bold = {"props": {"children": "list"}, "type": "B", "namespace": "dash_html_components"}
    assert await updates(events) == [["out", {"children": None}], ["out", {"children": ["a", bold]}]]


@pytest.mark.parametrize(
    ("outputs", "value"),
    [
        (TWO, ["text", 3]),
        (TWO, ("text", 3)),
        ({"out": TWO[0], "field": TWO[1]}, {"field": 3, "out": "text"}),
        ((TWO[0], [TWO[1]]), ("text", [3])),
    ],
    ids=["list", "tuple", "dict", "nested"],
)
async def test_values_have_the_shape_of_the_outputs(serve: Serve, outputs: Any, value: Any) -> None:
    app = make_app()

    @app.callback(output=outputs, inputs=[GO])
    async def fill(clicks: int) -> AsyncIterator[Any]:
        yield value

    _, events = await start(serve, app)
    assert await updates(events) == [["out", {"children": "text"}], ["field", {"value": 3}]]


async def test_all_takes_a_list_with_one_value_for_each_component(serve: Serve) -> None:
    app = make_app()

    @app.callback(Output({"row": ALL}, "children"), GO, prevent_initial_call=True)
    async def fill(clicks: int) -> AsyncIterator[Any]:
        assert [output["id"]["row"] for output in ctx.outputs_list] == [1, 2]
        yield ["one", "two"]
        yield ["uno", no_update]

    page = await (await serve(app)).page()
    events = await page.connect()
    body = page.request("go")
    body["outputs"] = [{"id": {"row": row}, "property": "children"} for row in (1, 2)]
    assert (await page.post("_dash-update-component", body)).status_code == 204
    await events.expect("open")
    assert await updates(events) == [
        [{"row": 1}, {"children": "one"}],
        [{"row": 2}, {"children": "two"}],
        [{"row": 1}, {"children": "uno"}],
    ]


async def test_no_update_patches_and_set_props_are_what_they_are_in_dash(serve: Serve) -> None:
    app = make_app()

    @app.callback(TWO, GO)
    async def fill(clicks: int) -> AsyncIterator[Any]:
        yield no_update
        yield "text", no_update
        set_props("stop", {"disabled": True})
        patch = Patch()
        patch.append("more")
        yield patch, no_update
        yield stream_props("go", {"disabled": True})
        raise PreventUpdate

    _, events = await start(serve, app)
    operation = {"operation": "Append", "location": [], "params": {"value": "more"}}
    assert await updates(events) == [
        ["out", {"children": "text"}],
        ["stop", {"disabled": True}],
        ["out", {"children": {"__dash_patch_update": "__dash_patch_update", "operations": [operation]}}],
        ["go", {"disabled": True}],
    ]


async def test_plain_generators_stream_from_a_thread(serve: Serve) -> None:
    app = make_app()

    @app.callback(OUT, GO, State("field", "value"))
    def count(clicks: int, field: str) -> Iterator[Any]:
        yield f"{field} {clicks} {ctx.triggered_id}"
        yield not trio.lowlevel.in_trio_run()

    _, events = await start(serve, app)
    assert await updates(events) == [["out", {"children": "field 1 go"}], ["out", {"children": True}]]


async def test_a_value_that_does_not_fit_is_raised_at_the_yield_and_fails_the_stream(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    raised: list[BaseException] = []

    @app.callback(TWO, GO)
    async def fill(clicks: int) -> AsyncIterator[Any]:
        try:
            yield "one value for two Outputs"
        except Exception as error:
            raised.append(error)
            raise

    _, events = await start(serve, app)
    assert (await events.expect("end"))["reason"] == "failed"
    assert "does not fit its Outputs" in str(raised[0])
    assert "fill" in str(raised[0])


async def test_cancelling_unwinds_runs_on_error_into_the_outputs_and_resets(serve: Serve) -> None:
    app = make_app()
    log: list[Any] = []

    def on_error(error: StreamCancelled) -> str:
        log.append(error.reason)
        return "stopped"

    @app.callback(
        OUT,
        GO,
        cancel=[Input("stop", "n_clicks")],
        on_error=on_error,
        reset_props=[("field", {"value": ""})],
        running=[(Output("go", "disabled"), True, False)],
    )
    async def wait(clicks: int) -> AsyncIterator[Any]:
        try:
            yield "waiting"
            await trio.sleep_forever()
        finally:
            log.append("finally")

    page = await (await serve(app)).page()
    events = await page.connect()
    assert (await page.start("go")).status_code == 204
    opened = await events.expect("open")
    assert opened["props"] == [["go", {"disabled": True}]]
    await events.expect("props")
    await page.cancel(opened["stream"], 0, 1)
    end = await events.expect("end")
    assert (end["reason"], log) == ("cancelled", ["finally", EndReason.CANCELLED])
    assert end["props"] == [["out", {"children": "stopped"}], ["field", {"value": ""}], ["go", {"disabled": False}]]


async def test_an_on_error_that_returns_nothing_leaves_the_outputs_alone(serve: Serve) -> None:
    app = make_app()

    @app.callback(OUT, GO, on_error=lambda error: None)
    async def fail(clicks: int) -> AsyncIterator[Any]:
        yield "before"
        raise ValueError

    _, events = await start(serve, app)
    await events.expect("props")
    assert (await events.expect("end"))["props"] == []


async def test_the_apps_on_error_takes_failures_that_have_no_handler_of_their_own(serve: Serve) -> None:
    log: list[str] = []

    def on_error(error: Exception) -> str:
        log.append(f"{error} in {ctx.triggered_id}")
        return "from the app"

    app = make_app(on_error=on_error)

    @app.callback(OUT, GO, cancel=[Input("stop", "n_clicks")])
    async def fail(clicks: int) -> AsyncIterator[Any]:
        if clicks == 2:
            await trio.sleep_forever()
        yield "before"
        raise ValueError("failure")

    page, events = await start(serve, app)
    await events.expect("props")
    assert (await events.expect("end"))["props"] == [["out", {"children": "from the app"}]]
    assert log == ["failure in go"]

    # A cancellation is no failure.
    await page.start("go")
    await page.cancel((await events.expect("open"))["stream"], 0, 1)
    assert (await events.expect("end"))["reason"] == "cancelled"
    assert log == ["failure in go"]


async def test_a_generator_without_outputs_yields_stream_props(serve: Serve) -> None:
    app = make_app()

    @app.callback(GO, prevent_initial_call=True)
    async def show(clicks: int) -> AsyncIterator[Any]:
        yield stream_props("out", {"children": clicks})

    page = await (await serve(app)).page()
    events = await page.connect()
    assert (await page.start("go")).status_code == 204
    await events.expect("open")
    assert await updates(events) == [["out", {"children": 1}]]


async def test_several_callbacks_stream_at_once_over_one_connection(serve: Serve) -> None:
    app, go_on = make_app(), trio.Event()

    for output in TWO:

        @app.callback(output, GO)
        async def count(clicks: int) -> AsyncIterator[Any]:
            yield "first"
            await go_on.wait()
            yield "second"

    page = await (await serve(app)).page()
    events = await page.connect()
    page.set("go", n_clicks=0)
    for part in ("out", "field"):
        await page.start("go", value=1, callback=part)
    seen = [(await events.next()).name for _ in range(4)]
    assert sorted(seen) == ["open", "open", "props", "props"]
    go_on.set()
    assert sorted([(await events.next()).name for _ in range(4)]) == ["end", "end", "props", "props"]
