"""Typed access to the private names of Dash that Flash uses.

The other modules import these names from here. `_dash_patches` has what Flash changes in Dash.
`tests/private_names/test_dash.py` fails with the name when an upgrade drops one.
"""
# Dash is typed in part only, and most of this is private on purpose.
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Generator, Sequence
from contextvars import ContextVar
from functools import partial
from importlib import import_module
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, TypeVar, cast

import dash
from dash import _callback, _callback_context, _get_app, _grouping, _utils, _validate, dependencies, exceptions
from dash.dependencies import DashDependency, Wildcard
from dash.development.base_component import Component, ComponentRegistry

from ._dash_context import QuickContext
from ._dash_reload_hash import SharedReloadHash
from ._dash_signing_secret import SharedSigningSecret
from .user_code.threads import run_async, run_without_waiting

__all__ = [
    "APP_NAMES",
    "AttributeDict",
    "Component",
    "DashApp",
    "DashDependency",
    "PreventUpdate",
    "QuartDashServer",
    "RequestAdapter",
    "StandsForComponent",
    "TypedComponent",
    "WebsocketDisconnected",
    "Wildcard",
    "add_route",
    "app_context",
    "callback",
    "calling_pages_plainly",
    "calls_users_function",
    "context_value",
    "disagrees_with_callback",
    "extra_components",
    "flatten_grouping",
    "function_of",
    "handle_grouped_callback_args",
    "hidden_component",
    "inputs_to_dict",
    "is_flash",
    "is_no_update",
    "is_set_up",
    "keeping_current_app",
    "make_pages_plain",
    "map_grouping",
    "output_props",
    "prepare_callback",
    "prepare_websocket_callback",
    "set_shutdown_event",
    "setup_server",
    "shows_dev_tools",
    "silences_routes",
    "stringify_id",
    "uses_websocket",
    "validate_and_group_input_args",
    "websocket_hooks",
    "websocket_options",
]

APP_NAMES = (
    "_add_url",
    "_config",
    "_dev_tools",
    "_execute_callback",
    "_extra_components",
    "_got_first_request",
    "_hooks",
    "_hot_reload",
    "_initialize_context",
    "_inputs_to_vals",
    "_layout_value",
    "_on_assets_change",
    "_prepare_callback",
    "_setup_server",
    "_use_async",
    "_websocket_allowed_origins",
    "_websocket_batch_delay",
    "_websocket_callbacks",
)
"""The private attributes of a Dash app that Flash uses."""


@contextlib.contextmanager
def _keeping_signal_handlers() -> Generator[None]:
    """Restore the signal handlers after the block: some versions of Dash's Quart backend replace them when imported."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            # None: C code has installed the handler, and Python cannot restore it.
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)


with _keeping_signal_handlers():
    _quart_backend: Any = import_module("dash.backends._quart")

if TYPE_CHECKING:

    class TypedComponent(Component):
        """Dash's base class of components, with a constructor that has types."""

        def __init__(self, **props: Any) -> None: ...

    class StandsForComponent(Component):
        """The base of a class that `let_stand_for_component` is called with, for type checkers only."""

    class QuartDashServer:
        """Dash's own backend on Quart."""

        server: Any
        server_type: str

        def __init__(self, server: Any) -> None: ...
        def add_url_rule(
            self, rule: str, view_func: Any, endpoint: str | None = None, methods: list[str] | None = None
        ) -> None: ...
        def serve_component_suites(self, dash_app: Any, package_name: str, fingerprinted_path: str) -> Any: ...
        def register_callback_api_routes(self, callback_api_paths: dict[str, Any]) -> None: ...

    class _QuartRequestAdapter:
        """A request as Dash's own code reads it."""

        _request: Any

else:
    TypedComponent = Component
    StandsForComponent = object
    QuartDashServer = _quart_backend.QuartDashServer
    _QuartRequestAdapter = _quart_backend.QuartRequestAdapter

C = TypeVar("C", bound=Component)


AttributeDict: Any = _utils.AttributeDict
PreventUpdate: type[Exception] = exceptions.PreventUpdate
WebsocketDisconnected: type[Exception] = exceptions.WebsocketDisconnected
app_context = _get_app.app_context
callback: Callable[..., Any] = dash.callback
context_value = cast("ContextVar[Any]", _callback_context.context_value)
flatten_grouping: Callable[[Any], list[Any]] = _grouping.flatten_grouping
handle_grouped_callback_args: Callable[[list[Any], dict[str, Any]], tuple[Any, list[Any], list[Any], Any, Any]] = (
    dependencies.handle_grouped_callback_args
)
inputs_to_dict: Callable[[Sequence[Any]], Any] = _utils.inputs_to_dict
is_no_update: Callable[[object], bool] = dash.NoUpdate.is_no_update
map_grouping: Callable[[Callable[[int], Any], Any], Any] = _grouping.map_grouping
stringify_id: Callable[[Any], str] = _utils.stringify_id
validate_and_group_input_args = cast(
    "Callable[[Sequence[Any], Any], tuple[list[Any], dict[str, Any]]]", _validate.validate_and_group_input_args
)


