"""`watch=`: Inputs that a stream follows while it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import trio

from flash import ALL, MATCH, Flash, Input, Output, State, Update, Watched, ctx, dcc, html, stream_props
from flash.testing.component_ids import ComponentId
from tests.http.pages import Page
from tests.http.servers import Serve
from tests.support.link import Link


def race_app(**options: Any) -> Flash:
    """An app with a stream that shows the watched speed each time when it changes."""
    app = Flash(__name__)
    app.layout = html.Div([html.Button(id="go"), dcc.Input(id="speed", value=1), html.P(id="out")])

    @app.event_callback(Input("go", "n_clicks"), watch={"speed": Input("speed", "value")}, **options)
    async def race(clicks: int, speed: Watched[int]) -> AsyncIterator[Update]:
        while True:
            yield stream_props("out", {"children": [clicks, speed.value]})
            await speed.changed()

    return app


def shown(value: Any) -> list[Any]:
    return [["out", {"children": value}]]


async def start(page: Page, events: Link, component: ComponentId = "go") -> dict[str, Any]:
    """Start a stream; what the page is told when it opens."""
    await page.start(component)
    return await events.expect("open")


async def test_a_change_reaches_the_stream_that_runs_and_starts_no_other(serve: Serve) -> None:
    app = race_app()
    page = await (await serve(app)).page()
    page.set("speed", value=5)
    events = await page.connect()
    stream = (await start(page, events))["stream"]
    assert (await events.expect("props"))["props"] == shown([1, 5])
    assert (await page.cancel(stream, 0, 6)).status_code == 204
    changed = await events.expect("props")
    assert (changed["stream"], changed["props"]) == (stream, shown([1, 6]))
    assert (await page.cancel(stream, 1, 7)).status_code == 400
    assert len(app.streams()) == 1


async def test_the_page_is_told_where_the_property_is_and_what_it_was(serve: Serve) -> None:
    app = race_app(cancel=[(Input("speed", "value"), lambda speed: speed < 100)])
    page = await (await serve(app)).page()
    page.set("speed", value=5)
    events = await page.connect()
    opened = await start(page, events)
    entry = {"id": "speed", "property": "value", "value": 5, "missing": False, "exempt": False}
    assert opened["conditions"] == [entry | {"watched": False}, entry | {"watched": True}]
    await events.expect("props")
    await page.cancel(opened["stream"], 1, 200)
    assert (await events.expect("props"))["props"] == shown([1, 200])
    await page.cancel(opened["stream"], 0, 200)
    assert (await events.expect("end"))["reason"] == "cancelled"


async def test_a_component_that_is_not_there_has_the_value_none(serve: Serve) -> None:
    app = race_app()
    app.layout = html.Div([html.Button(id="go"), html.P(id="out")])
    page = await (await serve(app)).page()
    events = await page.connect()
    opened = await start(page, events)
    assert opened["conditions"][0]["value"] is None
    assert opened["conditions"][0]["missing"] is False
    assert (await events.expect("props"))["props"] == shown([1, None])


async def test_a_start_that_waits_for_the_run_before_it_has_the_values_of_its_own_request(serve: Serve) -> None:
    page = await (await serve(race_app())).page()
    events = await page.connect()
    await start(page, events)
    assert (await events.expect("props"))["props"] == shown([1, 1])
    page.set("speed", value=2)
    await page.start("go")
    assert (await events.expect("end"))["reason"] == "superseded"
    await events.expect("open")
    assert (await events.expect("props"))["props"] == shown([2, 2])


async def test_a_stream_that_is_started_again_is_asked_for_with_the_watched_property(serve: Serve) -> None:
    page = await (await serve(race_app(restart=True))).page()
    events = await page.connect()
    again = (await start(page, events))["again"]
    assert {"id": "speed", "property": "value", "optional": True} in again["state"]


async def test_a_plain_generator_reads_the_value_and_waits_in_its_thread(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = html.Div([html.Button(id="go"), dcc.Input(id="speed", value=1), html.P(id="out")])
    over = trio.Event()

    @app.event_callback(Input("go", "n_clicks"), watch={"speed": Input("speed", "value")})
    def race(clicks: int, speed: Watched[int]) -> Iterator[Update]:
        try:
            while True:
                yield stream_props("out", {"children": speed.value})
                trio.from_thread.run(speed.changed)
        finally:
            trio.from_thread.run_sync(over.set)

    page = await (await serve(app)).page()
    events = await page.connect()
    stream = (await start(page, events))["stream"]
    assert (await events.expect("props"))["props"] == shown(1)
    await page.cancel(stream, 0, 2)
    assert (await events.expect("props"))["props"] == shown(2)
    await page.leave()
    await over.wait()


async def test_ids_with_match_and_all(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = html.Div(
        [
            html.Button(id={"type": "go", "n": 1}),
            dcc.Input(id={"type": "one", "n": 1}, value="a"),
            dcc.Input(id={"many": 1}, value="b"),
        ]
    )

    @app.event_callback(
        Input({"type": "go", "n": MATCH}, "n_clicks"),
        watch={"one": Input({"type": "one", "n": MATCH}, "value"), "many": Input({"many": ALL}, "value")},
    )
    async def show(clicks: int, *, one: Watched[str], many: Watched[list[str]]) -> AsyncIterator[Update]:
        while True:
            yield stream_props("out", {"children": [one.value, many.value]})
            await many.changed()

    page = await (await serve(app)).page()
    events = await page.connect()
    opened = await start(page, events, {"type": "go", "n": 1})
    assert [condition["id"] for condition in opened["conditions"]] == [{"type": "one", "n": 1}, {"many": ["ALL"]}]
    assert (await events.expect("props"))["props"] == shown(["a", ["b"]])
    await page.cancel(opened["stream"], 0, "c")
    await page.cancel(opened["stream"], 1, ["d"])
    assert (await events.expect("props"))["props"] == shown(["c", ["d"]])


async def test_a_streaming_callback_watches_too_and_its_context_has_what_the_user_asked_for(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = html.Div(
        [html.Button(id="go"), dcc.Input(id="speed", value=1), dcc.Input(id="name", value="Ada"), html.P(id="out")]
    )

    @app.callback(
        Output("out", "children"),
        inputs={"clicks": Input("go", "n_clicks"), "name": State("name", "value")},
        watch={"speed": Input("speed", "value")},
        prevent_initial_call=True,
    )
    async def race(clicks: int, name: str, speed: Watched[int]) -> AsyncIterator[Any]:
        while True:
            yield [name, speed.value, sorted(ctx.states)]
            await speed.changed()

    page = await (await serve(app)).page()
    events = await page.connect()
    stream = (await start(page, events))["stream"]
    assert (await events.expect("props"))["props"] == shown(["Ada", 1, ["name.value"]])
    await page.cancel(stream, 0, 2)
    assert (await events.expect("props"))["props"] == shown(["Ada", 2, ["name.value"]])
