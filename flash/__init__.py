"""Flash: Dash on Trio, with streams that cannot outlive their page.

Exports everything that `dash` exports, so that `import flash` can stand where `import dash` stood, and its own:
`Flash`, `event_callback`, `stream_props`, `feed`, and what these raise and return. What else `dash` has, submodules
included, is reachable under the name `flash`, too; only `__version__` is Flash's own, and `dash_version` tells Dash's.

Flash's own names are loaded when the first of them is asked for, and Trio, Quart and Hypercorn with them, so that
`import flash` takes no longer than `import dash`. No module of this package may have one of these names: Python would
put the module in the place of what is exported.
"""
# What Dash exports has types in part only.
# pyright: reportUnknownVariableType=false

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

from .loading import without_collections as _without_collections

with _without_collections():
    import dash as _dash_package

from dash import (
    ALL as ALL,
    ALLSMALLER as ALLSMALLER,
    MATCH as MATCH,
    CeleryManager as CeleryManager,
    ClientsideFunction as ClientsideFunction,
    DiskcacheManager as DiskcacheManager,
    Input as Input,
    NoUpdate as NoUpdate,
    Output as Output,
    Patch as Patch,
    State as State,
    callback_context as callback_context,
    clientside_callback as clientside_callback,
    ctx as ctx,
    dash_table as dash_table,
    dcc as dcc,
    dependencies as dependencies,
    development as development,
    exceptions as exceptions,
    get_app as get_app,
    get_asset_url as get_asset_url,
    get_relative_path as get_relative_path,
    hooks as hooks,
    html as html,
    no_update as no_update,
    page_container as page_container,
    page_registry as page_registry,
    register_page as register_page,
    resources as resources,
    set_props as set_props,
    stringify_id as stringify_id,
    strip_relative_path as strip_relative_path,
)

from ._dash_modules import share_modules
from .dash_flash import warn_of_dash_flash
from .page_scripts import for_dash as _scripts_for_dash

__version__ = "0.1.0"

dash_version: str = _dash_package.__version__
"""The version of the Dash underneath, for apps that branch on `dash.__version__`."""

if TYPE_CHECKING:
    from .app import Flash
    from .asyncio_bridge.bridge import on_asyncio
    from .cancel_scopes import EndReason, StreamCancelled
    from .errors import (
        AsyncioCancelled,
        BufferOverrun,
        FeedFailed,
        FeedOverrun,
        FeedUnavailable,
        FlashError,
        ForeignCancellation,
        InvalidEventCallback,
        InvalidFeed,
        InvalidOption,
        InvalidUpdate,
        RequestRefused,
        SharedStreamFailed,
        SharedStreamOverrun,
        SharedStreamUnavailable,
        WrongServer,
    )
    from .event_callbacks import EventCallback, event_callback
    from .props import Update, stream_props
    from .shared.feed import Feed, feed
    from .shared.follower import Follower
    from .shared.listing import FeedInfo, FollowerInfo, SharedStreamInfo
    from .streaming_callback import callback as callback
    from .streams.limits import StreamInfo
    from .ticks import every
    from .user_code.cleanup import cleanup
    from .watched import Watched

    # An app that imports `flash` instead of `dash` gets an app that runs on Trio.
    Dash = Flash

_HOMES = {
    "AsyncioCancelled": "errors",
    "BufferOverrun": "errors",
    "Dash": "app",
    "EndReason": "cancel_scopes",
    "EventCallback": "event_callbacks",
    "Feed": "shared.feed",
    "FeedFailed": "errors",
    "FeedInfo": "shared.listing",
    "FeedOverrun": "errors",
    "FeedUnavailable": "errors",
    "Flash": "app",
    "FlashError": "errors",
    "Follower": "shared.follower",
    "FollowerInfo": "shared.listing",
    "ForeignCancellation": "errors",
    "InvalidEventCallback": "errors",
    "InvalidFeed": "errors",
    "InvalidOption": "errors",
    "InvalidUpdate": "errors",
    "RequestRefused": "errors",
    "SharedStreamFailed": "errors",
    "SharedStreamInfo": "shared.listing",
    "SharedStreamOverrun": "errors",
    "SharedStreamUnavailable": "errors",
    "StreamCancelled": "cancel_scopes",
    "StreamInfo": "streams.limits",
    "Update": "props",
    "Watched": "watched",
    "WrongServer": "errors",
    "callback": "streaming_callback",
    "cleanup": "user_code.cleanup",
    "event_callback": "event_callbacks",
    "every": "ticks",
    "feed": "shared.feed",
    "on_asyncio": "asyncio_bridge.bridge",
    "stream_props": "props",
}
"""The module that has each of Flash's own names."""

warn_of_dash_flash()
share_modules()

_js_dist = _scripts_for_dash()
_css_dist: list[dict[str, str]] = []

__all__ = [
    "AsyncioCancelled",
    "BufferOverrun",
    "EndReason",
    "EventCallback",
    "Feed",
    "FeedFailed",
    "FeedInfo",
    "FeedOverrun",
    "FeedUnavailable",
    "Flash",
    "FlashError",
    "Follower",
    "FollowerInfo",
    "ForeignCancellation",
    "InvalidEventCallback",
    "InvalidFeed",
    "InvalidOption",
    "InvalidUpdate",
    "RequestRefused",
    "SharedStreamFailed",
    "SharedStreamInfo",
    "SharedStreamOverrun",
    "SharedStreamUnavailable",
    "StreamCancelled",
    "StreamInfo",
    "Update",
    "Watched",
    "WrongServer",
    "cleanup",
    "dash_version",
    "event_callback",
    "every",
    "feed",
    "on_asyncio",
    "stream_props",
]
__all__ += _dash_package.__all__


def __dir__() -> list[str]:
    return sorted({*__all__, "dependencies"})


if not TYPE_CHECKING:
    # Flash's own names, what Dash has and does not export, and what a newer Dash exports. Type checkers are to find
    # misspelt names.
    def __getattr__(name: str) -> Any:
        if name in _HOMES:
            with _without_collections():
                home = _import_module(f"{__name__}.{_HOMES[name]}")
            globals()[name] = found = getattr(home, "Flash" if name == "Dash" else name)
            return found
        try:
            return getattr(_dash_package, name)
        except AttributeError:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
