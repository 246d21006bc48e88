"""Updates that come within one frame: each is seen by its component, or only the newest of a stream that conflates."""

from __future__ import annotations

import dash_mantine_components as dmc
import pytest
from playwright.sync_api import expect

from flash import Flash, Input, Output, Patch, State, dcc, html, set_props, stream_props
from tests.browser.conftest import Visit
from tests.browser.seeing import Witness, hide, seen_by, with_witnesses
from tests.support.eventually import eventually_sync

MANY = 60


@pytest.mark.parametrize("hidden", [False, True], ids=["shown", "hidden"])
def test_each_value_is_seen_by_its_component_in_the_order_yielded(visit: Visit, hidden: bool) -> None:
    app = with_witnesses(Flash(__name__))
    app.layout = dmc.MantineProvider(
        html.Div(
            [
                html.Button("Start", id="start"),
                dmc.NotificationContainer(id="notes", limit=20),
                Witness("yielded"),
                Witness("set"),
                Witness({"row": 1}),
                Witness({"row": 2}),
                Witness("patched"),
                html.Div(html.Div(Witness("inner"), id="box"), id="outer"),
                html.P(id="end"),
            ]
        )
    )

    @app.event_callback(Input("start", "n_clicks"), running=[(Output("yielded", "value"), "on", "off")])
    async def burst(n_clicks: int):
        for number in range(MANY):
            yield stream_props([("yielded", {"value": number}), ("yielded", {"other": number})])
            set_props("set", {"value": number})
            set_props({"row": 1}, {"value": [number]})
        for number in range(5):
            yield stream_props(
                "notes",
                {
                    "sendNotifications": [
                        {"action": "show", "id": f"{number}", "message": f"note {number}", "autoClose": False}
                    ]
                },
            )
            patch = Patch()
            patch[f"{number}"] = number
            yield stream_props("patched", {"value": patch if number else {}})
        # What a component was given is seen before the component is taken away.
        yield stream_props("inner", {"value": "last words"})
        yield stream_props("box", {"children": "gone"})
        yield stream_props("end", {"children": "end"})

    page = visit(app)
    if hidden:
        page.wait_for_selector("#start")
        hide(page)
    page.click("#start")
    expect(page.locator("#end")).to_have_text("end")
    expect(page.locator("#yielded")).to_have_text('"off"')
    assert seen_by(page, "yielded") == ["on", *range(MANY), "off"]
    assert seen_by(page, "set") == list(range(MANY))
    assert seen_by(page, '{"row":1}') == [[number] for number in range(MANY)]
    assert [len(value) for value in seen_by(page, "patched")] == [0, 1, 2, 3, 4]
    assert seen_by(page, "inner") == ["last words"]
    for number in range(5):
        expect(page.get_by_text(f"note {number}")).to_be_attached()


def test_each_file_is_downloaded(visit: Visit) -> None:
    app = Flash(__name__)
    app.layout = html.Div([html.Button("Start", id="start"), dcc.Download(id="download")])

    @app.event_callback(Input("start", "n_clicks"))
    async def send(n_clicks: int):
        for number in range(3):
            yield stream_props("download", {"data": {"filename": f"{number}.txt", "content": str(number)}})

    page = visit(app)
    # The browser may tell of files in another order than that in which the component has asked for them.
    page.evaluate(
        """() => {
            window.asked = [];
            const dispatch = EventTarget.prototype.dispatchEvent;
            EventTarget.prototype.dispatchEvent = function (event) {
                if (this.download) {
                    window.asked.push(this.download);
                }
                return dispatch.call(this, event);
            };
        }"""
    )
    names: list[str] = []
    page.on("download", lambda download: names.append(download.suggested_filename))
    with page.expect_event("download", lambda _: len(names) == 3):
        page.click("#start")
    assert sorted(names) == ["0.txt", "1.txt", "2.txt"]
    assert page.evaluate("window.asked") == ["0.txt", "1.txt", "2.txt"]


def test_callbacks_are_called_with_each_value_and_each_status(visit: Visit) -> None:
    app = Flash(__name__)
    app.layout = html.Div(
        [
            html.Button("Start", id="start"),
            dcc.Store(id="store"),
            html.P("", id="in-the-browser"),
            html.P("", id="statuses"),
            dcc.Store(id="asked"),
        ]
    )
    called: list[int] = []
    join = "(value, before) => value === undefined || value === null ? before : `${before}${value} `"
    app.clientside_callback(
        join,
        Output("in-the-browser", "children"),
        Input("store", "data"),
        State("in-the-browser", "children"),
        prevent_initial_call=True,
    )

    @app.callback(Input("asked", "data"), prevent_initial_call=True)
    def on_the_server(value: int) -> None:
        called.append(value)

    @app.event_callback(Input("start", "n_clicks"))
    async def count(n_clicks: int):
        for number in range(10):
            yield stream_props([("store", {"data": number}), ("asked", {"data": number})])

    app.clientside_callback(
        join,
        Output("statuses", "children"),
        Input(count.stream, "status"),
        State("statuses", "children"),
        prevent_initial_call=True,
    )

    page = visit(app)
    page.click("#start")
    expect(page.locator("#in-the-browser")).to_have_text("0 1 2 3 4 5 6 7 8 9")
    expect(page.locator("#statuses")).to_have_text("running completed")
    eventually_sync(lambda: sorted(called) == list(range(10)), "a call with each value")


def test_a_callback_that_is_kept_waiting_does_not_stop_what_comes_behind(visit: Visit) -> None:
    app = with_witnesses(Flash(__name__))
    app.layout = html.Div(
        [
            html.Button("Start", id="start"),
            html.Button("Slow", id="slow"),
            dcc.Store(id="between"),
            Witness("number"),
            html.P("", id="both"),
        ]
    )
    app.clientside_callback(
        "() => new Promise(() => undefined)",
        Output("between", "data"),
        Input("slow", "n_clicks"),
        prevent_initial_call=True,
    )
    app.clientside_callback(
        "(between, value) => `${value}`", Output("both", "children"), Input("between", "data"), Input("number", "value")
    )

    @app.event_callback(Input("start", "n_clicks"))
    async def count(n_clicks: int):
        for number in range(100):
            yield stream_props("number", {"value": number})

    page = visit(app)
    page.click("#slow")
    page.click("#start")
    expect(page.locator("#number")).to_have_text("99")
    assert seen_by(page, "number") == list(range(100))


def test_of_a_stream_that_conflates_the_newest_value_counts_and_what_adds_up_is_never_left_out(visit: Visit) -> None:
    app = with_witnesses(Flash(__name__))
    app.layout = html.Div([html.Button("Start", id="start"), Witness("value"), html.P("", id="text")])

    @app.event_callback(Input("start", "n_clicks"), conflate=True)
    async def flood(n_clicks: int):
        for number in range(2_000):
            yield stream_props("value", {"value": number})
            if number % 100 == 0:
                patch = Patch()
                patch += f"{number} "
                yield stream_props("text", {"children": patch})

    page = visit(app)
    page.click("#start")
    expect(page.locator("#value")).to_have_text("1999")
    expect(page.locator("#text")).to_have_text(" ".join(str(number) for number in range(0, 2_000, 100)))
    seen = seen_by(page, "value")
    assert seen == sorted(seen)
    assert len(seen) < 1_000
