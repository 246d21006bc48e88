"""The server of `served_app.py`, or of another script, in a process of its own, and a page with a stream of it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

from tests.http.pages import Page, new_client
from tests.support.link import Link
from tests.support.processes import Process, python

HERE = Path(__file__).parent
SCRIPT = HERE / "served_app.py"


@contextlib.asynccontextmanager
async def served(folder: Path, *arguments: str, modules: Path = HERE) -> AsyncGenerator[Process]:
    """A Python process that serves; `modules` is the folder of the script."""
    with python(folder, *arguments, modules=modules) as process:
        process.wait_for_port()
        yield process


@contextlib.asynccontextmanager
async def page_with_stream(port: int) -> AsyncGenerator[tuple[Page, Link]]:
    """A page on which a stream runs and has sent its first update."""
    async with new_client(port) as client:
        page = Page(client, port)
        await page.load()
        events = await page.connect()
        try:
            await page.start("go")
            await events.expect("open")
            await events.expect("props")
            yield page, events
        finally:
            await page.close()
