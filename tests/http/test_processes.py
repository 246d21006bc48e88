"""Servers in processes of their own: how they are started, and how they stop when they are told to."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.http.pages import new_client
from tests.http.served import HERE, SCRIPT, page_with_stream, served
from tests.support.eventually import eventually
from tests.support.processes import UNCLOSED_SOCKET, python

RUN = (str(SCRIPT), "run", "0")
AFTER_DASH = (str(HERE / "dash_first_app.py"), "0")
HYPERCORN = ("-m", "hypercorn", "-k", "trio", "-b", "127.0.0.1:0", "--graceful-timeout", "1")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_app_run_stops_when_it_is_told_to_and_tells_its_pages(tmp_path: Path, number: signal.Signals) -> None:
    async with served(tmp_path, *RUN) as server, page_with_stream(server.port) as (_, events):
        server.send(number)
        ended = await events.expect("end")
        assert ended["reason"] == "shutdown"
        assert ended["props"] == [["out", {"children": "stopped"}], ["out", {"title": ""}]]
        assert await events.until_closed() == []
        assert await server.status() == 0
        assert server.log == ["finally", "on_error shutdown", "returned"]
        assert "Traceback" not in server.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_app_run_stops_where_dash_has_signal_handlers_of_its_own(tmp_path: Path, number: signal.Signals) -> None:
    async with served(tmp_path, *AFTER_DASH) as server, page_with_stream(server.port) as (_, events):
        server.send(number)
        assert (await events.expect("end"))["reason"] == "shutdown"
        assert await server.status() == 0
        assert "Traceback" not in server.output


async def test_hypercorn_stops_at_ctrl_c(tmp_path: Path) -> None:
    async with served(tmp_path, *HYPERCORN, "served_app:app") as server, page_with_stream(server.port):
        server.send(signal.SIGINT)
        assert await server.status() == 0
        assert server.log == ["finally", "on_error shutdown"]


async def test_app_run_serves_with_dev_tools(tmp_path: Path) -> None:
    async with served(tmp_path, str(SCRIPT), "run with debug", "0") as server:
        async with page_with_stream(server.port) as (page, events):
            await page.leave()
            assert await events.until_closed() == []
        server.send(signal.SIGINT)
        assert await server.status() == 0


async def test_app_run_works_in_another_thread(tmp_path: Path) -> None:
    async with served(tmp_path, str(SCRIPT), "thread", "0") as server:
        async with page_with_stream(server.port) as (page, events):
            await page.leave()
            assert await events.until_closed() == []
        await eventually(lambda: server.log == ["finally", "on_error disconnected"])


@pytest.mark.parametrize("command", [RUN, ("-m", "flash", "run", "--workers", "2", "--port", "0", "served_app:app")])
async def test_timers_of_a_busy_server_fire_together(tmp_path: Path, command: tuple[str, ...]) -> None:
    async with served(tmp_path, *command) as server, new_client(server.port) as client:
        waits = int((await client.get("/waits")).text)
        # A hundred tasks sleep until moments a millisecond apart, and each works for half of that.
        assert 0 < waits < 60


@pytest.mark.parametrize("how", ["run", "run with reloader"])
async def test_app_run_says_that_its_port_is_taken_and_the_server_that_has_it_goes_on(tmp_path: Path, how: str) -> None:
    async with served(tmp_path, *RUN) as server:
        with python(tmp_path, str(SCRIPT), how, str(server.port), ignored=UNCLOSED_SOCKET) as second:
            assert await second.status() == 1
            said = second.output.rpartition("Dash is running on ")[2].splitlines()
            assert [line for line in said[1:] if line] == [
                f"Flash cannot listen on 127.0.0.1:{server.port}: Address already in use. Listen elsewhere with "
                "app.run(port=...) or app.run(host=...)."
            ]
        async with page_with_stream(server.port) as (page, events):
            await page.leave()
            await events.until_closed()
        server.send(signal.SIGTERM)
        assert await server.status() == 0


async def test_app_run_in_another_thread_raises_if_its_port_is_taken(tmp_path: Path) -> None:
    async with served(tmp_path, *RUN) as server:
        with python(tmp_path, str(SCRIPT), "thread", str(server.port), ignored=UNCLOSED_SOCKET) as second:
            assert await second.status() == 0
            assert f"Address already in use: '127.0.0.1:{server.port}'" in second.output


async def test_hypercorn_serves_the_app_and_its_streams_clean_up_when_it_is_told_to_stop(tmp_path: Path) -> None:
    async with served(tmp_path, *HYPERCORN, "served_app:app") as server, page_with_stream(server.port):
        server.send(signal.SIGTERM)
        assert await server.status() == 0
        assert server.log == ["finally", "on_error shutdown"]


async def test_hypercorn_serves_the_apps_server(tmp_path: Path) -> None:
    async with (
        served(tmp_path, *HYPERCORN, "served_app:app.server") as server,
        page_with_stream(server.port) as (page, events),
    ):
        assert (await page.leave()).status_code == 204
        assert await events.until_closed() == []
