"""Callback requests whose client goes: they come to their end, or are cancelled if that is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import h2.config
import h2.connection
import pytest
import trio
from quart import request

from flash import Flash, Input, InvalidEventCallback, Output, cleanup, html
from flash.asgi import disconnect_policy
from tests.http.servers import Serve
from tests.http.test_exchange import EVERY_WAY, Parts, connect, halves, make_app, whole
from tests.support.eventually import TIMEOUT, eventually


class Saving:
    """A callback that saves in two steps, and what has happened on its server."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.entered = trio.Event()
        self.go_on = trio.Event()

    async def __call__(self, clicks: int) -> str:
        self.log.append("begun")
        self.entered.set()
        try:
            await self.go_on.wait()
            await trio.lowlevel.checkpoint()
            self.log.append("saved")
        except trio.Cancelled:
            self.log.append("cancelled")
            raise
        return "saved"

    def make_app(self, **options: Any) -> Flash:
        app = Flash(__name__)
        app.layout = [html.Button(id="go"), html.Div(id="out")]

        @app.callback(Output("out", "children"), Input("go", "n_clicks"), **options)
        async def save(clicks: int) -> str:
            return await self(clicks)

        @app.server.after_request
        async def after(response: Any) -> Any:
            if "saved" in self.log:
                await trio.lowlevel.checkpoint()
                self.log.append("after_request")
            return response

        @app.server.teardown_request
        async def teardown(error: BaseException | None) -> None:
            if self.log:
                self.log.append("teardown")

        return app


async def wait_until_noticed() -> None:
    """Return when a request goes on without its client."""
    await eventually(lambda: disconnect_policy.UNATTENDED.count == 1)


@EVERY_WAY
async def test_an_async_callback_comes_to_its_end_though_its_client_has_gone(serve: Serve, parts: Parts) -> None:
    saving = Saving()
    page = await (await serve(saving.make_app())).page()
    socket = await connect(page)
    async with socket.stream:
        await socket.send(parts(json.dumps(page.request("go", value=1)).encode()))
        await saving.entered.wait()
    await wait_until_noticed()
    assert saving.log == ["begun"]
    saving.go_on.set()
    await eventually(lambda: "teardown" in saving.log)
    assert saving.log == ["begun", "saved", "after_request", "teardown"]
    await eventually(lambda: disconnect_policy.UNATTENDED.count == 0)


async def test_it_comes_to_its_end_on_http2_too(serve: Serve) -> None:
    saving = Saving()
    page = await (await serve(saving.make_app())).page()
    http2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    http2.initiate_connection()
    body = json.dumps(page.request("go", value=1)).encode()
    headers = [(":method", "POST"), (":path", "/_dash-update-component"), (":scheme", "http"), (":authority", "x")]
    http2.send_headers(1, [*headers, ("content-type", "application/json")])
    http2.send_data(1, body, end_stream=True)
    async with await trio.open_tcp_stream("127.0.0.1", page.port) as stream:
        await stream.send_all(http2.data_to_send())
        await saving.entered.wait()
        # As a browser does that reloads: the connection stays.
        http2.reset_stream(1)
        await stream.send_all(http2.data_to_send())
        await wait_until_noticed()
        saving.go_on.set()
        await eventually(lambda: "teardown" in saving.log)
    assert saving.log == ["begun", "saved", "after_request", "teardown"]


async def test_a_client_that_goes_while_a_hook_waits_has_its_callback_run(serve: Serve) -> None:
    saving = Saving()
    app = saving.make_app()
    asked, allowed = trio.Event(), trio.Event()

    @app.server.before_request
    async def ask_a_database() -> None:
        if request.method == "POST":
            asked.set()
            await allowed.wait()

    page = await (await serve(app)).page()
    socket = await connect(page)
    async with socket.stream:
        await socket.send(whole(json.dumps(page.request("go", value=1)).encode()))
        await asked.wait()
    await wait_until_noticed()
    saving.go_on.set()
    allowed.set()
    await eventually(lambda: "teardown" in saving.log)
    assert saving.log[:2] == ["begun", "saved"]


async def test_half_a_request_of_a_client_that_has_gone_calls_nothing(serve: Serve) -> None:
    saving = Saving()
    app = saving.make_app()
    page = await (await serve(app)).page()
    socket = await connect(page)
    async with socket.stream:
        first, *_ = halves(json.dumps(page.request("go", value=1)).encode())
        await socket.send([first])
    async with await trio.open_tcp_stream("127.0.0.1", page.port) as other:
        await other.send_all(b"GET /_flash/health HTTP/1.1\r\nHost: x\r\n\r\n")
        await other.receive_some()
    assert (saving.log, disconnect_policy.UNATTENDED.count) == ([], 0)


