"""What the kit tells a test that fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

import pytest
import trio

from flash import (
    Flash,
    Input,
    Output,
    cleanup,
    every,
    html,
    stream_props,
)
from flash.testing import Page, open_page
from tests.testing.apps import Updates, app_with


def failing(act: Callable[[Page], Any], app: Flash, match: str) -> BaseException | None:
    with pytest.raises(AssertionError, match=match) as raised, open_page(app) as page:
        act(page)
    return raised.value.__cause__


def test_a_component_that_is_not_there_is_named_beside_those_that_are(app: Flash) -> None:
    failing(
        lambda page: page["nothing"], app, "no component with the id 'nothing'. It has: tabs, start, stop, progress"
    )
    failing(lambda page: page.click("nothing"), app, "no component with the id 'nothing'")


def test_a_run_that_does_not_end_is_named_with_its_line(app: Flash) -> None:
    failing(
        lambda page: page.click("start").end(timeout=5),
        app,
        r"clock' has not ended within 5 s: it waits at .*conftest.py:",
    )


def test_a_plain_generator_that_does_not_end_is_named_with_its_line() -> None:
    app = app_with(html.Button(id="go"), html.P(id="out"))

    @app.event_callback(Input("go", "n_clicks"))
    def plain(n_clicks: int) -> Generator[Any, None, None]:
        for number in every(1):
            yield stream_props("out", {"children": number})

    failing(
        lambda page: page.click("go").end(2), app, r"plain' has not ended within 2 s: it waits at .*test_failures.py:"
    )


def test_a_thread_that_never_waits_is_named_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flash.testing.virtual_time.PATIENCE", 0.3)
    app = app_with(html.Button(id="go"), html.P(id="out"))

    @app.event_callback(Input("go", "n_clicks"))
    def endless(n_clicks: int) -> Generator[Any, None, None]:
        while True:
            time.sleep(0.05)
            yield stream_props("out", {"children": 1})

    failing(
        lambda page: page.click("go"),
        app,
        r"these do not come to an end: thread of .*endless at .*test_failures.py:\d+",
    )


def test_a_callback_that_fails_fails_the_test_with_its_line() -> None:
    app = app_with(html.Button(id="go"), html.P(id="out"))

    @app.callback(Output("out", "children"), Input("go", "n_clicks"), prevent_initial_call=True)
    def fails(n_clicks: int) -> None:
        raise ValueError("broken")

    cause = failing(
        lambda page: page.click("go"),
        app,
        r"The callback of 'out.children' failed at .*test_failures.py:\d+ \(in .*fails\)",
    )
    assert isinstance(cause, ValueError)


def test_what_still_runs_at_the_end_is_named() -> None:
    app = app_with(html.Button(id="go"), html.P(id="out"))

    @app.event_callback(Input("go", "n_clicks"))
    async def stuck(n_clicks: int) -> Updates:
        try:
            async for number in every(1):
                yield stream_props("out", {"children": number})
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(500)

    failing(
        lambda page: page.click("go"),
        app,
        r"The app has not ended 35 s after its page was closed: '.*stuck' \(stuck\): it waits at .*test_failures.py:",
    )


def test_an_app_that_does_not_start_fails_the_test() -> None:
    app = app_with()

    @app.server.before_serving
    async def fails() -> None:
        raise ValueError("no database")

    failing(lambda page: None, app, "The app did not start: .*no database")


def test_what_a_test_raises_is_raised_as_it_is(app: Flash) -> None:
    with pytest.raises(ZeroDivisionError), open_page(app) as page:
        page.elapse(1 / len(page["progress"].children))


def test_clean_up_is_over_when_a_page_is_closed() -> None:
    app = app_with(html.Button(id="go"), html.P(id="out"))
    saved: list[str] = []

    @app.event_callback(Input("go", "n_clicks"))
    async def saves(n_clicks: int) -> Updates:
        try:
            async for number in every(1):
                yield stream_props("out", {"children": number})
        finally:
            with cleanup():
                await trio.sleep(2)
                saved.append("saved")

    with open_page(app) as page:
        page.click("go")
    assert saved == ["saved"]
    # The same app can be tested again.
    with open_page(app) as page:
        assert page.click("go") is not None


def test_a_shutdown_that_fails_fails_the_test(app: Flash) -> None:
    @app.server.after_serving
    async def fails() -> None:
        raise ValueError("no farewell")

    failing(lambda page: None, app, "The app has failed when it was shut down: .*no farewell")
