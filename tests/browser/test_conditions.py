"""Conditions of `cancel=`, as the page watches them and the server checks them."""

from __future__ import annotations

from typing import Any

import pytest
import quart
import trio
from playwright.sync_api import Route, expect

from flash import ALL, EndReason, Flash, Input, StreamCancelled, dcc, html, stream_props
from tests.browser.conftest import Visit
from tests.support.eventually import eventually_sync
from tests.support.serving import Gate, Journal


def hold(app: Flash, path: str, seen: Journal[str], gate: Gate) -> None:
    """Let requests for `path` wait for `gate`, and note all that arrive."""

    @app.server.before_request
    async def wait() -> None:
        seen.note(quart.request.path)
        if quart.request.path == path:
            await gate.wait()


def await_request(seen: Journal[str], path: str) -> None:
    while seen.next() != path:
        pass


def conditional_app(condition: object, errors: Journal[StreamCancelled], **options: Any) -> Flash:
    app = Flash(__name__, **options)
    app.layout = html.Div(
        [
            html.Button("Start", id="start"),
            html.Button("Stop", id="stop"),
            dcc.Input(id="city", value="Oslo"),
            html.Div("idle", id="weather"),
        ]
    )

    @app.event_callback(
        Input("start", "n_clicks"),
        cancel=[condition],
        on_error=errors.note,
        reset_props=[("weather", {"children": "idle again"})],
    )
    async def forecast(n_clicks: int):
        yield stream_props("weather", {"children": f"run {n_clicks}"})
        await trio.sleep_forever()

    return app


def test_a_predicate_decides_over_each_value(visit: Visit) -> None:
    asked, errors = Journal[object](), Journal[StreamCancelled]()

    def is_long_enough(value: str) -> bool:
        asked.note(value)
        return len(value) > 3

    page = visit(conditional_app((Input("city", "value"), is_long_enough), errors))
    weather = page.locator("#weather")
    page.click("#start")
    expect(weather).to_have_text("run 1")
    assert asked.next() == "Oslo"
    for city in ("Rome", "Riga"):
        page.fill("#city", city)
        # Of two changes that are on their way at a time, the newer one may come first: then the older one is not asked
        # about any more.
        assert asked.next() == city
    assert errors.rest() == []
    page.fill("#city", "Rio")
    expect(weather).to_have_text("idle again")
    error = errors.next()
    assert (error.reason, error.condition, error.value) == (EndReason.CANCELLED, "city.value", "Rio")


def test_a_change_that_arrives_twice_is_asked_about_once(visit: Visit) -> None:
    asked, errors = Journal[object](), Journal[StreamCancelled]()

    def is_long_enough(value: str) -> bool:
        asked.note(value)
        return len(value) > 3

    delivered: list[list[int]] = []

    def send_twice(route: Route) -> None:
        answers = [route.fetch(), route.fetch()]
        delivered.append([answer.status for answer in answers])
        route.fulfill(response=answers[0])

    page = visit(conditional_app((Input("city", "value"), is_long_enough), errors))
    page.route("**/_flash/cancel", send_twice)
    page.click("#start")
    expect(page.locator("#weather")).to_have_text("run 1")
    for count, city in enumerate(("Rome", "Riga", "Rio"), start=1):
        page.fill("#city", city)
        # Playwright runs `send_twice` while it is waited for. The page may have given its request up meanwhile.
        eventually_sync(lambda count=count: page.evaluate("true") and len(delivered) == count)
    assert errors.next().value == "Rio"
    assert [asked.next() for _ in range(4)] == ["Oslo", "Rome", "Riga", "Rio"]
    assert asked.rest() == []
    assert delivered[:2] == [[204, 204]] * 2


def test_one_condition_of_several_is_enough_to_end_a_stream(visit: Visit) -> None:
    errors = Journal[StreamCancelled]()
    app = Flash(__name__, suppress_callback_exceptions=True)
    app.layout = html.Div(
        [
            html.Button("Start", id="start"),
            html.Button("Stop", id="stop"),
            dcc.Checklist(["on"], ["on"], id="switch"),
            html.Div("idle", id="weather"),
        ]
    )

    @app.event_callback(
        Input("start", "n_clicks"),
        cancel=[(Input("switch", "value"), ["on"]), Input("stop", "n_clicks"), (Input("elsewhere", "value"), 1)],
        on_error=errors.note,
        reset_props=[("weather", {"children": "idle"})],
    )
    async def forecast(n_clicks: int):
        yield stream_props("weather", {"children": f"run {n_clicks}"})
        await trio.sleep_forever()

    page = visit(app)
    weather = page.locator("#weather")
    page.click("#start")
    expect(weather).to_have_text("run 1")
    page.click("#stop")
    expect(weather).to_have_text("idle")
    assert errors.next().condition == "stop.n_clicks"

    page.click("#start")
    expect(weather).to_have_text("run 2")
    page.get_by_label("on").uncheck()
    expect(weather).to_have_text("idle")
    error = errors.next()
    assert (error.condition, error.value) == ("switch.value", [])