@EVERY_WAY
async def test_a_callback_that_asks_for_it_is_cancelled_when_its_client_goes(serve: Serve, parts: Parts) -> None:
    saving = Saving()
    page = await (await serve(saving.make_app(on_disconnect="cancel"))).page()
    socket = await connect(page)
    async with socket.stream:
        await socket.send(parts(json.dumps(page.request("go", value=1)).encode()))
        await saving.entered.wait()
    await eventually(lambda: "teardown" in saving.log)
    assert saving.log == ["begun", "cancelled", "teardown"]


async def test_clean_up_of_a_callback_that_is_cancelled_has_its_time_or_is_reported(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []
    entered = trio.Event()
    app = Flash(__name__)
    app.layout = [html.Button(id="go"), html.Div(id="out")]

    @app.callback(Output("out", "children"), Input("go", "n_clicks"), on_disconnect="cancel")
    async def reads(clicks: int) -> None:
        try:
            entered.set()
            await trio.sleep_forever()
        finally:
            with cleanup():
                await trio.sleep(0.01)
                log.append("shielded")
            await trio.lowlevel.checkpoint()
            log.append("never")

    page = await (await serve(app)).page()
    socket = await connect(page)
    async with socket.stream:
        await socket.send(whole(json.dumps(page.request("go", value=1)).encode()))
        await entered.wait()
    await eventually(lambda: "was cut" in caplog.text)
    assert log == ["shielded"]
    [warning] = [record.getMessage() for record in caplog.records if "was cut" in record.getMessage()]
    assert "the callback 'test_clean_up_of_a_callback_that_is_cancelled_has_its_time_or_is_reported.reads'" in warning


@pytest.mark.parametrize("finishes", [True, False])
async def test_a_server_that_stops_lets_them_finish_for_as_long_as_its_grace(serve: Serve, finishes: bool) -> None:
    saving = Saving()
    server = await serve(saving.make_app(), graceful_timeout=5.0 if finishes else 0.2)
    page = await server.page()
    socket = await connect(page)
    async with socket.stream:
        await socket.send(whole(json.dumps(page.request("go", value=1)).encode()))
        await saving.entered.wait()
    await wait_until_noticed()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.stop)
        await server.stopping.wait()
        if finishes:
            await trio.sleep(0.05)
            saving.go_on.set()
    assert saving.log[1] == ("saved" if finishes else "cancelled")


async def test_beyond_a_number_they_are_cancelled_when_their_client_goes(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(disconnect_policy, "LIMIT", 1)
    server = await serve((first := Saving()).make_app())
    page = await server.page()
    socket = await connect(page)
    async with socket.stream:
        await socket.send(whole(json.dumps(page.request("go", value=1)).encode()))
        await first.entered.wait()
    await wait_until_noticed()
    socket = await connect(page)
    async with socket.stream:
        await socket.send(whole(json.dumps(page.request("go", value=1)).encode()))
        await eventually(lambda: first.log.count("begun") == 2)
    await eventually(lambda: "cancelled" in first.log)
    assert caplog.text.count("whose pages have gone") == 1
    first.go_on.set()
    await eventually(lambda: "saved" in first.log)


async def test_a_route_of_the_users_is_cancelled_as_quart_does(serve: Serve) -> None:
    entered, left = trio.Event(), trio.Event()
    app = make_app(lambda clicks: clicks)

    @app.server.route("/slow", methods=["POST"])
    async def slow() -> str:
        entered.set()
        try:
            await trio.sleep_forever()
        finally:
            left.set()
        return ""

    page = await (await serve(app)).page()
    async with await trio.open_tcp_stream("127.0.0.1", page.port) as stream:
        await stream.send_all(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        await entered.wait()
    with trio.fail_after(TIMEOUT):
        await left.wait()


def test_what_on_disconnect_cannot_be_is_refused_when_it_is_decorated() -> None:
    app = Flash(__name__)

    async def returns(clicks: int) -> int:
        return clicks

    def plain(clicks: int) -> int:
        return clicks

    async def yields(clicks: int) -> Any:
        yield clicks

    wrong: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
        (returns, {"on_disconnect": "ignore"}, "'finish' or 'cancel', got 'ignore'"),
        (plain, {"on_disconnect": "cancel"}, "is for `async def`"),
        (yields, {"on_disconnect": "cancel"}, "a stream ends with its page"),
        (returns, {"on_disconnect": "finish", "websocket": True}, "over a websocket"),
        (returns, {"on_disconnect": "cancel", "background": True}, "a background callback"),
    ]
    for function, options, sentence in wrong:
        with pytest.raises(InvalidEventCallback, match=sentence):
            app.callback(Output("out", "children"), Input("go", "n_clicks"), **options)(function)
    for function in (returns, plain):
        app.callback(Output(function.__name__, "children"), Input("go", "n_clicks"), on_disconnect="finish")(function)
