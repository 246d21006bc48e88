"""Flash: Dash on Trio, with streams that cannot outlive their page.

Exports everything that `dash` exports, so that `import flash` can stand where `import dash` stood, and its own:
`Flash`, `event_callback`, `stream_props`, and what these raise and return.
"""

from __future__ import annotations

import sys as _sys

import dash as _dash_package
from dash import *  # noqa: F403
from dash import dcc, exceptions, html  # noqa: F401 - names that type checkers do not follow through __all__

from .app import Flash
from .cancel_scopes import EndReason, StreamCancelled
from .errors import (
    BufferOverrun,
    FlashError,
    InvalidEventCallback,
    InvalidOption,
    InvalidUpdate,
    RequestRefused,
    WrongServer,
)
from .event_callback import EventCallback, event_callback
from .nursery import StreamInfo
from .props import Update, stream_props

__version__ = "0.1.0"

# An app that imports `flash` instead of `dash` gets an app that runs on Trio.
Dash = Flash

# The submodules of dash that apps import from: `from flash.exceptions import PreventUpdate`.
for _name in ("dash_table", "dcc", "dependencies", "development", "exceptions", "html", "resources"):
    _sys.modules[f"{__name__}.{_name}"] = _sys.modules[f"dash.{_name}"]

_js_dist = [
    {"relative_package_path": "client/streams.js", "namespace": "flash"},
    {"relative_package_path": "client/connection.js", "namespace": "flash"},
]
_css_dist: list[dict[str, str]] = []

__all__ = [  # noqa: PLE0604
    *_dash_package.__all__,
    "BufferOverrun",
    "EndReason",
    "EventCallback",
    "Flash",
    "FlashError",
    "InvalidEventCallback",
    "InvalidOption",
    "InvalidUpdate",
    "RequestRefused",
    "StreamCancelled",
    "StreamInfo",
    "Update",
    "WrongServer",
    "event_callback",
    "stream_props",
]
