"""Typed access to the private names of Quart that Flash uses, and the patches of Quart.

Quart runs blocking code in threads with asyncio's loop, and opens files with aiofiles. Quart-Trio replaces both in its
own classes, but not in what apps import from Quart: a `quart.Response` of a plain generator or a list,
`quart.utils.run_sync`, the `save` of an uploaded file, `open_resource` of a blueprint. The patches make these use Trio
when Trio runs them. Three more patches turn failures of Quart into answers: to a range at the end of a file, to a file
name that the system rejects (404), and to a Host that is invalid.

`tests/private_names/test_quart.py` fails with the name when an upgrade drops one.
"""
# pyright: reportPrivateUsage=false, reportAttributeAccessIssue=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import errno
import functools
from collections.abc import Awaitable, Callable, Generator
from contextvars import ContextVar
from importlib import import_module
from typing import Any, cast

import quart
import trio
from quart.sessions import NullSession
from quart.signals import websocket_received, websocket_sent
from quart.utils import encode_headers
from quart.wrappers.request import Body
from quart.wrappers.response import DataBody, FileBody, IOBody, ResponseBody
from quart_trio.asgi import TrioASGIHTTPConnection, TrioASGIWebsocketConnection
from quart_trio.wrappers.request import TrioBody
from quart_trio.wrappers.response import TrioFileBody
from werkzeug.exceptions import HTTPException, NotFound, RequestedRangeNotSatisfiable
from werkzeug.routing import MapAdapter, Rule

__all__ = [
    "APP_CONTEXT",
    "MADE_WITH_REQUEST",
    "REQUEST_CONTEXT",
    "Body",
    "HTTPConnection",
    "NullSession",
    "ResponseBody",
    "WebsocketConnection",
    "complete_body",
    "context_of_request",
    "current_request",
    "current_websocket",
    "data_of",
    "empty_body",
    "encode_headers",
    "has_http_request",
    "refuse_bad_hosts",
    "remember_routes",
    "run_on_trio",
    "websocket_received",
    "websocket_sent",
    "while_serving_generators",
]

WebsocketConnection = TrioASGIWebsocketConnection

OPENERS = ("quart.app", "quart.blueprints", "quart.datastructures", "quart.wrappers.response")
"""The modules that open files as `async_open`."""

SENDERS = ("quart", "quart.app", "quart.blueprints", "quart.helpers")
"""The modules that have `send_from_directory`."""

MOST_ROUTES = 1_000
"""How many routes are remembered: of one that takes any method there may be as many as methods."""

NO_NAMES = (errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP, errno.ENOTDIR)
"""The error codes of the system for a name that no file can have."""

_utils: Any = import_module("quart.utils")
_globals: Any = import_module("quart.globals")

REQUEST_CONTEXT: ContextVar[Any] = getattr(_globals, "_cv_request", _globals._cv_app)
"""Where Quart has its context of the current request. Newer versions have one context for a request and its app."""

APP_CONTEXT: ContextVar[Any] = _globals._cv_app
"""Where Quart has its context of the current app."""

MADE_WITH_REQUEST = frozenset(
    {
        *("body", "headers", "json_module", "scope"),
        *("_cached_json", "_files", "_form", "_parsed_content_type", "_parsing_lock", "_send_push_promise"),
    }
)
"""The attributes of a request that a new one of the same scope has, too, or makes when it is asked for them."""


class HTTPConnection(TrioASGIHTTPConnection):
    """Quart-Trio's connection of one HTTP request, whose parts Flash combines differently."""

    def create_request(self, send: Any) -> quart.Request:
        """The request that the scope of the connection describes."""
        return self._create_request_from_scope(send)

    async def receive_messages(self, nursery: trio.Nursery, request: quart.Request, receive: Any) -> None:
        """Give the request its body as the messages of an ASGI `receive` bring it; at a disconnect cancel it."""
        await self.handle_messages(nursery, request, receive)

    async def send_response(self, send: Any, response: Any) -> None:
        """Send all of a response with an ASGI `send`."""
        await self._send_response(send, response)


def current_request() -> quart.Request:
    """The current request itself, not the proxy `quart.request`."""
    return cast("Any", quart.request)._get_current_object()


def current_websocket() -> quart.Websocket:
    """The current websocket itself, not the proxy `quart.websocket`."""
    return cast("Any", quart.websocket)._get_current_object()


def has_http_request(context: Any) -> bool:
    """Whether a context of Quart's is that of an HTTP request."""
    has_request: bool | None = getattr(context, "has_request", None)
    return hasattr(context, "request") if has_request is None else has_request


def context_of_request(kind: Any, app: quart.Quart, request: quart.Request, session: object) -> Any:
    """Quart's context of a request, of a class that its context was of, with a session that is open already."""
    return kind(app, request=request, session=session)


def complete_body(incoming: quart.Request, data: bytes) -> None:
    """Give a request all of its body."""
    incoming.body.set_result(data)


def empty_body() -> Body:
    """The body of a request that has none, all of which has arrived."""
    body = TrioBody(None, None)
    body.set_complete()
    return body


