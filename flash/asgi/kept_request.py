"""Keeps what a stream can be asked of the request that started it: packed, until something is asked.

    the context variables of a stream ── KeptRequest ── packed: line, headers, ASGI scope ┄┄ Quart's context, request
                                             └───────── the app, its `g`, the session

A stream may last for days, and its request is over after a millisecond. Quart's objects for a request take 10 KiB; what
they were made of takes a few hundred bytes once it is compressed. Most streams ask for none of it. When the code of one
asks, say for `quart.request.headers`, the objects are made anew, and stay.

What the app's code has put on the request, on `g` and into the session is there as before. The body is not.
"""

from __future__ import annotations

import functools
import marshal
import zlib
from collections.abc import Iterable
from contextvars import Context
from typing import Any, cast

import quart
from werkzeug.datastructures import Headers
from werkzeug.utils import cached_property

from .._quart import (
    APP_CONTEXT,
    MADE_WITH_REQUEST,
    REQUEST_CONTEXT,
    HTTPConnection,
    NullSession,
    context_of_request,
    empty_body,
    has_http_request,
)
from .http_exchange import HTTP_EXCHANGE

_COMMON = (
    b"inputs_list states_list input_values state_values triggered_inputs args_grouping outputs_list outputs_grouping "
    b"id property value prop_id str_id triggered n_clicks dash._utils AttributeDict using_args_grouping "
    b"background_callback_manager ignore_register_page using_outputs_grouping custom_data "
    b"Upgrade-Insecure-Requests Sec-Ch-Ua-Mobile Sec-Ch-Ua-Platform Sec-Fetch-Dest empty Sec-Fetch-Mode cors "
    b"Sec-Fetch-Site same-origin X-Forwarded-For X-Forwarded-Proto X-Real-Ip https Referer http:// Origin "
    b"sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest sec-fetch-mode sec-fetch-site referer origin user-agent "
    b"accept accept-encoding accept-language gzip, deflate, br, zstd en-US,en;q=0.9 connection keep-alive "
    b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/ Safari/537.36 "
    b"(Macintosh; Intel Mac OS X 10_15_7) (X11; Linux x86_64) Gecko/20100101 Firefox/ "
    b"User-Agent Accept */* Accept-Encoding Accept-Language Connection Content-Length Content-Type application/json "
    b"content-type content-length cookie Cookie flash_browser= x-flash-start X-Flash-Start host Host 127.0.0.1 "
    b"Remote-Addr extensions state server client headers raw_path spec_version 2.1 version 3.0 asgi type http "
    b"view_args routing_exception body_timeout content_length remote_addr http_version 1.1 query_string path "
    b"/_dash-update-component root_path scheme http method POST"
)
"""What the data of most requests has in common, the commonest last. zlib refers to it instead of repeating it."""


def pack(data: bytes, example: bytes) -> bytes:
    """Compress what a stream keeps of its request, in a few microseconds.

    Args:
        data: is compressed.
        example: data that was made in the same way of another request. zlib refers to that, too.
    """
    compressor = zlib.compressobj(1, wbits=-13, memLevel=4, zdict=_COMMON + example)
    return compressor.compress(data) + compressor.flush()


def unpack(packed: bytes, example: bytes) -> bytes:
    """What `pack` was given."""
    return zlib.decompressobj(wbits=-13, zdict=_COMMON + example).decompress(packed)


_HEADERS = {"Host": "127.0.0.1:80", "Content-Type": "application/json", "Cookie": "flash_browser=", "X-Flash-Start": ""}

MARSHAL_VERSION = 2
"""Of the format. Newer ones write the same value differently, by whether something else refers to it."""

_EXAMPLE = marshal.dumps(
    (
        {
            "method": "POST",
            "scheme": "http",
            "server": ("127.0.0.1", 80),
            "root_path": "",
            "path": "/_dash-update-component",
            "query_string": b"",
            "remote_addr": "127.0.0.1",
            "http_version": "1.1",
            "body_timeout": None,
            "routing_exception": None,
            "view_args": {},
        },
        [*_HEADERS.items()],
        {
            "type": "http",
            "http_version": "1.1",
            "asgi": {"spec_version": "2.1", "version": "3.0"},
            "method": "POST",
            "scheme": "http",
            "path": "/_dash-update-component",
            "raw_path": b"/_dash-update-component",
            "query_string": b"",
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "state": {},
            "extensions": {},
        },
    ),
    MARSHAL_VERSION,
)
"""What `KeptRequest` packs of a request that says little."""

_COPIED = frozenset({"asgi", "client", "headers", "server"})
"""What of an ASGI scope is packed though it may be mutable: nobody changes it once the request is over."""

_CACHED = cast("type", cached_property)

_NO_SESSION = NullSession()
"""What all streams have of an app without sessions, which has no secret key."""

_SCALARS = (str, bytes, int, float, bool, type(None))