@pytest.mark.parametrize(
    ("condition", "change", "label", "value"),
    [
        ((Input("city", "value"), "Oslo"), "city", "city.value", "Rome"),
        (Input("city", "value"), "city", "city.value", "Rome"),
        (Input("stop", "n_clicks"), "stop", "stop.n_clicks", 1),
    ],
    ids=["a value", "a bare Input", "a click"],
)
def test_a_change_between_the_start_and_the_opening_is_not_lost(
    visit: Visit, condition: object, change: str, label: str, value: object
) -> None:
    seen, gate, errors = Journal[str](), Gate(), Journal[StreamCancelled]()
    app = conditional_app(condition, errors, start_timeout=60)
    # The page's connection is held back: the start waits for it, and the stream opens when it is there.
    hold(app, "/_flash/events", seen, gate)
    page = visit(app)
    page.click("#start")
    await_request(seen, "/_dash-update-component")
    if change == "stop":
        page.click("#stop")
    else:
        page.fill("#city", "Rome")
    assert errors.rest() == []
    gate.open()

    error = errors.next()
    assert (error.reason, error.condition, error.value) == (EndReason.CANCELLED, label, value)
    expect(page.locator("#weather")).to_have_text("idle again")


def test_an_input_that_starts_a_run_does_not_cancel_it(visit: Visit) -> None:
    errors = Journal[StreamCancelled]()
    app = Flash(__name__)
    app.layout = html.Div(
        [
            dcc.RadioItems(["Oslo", "Rome", "Lima"], "Oslo", id="city"),
            html.Div("idle", id="weather"),
        ]
    )

    @app.event_callback(
        Input("city", "value"),
        cancel=[Input("city", "value"), (Input("city", "value"), lambda city: city != "Lima")],
        on_error=errors.note,
    )
    async def forecast(city: str):
        yield stream_props("weather", {"children": f"in {city}"})
        await trio.sleep_forever()

    page = visit(app)
    weather = page.locator("#weather")
    page.get_by_label("Rome").check()
    expect(weather).to_have_text("in Rome")
    page.get_by_label("Oslo").check()
    expect(weather).to_have_text("in Oslo")
    # The run that was started by this change is there to stay: the old one is over, for whichever reason came first.
    assert errors.next().reason in {EndReason.SUPERSEDED, EndReason.CANCELLED}
    assert errors.rest() == []


def test_any_component_that_a_wildcard_matches_can_end_a_stream(visit: Visit) -> None:
    errors = Journal[StreamCancelled]()
    app = Flash(__name__)
    app.layout = html.Div(
        [
            html.Button("Start", id="start"),
            *[html.Button(f"Stop {n}", id={"type": "stop", "index": n}) for n in (1, 2)],
            html.Div("idle", id="weather"),
        ]
    )

    @app.event_callback(
        Input("start", "n_clicks"),
        cancel=[Input({"type": "stop", "index": ALL}, "n_clicks")],
        on_error=errors.note,
        reset_props=[("weather", {"children": "idle"})],
    )
    async def forecast(n_clicks: int):
        yield stream_props("weather", {"children": f"run {n_clicks}"})
        await trio.sleep_forever()

    page = visit(app)
    for run, value in ((1, [None, 1]), (2, [None, 2])):
        page.click("#start")
        expect(page.locator("#weather")).to_have_text(f"run {run}")
        page.get_by_text("Stop 2").click()
        expect(page.locator("#weather")).to_have_text("idle")
        error = errors.next()
        assert error.reason is EndReason.CANCELLED
        assert error.value == value


@pytest.mark.parametrize("elsewhere", ["elsewhere", {"type": "elsewhere", "index": 1}], ids=["a string", "a dict"])
def test_a_condition_on_a_component_that_is_not_in_the_layout_ends_nothing(
    visit: Visit, elsewhere: str | dict[str, Any]
) -> None:
    errors = Journal[StreamCancelled]()
    app = Flash(__name__, suppress_callback_exceptions=True)
    app.layout = html.Div(
        [html.Button("Start", id="start"), html.Button("Stop", id="stop"), html.Div("idle", id="weather")]
    )

    @app.event_callback(
        Input("start", "n_clicks"),
        cancel=[(Input(elsewhere, "value"), "there"), Input(elsewhere, "other"), Input("stop", "n_clicks")],
        on_error=errors.note,
        reset_props=[("weather", {"children": "idle"})],
    )
    async def forecast(n_clicks: int):
        yield stream_props("weather", {"children": f"run {n_clicks}"})
        await trio.sleep_forever()

    page = visit(app)
    page.click("#start")
    expect(page.locator("#weather")).to_have_text("run 1")
    page.click("#stop")
    expect(page.locator("#weather")).to_have_text("idle")
    assert errors.next().condition == "stop.n_clicks"


def test_a_change_that_comes_too_late_is_no_error(visit: Visit) -> None:
    seen, gate, go_on = Journal[str](), Gate(), Gate()
    app = Flash(__name__)
    app.layout = html.Div(
        [html.Button("Start", id="start"), html.Button("Stop", id="stop"), html.Div("idle", id="weather")]
    )
    # The stream completes while the news of the click is on its way.
    hold(app, "/_flash/cancel", seen, gate)

    @app.event_callback(
        Input("start", "n_clicks"), cancel=[Input("stop", "n_clicks")], reset_props=[("weather", {"children": "reset"})]
    )
    async def forecast(n_clicks: int):
        yield stream_props("weather", {"children": "cloudy"})
        await go_on.wait()
        yield stream_props("weather", {"children": "sunny"})

    page = visit(app)
    weather = page.locator("#weather")
    page.click("#start")
    expect(weather).to_have_text("cloudy")
    with page.expect_response("**/_flash/cancel") as response:
        page.click("#stop")
        await_request(seen, "/_flash/cancel")
        go_on.open()
        expect(weather).to_have_text("sunny")
        gate.open()
    assert response.value.status < 500
    page.click("#start")
    expect(weather).to_have_text("sunny")
