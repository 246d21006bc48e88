"""Where a websocket comes in: the handshake, and what connections need of a Dash app.

A handshake is refused, with a status and a sentence, if its page is of another site, if a `websocket_connect` hook
objects, if no callback of the app is to come over a websocket, or if the server stops or is full. Once a socket is
open it may call the callbacks that are declared for it, and no other; `before_request` functions do not see it, but
`before_websocket` functions do.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

import dash
import quart
from quart import Quart

from .. import _dash
from ..asgi.browser_cookie import browser_or_address
from ..asgi.client_json import DOCUMENT_SIZE
from ..asgi.client_log import ClientWarnings
from ..asgi.page_key import with_secret
from ..callbacks.request import CALLBACK_REQUEST, CallbackRequest, StreamHost
from ..errors import RequestRefused
from ..sse import answer_refusal
from ..user_code.functions import name_of
from .callback import WebsocketCallback
from .callback_socket import CallbackSocket, CallbackSockets, Prepared, Settings, ask_hooks, check_origin
from .exchange import MESSAGE_EXCHANGE, MessageExchange

_warnings = ClientWarnings(logging.getLogger("flash.server"))

GENERIC_ERROR = "The callback failed on the server."
"""What a page without dev tools is told of a failure: nothing that the exception says."""


class RequestAdapter(_dash.RequestAdapter):
    """What Dash's own code asks about the request at hand, which may be the handshake of a websocket."""

    def __init__(self) -> None:
        super().__init__(quart.request if quart.has_request_context() else quart.websocket)


async def check_handshake(server: Quart, app: dash.Dash) -> None:
    """Raise RequestRefused unless the handshake at hand comes from a page of this site, and no hook objects."""
    websocket = cast("Any", quart.websocket)
    allowed, _ = _dash.websocket_options(app)
    headers = websocket.headers
    check_origin(headers.get("origin"), headers.get("host"), allowed, websocket.scheme == "wss")
    hooks = _plain_hooks_in_threads(server, app, "websocket_connect")
    rejection = await ask_hooks(hooks, websocket, default="Connection rejected")
    if rejection is not None:
        raise RequestRefused(403, rejection[1])


def _plain_hooks_in_threads(server: Quart, app: dash.Dash, name: str) -> list[Callable[..., Awaitable[Any]]]:
    """The app's hooks of this name. Plain ones run in threads: what they ask a database would hold everybody up."""
    return [server.ensure_async(hook) for hook in _dash.websocket_hooks(app, name)]


def register(
    server: Quart, app: dash.Dash, sockets: CallbackSockets, host: StreamHost, describe: Callable[[BaseException], str]
) -> None:
    """Serve the app's websocket.

    Args:
        server: what to add the route to.
        app: the app.
        sockets: counts the app's sockets, and closes them when the server stops.
        host: runs the streams that the callbacks start.
        describe: what a page with dev tools is told of a callback's failure.
    """
    config: Any = cast("Any", app).config
    path: str = config.routes_pathname_prefix + "_dash-ws-callback"
    _, batch_delay = _dash.websocket_options(app)

    def message_hooks() -> list[Callable[..., Awaitable[Any]]]:
        return _plain_hooks_in_threads(server, app, "websocket_message")

    def prepare(body: dict[str, Any], interface: WebsocketCallback) -> Prepared:
        body = with_secret(body)
        CALLBACK_REQUEST.set(CallbackRequest(host, body, DOCUMENT_SIZE.get()))
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

    settings = Settings(
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
            answer = answer_refusal(refusal)
            # Hypercorn cannot take another request where a handshake was refused.
            answer.headers["Connection"] = "close"
            return answer
        exchange: MessageExchange = websocket
        # A hook may take its time over a message: then it is Quart who notices meanwhile that the page has gone.
        if not message_hooks():
            exchange = MESSAGE_EXCHANGE.get()
            exchange.take_over()
        await websocket.accept()
        # What the hooks of messages see: none has asked for a callback yet.
        CALLBACK_REQUEST.set(CallbackRequest(host))
        _dash.app_context.set(app)
        await sockets.serve(CallbackSocket(websocket, exchange, settings, MESSAGE_EXCHANGE.get().peer), browser)
        return None

    server.add_websocket(path, endpoint=path, view_func=serve)
