"""The decorator `callback`: Dash's own over a function, and a streaming callback over a generator function.

A streaming callback is an event callback with Outputs: each value that it yields goes into them at once, and its
streams end as those of event callbacks do. Dash registers it as a callback with these Outputs; its request starts the
stream and updates nothing. So Dash's rules for Outputs hold: duplicates are refused, MATCH and ALL work, and without
`prevent_initial_call=True` the page calls it initially.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from inspect import iscoroutinefunction
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

import dash

from . import _dash
from ._dash import handle_grouped_callback_args
from .asgi.http_exchange import cancel_with_client
from .callbacks.declaration import Declaration, EventCallbackOptions, check_on_error
from .errors import InvalidEventCallback
from .event_callbacks import (
    GLOBAL_EVENT_CALLBACKS,
    EventCallback,
    EventCallbacks,
    prepare_dash,
    register_starter,
)
from .props import stream_props
from .user_code.discarded_calls import check_discarded
from .user_code.functions import is_generator_function, kind_of_generator, name_of
from .user_code.threads import on_own_loop

P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])

_GENERATORS_ONLY = (
    "watch",
    "reset_props",
    "timeout",
    "restart",
    "conflate",
    "keep",
    "overlap",
    "shared",
    "linger",
    "resume",
)
_RESULTS_ONLY = {
    "background": "a background callback",
    "api_endpoint": "an API endpoint",
    "mcp_enabled": "an MCP tool",
    "progress": "progress=",
}
"""Options for callbacks that return one result, and what a message calls such a callback."""

_NOT_FOR_STREAMS = ("manager", "cache_args_to_ignore", "cache_ignore_triggered", "interval", "progress_default")
"""Options of background callbacks. On other callbacks they have no effect, and Dash accepts them there."""


class CallbackDecorator(Protocol):
    """What `callback(...)` returns: it leaves functions as they are, and makes event callbacks of generators."""

    @overload
    def __call__(self, function: Callable[P, AsyncIterator[Any] | Iterator[Any]]) -> EventCallback[P, Any]: ...
    @overload
    def __call__(self, function: F) -> F: ...


def callback(*arguments: Any, **options: Any) -> CallbackDecorator:
    """Make a function a callback, as `dash.callback` does; a generator function becomes a streaming callback.

    Args:
        arguments: Outputs, Inputs and States, in every form that `dash.callback` takes.
        options: those of `dash.callback`; over a generator `cancel`, `watch`, `on_error`, `reset_props`, `running`,
            `timeout`, `restart`, `conflate`, `keep`, `overlap`, `shared`, `linger` and `resume` are those of
            `event_callback`, and what `on_error` returns goes into the Outputs as well. Over an `async def` that
            returns its result, `on_disconnect="cancel"` has it cancelled when its page is closed or reloaded; by
            default (`"finish"`) it comes to its end, as a plain function does.

    Raises:
        InvalidEventCallback: an option is malformed, or is not for a function of this kind.
    """
    return declare_callback(_dash.callback, GLOBAL_EVENT_CALLBACKS, arguments, options)


def declare_callback(
    register: Callable[..., Any], declared: EventCallbacks, arguments: tuple[Any, ...], options: Mapping[str, Any]
) -> CallbackDecorator:
    """The decorator behind `callback`: registers with `register`, Dash's own, and notes streams in `declared`."""
    prepare_dash()
    options = dict(options)
    on_disconnect = options.pop("on_disconnect", None)

    def decorate(function: Any) -> Any:
        name = name_of(function)
        is_streaming = _is_streaming(function, options)
        _check_on_disconnect(on_disconnect, function, name, is_streaming, options)
        if is_streaming:
            return _streaming(function, register, declared, arguments, options)
        for option in _GENERATORS_ONLY:
            if option in options:
                raise InvalidEventCallback(
                    f"{option}= of {name!r} is for streaming callbacks, which yield; it returns its result."
                )
        if options.get("cancel") is not None and not options.get("background"):
            raise InvalidEventCallback(
                f"cancel= of {name!r} would do nothing: a callback that returns its result is not cancelled. Let it "
                "yield, under @callback or @event_callback, and the stream ends when a condition is not met any more; "
                "or give it background=True."
            )
        check_on_error(name, options.get("on_error"))
        check_discarded(
            function,
            repr(name),
            stream_props,
            "a callback that returns its result has no updates. Make it yield them, or call set_props(id, props)",
        )
        if options.get("background"):
            register(*arguments, **options)(on_own_loop(function))
            return function
        register(*arguments, **options)(_with_its_client(function) if on_disconnect == "cancel" else function)
        return function

    return cast("CallbackDecorator", decorate)