def keep_request(context: Context) -> KeptRequest | None:
    """Have a stream's contextvars keep the current request packed.

    Args:
        context: a copy of those of the request.

    Returns:
        None if there is no HTTP request in it; then nothing changes.
    """
    whole = context.get(REQUEST_CONTEXT)
    if whole is None or isinstance(whole, KeptRequest) or not has_http_request(whole):
        return None
    kept = KeptRequest(whole)
    context.run(REQUEST_CONTEXT.set, kept)
    context.run(HTTP_EXCHANGE.set, None)
    app_context = context.get(APP_CONTEXT)
    if APP_CONTEXT is not REQUEST_CONTEXT and app_context is not None and not list(app_context.g):
        context.run(APP_CONTEXT.set, KeptAppContext(app_context.app))
    return kept


class Kept:
    """Stands for an object, which it makes when it is asked for more than its own slots have."""

    __slots__ = ("_whole",)

    def __init__(self) -> None:
        self._whole: Any = None

    def _make(self) -> Any:
        """What this stands for."""
        if self._whole is None:
            self._whole = self._unpacked()
        return self._whole

    def _unpacked(self) -> Any:
        """Make it. Each subclass says how."""
        raise AssertionError(f"{type(self).__name__} does not say how it is made")

    def __getattr__(self, name: str) -> Any:
        # Called for what is not at hand.
        return getattr(self._make(), name)

    def __setattr__(self, name: str, value: object) -> None:
        # Slots are attributes of the class.
        if hasattr(type(self), name):
            object.__setattr__(self, name, value)
        else:
            setattr(self._make(), name, value)


class KeptRequest(Kept):
    """Stands for Quart's context of a request that is over, and makes it when it is asked for more than it has.

    Attributes:
        app: the Quart app.
        session: of the request.
        g: of the request; only where Quart's context of a request has it.
    """

    __slots__ = ("_kind", "_objects", "_packed", "app", "g", "session")

    def __init__(self, whole: Any) -> None:
        """`whole`: Quart's context."""
        super().__init__()
        request: Any = whole.request
        made = MADE_WITH_REQUEST | _cached_properties(type(cast("object", request)))
        values = cast("dict[str, Any]", vars(request))
        attributes, own = _split((name, value) for name, value in values.items() if name not in made)
        scope, others = _split(request.scope.items())
        headers = [(str(name), str(value)) for name, value in request.headers]
        self._packed = pack(marshal.dumps((attributes, headers, scope), MARSHAL_VERSION), _EXAMPLE)
        self._objects = (own, others)
        self._kind = type(cast("object", whole))
        self.app: quart.Quart = whole.app
        # One that is not there takes no session's place.
        self.session: Any = _NO_SESSION if type(whole.session) is NullSession else whole.session
        if hasattr(whole, "g"):
            self.g: Any = whole.g

    def _unpacked(self) -> Any:
        attributes, headers, scope = marshal.loads(unpack(self._packed, _EXAMPLE))  # noqa: S302 - packed by `__init__`
        own, others = self._objects
        request: Any = HTTPConnection(self.app, cast("Any", {**scope, **dict(others)})).create_request(_send_nothing)
        whole = context_of_request(self._kind, self.app, request, self.session)
        cast("dict[str, Any]", vars(request)).update(attributes, **dict(own))
        request.headers = Headers(headers)
        request.body = empty_body()
        if hasattr(whole, "g"):
            whole.g = self.g
        return whole


class KeptAppContext(Kept):
    """Stands for Quart's context of an app, on whose `g` there is nothing, and makes it when it is asked for that.

    Attributes:
        app: the Quart app.
    """

    __slots__ = ("app",)

    def __init__(self, app: quart.Quart) -> None:
        super().__init__()
        self.app = app

    def _unpacked(self) -> Any:
        return self.app.app_context()


@functools.cache
def _cached_properties(kind: type) -> frozenset[str]:
    """The names under which objects of a class keep what they have found out when they were asked for it."""
    return frozenset(name for name in dir(kind) if type(getattr(kind, name, None)) is _CACHED)


def _split(values: Iterable[tuple[str, Any]]) -> tuple[dict[str, Any], tuple[tuple[str, Any], ...]]:
    """Part values into those that are as good when they are copied, and the others."""
    plain: dict[str, Any] = {}
    others: list[tuple[str, Any]] = []
    for name, value in values:
        if _is_plain(value, name in _COPIED):
            plain[name] = value
        else:
            others.append((name, value))
    return plain, tuple(others)


def _is_plain(value: object, copied: bool = False) -> bool:
    """Whether a value cannot change, or is an empty dict or list; or, if it may be `copied`, one of such values."""
    kind = type(value)
    if kind is tuple or (copied and kind is list):
        return all(_is_plain(each, copied) for each in cast("Iterable[object]", value))
    if copied and kind is dict:
        return all(map(_is_plain, cast("dict[str, object]", value).values()))
    return kind in _SCALARS or (kind in (dict, list) and not value)


async def _send_nothing(message: Any) -> None:
    """An ASGI `send` for a request that was answered."""
