"""The pytest fixtures of `dash[testing]`, which drive Selenium: they start and stop a Flash app as they are."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import trio

from flash import Flash, Input, Output, StreamCancelled, Update, html, set_props, stream_props


def test_dash_duo_starts_and_stops_an_app(dash_duo: Any) -> None:
    reasons: list[str] = []
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.P(id="plain"), html.P(id="async"), html.P(id="stream"), html.P(id="set")]

    @app.callback(Output("plain", "children"), Input("go", "n_clicks"), prevent_initial_call=True)
    def plain(clicks: int) -> int:
        set_props("set", {"children": "by set_props"})
        return clicks

    @app.callback(Output("async", "children"), Input("go", "n_clicks"), prevent_initial_call=True)
    async def with_await(clicks: int) -> int:
        await trio.lowlevel.checkpoint()
        return -clicks

    def on_error(error: StreamCancelled) -> None:
        reasons.append(error.reason)

    @app.event_callback(Input("go", "n_clicks"), on_error=on_error)
    async def stream(clicks: int) -> AsyncIterator[Update]:
        yield stream_props("stream", {"children": "streams"})
        await trio.sleep_forever()

    dash_duo.start_server(app, start_timeout=30)
    dash_duo.find_element("#go").click()
    dash_duo.wait_for_text_to_equal("#plain", "1")
    dash_duo.wait_for_text_to_equal("#async", "-1")
    dash_duo.wait_for_text_to_equal("#stream", "streams")
    dash_duo.wait_for_text_to_equal("#set", "by set_props")
    assert dash_duo.get_logs() == []

    thread = dash_duo.server.thread
    # The page is still there, and its stream: the server ends it.
    dash_duo.server.stop()
    assert not thread.is_alive()
    assert reasons == ["shutdown"]
    assert not dash_duo.server.accessible(dash_duo.server.url)


def test_dash_thread_server_starts_one_app_after_another(dash_thread_server: Any) -> None:
    """Before it starts one it kills the threads of the one before, Trio's idle ones included."""
    for number in ("one", "two", "three"):
        app = Flash(__name__)
        app.layout = html.P(number)
        options = {"debug": True, "use_reloader": False, "dev_tools_hot_reload": False}
        dash_thread_server.start(app, start_timeout=30, **options)
        thread = dash_thread_server.thread
        assert number in httpx.get(f"{dash_thread_server.url}/_dash-layout", timeout=10, trust_env=False).text
        dash_thread_server.stop()
        assert not thread.is_alive()


def test_dash_thread_server_stops_within_its_timeout_though_a_callback_is_under_way(dash_thread_server: Any) -> None:
    entered = threading.Event()
    app = Flash(__name__)
    app.layout = html.P()

    @app.server.route("/wait")
    async def wait() -> str:
        entered.set()
        await trio.sleep_forever()
        return ""

    dash_thread_server.start(app, start_timeout=30)
    client = threading.Thread(target=dash_thread_server.accessible, args=(f"{dash_thread_server.url}/wait",))
    client.start()
    assert entered.wait(10)
    thread = dash_thread_server.thread
    dash_thread_server.stop()
    client.join(10)
    assert not client.is_alive()
    assert not thread.is_alive()


@pytest.fixture
def port_that_is_free_again() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    yield port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_dash_duo_mp_starts_and_stops_an_app_in_a_process(port_that_is_free_again: int, dash_duo_mp: Any) -> None:
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.P(id="out")]

    @app.callback(Output("out", "children"), Input("go", "n_clicks"), prevent_initial_call=True)
    def count(clicks: int) -> str:
        return f"{clicks} in {os.getpid()}"

    dash_duo_mp.start_server(app, port=port_that_is_free_again, start_timeout=30)
    dash_duo_mp.find_element("#go").click()
    dash_duo_mp.wait_for_text_to_equal("#out", f"1 in {dash_duo_mp.server.proc.pid}")