def _check_on_disconnect(
    value: object, function: object, name: str, is_streaming: bool, options: Mapping[str, Any]
) -> None:
    """Raise InvalidEventCallback if this function cannot have this `on_disconnect=`."""
    if value is None:
        return
    if value not in ("finish", "cancel"):
        raise InvalidEventCallback(f"on_disconnect= of {name!r} is to be 'finish' or 'cancel', got {value!r}.")
    if is_streaming:
        raise InvalidEventCallback(
            f"on_disconnect= of {name!r} is for callbacks that return their result: it yields, and a stream ends with "
            "its page, reconnect_grace= of Flash(...) later."
        )
    if options.get("background"):
        raise InvalidEventCallback(
            f"on_disconnect= of {name!r} would do nothing: a background callback runs apart from its request. To end "
            "it there is cancel=."
        )
    if value == "cancel" and not iscoroutinefunction(function):
        raise InvalidEventCallback(
            f"on_disconnect='cancel' of {name!r} is for `async def`: a plain function runs in a thread, which nobody "
            "can stop. Make it async, or leave on_disconnect= out."
        )
    if value == "finish" and options.get("websocket"):
        raise InvalidEventCallback(
            f"on_disconnect='finish' of {name!r} is not for callbacks over a websocket, which end with it. Leave "
            "websocket=True out."
        )


def _with_its_client(function: Callable[..., Any]) -> Callable[..., Any]:
    """An async function that is cancelled when the client of its request has gone."""

    @functools.wraps(function)
    async def run(*arguments: Any, **keywords: Any) -> Any:
        cancel_with_client()
        return await function(*arguments, **keywords)

    return run


def _is_streaming(function: Any, options: Mapping[str, Any]) -> bool:
    """Whether the callback streams: its function yields, and no decorator makes one result of that for an option."""
    if is_generator_function(function):
        return True
    return kind_of_generator(function) is not None and not any(options.get(option) for option in _RESULTS_ONLY)


def _streaming(
    function: Callable[..., Any],
    register: Callable[..., Any],
    declared: EventCallbacks,
    arguments: tuple[Any, ...],
    options: Mapping[str, Any],
) -> EventCallback[..., Any]:
    name = name_of(function)
    decorated: object = function
    if isinstance(decorated, EventCallback) and cast("Any", decorated).stream.output is None:
        raise InvalidEventCallback(
            f"{name!r} is an event callback already, which yields its updates: @callback above it would start a second "
            "stream each time. Leave one of the two decorators out."
        )
    for option, described in _RESULTS_ONLY.items():
        if options.get(option):
            raise InvalidEventCallback(
                f"{name!r} yields, and so cannot be {described}: that takes one result. Return it, or leave "
                f"{option}= out."
            )
    own = {option: options[option] for option in EventCallbackOptions.__dataclass_fields__ if option in options}
    if isinstance(own.get("cancel"), dash.Input):
        # As background callbacks may have it.
        own["cancel"] = [own["cancel"]]
    dependencies = {option: options[option] for option in ("output", "inputs", "state") if option in options}
    passed_on = {
        option: value
        for option, value in options.items()
        if not (option in own or option in dependencies or option in _RESULTS_ONLY or option in _NOT_FOR_STREAMS)
    }
    declaration = Declaration.check(name, arguments, dependencies, EventCallbackOptions(**own))
    *_, prevent_initial_call = handle_grouped_callback_args(list(arguments), dict(options))
    passed_on.pop("prevent_initial_call", None)
    if prevent_initial_call is None and declaration.outputs is None and declaration.matches:
        # Without an Output that matches there is nothing that Dash could call initially.
        prevent_initial_call = True
    return register_starter(function, declaration, register, declared, prevent_initial_call, **passed_on)
