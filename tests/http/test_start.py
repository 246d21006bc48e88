"""Starting streams by Dash's own callback request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from flash import ALL, MATCH, Flash, Input, Output, State, Update, ctx, dcc, html, set_props, stream_props
from tests.http.apps import Waiting
from tests.http.refusals import assert_refused
from tests.http.servers import Serve
from tests.support.callback_context import triggered_id
from tests.support.eventually import eventually


async def test_a_callback_request_starts_a_stream_and_does_not_wait_for_it(serve: Serve) -> None:
    waiting = Waiting()
    page = await (await serve(waiting.app)).page()
    events = await page.connect()
    answer = await page.start("go")
    assert answer.status_code == 204
    assert (await events.expect("open"))["stream"]
    assert waiting.app.streams()[0].state == "running"


async def test_inputs_and_states_are_the_values_of_the_page(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), dcc.Input(id="name", value="Ada"), dcc.Store(id="data"), html.Div(id="out")]

    @app.event_callback(Input("go", "n_clicks"), State("name", "value"), State("data", "data"))
    async def show(clicks: int, name: str, data: Any) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": [clicks, name, data]})

    page = await (await serve(app)).page()
    page.set("data", data={"rows": [1, None, True]})
    events = await page.connect()
    await page.start("go", value=7)
    await events.expect("open")
    assert (await events.expect("props"))["props"] == [["out", {"children": [7, "Ada", {"rows": [1, None, True]}]}]]


async def test_grouped_and_named_dependencies_arrive_as_they_were_written(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), dcc.Input(id="a", value=1), dcc.Input(id="b", value=2), html.Div(id="out")]

    @app.event_callback(
        inputs={"clicks": Input("go", "n_clicks"), "pair": (State("a", "value"), State("b", "value"))},
        cancel=[(Input("a", "value"), 1)],
    )
    async def show(clicks: int, pair: tuple[int, int]) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": [clicks, *pair]})

    page = await (await serve(app)).page()
    events = await page.connect()
    await page.start("go")
    await events.expect("open")
    assert (await events.expect("props"))["props"] == [["out", {"children": [1, 1, 2]}]]


async def test_pattern_matching_ids_work(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [
        *(html.Button(id={"type": "go", "index": index}, n_clicks=0) for index in (1, 2)),
        *(html.Div(id={"type": "out", "index": index}, children=f"was {index}") for index in (1, 2)),
        *(dcc.Input(id={"type": "field", "name": name}, value=name.upper()) for name in "xyz"),
    ]

    @app.event_callback(
        Input({"type": "go", "index": MATCH}, "n_clicks"),
        State({"type": "out", "index": MATCH}, "children"),
        State({"type": "field", "name": ALL}, "value"),
        running=[(Output({"type": "go", "index": MATCH}, "disabled"), True, False)],
        reset_props=[({"type": "out", "index": MATCH}, {"children": ""})],
    )
    async def show(clicks: int, was: str, fields: list[str]) -> AsyncIterator[Update]:
        index = triggered_id()["index"]
        yield stream_props({"type": "out", "index": index}, {"children": [clicks, was, *fields]})
        yield stream_props({"type": "field", "name": ALL}, {"value": ""})

    page = await (await serve(app)).page()
    events = await page.connect()
    assert (await page.start({"type": "go", "index": 2}, value=5)).is_success
    opened = await events.expect("open")
    assert opened["match"] == '{"index":2}'
    assert opened["props"] == [[{"type": "go", "index": 2}, {"disabled": True}]]
    assert opened["reset"] == [
        [{"type": "out", "index": 2}, {"children": ""}],
        [{"type": "go", "index": 2}, {"disabled": False}],
    ]
    first = (await events.expect("props"))["props"]
    assert first == [[{"type": "out", "index": 2}, {"children": [5, "was 2", "X", "Y", "Z"]}]]
    assert (await events.expect("props"))["props"] == [[{"type": "field", "name": ["ALL"]}, {"value": ""}]]
    assert (await events.expect("end"))["props"] == [[{"type": "go", "index": 2}, {"disabled": False}]]


async def test_runs_with_other_match_values_do_not_supersede_each_other(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id={"go": index}, n_clicks=0) for index in (1, 2)]

    @app.event_callback(Input({"go": MATCH}, "n_clicks"))
    async def wait(clicks: int) -> AsyncIterator[Update]:
        yield stream_props({"go": triggered_id()["go"]}, {"children": clicks})
        await trio.sleep_forever()

    page = await (await serve(app)).page()
    events = await page.connect()
    await page.start({"go": 1})
    one = await events.expect("open")
    await events.expect("props")
    await page.start({"go": 2})
    await events.expect("open")
    await events.expect("props")
    assert len(app.streams()) == 2
    await page.start({"go": 1})
    ended = await events.expect("end")
    assert (ended["stream"], ended["reason"]) == (one["stream"], "superseded")
    assert (await events.expect("open"))["match"] == one["match"]


async def test_a_newer_start_supersedes_the_run_before_it(serve: Serve) -> None:
    waiting = Waiting()
    page = await (await serve(waiting.app)).page()
    events = await page.connect()
    await page.start("go")
    first = await events.expect("open")
    await events.expect("props")
    assert (await page.start("go")).status_code == 204
    ended = await events.expect("end")
    assert (ended["stream"], ended["reason"]) == (first["stream"], "superseded")
    second = await events.expect("open")
    assert second["stream"] != first["stream"]
    assert waiting.log[:3] == ["started", "finally", "on_error superseded"]


async def test_the_callback_context_is_that_of_the_request_that_started_the_stream(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), dcc.Input(id="name", value="Ada"), html.Div(id="out")]

    @app.event_callback(Input("go", "n_clicks"), State("name", "value"), cancel=[(Input("out", "title"), None)])
    async def show(clicks: int, name: str) -> AsyncIterator[Update]:
        yield stream_props(
            "out",
            {
                "children": {
                    "triggered_id": ctx.triggered_id,
                    "triggered": ctx.triggered,
                    "inputs": ctx.inputs,
                    "states": ctx.states,
                    "states_list": ctx.states_list,
                    "cookie": ctx.cookies["seen"],
                    "header": ctx.headers["X-Test"],
                }
            },
        )

    page = await (await serve(app)).page()
    page.client.cookies.set("seen", "yes", domain="127.0.0.1")
    page.client.headers["X-Test"] = "here"
    events = await page.connect()
    await page.start("go")
    await events.expect("open")
    assert (await events.expect("props"))["props"][0][1]["children"] == {
        "triggered_id": "go",
        "triggered": [{"prop_id": "go.n_clicks", "value": 1}],
        "inputs": {"go.n_clicks": 1},
        "states": {"name.value": "Ada"},
        "states_list": [{"id": "name", "property": "value", "value": "Ada"}],
        "cookie": "yes",
        "header": "here",
    }


async def test_set_props_in_a_stream_leaves_at_once_and_in_order(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Div(id="out")]

    @app.event_callback(Input("go", "n_clicks"))
    async def mixed(clicks: int) -> AsyncIterator[Update]:
        set_props("out", {"children": 1})
        yield stream_props("out", {"children": 2})
        set_props({"type": "b", "index": 1}, {"children": 3})
        await trio.sleep_forever()

    page = await (await serve(app)).page()
    events = await page.connect()
    await page.start("go")
    await events.expect("open")
    sent = [(await events.expect("props"))["props"] for _ in range(3)]
    assert sent == [
        [["out", {"children": 1}]],
        [["out", {"children": 2}]],
        [[{"type": "b", "index": 1}, {"children": 3}]],
    ]


async def test_a_start_does_not_wait_for_the_connection_which_gets_all_that_the_stream_has_said(serve: Serve) -> None:
    waiting = Waiting()
    page = await (await serve(waiting.app)).page()
    assert (await page.start("go")).status_code == 204
    await eventually(lambda: waiting.log == ["started"])
    assert waiting.app.streams()[0].state == "running"
    events = await page.connect()
    assert (await events.expect("open"))["stream"]
    assert (await events.expect("props"))["props"]


async def test_many_starts_at_once_before_the_connection_share_one_life(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id={"go": index}, n_clicks=0) for index in range(12)]

    @app.event_callback(Input({"go": MATCH}, "n_clicks"))
    async def wait(clicks: int) -> AsyncIterator[Update]:
        yield stream_props({"go": triggered_id()["go"]}, {"children": clicks})
        await trio.sleep_forever()

    page = await (await serve(app)).page()
    answers: list[int] = []

    async def start(index: int) -> None:
        answers.append((await page.start({"go": index})).status_code)

    async with trio.open_nursery() as nursery:
        for index in range(12):
            nursery.start_soon(start, index)
    assert answers == [204] * 12
    assert len(app.channels) == 1
    events = await page.connect()
    names = [(await events.next()).name for _ in range(24)]
    assert sorted(names) == ["open"] * 12 + ["props"] * 12


async def test_the_streams_of_a_page_that_never_connects_end_and_the_log_says_why(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = Waiting(start_timeout=0.2)
    page = await (await serve(waiting.app)).page()
    assert (await page.start("go")).status_code == 204
    await eventually(lambda: waiting.log == ["started", "finally", "on_error disconnected"])
    await eventually(lambda: not len(waiting.app.channels))
    assert "no connection to this process within start_timeout (0.2 s)" in caplog.text
    events = await page.connect()
    await page.start("go")
    await events.expect("open")


# httpx leaves the generator of a body to the garbage collector when it is cancelled while it sends that.
@pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning")
async def test_a_start_that_was_given_up_by_the_page_leaves_the_page_as_it_was(serve: Serve) -> None:
    waiting = Waiting()
    page = await (await serve(waiting.app)).page()
    for timeout in (0, 0.001, 0.002, 0.003):
        with trio.move_on_after(timeout):
            await page.start("go")
    events = await page.connect()
    await page.start("go")
    while (await events.next()).name != "open":
        pass
    assert len(waiting.app.channels) == 1


async def test_a_page_has_no_more_streams_than_it_may(serve: Serve) -> None:
    app = Flash(__name__, streams_per_page=2)
    app.layout = [html.Button(id={"go": index}, n_clicks=0) for index in range(4)]

    @app.event_callback(Input({"go": MATCH}, "n_clicks"), cancel=[Input({"go": MATCH}, "title")])
    async def wait(clicks: int) -> AsyncIterator[Update]:
        yield stream_props({"go": triggered_id()["go"]}, {"children": clicks})
        await trio.sleep_forever()

    server = await serve(app)
    page = await server.page()
    events = await page.connect()
    streams: list[str] = []
    for index in range(2):
        assert (await page.start({"go": index})).is_success
        streams.append((await events.expect("open"))["stream"])
        await events.expect("props")

    refusal = await page.start({"go": 2})
    assert_refused(refusal, 429, "wait", "streams_per_page")
    refused = await events.expect("refused")
    assert refused["message"] == refusal.text
    assert refused["match"] == '{"go":2}'
    assert [refused["callback_id"]] == page.streams
    assert {info.id for info in app.streams()} == set(streams)

    # A run that takes the place of another one is not one more.
    assert (await page.start({"go": 1})).is_success
    assert (await events.expect("end"))["reason"] == "superseded"
    await events.expect("open")
    await events.expect("props")

    # Another page has a limit of its own.
    other = await server.page()
    others_events = await other.connect()
    assert (await other.start({"go": 0})).is_success
    await others_events.expect("open")

    # There is room again when one has ended.
    await page.cancel(streams[0])
    assert (await events.expect("end"))["reason"] == "cancelled"
    assert (await page.start({"go": 3})).is_success
    await events.expect("open")


async def test_a_stream_whose_condition_is_not_met_does_not_start(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), dcc.Tabs(id="tabs", value="other"), html.Div(id="out")]

    @app.event_callback(Input("go", "n_clicks"), cancel=[(Input("tabs", "value"), "dashboard")])
    async def show(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": clicks})

    page = await (await serve(app)).page()
    events = await page.connect()
    assert (await page.start("go", value=1)).status_code == 204
    refused = await events.expect("refused")
    assert refused["status"] == "idle"
    assert refused["message"].endswith("show' was not started: its condition on tabs.value is not met.")
    page.set("tabs", value="dashboard")
    assert (await page.start("go", value=2)).status_code == 204
    await events.expect("open")
    assert (await events.expect("props"))["props"] == [["out", {"children": 2}]]


async def test_counters_and_bare_inputs_do_not_keep_a_stream_from_starting(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Button(id="stop", n_clicks=3), dcc.Input(id="name", value="Ada")]

    @app.event_callback(
        Input("go", "n_clicks"),
        cancel=[(Input("stop", "n_clicks"), 0), Input("name", "value"), (Input("absent", "value"), "x")],
    )
    async def wait(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("go", {"children": clicks})

    page = await (await serve(app)).page()
    events = await page.connect()
    await page.start("go")
    conditions = (await events.expect("open"))["conditions"]
    assert conditions == [
        {"id": "stop", "property": "n_clicks", "value": 3, "missing": False, "exempt": True, "watched": False},
        {"id": "name", "property": "value", "value": "Ada", "missing": False, "exempt": True, "watched": False},
        {"id": "absent", "property": "value", "value": None, "missing": True, "exempt": False, "watched": False},
    ]


async def test_a_failure_shows_the_page_nothing_of_the_exception(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Div(id="out")]

    @app.event_callback(Input("go", "n_clicks"))
    async def fail(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": "before"})
        raise ValueError("the password is 1234")

    page = await (await serve(app)).page()
    events, _ = await page.connect_and_start()
    ended = await events.expect("end")
    assert ended["reason"] == "failed"
    assert ended["error"]["message"]
    assert ended["error"]["html"] is None
    assert "1234" not in str(ended)
    assert "ValueError" not in str(ended)


async def test_a_failure_is_shown_where_dev_tools_are_on(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Div(id="out")]

    @app.event_callback(Input("go", "n_clicks"))
    async def fail(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": "before"})
        raise ValueError("no such <thing>")

    app.enable_dev_tools(debug=True, dev_tools_hot_reload=False)
    page = await (await serve(app)).page()
    events, _ = await page.connect_and_start()
    error = (await events.expect("end"))["error"]
    assert error["message"] == "ValueError: no such <thing>"
    assert "test_start.py" in error["html"]
    assert "flash/streams/stream.py" not in error["html"]


async def test_a_client_that_has_no_secret_is_known_by_its_cookie(serve: Serve) -> None:
    waiting = Waiting()
    page = await (await serve(waiting.app)).page()
    events = await page.connect()
    body = page.request("go")
    body["state"] = [entry for entry in body["state"] if entry["property"] != "secret"]
    assert (await page.post("_dash-update-component", body)).status_code == 204
    assert (await events.expect("open"))["stream"]
    body["state"] = []
    assert_refused(await page.post("_dash-update-component", body), 400, "")
