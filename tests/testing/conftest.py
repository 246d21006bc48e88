"""Fixtures: an app, and callbacks that each test declares for itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flash import Flash, Input, Output, dcc, every, html, stream_props
from tests.support.global_callbacks import forget_global_callbacks
from tests.testing.apps import Updates, app_with


@pytest.fixture(autouse=True)
def _own_callbacks() -> Iterator[None]:
    """Forget what a test has declared without an app: the app of the next one would take it."""
    yield
    forget_global_callbacks()


@pytest.fixture
def app() -> Flash:
    """An app with a clock that runs while its tab is shown."""
    app = app_with(
        dcc.Tabs(id="tabs", value="dashboard"),
        html.Button(id="start"),
        html.Button(id="stop"),
        html.P(id="progress", children=""),
        html.P(id="status"),
    )

    @app.event_callback(
        Input("start", "n_clicks"),
        cancel=[(Input("tabs", "value"), "dashboard"), Input("stop", "n_clicks")],
        on_error=lambda error: stream_props("progress", {"title": str(getattr(error, "reason", error))}),
        reset_props=[("progress", {"children": ""})],
        running=[(Output("start", "disabled"), True, False)],
    )
    async def clock(n_clicks: int) -> Updates:
        async for number in every(0.5):
            yield stream_props("progress", {"children": f"tick {number}"})

    @app.callback(Output("status", "children"), Input(clock, "status"))
    def show(status: str) -> str:
        return status

    return app
