"""Cancelling streams: by a condition, by leaving the page, and what of a cancelled stream still reaches the page."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trio
import trio.testing

from flash import Flash, Input, Output, StreamCancelled, Update, dcc, html, set_props, stream_props
from tests.http.apps import Waiting
from tests.http.servers import Serve
from tests.support.eventually import TIMEOUT


async def test_a_change_of_a_cancel_input_ends_the_stream(serve: Serve) -> None:
    waiting = Waiting()
    page = await (await serve(waiting.app)).page()
    events, stream = await page.connect_and_start()
    response = await page.cancel(stream, 0, 1)
    assert (response.status_code, response.content) == (204, b"")
    assert "content-length" not in response.headers
    ended = await events.expect("end")
    assert (ended["stream"], ended["reason"], ended["error"]) == (stream, "cancelled", None)
    assert waiting.log == ["started", "finally", "on_error cancelled"]
    assert waiting.app.streams() == []


async def test_a_stream_whose_components_have_left_the_layout_is_cancelled_with_layout(serve: Serve) -> None:
    ends: list[tuple[str, str | None, object]] = []
    app = Flash(__name__)
    app.layout = html.Div([html.Button(id="go"), html.Button(id={"row": 1}), html.P(id="out")])

    def on_error(error: StreamCancelled) -> None:
        ends.append((error.reason, error.condition, error.value))

    @app.event_callback(Input("go", "n_clicks"), cancel=[(Input("out", "title"), None)], on_error=on_error)
    async def wait(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": "runs"})
        await trio.sleep_forever()

    page = await (await serve(app)).page()
    events = await page.connect()
    await page.start("go")
    opened = await events.expect("open")
    assert opened["components"] == ["go"]
    await events.expect("props")
    assert (await page.cancel(opened["stream"], "paths", 1)).status_code == 400
    assert (await page.cancel(opened["stream"], "layout")).status_code == 204
    assert (await events.expect("end"))["reason"] == "cancelled"
    assert ends == [("cancelled", "layout", None)]


async def test_the_page_is_told_which_streams_do_not_depend_on_the_layout(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = html.Div([html.Button(id="go"), html.P(id="out")])

    @app.event_callback(Input("go", "n_clicks"), keep=True)
    async def keep(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": "kept"})

    page = await (await serve(app)).page()
    events = await page.connect()
    await page.start("go")
    assert (await events.expect("open"))["components"] is None


async def test_the_second_cancel_changes_nothing(serve: Serve) -> None:
    waiting = Waiting()
    page = await (await serve(waiting.app)).page()
    events, stream = await page.connect_and_start()
    await page.cancel(stream)
    await events.expect("end")
    assert (await page.cancel(stream)).status_code == 204
    assert waiting.log == ["started", "finally", "on_error cancelled"]


@pytest.mark.parametrize(
    ("desired", "value", "goes_on"),
    [
        ("dashboard", "dashboard", True),
        ("dashboard", "other", False),
        ("dashboard", None, False),
        (None, None, True),
        (None, 0, False),
        (1, 1.0, True),
        (1, True, False),
        (True, 1, False),
        (0, False, False),
        ([1, {"a": None}], [1, {"a": None}], True),
        ((1, 2), [1, 2], True),
        (lambda value: value > 3, 4, True),
        (lambda value: value > 3, 3, False),
        (lambda value: value > 3, "not a number", False),
    ],
)
async def test_the_server_decides_whether_a_value_meets_a_condition(
    serve: Serve, desired: Any, value: Any, goes_on: bool
) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), dcc.Store(id="mode", data=9 if callable(desired) else desired)]
    errors: list[StreamCancelled] = []

    @app.event_callback(
        Input("go", "n_clicks"), cancel=[(Input("mode", "data"), desired)], on_error=errors.append, timeout=30
    )
    async def wait(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("go", {"children": clicks})
        await trio.sleep_forever()

    page = await (await serve(app)).page()
    events, stream = await page.connect_and_start()
    assert (await page.cancel(stream, 0, value)).status_code == 204
    if goes_on:
        assert [info.state for info in app.streams()] == ["running"]
        await page.leave()
        await events.until_closed()
    else:
        assert (await events.expect("end"))["reason"] == "cancelled"
        assert (errors[0].reason, errors[0].condition, errors[0].value) == ("cancelled", "mode.data", value)


@pytest.mark.parametrize("kind", ["async", "plain", "busy"])
async def test_set_props_in_clean_up_is_dropped_and_reported_once(
    serve: Serve, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Button(id="stop"), html.Div(id="out")]
    stopped = threading.Event()

    def says_goodbye() -> None:
        for word in ("good", "bye"):
            set_props("out", {"children": word})

    async def waits(clicks: int) -> AsyncIterator[Update]:
        try:
            yield stream_props("out", {"children": 1})
            await trio.sleep_forever()
        finally:
            says_goodbye()

    def plain(clicks: int) -> Iterator[Update]:
        try:
            while True:
                yield stream_props("out", {"children": 1})
                stopped.wait(0.001)
        finally:
            says_goodbye()

    def busy(clicks: int) -> Iterator[Update]:
        yield stream_props("out", {"children": 1})
        stopped.wait(10)
        # It does not know yet that it was cancelled, and so this is no mistake.
        says_goodbye()
        yield stream_props("out", {"children": 2})

    generator: Any = {"async": waits, "plain": plain, "busy": busy}[kind]
    app.event_callback(Input("go", "n_clicks"), cancel=[Input("stop", "n_clicks")])(generator)
    page = await (await serve(app)).page()
    events, stream = await page.connect_and_start()
    await page.cancel(stream, 0, 1)
    stopped.set()
    updates, ended = await events.to_end()
    assert "good" not in str(updates)
    assert ended["props"] == []
    warnings = [record.getMessage() for record in caplog.records if "set_props" in record.getMessage()]
    assert len(warnings) == (0 if kind == "busy" else 1)
    assert all("dropped" in warning and "on_error" in warning for warning in warnings)


async def test_the_end_carries_on_errors_update_then_reset_props_then_off_values(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Button(id="stop"), html.Div(id="out")]

    async def on_error(error: StreamCancelled) -> Update:
        return stream_props("out", {"children": f"stopped: {error.value}"})

    @app.event_callback(
        Input("go", "n_clicks"),
        cancel=[Input("stop", "n_clicks")],
        on_error=on_error,
        reset_props=[("out", {"className": ""})],
        running=[(Output("go", "disabled"), True, False)],
    )
    async def wait(clicks: int) -> AsyncIterator[Update]:
        try:
            yield stream_props("out", {"className": "busy"})
            await trio.sleep_forever()
        finally:
            # Dropped: the stream unwinds.
            yield stream_props("out", {"children": "too late"})

    page = await (await serve(app)).page()
    events, stream = await page.connect_and_start()
    await page.cancel(stream, 0, 5)
    ended = await events.expect("end")
    assert ended["props"] == [
        ["out", {"children": "stopped: 5"}],
        ["out", {"className": ""}],
        ["go", {"disabled": False}],
    ]


async def test_what_was_not_sent_when_a_stream_is_cancelled_is_never_sent(serve: Serve) -> None:
    """The page does not read, so that the stream fills its buffer and waits; then it cancels, and reads."""
    app = Flash(__name__, stream_buffer_updates=50)
    app.layout = [html.Button(id="go"), html.Button(id="stop"), html.Div(id="out")]
    filler = "x" * 20_000
    yielded = 0
    sent: list[int] = []

    def count(error: BaseException) -> None:
        """Note what was sent by the time that the stream is cancelled: until then the link may still take more."""
        sent.append(app.streams()[0].updates)

    @app.event_callback(Input("go", "n_clicks"), cancel=[Input("stop", "n_clicks")], on_error=count)
    async def flood(clicks: int) -> AsyncIterator[Update]:
        nonlocal yielded
        while True:
            yielded += 1
            yield stream_props("out", {"children": yielded, "title": filler})

    page = await (await serve(app)).page()
    events = await page.connect(receive_buffer=4_096)
    await page.start("go")
    stream = (await events.expect("open"))["stream"]
    while not (app.streams() and app.streams()[0].buffered >= 50):
        await page.get("_favicon.ico")
    await page.cancel(stream)
    received = 0
    while (event := await events.next()).name == "props":
        for _, props in event.data["props"]:
            received += 1
            assert props["children"] == received
    assert event.name == "end"
    assert event.data["reason"] == "cancelled"
    assert sent == [received]
    # The one that waits at its `yield` is not counted.
    assert received < yielded - 1


async def test_leaving_the_page_ends_its_streams_and_its_connection(serve: Serve) -> None:
    waiting = Waiting()
    page = await (await serve(waiting.app)).page()
    events, _ = await page.connect_and_start()
    response = await page.leave()
    assert (response.status_code, response.content) == (204, b"")
    assert [event.name for event in await events.until_closed()] == []
    with trio.fail_after(TIMEOUT):
        await waiting.on_error_called.wait()
    assert waiting.log == ["started", "finally", "on_error disconnected"]


async def test_a_stream_that_runs_too_long_is_timed_out(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Div(id="out")]

    @app.event_callback(Input("go", "n_clicks"), timeout=0.02)
    async def wait(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": "before"})
        await trio.sleep_forever()

    page = await (await serve(app)).page()
    events, _ = await page.connect_and_start()
    assert (await events.expect("end"))["reason"] == "timed_out"


async def test_five_hundred_runs_leave_no_task_behind(serve: Serve) -> None:
    waiting = Waiting()
    # Connections are tasks of Hypercorn's: none is to come or go in the meantime.
    page = await (await serve(waiting.app, keep_alive_max_requests=2_000, keep_alive_timeout=60)).page()
    events = await page.connect()
    start = page.request("go")
    async with await trio.open_tcp_stream("127.0.0.1", page.port) as socket:

        async def post(path: str, body: dict[str, Any]) -> None:
            """By hand: a thousand requests, and nothing of a client's that comes and goes between them."""
            content = json.dumps(body).encode()
            head = (
                f"POST {path} HTTP/1.1\r\nHost: x\r\nCookie: flash_browser={page.cookie}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
            )
            await socket.send_all(head.encode() + content)
            received = await socket.receive_some()
            while b"\r\n\r\n" not in received:
                assert received, "the server has closed the connection"
                received += await socket.receive_some()
            answer, _, rest = received.partition(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 20"), received
            if length := re.search(rb"content-length: (\d+)", answer):
                while len(rest) < int(length[1]):
                    rest += await socket.receive_some()

        before = -1
        for n in range(501):
            await post("/_dash-update-component", start)
            stream = (await events.expect("open"))["stream"]
            await events.expect("props")
            await post("/_flash/cancel", {"page": page.token, "stream": stream, "condition": 0, "value": 1})
            assert (await events.expect("end"))["reason"] == "cancelled"
            await trio.testing.wait_all_tasks_blocked()
            if n == 0:
                before = trio.lowlevel.current_statistics().tasks_living
        assert trio.lowlevel.current_statistics().tasks_living == before
    assert waiting.app.streams() == []
    assert waiting.log.count("finally") == waiting.log.count("on_error cancelled") == 501
