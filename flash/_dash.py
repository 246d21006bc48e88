"""The one place that touches names of Dash and Hypercorn that are not theirs to promise.

Everything else imports them from here; `tests/test_private_names.py` fails with the name when an upgrade drops one.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from inspect import iscoroutinefunction
from typing import Any

import dash


@contextlib.contextmanager
def _keeping_signal_handlers() -> Iterator[None]:
    """Some versions of Dash's Quart backend install signal handlers when they are imported."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)


with _keeping_signal_handlers():
    from dash.backends._quart import QuartDashServer

from dash._callback_context import context_value
from dash._grouping import flatten_grouping, map_grouping
from dash._utils import AttributeDict, inputs_to_dict, stringify_id, to_json
from dash._validate import validate_and_group_input_args
from dash.backends._utils import format_traceback_html
from dash.dependencies import DashDependency, Wildcard, handle_grouped_callback_args
from dash.development.base_component import Component
from hypercorn.trio import serve

__all__ = [
    "AttributeDict",
    "Component",
    "DashDependency",
    "QuartDashServer",
    "Wildcard",
    "context_value",
    "extra_components",
    "flatten_grouping",
    "format_traceback_html",
    "handle_grouped_callback_args",
    "inputs_to_dict",
    "map_grouping",
    "prepare_callback",
    "serve",
    "setup_server",
    "shows_dev_tools",
    "silences_routes",
    "stringify_id",
    "to_json",
    "validate_and_group_input_args",
]

PRIVATE_METHODS = (
    "_dev_tools",
    "_execute_callback",
    "_extra_components",
    "_initialize_context",
    "_inputs_to_vals",
    "_layout_value",
    "_prepare_callback",
    "_setup_server",
)
"""What Flash uses of a Dash app."""


def extra_components(app: dash.Dash) -> list[Any]:
    """The components that are appended to every layout of the app."""
    return app._extra_components


def shows_dev_tools(app: dash.Dash) -> bool:
    """Whether the page shows Dash's dev tools, and so may show tracebacks."""
    return bool(app._dev_tools.get("ui"))


def silences_routes(app: dash.Dash) -> bool:
    """Whether the server's log of routes is to be silent."""
    return bool(app._dev_tools.get("silence_routes_logging"))


def setup_server(app: dash.Dash) -> None:
    """Make the app ready for requests: assets, layout, callbacks."""
    app._setup_server()


def prepare_callback(app: dash.Dash, body: Any) -> tuple[Any, Callable[[], Any], bool]:
    """The context of a callback request, what executes it, and whether that is a coroutine function.

    Raises:
        KeyError: the app has no such callback.
    """
    context = app._initialize_context(body)
    function = app._prepare_callback(context, body)
    arguments = app._inputs_to_vals(context.inputs_list + context.states_list)
    execute = app._execute_callback(function, arguments, context.outputs_list, context)
    return context, execute, iscoroutinefunction(function)