class DashApp(QuickContext, SharedReloadHash, SharedSigningSecret):
    """A Dash app whose private methods that Flash overrides have names of Flash's own.

    Dash calls the private methods, which call those of Flash's names; the latter do what Dash does until a subclass
    overrides them.
    """

    def _prepare_for_requests(self) -> None:
        """Make the app ready for requests: assets, layout, callbacks."""
        super()._setup_server()

    def _renderer_options(self) -> dict[str, Any]:
        """The options of the app that the page's renderer receives."""
        return super()._config()

    def _executing(self, function: Any, arguments: Any, outputs: Any, context: Any) -> Any:
        """A function without parameters that executes a callback."""
        return super()._execute_callback(function, arguments, outputs, context)

    def _layout_before_hooks(self) -> Any:
        """The layout, with the extra components."""
        return super()._layout_value()

    def _setup_server(self) -> None:
        self._prepare_for_requests()

    def _config(self) -> dict[str, Any]:
        return self._renderer_options()

    def _execute_callback(self, func: Any, args: Any, outputs_list: Any, g: Any) -> Any:
        return self._executing(func, args, outputs_list, g)

    def _layout_value(self) -> Any:
        return self._layout_before_hooks()


class RequestAdapter(_QuartRequestAdapter):
    """A request as Dash's own code reads it.

    Args:
        incoming: the request, which may be the handshake of a websocket.
    """

    def __init__(self, incoming: Any) -> None:
        self._request = incoming

    def get_json(self) -> Any:
        """The body. Not async, so that the route of MCP is not async either, and runs in a thread."""
        return run_async(self._request.get_json)


def hidden_component(*props: str) -> Callable[[type[C]], type[C]]:
    """Make a class a component that Flash's scripts draw: one without children, with these properties."""

    def describe(kind: type[C]) -> type[C]:
        described: Any = kind
        described._children_props = ComponentRegistry.children_props["flash"][kind.__name__] = []
        described._base_nodes = ["children"]
        described._namespace = "flash"
        described._type = kind.__name__
        described._prop_names = described.available_properties = list(props)
        described._valid_wildcard_attributes = described.available_wildcard_properties = []
        return kind

    return describe


def calls_users_function(module: str, function: str) -> bool:
    """Whether the function of this name in the module of this name is the one in which Dash calls a callback."""
    return module == _callback.__name__ and function in ("_invoke_callback", "_async_invoke_callback")


def set_shutdown_event(backend: QuartDashServer, stop: Callable[[], None], is_closed: Callable[[], bool]) -> None:
    """Let the fixtures of `dash.testing` stop the server of a backend: they look for an event in it."""
    cast("Any", backend)._ws_shutdown_event = _ShutdownEvent(stop, is_closed)


class _ShutdownEvent:
    """Stops a server for the fixtures of `dash.testing`, which take it for the `asyncio.Event` of Dash's backend.

    The fixtures read it from `backend._ws_shutdown_event`, and call `event._loop.call_soon_threadsafe(event.set)`.
    """

    def __init__(self, stop: Callable[[], None], is_closed: Callable[[], bool]) -> None:
        self.set = stop
        self.is_closed = is_closed
        self._loop = self

    def call_soon_threadsafe(self, function: Callable[[], None]) -> None:
        function()


def is_flash(app: dash.Dash) -> bool:
    """Whether an app is a Flash app: only such an app has a `stream_settings`."""
    return hasattr(app, "stream_settings")


def add_route(app: dash.Dash, name: str, view: Callable[..., Any]) -> None:
    """Serve `GET {prefix}{name}` with `view`."""
    app._add_url(name, view, methods=["GET"])


def extra_components(app: dash.Dash) -> list[Any]:
    """The components that are appended to every layout of the app."""
    return app._extra_components


def is_set_up(app: dash.Dash) -> bool:
    """Whether `setup_server` has been called."""
    return bool(app._got_first_request["setup_server"])


def setup_server(app: dash.Dash) -> None:
    """Make the app ready for requests: assets, layout, callbacks."""
    app._setup_server()


@contextlib.contextmanager
def keeping_current_app() -> Generator[None]:
    """Have `dash.get_app()` return the same app after the block, in which another one is made, as before."""
    current: Any = _get_app.APP
    try:
        yield
    finally:
        _get_app.APP = current


def shows_dev_tools(app: dash.Dash) -> bool:
    """Whether the page shows Dash's dev tools, and so may show tracebacks."""
    return bool(app._dev_tools.get("ui"))


def silences_routes(app: dash.Dash) -> bool:
    """Whether the app asks for no log of its routes."""
    return bool(app._dev_tools.get("silence_routes_logging"))


