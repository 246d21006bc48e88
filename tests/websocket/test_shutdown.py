"""A server process with open websockets that is told to stop."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import trio

from tests.faults.sockets import serving
from tests.http.pages import Page, new_client
from tests.support.eventually import eventually
from tests.websocket.sockets import Sockets

APP = """
import trio

from flash import Flash, Input, exceptions, html, set_props
from tests.support.log_file import note

app = Flash(__name__, websocket_callbacks=True)
app.layout = [html.Button(id="go"), html.Button(id="thread"), html.Div(id="out")]


@app.callback(Input("go", "n_clicks"), persistent=True)
async def clock(clicks):
    try:
        while True:
            set_props("out", {"children": "tick"})
            await trio.sleep(0.01)
    finally:
        note("finally")


@app.callback(Input("thread", "n_clicks"))
def plain(clicks):
    try:
        while True:
            set_props("out", {"children": "tock"})
    except exceptions.WebsocketDisconnected:
        note("disconnected")
        raise
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_process_with_open_websockets_stops_at_once(tmp_path: Path, number: signal.Signals) -> None:
    async with serving(tmp_path, "--graceful-timeout", "600", source=APP) as (process, site):
        client = new_client(site.port)
        page = Page(client, site.port)
        await page.load()
        async with trio.open_nursery() as nursery:
            sockets = Sockets(nursery)
            socket = await sockets.connect(page)
            await socket.send(page.request("go"))
            await socket.send(page.request("thread"))
            seen: set[str] = set()
            while len(seen) < 2:
                seen.add((await socket.expect("set_props"))["payload"]["props"]["children"])
            process.send(number)
            assert await socket.closed() == (1001, "The server stops.")
            assert await process.status() == 0
            await sockets.close()
        await client.aclose()
        await eventually(lambda: sorted(process.log) == ["disconnected", "finally"])


async def test_an_open_control_websocket_does_not_hold_the_stop(tmp_path: Path) -> None:
    async with serving(tmp_path, "--graceful-timeout", "600", source=APP) as (process, site):
        client = new_client(site.port)
        page = Page(client, site.port)
        await page.load()
        async with trio.open_nursery() as nursery:
            sockets = Sockets(nursery)
            socket = await sockets.connect(page, path="_flash/control")
            process.send(signal.SIGTERM)
            assert await socket.closed() == (1001, "The server stops.")
            assert await process.status() == 0
            await sockets.close()
        await client.aclose()
