"""Holds the callback request at hand, for code that Dash calls with the values of Inputs and States alone.

    server/backend.py    over HTTP          ─┐
                                             ├─ CALLBACK_REQUEST ── Dash ── callbacks/start.py, asyncio_bridge
    websockets/route.py  over a websocket   ─┘

The start of a stream needs more of the request than those values. All of that is in the one context variable here,
which is set before Dash is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import trio
from quart import Request

from ..cancel_scopes import StreamCancelled
from ..channels import Channels
from ..shared.sources import Sources
from ..streams.on_error import Handler
from .identify import Identify


@dataclass(frozen=True)
class StreamSettings:
    """What the streams of an app need of the app that serves them.

    Attributes:
        channels: the channels of its pages.
        sources: the sources of shared streams.
        nursery: returns the nursery for new channels; raises RequestRefused where the server can run no streams.
        describe: given a callback's name and its failure, the JSON that `end` says of that to the page.
        on_error: the app's own handler, for failures of streams whose callback has none; None if there is none.
        shows_mistakes: whether pages have dev tools, in which mistakes that raise nothing are to be shown.
        identify: says whose a request is; None if the app does not.
        enter_stream: called in the context of each stream that starts, which outlives the request.
    """

    channels: Channels
    sources: Sources
    nursery: Callable[[], trio.Nursery]
    describe: Callable[[str, BaseException], bytes]
    on_error: Handler | None = None
    shows_mistakes: Callable[[], bool] = lambda: False
    identify: Identify | None = None
    enter_stream: Callable[[], None] = lambda: None

    @cached_property
    def of_streams(self) -> CallbackRequest:
        """What stands for the request in all streams: they know the app, and no request."""
        return CallbackRequest(self)

    def handler(self, own: Handler | None) -> Handler | None:
        """The `on_error` of a stream: that of its callback, `own`, else the app's, which hears of failures only."""
        of_app = self.on_error
        if own is not None or of_app is None:
            return own
        return lambda error: None if isinstance(error, StreamCancelled) else of_app(error)


@dataclass(slots=True)
class CallbackRequest:
    """One callback request, over HTTP or a websocket.

    Attributes:
        settings: what streams need of the app that serves it.
        body: what Dash's renderer sent; empty where no callback was asked for yet, as in a hook, and in a stream, which
            outlives its request.
        values_size: bytes of memory, about, that the values in `body` take; 0 if they are small.
        http: the HTTP request; None over a websocket.
    """

    settings: StreamSettings
    body: Mapping[str, Any] = field(default_factory=dict[str, Any])
    values_size: int = 0
    http: Request | None = None


CALLBACK_REQUEST: ContextVar[CallbackRequest | None] = ContextVar("flash_callback_request", default=None)
"""The callback request at hand; None where there is none, or a plain `dash.Dash` serves it."""