def output_props(value: object, grouping: Any, resolved: Any, callback_name: str) -> dict[str, dict[str, Any]]:
    """The props, by component id, that the return value of a callback with these Outputs stands for.

    Args:
        value: the return value.
        grouping: the Outputs as the callback declares them.
        resolved: the components of the Outputs, from the renderer's request.
        callback_name: the name of the callback, for messages.
    """
    response: dict[str, Any] = {}
    _callback._prepare_response(
        value,
        resolved,
        not isinstance(grouping, dash.Output),
        cast("Any", response),
        AttributeDict(updated_props={}),
        None,
        ComponentRegistry.registry,
        None,
        False,
        True,
        grouping,
        callback_name,
        True,
    )
    return response["response"]


def websocket_options(app: dash.Dash) -> tuple[list[str], float]:
    """The origins that may open websockets besides the app's own, and the seconds between two frames of updates."""
    return app._websocket_allowed_origins, app._websocket_batch_delay or 0.0


def websocket_hooks(app: dash.Dash, name: str) -> list[Callable[..., Any]]:
    """The hooks of websockets with a name, `websocket_connect` or `websocket_message`, in order."""
    return [hook.func for hook in app._hooks.get_hooks(name)]


def uses_websocket(app: dash.Dash) -> bool:
    """Whether any callback of the app may be called over a websocket."""
    return bool(app._websocket_callbacks) or any(entry.get("websocket") for entry in app.callback_map.values())


def prepare_websocket_callback(app: dash.Dash, body: Any, interface: object) -> tuple[Callable[[], Any], bool]:
    """The function that executes a callback called over a websocket, and whether it is a coroutine function.

    Args:
        app: the app.
        body: the payload of the request.
        interface: the value of `ctx.websocket`.

    Raises:
        KeyError: the app has no such callback, or it is not served over websockets.
    """
    entry = app.callback_map[body["output"]]
    if entry.get("background") or not (app._websocket_callbacks or entry.get("websocket")):
        raise KeyError(f"the callback {body['output']!r} is not served over websockets")
    _, execute, is_async = prepare_callback(app, body, interface)
    return execute, is_async


def function_of(app: dash.Dash, output: str) -> Callable[..., Any]:
    """The user's function of the callback that Dash knows by `output`."""
    registered = app.callback_map[output]["callback"]
    return getattr(registered, "__wrapped__", registered)


def prepare_callback(app: dash.Dash, body: Any, websocket: object = None) -> tuple[Any, Callable[[], Any], bool]:
    """The context of a callback request, the function that executes it, and whether that is a coroutine function.

    A function that is not is to be called in a worker thread.

    Args:
        app: the app.
        body: the body of the request.
        websocket: the value of `ctx.websocket`.

    Raises:
        KeyError: the app has no such callback.
    """
    context = app._initialize_context(body)
    context.dash_websocket = websocket
    function = app._prepare_callback(context, body)
    arguments = app._inputs_to_vals(context.inputs_list + context.states_list)
    execute = app._execute_callback(function, arguments, context.outputs_list, context)
    if not iscoroutinefunction(function):
        return context, execute, False
    if app.callback_map[body["output"]].get("background"):
        # This starts a background job or reads its result: nothing to await, but a store or broker may block it.
        return context, partial(run_without_waiting, execute), False
    return context, execute, True


def disagrees_with_callback(app: dash.Dash, body: Any) -> bool:
    """Whether a callback request differs from its callback's declaration, so that no page of the app sends it."""
    try:
        entry = app.callback_map[body["output"]]
        for name in ("inputs", "state"):
            sent = body.get(name, [])
            if not isinstance(sent, list) or len(sent) != len(entry[name]):
                return True
            for one in sent:
                for part in one if isinstance(one, list) else [one]:
                    if not isinstance(part["id"], str | dict) or not isinstance(part["property"], str):
                        return True
        if not all(isinstance(changed, str) for changed in body.get("changedPropIds", [])):
            return True
        if not entry["no_output"]:
            declared, outputs = entry["output"], body["outputs"]
            _validate.validate_output_spec(declared, outputs, dash.Output)
            single = not isinstance(declared, list | tuple)
            for output, one in zip([declared] if single else declared, [outputs] if single else outputs, strict=True):
                if isinstance(one, list) != _is_of_many(output.component_id):
                    return True
    except Exception:
        # The request cannot even be compared with the declaration.
        return True
    return False


def _is_of_many(component_id: Any) -> bool:
    return isinstance(component_id, dict) and any(
        value in (dash.ALL, dash.ALLSMALLER) for value in component_id.values()
    )


def make_pages_plain(as_plain: Callable[[Any], Any]) -> None:
    """Replace the layouts and titles of pages by plain functions, made with `as_plain`."""
    for page in dash.page_registry.values():
        for name in ("layout", "title"):
            page[name] = as_plain(page.get(name))


@contextlib.contextmanager
def calling_pages_plainly(app: dash.Dash) -> Generator[None]:
    """During the block, have Dash choose the router that calls layouts as plain functions: Flash runs it in threads."""
    use_async, app._use_async = app._use_async, False
    try:
        yield
    finally:
        app._use_async = use_async
