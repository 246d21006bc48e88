"""Seeing a server at work: `app.streams()`, health, metrics, and the log."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio
import trio.testing
from prometheus_client.parser import text_string_to_metric_families

from flash import Flash, Input, InvalidOption, State, Update, feed, html, stream_props
from tests.faults.conftest import Serve
from tests.faults.sockets import Page
from tests.support.eventually import TIMEOUT, eventually

Condition = Callable[[], object]


def new_app(**options: Any) -> Flash:
    app = Flash(__name__, **options)
    app.layout = html.Div(id="out")
    return app


def add_callbacks(app: Flash) -> None:
    """One callback for each of some ways to end: `count`, `fail`, and `wait`, which waits to be cancelled."""

    @app.event_callback(Input("count", "n_clicks"))
    async def count(n_clicks: int) -> AsyncIterator[Update]:
        for number in range(3):
            yield stream_props("out", {"children": number})

    @app.event_callback(Input("fail", "n_clicks"))
    async def fail(n_clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": "soon"})
        raise ValueError("what nobody but the log is told")

    @app.event_callback(Input("wait", "n_clicks"), cancel=[Input("stop", "n_clicks")])
    async def wait(n_clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": "waiting"})
        await trio.sleep_forever()


async def run_a_few(page: Page) -> None:
    """Two that complete, one that fails, one that is cancelled and one that runs."""
    link = await page.connect()
    await link.expect("hello")
    for name, updates in (("count", 3), ("count", 3), ("fail", 1)):
        await page.begin(name)
        await link.expect("open")
        for _ in range(updates):
            await link.expect("props")
        await link.expect("end")
    for is_first in (True, False):
        await page.begin("wait")
        opened = await link.expect("open")
        await link.expect("props")
        if is_first:
            assert (await page.cancel(opened["stream"])).status == 204
            assert (await link.expect("end"))["reason"] == "cancelled"


async def test_app_streams_tells_what_runs(serve: Serve) -> None:
    app = new_app(stream_buffer_updates=2, window=1_000)

    @app.event_callback(Input("flood", "n_clicks"))
    async def flood(n_clicks: int) -> AsyncIterator[Update]:
        while True:
            yield stream_props("out", {"children": "x" * 400})

    @app.event_callback(Input("quiet", "n_clicks"), cancel=[Input("stop", "n_clicks")])
    async def quiet(n_clicks: int) -> AsyncIterator[Update]:
        try:
            yield stream_props("out", {"children": "."})
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await cleaned_up.wait()

    cleaned_up = trio.Event()
    page = await (await serve(app)).page()
    page.acknowledges = False
    link = await page.connect()
    assert app.streams() == []
    await page.begin("quiet")
    await link.expect("hello")
    opened = await link.expect("open")
    await link.expect("props")
    (info,) = app.streams()
    assert info.id == opened["stream"]
    assert info.callback.endswith("quiet")
    assert info.key == opened["callback_id"]
    assert page.token.startswith(info.page)
    assert (info.state, info.updates, info.buffered, info.waiting) == ("running", 1, 0, None)
    assert 0 < info.age < TIMEOUT

    # The page acknowledges nothing, so that the window is full, then the buffer, and then the generator waits.
    await page.begin("flood")
    await eventually(lambda: app.streams()[-1].waiting is not None)
    first, second = app.streams()
    assert (first.id, second.callback.rpartition(".")[2]) == (info.id, "flood")
    assert first.age > second.age
    assert (second.state, second.buffered) == ("running", 2)
    assert second.waiting is not None
    assert 0 <= second.waiting <= second.age

    await page.cancel(info.id)
    await eventually(lambda: app.streams()[0].state == "ending")
    cleaned_up.set()
    await eventually(lambda: len(app.streams()) == 1)
    assert (await page.leave()).status == 204
    await eventually(lambda: app.streams() == [])
    await link.close()


async def test_health_counts_pages_and_streams(serve: Serve) -> None:
    app = new_app()
    add_callbacks(app)
    page = await (await serve(app)).page()
    answer = await page.site.get("/_flash/health")
    assert (answer.status, answer.json()) == (200, {"status": "ok", "pages": 0, "streams": 0})
    await run_a_few(page)
    answer = await page.site.get("/_flash/health")
    assert (answer.status, answer.json()) == (200, {"status": "ok", "pages": 1, "streams": 1})
    await page.leave()
    await eventually(lambda: len(app.channels) == 0)
    answer = await page.site.get("/_flash/health")
    assert (answer.status, answer.json()) == (200, {"status": "ok", "pages": 0, "streams": 0})


async def test_health_is_503_while_the_server_stops(serve: Serve) -> None:
    app = new_app()
    cleaned_up = trio.Event()

    @app.event_callback(Input("wait", "n_clicks"))
    async def wait(n_clicks: int) -> AsyncIterator[Update]:
        try:
            yield stream_props("out", {"children": "waiting"})
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await cleaned_up.wait()

    page = await (await serve(app)).page()
    link = await page.connect()
    await link.expect("hello")
    await page.begin("wait")
    await link.expect("open")
    async with trio.open_nursery() as nursery:
        # This is how `flash run` begins to stop.
        nursery.start_soon(app.channels.shut_down)
        await eventually(lambda: app.channels.closing)
        answer = await page.site.get("/_flash/health")
        cleaned_up.set()
    assert (answer.status, answer.json()) == (503, {"status": "stopping", "pages": 1, "streams": 1})
    await link.close()


async def metrics_of(page: Page) -> dict[tuple[str, str], float]:
    """The samples that the app exposes, by name and by their callback or feed, and what else tells them apart."""
    answer = await page.site.get("/_flash/metrics")
    assert answer.status == 200
    found: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            if "le" not in sample.labels:
                of = sample.labels.get("callback") or sample.labels.get("feed", "")
                rest = [value for name, value in sample.labels.items() if name not in ("callback", "feed")]
                found[sample.name, " ".join(filter(None, [of.rpartition(".")[2], *rest]))] = sample.value
    return found


async def test_metrics_count_what_has_happened(serve: Serve) -> None:
    app = new_app(metrics=True)
    add_callbacks(app)
    page = await (await serve(app)).page()
    await run_a_few(page)
    metrics = await metrics_of(page)
    expected = {
        ("flash_streams", "wait running"): 1,
        ("flash_streams_started_total", "count"): 2,
        ("flash_streams_started_total", "fail"): 1,
        ("flash_streams_started_total", "wait"): 2,
        ("flash_streams_ended_total", "count completed"): 2,
        ("flash_streams_ended_total", "fail failed"): 1,
        ("flash_streams_ended_total", "wait cancelled"): 1,
        ("flash_updates_total", "count"): 6,
        ("flash_updates_total", "fail"): 1,
        ("flash_updates_total", "wait"): 1,
        ("flash_first_update_seconds_count", "count"): 2,
        ("flash_first_update_seconds_count", "fail"): 1,
        ("flash_first_update_seconds_count", "wait"): 2,
        ("flash_cancel_to_end_seconds_count", "wait"): 1,
    }
    assert {key: metrics.get(key) for key in expected} == expected
    # Updates of about 60 bytes: {"stream":"0123abcd-1","props":[["out",{"children":0}]]}
    assert 6 * 20 < metrics["flash_update_bytes_total", "count"] < 6 * 100
    assert 0 <= metrics["flash_cancel_to_end_seconds_sum", "wait"] < 5
    # They did not end like that, or at all.
    ended = {key for key in metrics if key[0] == "flash_streams_ended_total"}
    assert ended == {key for key in expected if key[0] == "flash_streams_ended_total"}


async def test_metrics_of_feeds_go_by_the_feed_and_not_by_its_arguments(serve: Serve) -> None:
    app = new_app(metrics=True)

    @feed()
    async def letters(word: str) -> AsyncIterator[str]:
        for letter in word:
            yield letter
        await trio.sleep_forever()

    @app.event_callback(Input("read", "n_clicks"), State("word", "value"), cancel=[Input("stop", "n_clicks")])
    async def read(n_clicks: int, word: str) -> AsyncIterator[Update]:
        async with letters(word) as values:
            async for value in values:
                yield stream_props("out", {"children": value})

    site = await serve(app)
    pages = [await site.page() for _ in range(3)]
    streams: list[tuple[Page, str]] = []
    for page, word in zip(pages, ("ab", "ab", "xyz"), strict=True):
        link = await page.connect()
        page.set("word", value=word)
        await page.begin("read")
        streams.append((page, (await link.until("open"))["stream"]))
        if len(streams) != 2:
            for _ in word:
                await link.until("props")
    metrics = await metrics_of(pages[0])
    assert metrics["flash_feeds", "letters running"] == 2
    assert metrics["flash_feed_followers", "letters"] == 3
    assert metrics["flash_feed_values_total", "letters"] == 5
    for page, stream in streams:
        await page.cancel(stream)
    await eventually(lambda: app.feeds() == [])
    metrics = await metrics_of(pages[0])
    assert [key for key in metrics if key[0] in ("flash_feeds", "flash_feed_followers")] == []
    assert metrics["flash_feed_values_total", "letters"] == 5


async def test_a_server_that_measures_the_lag_of_its_event_loop_stops_at_once(
    mock_clock: trio.testing.MockClock,
) -> None:
    app = new_app(metrics=True)
    async with app.server.test_app():
        # The clock is not to jump before: it would jump over the thread that prepares the app.
        mock_clock.autojump_threshold = 0
        # So many seconds it would wait for a background task.
        app.server.config["BACKGROUND_TASK_SHUTDOWN_TIMEOUT"] = 3600
        stopped = trio.current_time()
    assert trio.current_time() - stopped < 60


async def test_metrics_tell_of_waits_for_room_and_of_the_lag_of_the_event_loop(serve: Serve) -> None:
    app = new_app(metrics=True, stream_buffer_updates=1)

    @app.event_callback(Input("flood", "n_clicks"))
    async def flood(n_clicks: int) -> AsyncIterator[Update]:
        for number in range(20):
            yield stream_props("out", {"children": number})

    page = await (await serve(app)).page()
    link = await page.connect()
    await link.expect("hello")
    await page.begin("flood")
    await link.expect("open")
    for _ in range(20):
        await link.expect("props")
    await link.expect("end")
    metrics = await metrics_of(page)
    assert metrics["flash_buffer_wait_seconds_count", "flood"] > 0
    with trio.fail_after(TIMEOUT):
        while (await metrics_of(page))["flash_event_loop_lag_seconds_count", ""] == 0:  # noqa: ASYNC110 - what is waited for sets no event
            await trio.sleep(0.05)
    await link.close()


async def test_there_are_no_metrics_unless_they_are_asked_for(serve: Serve) -> None:
    page = await (await serve(new_app())).page()
    # Any address that the app does not have is one of its pages.
    assert "flash_streams" not in (await page.site.get("/_flash/metrics")).text


def test_metrics_without_the_package_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(InvalidOption, match=re.escape("pip install 'flash-trio[metrics]'")):
        new_app(metrics=True)


async def test_each_end_is_one_line_in_the_log(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="flash.streams")
    app = new_app()
    add_callbacks(app)
    page = await (await serve(app)).page()
    await run_a_few(page)
    await page.leave()
    await eventually(lambda: app.streams() == [])
    records = [record for record in caplog.records if record.name == "flash.streams"]
    said = [
        re.fullmatch(r"add_callbacks\.(\w+): (\w+) after (\d+\.\d{3}) s, (\d+) updates", record.getMessage())
        for record in records
    ]
    assert None not in said, [record.getMessage() for record in records]
    assert [(line[1], line[2], line[4]) for line in said if line is not None] == [
        ("count", "completed", "3"),
        ("count", "completed", "3"),
        ("fail", "failed", "1"),
        ("wait", "cancelled", "1"),
        ("wait", "disconnected", "1"),
    ]
    assert all(0 <= float(line[3]) < TIMEOUT for line in said if line is not None)
    failures = [record for record in records if record.levelno >= logging.ERROR]
    assert [record.exc_info[0] for record in failures if record.exc_info] == [ValueError]


def blocking_app() -> Flash:
    """An app with dev tools and two callbacks: one that blocks the event loop, and one that does the same well."""
    app = new_app()
    app.enable_dev_tools(debug=True, dev_tools_hot_reload=False, dev_tools_silence_routes_logging=False)

    @app.event_callback(Input("block", "n_clicks"))
    async def block(n_clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": "before"})
        time.sleep(0.3)
        yield stream_props("out", {"children": "after"})

    @app.event_callback(Input("behave", "n_clicks"))
    async def behave(n_clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": "before"})
        await trio.to_thread.run_sync(time.sleep, 0.3)
        yield stream_props("out", {"children": "after"})

    return app


@pytest.mark.parametrize("name", ["block", "behave"])
async def test_a_generator_that_holds_the_event_loop_is_named_in_debug(
    serve: Serve, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="flash.server")
    page = await (await serve(blocking_app())).page()
    link = await page.connect()
    await link.expect("hello")
    await page.begin(name)
    for event in ("open", "props", "props", "end"):
        await link.expect(event)
    await link.close()
    warnings = [record.getMessage() for record in caplog.records if record.name == "flash.server"]
    if name == "behave":
        assert warnings == []
    else:
        (warning,) = warnings
        assert "'blocking_app.block'" in warning
        held = re.search(r"held the event loop for (\d+) ms", warning)
        assert held is not None
        assert int(held[1]) >= 290


async def test_it_is_not_named_without_debug(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    app = new_app()

    @app.event_callback(Input("block", "n_clicks"))
    async def block(n_clicks: int) -> AsyncIterator[Update]:
        time.sleep(0.2)
        yield stream_props("out", {"children": json.dumps(n_clicks)})

    page = await (await serve(app)).page()
    link = await page.connect()
    await link.expect("hello")
    await page.begin("block")
    for event in ("open", "props", "end"):
        await link.expect(event)
    await link.close()
    assert [record for record in caplog.records if record.name == "flash.server"] == []
