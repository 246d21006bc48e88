"""The inspector over real sockets: what it says of what runs, and to whom."""

from __future__ import annotations

import gc
import json
import logging
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from quart import Request

import flash
from flash import MATCH, Flash, Input, InvalidOption, Update, feed, html, stream_props
from flash.inspector import snapshot
from flash.inspector.ends import KEPT
from flash.inspector.view import show
from tests.faults.conftest import Serve
from tests.support.calls import calls_into
from tests.support.eventually import eventually

PATH = "/_flash/inspect/"


def new_app(**options: Any) -> Flash:
    options.setdefault("inspect", lambda request: True)
    app = Flash(__name__, **options)
    app.layout = html.Div(id="out")
    return app


async def snapshot_of(app: Flash) -> dict[str, Any]:
    """What the inspector knows of the one process; JSON holds all of it."""
    (taken,) = (await app.all_workers.snapshots()).values()
    return json.loads(json.dumps(taken))


async def test_a_snapshot_has_browsers_pages_streams_sources_and_tasks(serve: Serve) -> None:
    @feed()
    async def prices(symbol: str) -> AsyncIterator[int]:
        yield 1
        await trio.sleep_forever()

    async def watch_device() -> None:
        await trio.sleep_forever()

    app = new_app(identify=lambda request: "ada")

    @app.event_callback(Input("go", "n_clicks"))
    async def live(n_clicks: int) -> AsyncIterator[Update]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch_device)
            async with prices("KELP") as ticks:
                async for tick in ticks:
                    yield stream_props("out", {"children": tick})

    page = await (await serve(app)).page()
    assert (await snapshot_of(app))["browsers"] == []
    link = await page.connect()
    await page.begin("go")
    await link.until("props")
    taken = await snapshot_of(app)
    assert (taken["pages"], taken["streams"]) == (1, 1)
    ((browser,), (source,)) = taken["browsers"], taken["feeds"]
    (shown,) = browser["pages"]
    assert (page.token.startswith(shown["page"]), shown["is_linked"], shown["left_out"]) == (True, True, 0)
    (stream,) = shown["streams"]
    assert (stream["callback"].rpartition(".")[2], stream["user"], stream["state"]) == ("live", "ada", "running")
    assert (stream["updates"], stream["buffered"], stream["bytes"], stream["reason"]) == (1, 0, 0, None)
    assert " test_a_snapshot_has_browsers_pages_streams_sources_and_tasks.<locals>.live" in stream["line"]
    (task,) = stream["tasks"]
    assert task["line"].endswith("watch_device")
    assert (source["feed"].rpartition(".")[2], source["values"]) == ("prices('KELP')", 1)
    assert source["line"].endswith(".prices")
    assert page.browser not in json.dumps(taken), "the secret of the browser"
    await link.close()


