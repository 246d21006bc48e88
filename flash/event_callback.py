"""The decorator: what the user wrote, checked and registered with Dash.

An event callback is an ordinary Dash callback whose request only starts a stream. Dash's renderer sends it the
Inputs and States that the user asked for; Flash adds, behind them, the cancel Inputs (as States, so that the
server can check the conditions at the start) and the page's token. Everything that can be checked is checked when
the decorator runs.

Dash names a callback by its Outputs, and one without Outputs by a hash of its Inputs alone, so that two on the
same Inputs would collide: an event callback has an additional Input that is never there. It has an Output, on its
hidden `Stream` component, only if it is to be called initially. With an Output it would be called whenever one of its
Inputs appears, as if it had been clicked, `prevent_initial_call` or not.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar, cast

import dash
import quart
import trio

from ._dash import (
    AttributeDict,
    callback,
    context_value,
    inputs_to_dict,
    is_no_update,
    map_grouping,
    stringify_id,
    to_json,
    validate_and_group_input_args,
)
from .components import PAGE_ID, Stream
from .declaration import Declaration, match_keys
from .errors import FlashError, InvalidEventCallback, InvalidUpdate, RequestRefused
from .nursery import Channels
from .props import Update, encode_pairs, resolve_id, resolve_match, wire_id
from .sse import browser_of, is_token
from .stream import Stream as RunningStream, StreamSpec

P = ParamSpec("P")
R = TypeVar("R")

_names: Counter[str] = Counter()


@dataclass(frozen=True, slots=True)
class Host:
    """What event callbacks need of the app that serves them.

    Attributes:
        channels: the channels of its pages.
        start_timeout: seconds that a start waits for its page's connection.
        describe: what `end` tells the page of a stream's failure, as JSON, given the callback's name.
    """

    channels: Channels
    start_timeout: float
    describe: Callable[[str, BaseException], bytes]


HOST: ContextVar[Host] = ContextVar("flash_host")
"""The app that serves the callback request at hand."""


class EventCallback(Generic[P, R]):
    """An event callback: the user's generator function, which it calls when called, and its streams.

    Attributes:
        stream: the hidden component with the status of the streams: `Input(my_callback.stream, "status")`.
    """

    def __init__(self, function: Callable[P, R], stream: Stream) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self.stream = stream

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._function(*args, **kwargs)


class EventCallbacks:
    """The event callbacks that were declared and that no app has taken over yet."""

    def __init__(self) -> None:
        self._streams: list[Stream] = []

    def add(self, stream: Stream) -> None:
        self._streams.append(stream)

    def take(self) -> list[Stream]:
        """Their hidden components; each is handed out once."""
        taken, self._streams = self._streams, []
        return taken


GLOBAL_EVENT_CALLBACKS = EventCallbacks()


def event_callback(
    *dependencies: Any,
    cancel: Sequence[Any] | None = None,
    on_error: Callable[[Any], Any] | None = None,
    reset_props: Any = None,
    prevent_initial_call: bool = True,
    running: Any = None,
    timeout: float | None = None,
    restart: bool = False,
    concat: object = None,
    **keywords: Any,
) -> Callable[[Callable[P, R]], EventCallback[P, R]]:
    """Make a generator function an event callback: it yields `stream_props(...)` and the page applies them at once.

    Args:
        dependencies: Inputs and States, in every form that `dash.callback` takes, `inputs=` and `state=` included.
        cancel: conditions for the stream to go on: `(Input, desired)`, `(Input, predicate)`, or a bare Input, which
            any change ends. The stream is closed when one is not met any more. It does not start while one is not
            met; bare Inputs and counters (`n_clicks` and other `n_*` properties) are not asked then.
        on_error: called once when the stream ends for any reason but completion, with the exception that the
            generator raised or a `StreamCancelled`. Sync (in a worker thread) or async. What it returns, a
            `stream_props(...)` or None, is the last update of the stream.
        reset_props: `(component_id, props)` pairs, applied after `on_error`'s update; by the page itself if it
            loses its server.
        prevent_initial_call: whether not to start when the page is loaded.
        running: `(Output, value while it runs, value afterwards)` tuples.
        timeout: seconds after which the stream ends with `timed_out`; None for no limit.
        restart: whether the page starts the stream again, with the Inputs as they are then, when it ended because the
            server stopped or was lost and a server answers again.
        concat: accepted for apps written for `dash-flash`, and ignored.

    Raises:
        InvalidEventCallback: one of these is malformed, or what is decorated is not a generator function.
    """
    return declare(
        callback,
        GLOBAL_EVENT_CALLBACKS,
        dependencies,
        keywords,
        cancel=cancel,
        on_error=on_error,
        reset_props=reset_props,
        prevent_initial_call=prevent_initial_call,
        running=running,
        timeout=timeout,
        restart=restart,
    )


def declare(
    register: Callable[..., Any],
    declared: EventCallbacks,
    dependencies: tuple[Any, ...],
    keywords: Mapping[str, Any],
    *,
    cancel: Any,
    on_error: Any,
    reset_props: Any,
    prevent_initial_call: bool,
    running: Any,
    timeout: Any,
    restart: Any,
) -> Callable[[Callable[P, R]], EventCallback[P, R]]:
    """The decorator behind `event_callback`: registers with `register`, a Dash `callback`, and notes in `declared`."""
    unknown = set(keywords) - {"inputs", "state"}
    if unknown:
        raise InvalidEventCallback(f"event_callback does not know the argument {sorted(unknown)[0]!r}.")

    if any(inspect.isfunction(dependency) for dependency in dependencies):
        raise InvalidEventCallback(
            'event_callback needs its Inputs: write @event_callback(Input("start", "n_clicks")).'
        )

    def decorate(function: Callable[P, R]) -> EventCallback[P, R]:
        name = getattr(function, "__qualname__", repr(function)).replace("<locals>.", "")
        if isinstance(function, EventCallback):
            raise InvalidEventCallback(f"{name!r} is an event callback already: write all its Inputs into one.")
        if not (inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function)):
            raise InvalidEventCallback(
                f"{name!r} is not a generator function: an event callback is one that yields stream_props(...). "
                "For a function that returns its result, use @callback."
            )
        parts = Declaration.check(
            name, dependencies, keywords, cancel, on_error, reset_props, running, timeout, restart
        )
        if parts.matches and not prevent_initial_call:
            raise InvalidEventCallback(
                f"{name!r} has MATCH in its Inputs and prevent_initial_call=False: Dash cannot call a callback with "
                "MATCH initially unless it has an Output that matches."
            )
        stream = Stream(_component_id(function))
        outputs = [] if prevent_initial_call else [dash.Output(stream, "start")]
        hashed = [dash.Input(f"{stream.id}-never", "there", allow_optional=True)] if prevent_initial_call else []
        token = dash.State(PAGE_ID, "token")
        sent = _Sent([*parts.inputs, *hashed], [*parts.states, *parts.cancel_states, token])
        register(
            *outputs,
            *sent.inputs,
            *sent.states,
            prevent_initial_call=prevent_initial_call,
        )(_starter(function, parts, sent, stream.id))
        declared.add(stream)
        return EventCallback[P, R](cast("Callable[P, R]", function), stream)

    return decorate


def _component_id(function: Callable[..., Any]) -> str:
    """An id for the hidden component: the same in every process that declares the same callbacks in the same order."""
    readable = f"{function.__module__}-{function.__qualname__}".replace("<locals>.", "")
    base = "_flash-" + re.sub(r"[^A-Za-z0-9_]+", "-", readable)
    _names[base] += 1
    return base if _names[base] == 1 else f"{base}-{_names[base]}"


class _LiveProps(dict[Any, Any]):
    """The `updated_props` of a stream's callback context: what `set_props` puts here leaves at once."""

    def __init__(self) -> None:
        super().__init__()
        self.stream: RunningStream | None = None
        self._token = trio.lowlevel.current_trio_token()

    def get(self, key: Any, default: Any = None) -> Any:
        return default

    def __setitem__(self, component_id: Any, props: Any) -> None:
        if isinstance(component_id, str) and component_id.startswith("{"):
            component_id = json.loads(component_id)
        elif isinstance(component_id, dict):
            component_id = json.loads(stringify_id(cast("dict[str, Any]", component_id)))
        assert self.stream is not None
        update = Update(((component_id, props),))
        if trio.lowlevel.in_trio_run():
            self.stream.push(update)
        else:
            trio.from_thread.run_sync(self.stream.push, update, trio_token=self._token)


