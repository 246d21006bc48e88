"""A page of `flash.testing` follows the runs of `resume=True` that are still going when it is loaded, as a browser."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
import trio

from flash import Flash, Input, Output, State, dcc, every, html, stream_props
from flash.testing import open_page

Updates = AsyncGenerator[Any, None]

GRACE, LINGER = 10, 60


@pytest.fixture
def runs() -> list[str]:
    """The runs of the job that have begun."""
    return []


@pytest.fixture
def app(runs: list[str]) -> Flash:
    """An app with a job that goes on for a minute when its page is lost."""
    app = Flash(__name__, reconnect_grace=GRACE)
    app.layout = html.Div(
        [
            dcc.Dropdown(id="size", value="small"),
            html.Button(id="start"),
            html.Button(id="stop"),
            html.P(id="out", children="-"),
        ]
    )

    @app.event_callback(
        Input("start", "n_clicks"),
        State("size", "value"),
        shared="browser",
        linger=LINGER,
        resume=True,
        cancel=[Input("stop", "n_clicks")],
        running=[(Output("start", "disabled"), True, False)],
        reset_props=[("out", {"children": "-"})],
    )
    async def job(n_clicks: int, size: str) -> Updates:
        runs.append(size)
        async for number in every(1):
            yield stream_props("out", {"children": f"{size} {number}"})

    return app


def test_a_job_survives_a_reload(app: Flash, runs: list[str]) -> None:
    with open_page(app) as page:
        page.click("start")
        page.elapse(5.5)
        page.reload()
        assert (page["out"].children, page["start"].disabled) == ("-", None)
        page.elapse(0.4)
        assert (page["out"].children, page["start"].disabled) == ("small 5", True)
        page.elapse(30)
        assert page["out"].children == "small 35"
        page.click("stop")
        page.reload()
        page.elapse(1)
        assert page["out"].children == "-"
    assert runs == ["small"]


def test_a_page_that_was_cut_off_for_longer_than_the_grace_follows_its_job_again(app: Flash, runs: list[str]) -> None:
    with open_page(app) as page:
        page.click("start")
        page.elapse(5.5)
        page.cut(GRACE + 5)
        page.elapse(2)
        assert (page["out"].children, page["start"].disabled) == (f"small {GRACE + 12}", True)
        page.click("stop")
        page.elapse(1)
        # What was stopped is not followed again.
        page.cut(GRACE + 5)
        page.elapse(2)
        assert page["out"].children == "-"
    assert runs == ["small"]


def test_streams_that_restart_follow_one_source_of_the_next_server() -> None:
    app = Flash(__name__)
    app.layout = html.Div([html.Button(id="start"), html.P(id="out", children="-")])
    runs: list[int] = []

    @app.event_callback(Input("start", "n_clicks"), shared="all", restart=True)
    async def live(n_clicks: int) -> Updates:
        runs.append(n_clicks)
        async for number in every(1):
            yield stream_props("out", {"children": f"{len(runs)}: {number}"})

    with open_page(app) as page:
        other, idle = page.open_page(new_browser=True), page.open_page()
        for each in (page, other):
            each.click("start")
        page.elapse(5)
        page.server_lost()
        page.elapse(3.5)
        assert [each["out"].children for each in (page, other, idle)] == ["2: 3", "2: 3", "-"]
    assert len(runs) == 2


def test_another_tab_follows_and_another_browser_does_not(app: Flash, runs: list[str]) -> None:
    with open_page(app) as page:
        page.click("start")
        tab, other = page.open_page(), page.open_page(new_browser=True)
        page.elapse(2)
        assert [each["out"].children for each in (page, tab, other)] == ["small 2", "small 2", "-"]
        tab.click("stop")
        page.elapse(1)
        assert [each["out"].children for each in (page, tab, other)] == ["-", "-", "-"]
    assert runs == ["small"]


def test_a_job_is_over_when_its_page_is_away_for_longer_than_it_lingers(app: Flash) -> None:
    with open_page(app) as page:
        page.click("start")
        other = page.open_page(new_browser=True)
        page.close()
        other.elapse(LINGER + 1)
        page.reload()
        page.elapse(1)
        assert (page["out"].children, page["start"].disabled) == ("-", None)


def test_a_page_asks_once_its_callbacks_are_over_with_the_values_that_they_give(app: Flash, runs: list[str]) -> None:
    @app.callback(Output("size", "value"), Input("size", "id"))
    async def choose(name: str) -> str:
        await trio.sleep(2)
        return "large"

    with open_page(app) as page:
        page.elapse(3)
        page.click("start")
        page.reload()
        page.elapse(1.9)
        assert page["out"].children == "-"
        page.elapse(1)
        assert page["out"].children.startswith("large")
    assert runs == ["large"]


def test_a_page_asks_whenever_the_components_have_come(app: Flash, runs: list[str]) -> None:
    full = app.layout
    app.layout = html.Div([dcc.Location(id="url"), html.Div(id="content")])
    app.validation_layout = html.Div([app.layout, full])

    @app.callback(Output("content", "children"), Input("url", "pathname"))
    def show(path: str) -> Any:
        return [] if path == "/" else full

    with open_page(app, "/job") as page:
        page.elapse(1)
        page.click("start")
        for _ in range(2):
            page.elapse(3)
            page.visit("/")
            page.elapse(3)
            assert "out" not in page
            page.visit("/job")
            page.elapse(1)
        assert page["out"].children == "small 14"
    assert runs == ["small"]
