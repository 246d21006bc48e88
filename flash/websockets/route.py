"""Serves the route of Dash's websocket: checks the handshake, and gives the socket what it needs of the app.

A handshake is refused, with a status and a sentence, if its page belongs to another site, if a `websocket_connect` hook
rejects it, if no callback of the app uses a websocket, if the server is stopping, or if a bound on sockets is reached.
An open socket can call only callbacks that are declared for websockets. Quart calls `before_websocket` functions for
the handshake, and not `before_request` functions.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

import dash
import quart
from quart import Quart

from .. import _dash
from .._quart import current_request, current_websocket
from ..asgi.browser_cookie import browser_or_address
from ..asgi.client_json import DOCUMENT_SIZE
from ..asgi.client_log import ClientWarnings
from ..asgi.page_secret import with_secret
from ..asgi.refusals import answer_refused_handshake
from ..callbacks.request import CALLBACK_REQUEST, CallbackRequest, StreamSettings
from ..errors import RequestRefused
from ..user_code.functions import name_of
from .callback import WebsocketCallback
from .callback_socket import CallbackSocket, CallbackSockets, CallbackSocketSettings, Prepared, ask_hooks, check_origin
from .transport import TRANSPORT, MessageTransport

_warnings = ClientWarnings(logging.getLogger("flash.server"))

GENERIC_ERROR = "The callback failed on the server."
"""The text that a page without dev tools gets when a callback fails. It does not show the exception."""


class RequestAdapter(_dash.RequestAdapter):
    """Gives Dash's own code the current request, or the current handshake of a websocket."""

    def __init__(self) -> None:
        if quart.has_request_context():
            super().__init__(current_request())
        else:
            super().__init__(current_websocket() if quart.has_websocket_context() else quart.websocket)


async def check_handshake(server: Quart, app: dash.Dash) -> None:
    """Raise RequestRefused unless the current handshake comes from a page of this site, and no hook rejects it."""
    websocket = cast("Any", quart.websocket)
    allowed, _ = _dash.websocket_options(app)
    headers = websocket.headers
    check_origin(headers.get("origin"), headers.get("host"), allowed, websocket.scheme == "wss")
    hooks = _plain_hooks_in_threads(server, app, "websocket_connect")
    rejection = await ask_hooks(hooks, websocket, default="Connection rejected")
    if rejection is not None:
        raise RequestRefused(403, rejection[1])


def _plain_hooks_in_threads(server: Quart, app: dash.Dash, name: str) -> list[Callable[..., Awaitable[Any]]]:
    """Return the app's hooks of this name. Plain hooks run in threads, since they may block."""
    return [server.ensure_async(hook) for hook in _dash.websocket_hooks(app, name)]


def register(
    server: Quart,
    app: dash.Dash,
    sockets: CallbackSockets,
    stream_settings: StreamSettings,
    describe: Callable[[BaseException], str],
) -> None:
    """Serve the app's websocket.

    Args:
        server: the server that gets the route.
        app: the app.
        sockets: counts the app's sockets, and closes them when the server stops.
        stream_settings: what the streams that the callbacks start need of the app.
        describe: turns the exception of a callback into the text that a page with dev tools gets.
    """
    config: Any = cast("Any", app).config
    path: str = config.routes_pathname_prefix + "_dash-ws-callback"
    _, batch_delay = _dash.websocket_options(app)

    def message_hooks() -> list[Callable[..., Awaitable[Any]]]:
        return _plain_hooks_in_threads(server, app, "websocket_message")

    def prepare(body: dict[str, Any], interface: WebsocketCallback) -> Prepared:
        body = with_secret(body)
        CALLBACK_REQUEST.set(CallbackRequest(stream_settings, body, DOCUMENT_SIZE.get()))
        try:
            execute, is_async = _dash.prepare_websocket_callback(app, body, interface)
        except Exception as error:
            if not isinstance(error, KeyError) and not _dash.disagrees_with_callback(app, body):
                raise
            _warnings.warn("malformed", "A callback request was refused, which no page of the app sends", error=error)
            raise RequestRefused(400, "The request is malformed, or there is no such websocket callback.") from error
        function = name_of(_dash.function_of(app, body["output"]))
        return Prepared(
            str(body["output"]), function, execute, is_async, lambda: not _dash.disagrees_with_callback(app, body)
        )

    socket_settings = CallbackSocketSettings(
        prepare,
        describe=lambda error: describe(error) if _dash.shows_dev_tools(app) else GENERIC_ERROR,
        hooks=message_hooks,
        batch_delay=batch_delay,
        limits=sockets.limits,
    )

    async def serve() -> Any:
        websocket = cast("Any", quart.websocket)
        try:
            if not _dash.uses_websocket(app):
                raise RequestRefused(404, "No callback of this app comes over a websocket.")
            await check_handshake(server, app)
            browser = browser_or_address(websocket)
            sockets.check(browser)
        except RequestRefused as refusal:
            return answer_refused_handshake(refusal)
        transport: MessageTransport = websocket
        # With message hooks Quart keeps receiving, so that it notices a page that goes while a hook is running.
        if not message_hooks():
            transport = TRANSPORT.get()
            transport.take_over()
        await websocket.accept()
        # The hooks of messages see this request, which has no callback yet.
        CALLBACK_REQUEST.set(CallbackRequest(stream_settings))
        _dash.app_context.set(app)
        cast("_dash.DashApp", app).keep_handshake()
        await sockets.serve(CallbackSocket(websocket, transport, socket_settings, TRANSPORT.get().client), browser)
        return None

    server.add_websocket(path, endpoint=path, view_func=serve)