@dataclass(frozen=True, slots=True)
class _Sent:
    """What the renderer sends with a start: the user's dependencies, and Flash's own behind them."""

    inputs: list[Any]
    states: list[Any]

    def again(self, request: Mapping[str, Any], matched: Mapping[str, Any]) -> dict[str, Any]:
        """The start that `request` was, for the page to fill in and send again."""
        return {
            "output": request["output"],
            "outputs": request.get("outputs", []),
            "inputs": [_where(dependency, matched) for dependency in self.inputs],
            "state": [_where(dependency, matched) for dependency in self.states],
        }


def _where(dependency: Any, matched: Mapping[str, Any]) -> dict[str, Any]:
    """Where the page finds the value of a dependency, and whether it may be missing."""
    return {
        "id": wire_id(resolve_id(dependency.component_id, matched)),
        "property": dependency.component_property,
        "optional": dependency.allow_optional,
    }


def _starter(function: Callable[..., Any], parts: Declaration, sent: _Sent, stream_id: str) -> Callable[..., Any]:
    """The Dash callback that starts a stream of `function`."""
    hashed = len(sent.inputs) - len(parts.inputs)
    first_state = len(sent.inputs)
    first_cancel = first_state + len(parts.states)

    def encode(value: object) -> bytes | None:
        if value is None:
            return None
        if not isinstance(value, Update):
            if is_no_update(value):
                return b""
            raise InvalidUpdate(
                f"The event callback {parts.name!r} gave a {type(value).__name__} ({value!r}): "
                "an event callback yields, and its on_error returns, stream_props(...)."
            )
        try:
            return encode_pairs(value.pairs)
        except InvalidUpdate as error:
            raise InvalidUpdate(f"In the event callback {parts.name!r}: {error}") from error

    @functools.wraps(function)
    async def start(*values: Any) -> Any:
        host = HOST.get(None)
        if host is None:
            raise FlashError(f"{parts.name!r} is an event callback: it needs app = Flash(...), not Dash(...).")
        page, browser = values[-1], browser_of(quart.request)
        if not is_token(page):
            raise RequestRefused(400, f"{parts.name!r} was not started: the request does not name its page.")
        request = context_value.get()
        if (len(request.inputs_list), len(request.states_list)) != (len(sent.inputs), len(sent.states)):
            raise RequestRefused(400, f"{parts.name!r} was not started: the request lacks values.")
        watched = request.states_list[len(parts.states) : -1]
        for condition, entry, value in zip(parts.conditions, watched, values[first_cancel:-1], strict=True):
            if condition.checked_at_start and not _is_missing(entry) and not condition.is_met(value):
                return dash.no_update if not hashed else None
        matched = _matched(parts, request.inputs_list)
        match = json.dumps(matched, sort_keys=True, separators=(",", ":")) if matched else None
        again = sent.again(await quart.request.get_json(), matched) if parts.restart else None
        live = _LiveProps()
        context = contextvars.copy_context()
        context.run(context_value.set, _stream_context(request, parts, hashed, live))
        arguments = [*values[: len(parts.inputs)], *values[first_state:first_cancel]]
        args, kwargs = validate_and_group_input_args(arguments, parts.grouping)
        resets = encode_pairs(resolve_match(parts.resets, matched))
        off = encode_pairs(resolve_match(parts.off, matched))
        spec = StreamSpec(
            callback=parts.name,
            key=stream_id if match is None else f"{stream_id} {match}",
            generator=lambda: function(*args, **kwargs),
            encode=encode,
            opening=b'"callback":%b,"match":%b,"again":%b,"conditions":%b,"props":[%b],"reset":[%b]'
            % (
                json.dumps(stream_id).encode(),
                json.dumps(match).encode(),
                json.dumps(again).encode(),
                to_json(_describe_conditions(parts, watched, values[first_cancel:-1], matched)).encode(),
                encode_pairs(resolve_match(parts.on, matched)),
                b",".join(filter(None, (resets, off))),
            ),
            resets=resets,
            off=off,
            conditions=parts.conditions,
            on_error=parts.on_error,
            describe=lambda error: host.describe(parts.name, error),
            timeout=parts.timeout,
            context=context,
        )
        channel = await host.channels.wait_for(page, browser, host.start_timeout)
        if channel is None:
            raise RequestRefused(
                503,
                f"{parts.name!r} was not started: its page had no connection to this server process within "
                f"{host.start_timeout:g} s. If there are several processes, all requests of a page must reach the "
                "same one (sticky sessions).",
            )
        try:
            live.stream = channel.start(spec)
        except RequestRefused as refusal:
            channel.refuse(json.dumps({"callback": stream_id, "match": match, "message": str(refusal)}).encode())
            raise
        return dash.no_update if not hashed else None

    return start