async def test_a_stream_that_follows_a_source_says_which_and_the_source_where_its_generator_waits(
    serve: Serve,
) -> None:
    app = new_app()

    @app.event_callback(Input("go", "n_clicks"), shared="all")
    async def live(n_clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": 1})
        await trio.sleep_forever()

    page = await (await serve(app)).page()
    link = await page.connect()
    await page.begin("go")
    await link.until("props")
    taken = await snapshot_of(app)
    (stream,) = taken["browsers"][0]["pages"][0]["streams"]
    (source,) = taken["shared_streams"]
    assert (stream["follows"], stream["line"]) == (source["source"], None)
    assert (source["updates"], source["followers"], source["state"]) == (1, 1, "running")
    assert source["line"].endswith(".live")
    shown = repr(show({"worker": taken}, {}, with_buttons=False))
    assert f"follows {source['source']}" in shown
    assert source["line"] in shown
    assert "B('1'), 'sources'" in shown
    await link.close()


async def test_while_nobody_looks_the_inspector_sees_paths_of_requests_and_ends_and_no_update(serve: Serve) -> None:
    app = new_app()

    @app.event_callback(Input("go", "n_clicks"))
    async def live(n_clicks: int) -> AsyncIterator[Update]:
        for number in range(20):
            yield stream_props("out", {"children": number})
            await trio.sleep(0.01)

    page = await (await serve(app)).page()
    link = await page.connect()
    with calls_into("inspector") as called:
        await page.begin("go")
        await link.until("end")
    assert called == {"Ends.ended", "Inspector._guard", "Inspector.mount.<locals>.guard_request"}
    await link.close()


class Device:
    """What a stream uses."""


async def test_what_has_been_shown_is_not_held(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    # The records of the log, which pytest keeps, would have the exception.
    monkeypatch.setattr(logging.getLogger("flash.streams"), "disabled", True)
    app = new_app()
    devices: weakref.WeakSet[Device] = weakref.WeakSet()

    @app.event_callback(Input("go", "n_clicks"), cancel=[Input("stop", "n_clicks")])
    async def live(n_clicks: int) -> AsyncIterator[Update]:
        device = Device()
        devices.add(device)
        yield stream_props("out", {"children": 1})
        await trio.sleep_forever()

    @app.event_callback(Input("bad", "n_clicks"))
    async def fail(n_clicks: int) -> AsyncIterator[Update]:
        device = Device()
        devices.add(device)
        yield stream_props("out", {"children": 1})
        raise ValueError("no device")

    page = await (await serve(app)).page()
    link = await page.connect()
    await page.begin("go")
    opened = await link.until("open")
    await link.until("props")
    taken = await snapshot_of(app)
    assert len(devices) == 1
    await page.cancel(opened["stream"])
    await link.until("end")
    await page.begin("bad")
    await link.until("end")
    ends = (await snapshot_of(app))["ends"]

    def is_let_go() -> bool:
        gc.collect()
        return len(devices) == 0

    await eventually(is_let_go)
    assert (taken["streams"], len(ends)) == (1, 2)
    await link.close()


async def test_a_stream_that_ends_is_shown_with_its_reason_and_then_among_the_ends(serve: Serve) -> None:
    app = new_app()
    may_end = trio.Event()

    @app.event_callback(Input("go", "n_clicks"), cancel=[Input("stop", "n_clicks")])
    async def live(n_clicks: int) -> AsyncIterator[Update]:
        try:
            yield stream_props("out", {"children": 1})
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await may_end.wait()

    @app.event_callback(Input("bad", "n_clicks"))
    async def fail(n_clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": 1})
        raise ValueError("no device")

    page = await (await serve(app)).page()
    link = await page.connect()
    await page.begin("go")
    opened = await link.until("open")
    await link.until("props")
    await page.cancel(opened["stream"])
    (stream,) = (await snapshot_of(app))["browsers"][0]["pages"][0]["streams"]
    assert (stream["state"], stream["reason"]) == ("ending", "cancelled")
    may_end.set()
    await link.until("end")
    await page.begin("bad")
    await link.until("end")
    failed, cancelled = (await snapshot_of(app))["ends"]
    assert (failed["reason"], failed["updates"], failed["cleanup"]) == ("failed", 1, None)
    assert failed["traceback"].endswith("ValueError: no device\n")
    assert (cancelled["reason"], cancelled["traceback"]) == ("cancelled", "")
    assert 0 <= cancelled["cleanup"] <= cancelled["seconds"]
    await link.close()


async def test_ends_and_streams_beyond_a_bound_are_left_out(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "MOST_STREAMS", 3)
    app = new_app()

    @app.event_callback(Input({"type": "go", "n": MATCH}, "n_clicks"))
    async def live(n_clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": 1})
        await trio.sleep_forever()

    @app.event_callback(Input("short", "n_clicks"))
    async def short(n_clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": 1})

    page = await (await serve(app)).page()
    link = await page.connect()
    for number in range(5):
        await page.begin({"type": "go", "n": number})
        await link.until("props")
    (shown,) = (await snapshot_of(app))["browsers"][0]["pages"]
    assert (len(shown["streams"]), shown["left_out"]) == (3, 2)
    for _ in range(KEPT + 1):
        await page.begin("short")
        await link.until("end")
    assert len((await snapshot_of(app))["ends"]) == KEPT
    await link.close()


async def test_the_page_is_there_only_for_those_who_may_see_it(serve: Serve) -> None:
    async def inspect(request: Request) -> bool | str:
        answer = request.headers.get("X-Who", "")
        return {"reader": "look", "operator": True}.get(answer, False)

    app = new_app(inspect=inspect)
    site = await serve(app)
    routes = [PATH, PATH.rstrip("/"), f"{PATH}_dash-layout", f"{PATH}_dash-dependencies", f"{PATH}_flash/health"]
    for path in routes:
        assert (await site.request("GET", path)).status == 404
        assert (await site.request("GET", path, headers=[("X-Who", "reader")])).status in (200, 301, 308)
    assert (await site.request("POST", f"{PATH}_dash-update-component", body=b"{}")).status == 404
    assert (await site.request("GET", "/")).status == 200


@pytest.mark.parametrize(("allowed", "ended"), [(True, 1), ("look", 0)])
async def test_a_request_to_end_a_stream_ends_it_only_for_those_who_may(
    serve: Serve, allowed: bool | str, ended: int
) -> None:
    app = new_app(inspect=lambda request: allowed)

    @app.event_callback(Input("go", "n_clicks"))
    async def live(n_clicks: int) -> AsyncIterator[Update]:
        yield stream_props("out", {"children": 1})
        await trio.sleep_forever()

    page = await (await serve(app)).page()
    link = await page.connect()
    await page.begin("go")
    stream = (await link.until("open"))["stream"]
    await link.until("props")
    button, said = {"stream": stream, "type": "end"}, {"stream": stream, "type": "said"}
    body = {
        "output": '{"stream":["MATCH"],"type":"said"}.children',
        "outputs": {"id": said, "property": "children"},
        "inputs": [{"id": button, "property": "n_clicks", "value": 1}],
        "changedPropIds": [json.dumps(button, separators=(",", ":")) + ".n_clicks"],
    }
    headers = [("Content-Type", "application/json")]
    path = f"{PATH}_dash-update-component"
    answer = await page.site.request("POST", path, headers=headers, body=json.dumps(body).encode())
    assert answer.status in (200, 204)
    if ended:
        assert (await link.until("end"))["reason"] == "revoked"
    else:
        assert [info.state for info in app.streams()] == ["running"]
    await link.close()


async def test_an_inspect_that_raises_shows_nothing_and_is_logged(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def inspect(request: Request) -> bool:
        raise ValueError("no session")

    site = await serve(new_app(inspect=inspect))
    with caplog.at_level(logging.ERROR, logger="flash.server"):
        assert (await site.request("GET", PATH)).status == 404
    assert "inspect= of Flash(...) raised: the inspector is not shown." in caplog.messages
    caplog.clear()


async def test_without_dev_tools_nobody_may_see_it_and_with_them_everybody(serve: Serve) -> None:
    plain, debug = new_app(inspect=None), new_app(inspect=None)
    debug.enable_dev_tools(debug=True, dev_tools_hot_reload=False)
    answer = await (await serve(plain)).request("GET", f"{PATH}_dash-layout")
    assert answer.status == 404 or b"inspector" not in answer.body
    assert not plain.inspector.ends.are_kept
    answer = await (await serve(debug)).request("GET", f"{PATH}_dash-layout")
    assert (answer.status, b"inspector" in answer.body) == (200, True)


def test_the_inspector_is_not_the_apps_own() -> None:
    app = new_app()
    assert flash.get_app() is app


@pytest.mark.parametrize("wrong", [True, "look", lambda: True])
def test_an_inspect_that_cannot_be_asked_is_refused(wrong: object) -> None:
    with pytest.raises(InvalidOption, match="inspect= of Flash"):
        new_app(inspect=wrong)
