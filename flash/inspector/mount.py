"""Serves the inspector beside an app, to those who may see it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any, cast

import quart
import trio
from quart import Request, Websocket

from .._dash import keeping_current_app
from ..errors import InvalidOption
from ..server.all_workers import AllWorkers
from ..shared.sources import sources_for
from ..streams.limits import StreamInfo
from ..user_code.containment import log_failure
from ..user_code.functions import takes
from ..user_code.threads import in_thread
from .ends import Ends

_log = logging.getLogger("flash.server")

Inspect = Callable[[Any], Any]
"""What an app gives as `inspect=`: of the request, plain or async."""


class Inspector:
    """The inspector of an app.

    Attributes:
        ends: the last streams that ended.
        is_mounted: its page is served.
    """

    def __init__(self, function: Inspect | None) -> None:
        """
        Args:
            function: says what who has sent a request may do: False for nothing, "look", or True to end streams as
                well; None for an app that leaves it to `debug`.

        Raises:
            InvalidOption: it is no function of the request.
        """
        if function is not None and not (callable(function) and takes(function, None)):
            raise InvalidOption(f"inspect= of Flash(...) is to be a function of the request, got {function!r}.")
        self.ends = Ends()
        self.is_mounted = False
        self._function = function
        self._ask = function
        if function is not None and not iscoroutinefunction(function):
            self._ask = in_thread(function, trio.CapacityLimiter(8))

    @property
    def is_asked_for(self) -> bool:
        """The app has said who may see it; else it is there with dev tools only."""
        return self._function is not None

    def mount(self, app: Any, new_app: Callable[..., Any]) -> None:
        """Serve the page beside `app`. Only the first call does anything.

        Args:
            app: the Flash app to look at.
            new_app: makes a Flash app.
        """
        if self.is_mounted:
            return
        # Loaded where there is an inspector.
        from .page import ROUTE, make_page
        from .snapshot import take_snapshot

        self.is_mounted = self.ends.are_kept = True
        workers: AllWorkers = app.all_workers
        workers.snapshot = lambda: take_snapshot(app.channels, sources_for(app.sources), self.ends)
        config, server = app.config, app.asgi_server
        prefix = f"{config.routes_pathname_prefix}{ROUTE}"

        async def guard_request() -> Any:
            return await self._guard(quart.request, prefix)

        async def guard_websocket() -> Any:
            return await self._guard(quart.websocket, prefix)

        server.before_request(guard_request)
        server.before_websocket(guard_websocket)
        with keeping_current_app():
            page = new_app(
                "flash_inspector",
                server=server,
                routes_pathname_prefix=prefix,
                requests_pathname_prefix=f"{config.requests_pathname_prefix}{ROUTE}",
                title="Flash inspector",
                include_assets_files=False,
                suppress_callback_exceptions=True,
                update_title=None,
            )

        async def end(stream: str) -> int:
            def is_meant(info: StreamInfo) -> bool:
                return info.id == stream

            return await app.end_all_streams(where=is_meant, why="ended in the inspector")

        make_page(page, workers.snapshots, end, lambda: quart.g.get("flash_may_end", False))

    async def _guard(self, request: Request | Websocket, prefix: str) -> Any:
        if not request.path.startswith(prefix.rstrip("/")):
            return None
        allowed = await self._allowed(request)
        quart.g.flash_may_end = allowed is True
        return None if allowed in (True, "look") else ("There is no such page.", 404)

    async def _allowed(self, request: Request | Websocket) -> object:
        if self._ask is None:
            return True
        try:
            return await self._ask(cast("Any", request))
        except Exception as error:
            log_failure(_log, error, "inspect= of Flash(...) raised: the inspector is not shown.")
            return False
