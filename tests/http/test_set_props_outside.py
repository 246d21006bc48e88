"""`set_props` that nobody would hear: said, with what to do."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable

import pytest
import trio
from flash.exceptions import MissingCallbackContextException  # pyright: ignore[reportMissingImports] - lent by Dash, at run time

from flash import Flash, Input, Output, Update, html, set_props, stream_props
from tests.http.servers import Serve


def make_app() -> Flash:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Div(id="out"), html.Div(id="other")]
    return app


def in_thread(function: Callable[[], None]) -> list[BaseException]:
    """What a function raises in a thread of its own."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return raised


def test_in_a_thread_or_task_of_the_apps_own_it_says_that_there_is_no_page() -> None:
    (error,) = in_thread(lambda: set_props("out", {"children": "x"}))
    assert isinstance(error, MissingCallbackContextException)
    for part in ("'out'", "no page", "copy_context", "event callback"):
        assert part in str(error)


async def test_after_the_end_of_its_stream_it_is_told_once(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()
    over, said = trio.Event(), trio.Event()

    @app.event_callback(Input("go", "n_clicks"))
    async def brief(clicks: int) -> AsyncIterator[Update]:
        async def later() -> None:
            await over.wait()
            set_props("out", {"children": "late"})
            set_props("out", {"children": "later"})
            said.set()

        app.server.add_background_task(later)
        yield stream_props("out", {"children": "in time"})

    page = await (await serve(app)).page()
    events = await page.connect()
    await page.start("go")
    await events.expect("open")
    await events.to_end()
    over.set()
    await said.wait()
    (message,) = [record.getMessage() for record in caplog.records if "set_props" in record.getMessage()]
    assert "brief" in message
    assert "after its stream had ended" in message


async def test_after_the_answer_of_its_callback_it_is_told_once(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    app = make_app()
    answered, said = trio.Event(), trio.Event()

    @app.callback(Output("out", "children"), Input("go", "n_clicks"))
    async def brief(clicks: int) -> str:
        async def later() -> None:
            await answered.wait()
            set_props("other", {"children": "late"})
            set_props("other", {"children": "later"})
            said.set()

        app.server.add_background_task(later)
        set_props("other", {"children": "in time"})
        return "answer"

    page = await (await serve(app)).page()
    answer = await page.start("go")
    assert answer.json()["sideUpdate"] == {"other": {"children": "in time"}}
    answered.set()
    await said.wait()
    (message,) = [record.getMessage() for record in caplog.records if "set_props" in record.getMessage()]
    assert "after it had been answered" in message
