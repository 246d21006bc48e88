"""Libraries for asyncio in a served app: SQLAlchemy's async engine, and aiohttp's client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from flash import Flash, Input, Output, Update, html, on_asyncio, stream_props
from tests.asyncio_bridge.loops import tasks_left
from tests.http.servers import Serve
from tests.support.eventually import eventually

ROWS = 2_000


class Database:
    """A SQLite database with a table of numbers.

    Attributes:
        engine: SQLAlchemy's, with a pool of connections.
        log: what its pool did, in order: `checkout` and `checkin`.
    """

    def __init__(self, folder: Path) -> None:
        self.engine: AsyncEngine = create_async_engine(f"sqlite+aiosqlite:///{folder / 'numbers.db'}")
        self.log: list[str] = []
        for name in ("checkout", "checkin"):
            event.listen(self.engine.sync_engine, name, lambda *_, name=name: self.log.append(name))

    @on_asyncio
    async def fill(self) -> None:
        async with self.engine.begin() as connection:
            await connection.execute(text("create table numbers (number integer)"))
            rows = [{"number": number} for number in range(ROWS)]
            await connection.execute(text("insert into numbers values (:number)"), rows)
        self.log.clear()

    @on_asyncio
    async def dispose(self) -> None:
        await self.engine.dispose()


def make_app(database: Database) -> Flash:
    app = Flash(__name__, stream_buffer_updates=10)
    app.layout = [html.Button(id="go"), html.Button(id="stop"), html.Div(id="out")]

    @app.event_callback(Input("go", "n_clicks"), cancel=[Input("stop", "n_clicks")])
    @on_asyncio
    async def rows(clicks: int) -> AsyncIterator[Update]:
        async with database.engine.connect() as connection:
            result = await connection.stream(text("select number from numbers order by number"))
            async for partition in result.partitions(100):
                yield stream_props("out", {"children": [row.number for row in partition], "title": "x" * 10_000})

    return app


async def test_rows_are_streamed_from_an_async_engine(serve: Serve, tmp_path: Path) -> None:
    database = Database(tmp_path)
    await database.fill()
    page = await (await serve(make_app(database))).page()
    events = await page.connect()
    await page.start("go")
    await events.expect("open")
    updates, end = await events.to_end()
    assert end["reason"] == "completed"
    assert [row for _, props in updates for row in props["children"]] == list(range(ROWS))
    assert database.log == ["checkout", "checkin"]
    await database.dispose()


async def test_the_connection_is_closed_when_the_stream_is_cancelled(serve: Serve, tmp_path: Path) -> None:
    database = Database(tmp_path)
    await database.fill()
    app = make_app(database)
    page = await (await serve(app)).page()
    events = await page.connect(receive_buffer=4_096)
    await page.start("go")
    stream = (await events.expect("open"))["stream"]
    # It has a cursor open, and waits at its `yield` for the page.
    await eventually(lambda: any(info.buffered == 10 for info in app.streams()))
    assert database.log == ["checkout"]
    await page.cancel(stream, 0, 1)
    await eventually(lambda: app.streams() == [])
    assert database.log == ["checkout", "checkin"]
    pool: Any = database.engine.sync_engine.pool
    assert pool.checkedout() == 0
    assert await tasks_left() == []
    await database.dispose()


async def test_an_http_client_with_a_session_that_callbacks_share(serve: Serve) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Div(id="out")]
    sessions: list[aiohttp.ClientSession] = []

    @app.callback(Output("out", "children"), Input("go", "n_clicks"))
    @on_asyncio
    async def ask(clicks: int) -> list[str]:
        if not sessions:
            sessions.append(aiohttp.ClientSession(f"http://127.0.0.1:{server.port}"))

        async def health() -> Any:
            async with sessions[0].get("/_flash/health") as response:
                return await response.json()

        return [answer["status"] for answer in await asyncio.gather(health(), health())]

    @on_asyncio
    async def close() -> None:
        await sessions[0].close()

    server = await serve(app)
    page = await server.page()
    for _ in range(2):
        assert await page.call("go") == {"out": {"children": ["ok", "ok"]}}
    assert len(sessions) == 1
    await close()
