"""Patches Dash's code for notebooks: it serves Flash's apps with a server of Flash's.

Dash starts Werkzeug for the app in a thread, and has Flask answer exceptions with a traceback. An app of Flash runs on
neither. The rest of that code, which shows the app in its cell or in a tab, is used as it is. Options of `app.run` that
are for the server are dropped there, and some of them would be missed.
`tests/private_names/test_dash.py` fails with the name when an upgrade drops one that this module uses.
"""
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportMissingTypeStubs=false

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from functools import wraps
from typing import Any

import dash
from dash import _jupyter

_notebook: Any = _jupyter.jupyter_dash
_Dash: Any = dash.Dash


def serve_notebooks_with(
    make: Callable[[Any, str, int], Any],
    is_flashs: Callable[[object], bool],
    check: Callable[[Iterable[str]], None],
) -> None:
    """Have apps of Flash served by other servers than Werkzeug's. Only the first call does anything.

    Args:
        make: given an app, a host and a port, returns a running server, with the methods `serve_forever` and
            `shutdown`.
        is_flashs: says whether an app is one of Flash's.
        check: is given the names of the options of `app.run` in a notebook that Dash would drop without a word.
    """
    module: Any = _jupyter
    make_for_dash: Callable[..., Any] = module.make_server
    handle_exceptions: Callable[..., None] = _notebook.configure_callback_exception_handling
    run: Any = _Dash.run
    if hasattr(make_for_dash, "makes_flashs"):
        return
    own_options = inspect.signature(run).parameters
    running: ContextVar[Any] = ContextVar("flash_app_of_notebook")

    def make_server(host: str, port: int, server: Any, *arguments: Any, **keywords: Any) -> Any:
        app = running.get()
        return make(app, host, port) if is_flashs(app) else make_for_dash(host, port, server, *arguments, **keywords)

    def configure(app: Any, *arguments: Any) -> None:
        # Flash logs exceptions, and shows them in the page's dev tools.
        if not is_flashs(app):
            handle_exceptions(app, *arguments)

    @wraps(run)
    def checked_run(self: Any, *arguments: Any, **options: Any) -> None:
        if _notebook.active and is_flashs(self):
            check(name for name in options if name not in own_options)
        running.set(self)
        run(self, *arguments, **options)

    make_server.makes_flashs = True  # pyright: ignore[reportFunctionMemberAccess]
    module.make_server = make_server
    _notebook.configure_callback_exception_handling = configure
    _Dash.run = checked_run
