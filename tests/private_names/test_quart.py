"""The undocumented names of Quart and Quart-Trio that Flash uses: an upgrade that drops one fails here, by name."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import AsyncGenerator

import quart
import quart_trio
from quart_trio.asgi import TrioASGIHTTPConnection, TrioASGIWebsocketConnection

from flash import _quart


def test_quart_trio_still_serves_a_request_in_the_parts_that_flash_puts_together() -> None:
    assert callable(inspect.getattr_static(TrioASGIHTTPConnection, "_create_request_from_scope"))
    for name, last in (("handle_messages", "receive"), ("handle_request", "send")):
        method = inspect.getattr_static(TrioASGIHTTPConnection, name)
        assert inspect.iscoroutinefunction(method)
        assert [*inspect.signature(method).parameters] == ["self", "nursery", "request", last]


async def test_quart_still_has_its_context_of_a_request_where_flash_looks_for_it() -> None:
    app = quart_trio.QuartTrio("app")
    assert not _quart.has_http_request(app.app_context())
    async with app.test_request_context("/") as whole:
        assert _quart.REQUEST_CONTEXT.get() is whole
        assert _quart.APP_CONTEXT.get().app is app
        assert [*_quart.APP_CONTEXT.get().g] == []
        assert _quart.has_http_request(whole)
        again = _quart.context_of_request(type(whole), app, whole.request, quart.session)
        assert again.request is whole.request
        assert await whole.request.get_json(silent=True) is None
        assert whole.request.mimetype == ""
        assert vars(whole.request).keys() > _quart.MADE_WITH_REQUEST - {"json_module"}


def test_quart_still_has_the_bodies_that_flash_fills_and_reads() -> None:
    for name in ("set_complete", "set_result"):
        assert callable(inspect.getattr_static(_quart.Body, name))
    body = _quart.DataBody(b"abc")
    assert (body.data, body.begin, body.end) == (b"abc", 0, 3)


def test_quart_still_lists_the_generators_of_while_serving() -> None:
    app = quart_trio.QuartTrio("app")
    assert _quart.while_serving_generators(app) == []

    @app.while_serving
    async def serving() -> AsyncGenerator[None, None]:
        yield

    assert [generator.__qualname__ for generator in _quart.while_serving_generators(app)] == [serving.__qualname__]


def test_quart_trio_still_takes_the_messages_of_a_websocket_in_a_method() -> None:
    assert inspect.iscoroutinefunction(inspect.getattr_static(TrioASGIWebsocketConnection, "handle_messages"))


def test_quart_still_asks_asyncio_for_threads_and_opens_files_where_flash_steps_in() -> None:
    import asyncio

    assert _quart._utils.asyncio.sleep is asyncio.sleep
    assert "asyncio.get_running_loop()" in inspect.getsource(_quart._utils.run_sync)
    assert "asyncio.get_running_loop()" in inspect.getsource(_quart._utils.run_sync_iterable)
    for name in _quart.OPENERS:
        assert callable(importlib.import_module(name).async_open)
    for name in _quart.SENDERS:
        assert callable(importlib.import_module(name).send_from_directory)