def _is_missing(entry: Any) -> bool:
    """Whether a State's component is not in the layout: the renderer then sends its description instead."""
    return isinstance(entry, dict) and "allow_optional" in entry


def _matched(parts: Declaration, inputs_list: Sequence[Any]) -> dict[str, Any]:
    """The values that MATCH has matched, from the ids in the request."""
    matched: dict[str, Any] = {}
    for dependency, entry in zip(parts.inputs, inputs_list, strict=False):
        for key in match_keys(dependency.component_id):
            actual = cast("Any", entry[0] if isinstance(entry, list) and entry else entry)
            if isinstance(actual, dict) and isinstance(actual.get("id"), dict):  # type: ignore[reportUnknownMemberType]
                matched[key] = actual["id"].get(key)  # type: ignore[reportUnknownMemberType]
    return matched


def _describe_conditions(
    parts: Declaration, watched: Sequence[Any], values: Sequence[Any], matched: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """What the page needs to watch the conditions: where they are, and what they were when the stream was started."""
    described: list[dict[str, Any]] = []
    for state, condition, entry, value in zip(parts.cancel_states, parts.conditions, watched, values, strict=True):
        described.append(
            {
                "id": wire_id(resolve_id(state.component_id, matched)),
                "property": state.component_property,
                "value": value,
                "missing": _is_missing(entry),
                "exempt": not condition.checked_at_start,
            }
        )
    return described


def _stream_context(request: Any, parts: Declaration, hashed: int, live: _LiveProps) -> Any:
    """The callback context (`ctx`) inside the stream: the request's, without what Flash added to its dependencies."""
    context = AttributeDict(request)
    context.inputs_list = request.inputs_list[: len(parts.inputs)]
    context.states_list = request.states_list[: len(parts.states)]
    context.input_values = inputs_to_dict(context.inputs_list)
    context.state_values = inputs_to_dict(context.states_list)
    count = len(parts.inputs)
    context.args_grouping = map_grouping(
        lambda index: request.args_grouping[index if index < count else index + hashed], parts.grouping
    )
    context.using_args_grouping = parts.grouping != list(range(count + len(parts.states)))
    context.outputs_list, context.outputs_grouping = [], []
    context.updated_props = live
    return context