def data_of(body: object, at_most: int) -> bytes | None:
    """The bytes that the body of a response sends; None if they are more than `at_most`, or not at hand."""
    if isinstance(body, DataBody) and body.end - body.begin <= at_most:
        return body.data[body.begin : body.end]
    return None


def while_serving_generators(server: quart.Quart) -> list[Any]:
    """The generators of an app's `while_serving` functions that have begun. Quart ends those that are left there."""
    return cast("Any", server).while_serving_gens


class _Threads:
    """Stands for the running event loop in `quart.utils`, and runs functions in Trio's threads."""

    def run_in_executor(self, _: object, function: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:
        return trio.to_thread.run_sync(function, *arguments)


class _Asyncio:
    """Stands for the module asyncio in `quart.utils`."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    def get_running_loop(self) -> Any:
        return _Threads() if trio.lowlevel.in_trio_run() else asyncio.get_running_loop()


class _Opening:
    """A file to be opened: with `await` or `async with`, like that of aiofiles."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        self._arguments, self._keywords = arguments, keywords
        self._file: Any = None

    async def _open(self) -> Any:
        return await trio.open_file(*self._arguments, **self._keywords)

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._open().__await__()

    async def __aenter__(self) -> Any:
        self._file = await self._open()
        return self._file

    async def __aexit__(self, *_: object) -> None:
        await self._file.aclose()


def run_on_trio() -> None:
    """Patch Quart so that what apps import from it works on Trio."""
    if isinstance(_utils.asyncio, _Asyncio):
        return
    _utils.asyncio = _Asyncio()
    for body in (DataBody, FileBody, IOBody, TrioFileBody):
        _serve_every_range(body)
    for name in OPENERS:
        module: Any = import_module(name)
        module.async_open = _opening_as(module.async_open)
    sending = _finding_as(import_module("quart.helpers").send_from_directory)
    for name in SENDERS:
        module = import_module(name)
        module.send_from_directory = sending


def refuse_bad_hosts(server: Any) -> None:
    """Answer an invalid Host like a path that does not exist. Quart would fail before it calls its hooks."""
    original = server.create_url_adapter

    def create_url_adapter(request: Any) -> Any:
        try:
            return original(request)
        except HTTPException as refusal:
            adapter, refused = server.url_map.bind("localhost"), refusal

            def match(*_: object, **__: object) -> Any:
                raise refused

            adapter.match = match
            return adapter

    server.create_url_adapter = create_url_adapter


def remember_routes(server: Any) -> None:
    """Have each path without variables be looked for once.

    Werkzeug's search leaves nine objects that refer to each other in a circle. A server with thousands of pages gets
    hundreds of small requests a second, and that is next to all that Python has to look for garbage for.
    """
    known: dict[tuple[bool, str, str], Rule] = {}
    url_map, create = server.url_map, server.create_url_adapter
    add = url_map.add

    def add_and_forget(rules: Any) -> None:
        known.clear()
        add(rules)

    def create_url_adapter(request: Any) -> Any:
        adapter = create(request)
        # Of a server of several hosts, and of an invalid Host, nothing is remembered.
        if type(adapter) is MapAdapter and not url_map.host_matching and adapter.subdomain == url_map.default_subdomain:
            adapter.__class__ = _RememberingAdapter
            adapter.known = known
        return adapter

    url_map.add = add_and_forget
    server.create_url_adapter = create_url_adapter


class _RememberingAdapter(MapAdapter):
    """Finds the route of one request, among those that were found before it searches.

    Attributes:
        known: the routes without variables that were found: by whether it is a websocket, the method and the path.
    """

    known: dict[tuple[bool, str, str], Rule]

    def match(self, *arguments: Any, **keywords: Any) -> Any:
        if arguments or keywords != {"return_rule": True}:
            return super().match(*arguments, **keywords)
        key = self.websocket, self.default_method, self.path_info
        rule = self.known.get(key)
        if rule is None:
            rule, variables = super().match(return_rule=True)
            if variables or len(self.known) >= MOST_ROUTES:
                return rule, variables
            self.known[key] = rule
        return rule, {}


def _opening_as(original: Callable[..., Any]) -> Callable[..., Any]:
    def async_open(*arguments: Any, **keywords: Any) -> Any:
        return (_Opening if trio.lowlevel.in_trio_run() else original)(*arguments, **keywords)

    return async_open


def _finding_as(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def send_from_directory(*arguments: Any, **keywords: Any) -> Any:
        try:
            return await original(*arguments, **keywords)
        except OSError as error:
            if error.errno in NO_NAMES:
                raise NotFound from None
            raise

    return send_from_directory


def _serve_every_range(body: Any) -> None:
    """Let a class of bodies serve the last bytes (`bytes=-500`), and ranges that end beyond the end of the file."""
    original = body.make_conditional

    async def make_conditional(self: Any, begin: int, end: int | None, *more: Any) -> int:
        size = len(self.data) if isinstance(self, DataBody) else self.size
        if begin < 0:
            begin, end = max(size + begin, 0), size
        elif begin >= size:
            raise RequestedRangeNotSatisfiable(size)
        return await original(self, begin, size if end is None else min(end, size), *more)

    body.make_conditional = make_conditional
