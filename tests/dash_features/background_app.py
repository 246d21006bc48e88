"""The app of `test_background_callbacks.py`; a Celery worker imports it too: see `celery_worker.py`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import trio

from flash import Flash, Input, Output, ctx, html, set_props

FOLDER = Path(os.environ["FLASH_TEST_FOLDER"])
"""Where callbacks, whose processes are others than the test's, and the test tell each other how far they are."""

BUTTONS = ("plain", "async", "fail", "endless", "stop")
TEXTS = ("out", "async-out", "progress", "aside", "status", "failed", "endless-out")


def make_app(manager: Any) -> Flash:
    app = Flash("background_app", background_callback_manager=manager)
    app.layout = [*(html.Button(name, id=name) for name in BUTTONS), *(html.P(id=name) for name in TEXTS)]

    @app.callback(
        Output("out", "children"),
        Input("plain", "n_clicks"),
        background=True,
        progress=Output("progress", "children"),
        running=[(Output("plain", "disabled"), True, False)],
        interval=100,
        prevent_initial_call=True,
    )
    def plain(set_progress: Any, clicks: int) -> str:
        set_progress("half way")
        while not (FOLDER / "go on").exists():
            time.sleep(0.02)
        return f"plain {clicks}"

    @app.callback(
        Output("async-out", "children"),
        Input("async", "n_clicks"),
        background=True,
        interval=100,
        prevent_initial_call=True,
    )
    async def with_await(clicks: int) -> str:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 0)
        return f"async {clicks}"

    def on_error(error: Exception) -> str:
        return f"handled: {str(error).splitlines()[0]}"

    @app.callback(
        Output("failed", "children"),
        Input("fail", "n_clicks"),
        background=True,
        on_error=on_error,
        interval=100,
        prevent_initial_call=True,
    )
    def fail(clicks: int) -> str:
        raise ValueError("on purpose")

    @app.callback(
        Output("endless-out", "children"),
        Input("endless", "n_clicks"),
        background=True,
        running=[(Output("status", "children"), "running", "over")],
        cancel=[Input("stop", "n_clicks")],
        interval=100,
        prevent_initial_call=True,
    )
    def endless(clicks: int) -> str:
        # Not in a callback with a result: `CeleryManager` may throw that away when it reads what was set.
        set_props("aside", {"children": f"by {ctx.triggered_id}"})
        (FOLDER / "process").write_text(str(os.getpid()))
        time.sleep(600)
        return "never"

    return app
