"""Pages of the kit that are away, hang, or are several."""

from __future__ import annotations

from typing import Any

from flash import (
    Flash,
    Input,
    ctx,
    dcc,
    every,
    html,
    stream_props,
)
from flash.testing import open_page
from tests.testing.apps import Updates, app_with


def test_two_pages_of_one_browser_and_of_two_run_by_themselves(app: Flash) -> None:
    with open_page(app) as page:
        other = page.open_page()
        stranger = page.open_page(new_browser=True)
        runs = [each.click("start") for each in (page, other, stranger)]
        page.elapse(1)
        other.close()
        assert [run.ended and run.ended.reason for run in runs] == [None, "disconnected", None]
        page.set("tabs", value="settings")
        assert runs[0].end().reason == "cancelled"
        page.elapse(1)
        assert stranger["progress"].children == "tick 4"


def test_a_cut_within_reconnect_grace_changes_nothing(app: Flash) -> None:
    with open_page(app) as page:
        run = page.click("start")
        page.cut(3)
        assert page["progress"].children == "tick 6"
        assert run.ended is None


def test_a_page_that_is_away_for_longer_loses_its_streams(app: Flash) -> None:
    with open_page(app) as page:
        run = page.click("start")
        page.elapse(1)
        page.cut(60)
        assert run.end(0).reason == "disconnected"
        assert (page["progress"].children, page["status"].children) == ("", "disconnected")
        assert not page["start"].disabled
        assert page.click("start").ended is None


def test_a_page_that_hangs_slows_its_generator_and_is_given_up(app: Flash) -> None:
    yielded: list[int] = []

    @app.event_callback(Input("stop", "n_clicks"))
    async def much(n_clicks: int) -> Updates:
        for number in range(100_000):
            yielded.append(number)
            yield stream_props("progress", {"title": "x" * 1_000})

    with open_page(app) as page:
        page.stall()
        page.click("stop")
        page.elapse(10)
        held = len(yielded)
        assert 500 <= held < 5_000
        page.elapse(10)
        assert len(yielded) == held
        page.elapse(100)
        assert app.streams() == []
        page.resume()


def test_streams_start_again_on_another_server() -> None:
    app = app_with(html.Button(id="go"), html.P(id="out", children=""), html.P(id="other"))
    starts: list[Any] = []

    @app.event_callback(Input("go", "n_clicks"), restart=True, reset_props=[("out", {"children": "lost"})])
    async def ticks(n_clicks: int) -> Updates:
        starts.append(ctx.triggered_id)
        async for number in every(1):
            yield stream_props("out", {"children": number})

    with open_page(app) as page:
        run = page.click("go")
        page.elapse(3)
        page.server_lost()
        assert run.end(0).reason == "disconnected"
        assert page["out"].children == "lost"
        page.elapse(1)
        assert page["out"].children == 0
        assert starts == ["go", None]


def test_a_failure_of_a_stream_is_its_end() -> None:
    app = app_with(html.Button(id="go"), html.P(id="out", children=""))

    @app.event_callback(Input("go", "n_clicks"))
    async def fails(n_clicks: int) -> Updates:
        yield stream_props("out", {"children": "begun"})
        raise ValueError("secret")

    with open_page(app) as page:
        end = page.click("go").end()
        assert (end.reason, end.error) == ("failed", "The stream failed on the server.")
        assert page["out"].children == "begun"


def test_a_start_that_is_refused_starts_no_run() -> None:
    app = app_with(html.Button(id="go"), dcc.Input(id="name", value="no"), html.P(id="out"), streams_per_page=1)

    @app.event_callback(Input("go", "n_clicks"), cancel=[(Input("name", "value"), "yes")])
    async def ticks(n_clicks: int) -> Updates:
        async for number in every(1):
            yield stream_props("out", {"children": number})

    @app.event_callback(Input("name", "n_submit"))
    async def other(n_submit: int) -> Updates:
        yield stream_props("out", {"children": "other"})

    with open_page(app) as page:
        assert page.click("go") is None
        assert page[ticks].status == "idle"
        assert "name.value" in page[ticks].error
        page.set("name", value="yes")
        assert page.click("go") is not None
        assert page.set("name", n_submit=1) is None
        assert page[other].status == "failed"
        assert "streams_per_page" in page[other].error


def test_updates_of_components_that_are_not_there_are_noted() -> None:
    app = app_with(html.Button(id="go"))

    @app.event_callback(Input("go", "n_clicks"))
    async def nowhere(n_clicks: int) -> Updates:
        yield stream_props("missing", {"children": 1})

    with open_page(app) as page:
        assert page.click("go").end().reason == "completed"
        assert "'missing', which is not in the layout" in page.mistakes[0]
