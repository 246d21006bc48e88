"""The request that starts a stream: from what Dash's renderer sends to a stream in the page's channel.

The callback that Dash knows is `starter(...)`'s: it is given the values of the user's Inputs and States, of the cancel
Inputs behind them, and the page's secret and token. It waits for the page's channel, checks the conditions, has the
stream started there, and returns nothing: its response does not wait for the stream.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import dash
import quart
import trio

from .. import wire
from .._dash import (
    AttributeDict,
    context_value,
    inputs_to_dict,
    is_no_update,
    map_grouping,
    stringify_id,
    validate_and_group_input_args,
)
from ..asgi.browser_cookie import browser_of
from ..asgi.http_exchange import cancel_with_client
from ..asgi.origins import refuse_other_sites
from ..asgi.page_key import proves
from ..asgi.tokens import is_token
from ..dash_json import to_json
from ..errors import FlashError, InvalidUpdate, RequestRefused
from ..nursery import Channel
from ..props import Pair, Update, encode_pairs, encode_pieces, parse_id, resolve_id, resolve_match, wire_id
from ..streams.mistakes import Mistakes
from ..streams.spec import StreamSpec
from ..streams.stream import Stream as RunningStream
from ..user_code.functions import call, kind_of_generator
from .declaration import Declaration, match_keys
from .request import CALLBACK_REQUEST, CallbackRequest
from .start_conditions import StartConditions, is_missing


class _LiveProps(dict[Any, Any]):
    """The `updated_props` of a stream's callback context: what `set_props` puts here leaves at once."""

    __slots__ = ("_token", "stream")

    def __init__(self) -> None:
        super().__init__()
        self.stream: RunningStream | None = None
        self._token = trio.lowlevel.current_trio_token()

    def get(self, key: Any, default: Any = None) -> Any:
        return default

    def __setitem__(self, component_id: Any, props: Any) -> None:
        assert self.stream is not None
        update = Update(((parse_id(stringify_id(component_id)), props),))
        unwinding = isinstance(sys.exc_info()[1], trio.Cancelled | GeneratorExit)
        if trio.lowlevel.in_trio_run():
            self.stream.push(update, unwinding)
        else:
            trio.from_thread.run_sync(self.stream.push, update, unwinding, trio_token=self._token)


class _NoResponse:
    """The `ctx.response` of a stream: the request that started it has been answered long before."""

    def __getattr__(self, name: str) -> Any:
        raise FlashError(
            f"ctx.response.{name} was used in a stream, which has no response: the request that started it has been "
            "answered. Set cookies and headers in a callback of the same Input."
        )


_NO_RESPONSE = _NoResponse()


@dataclass(frozen=True, slots=True)
class StartDependencies:
    """What the renderer sends with a start: the user's dependencies, and Flash's own behind them."""

    inputs: list[Any]
    states: list[Any]

    def again(self, request: Mapping[str, Any], matched: Mapping[str, Any]) -> wire.Again:
        """The start that `request` was, for the page to fill in and send again."""
        return {
            "output": request["output"],
            "outputs": request.get("outputs", []),
            "inputs": [_where(dependency, matched) for dependency in self.inputs],
            "state": [_where(dependency, matched) for dependency in self.states],
        }


def _where(dependency: Any, matched: Mapping[str, Any]) -> wire.Dependency:
    """Where the page finds the value of a dependency, and whether it may be missing."""
    return {
        "id": wire_id(resolve_id(dependency.component_id, matched)),
        "property": dependency.component_property,
        "optional": dependency.allow_optional,
    }


def starter(
    function: Callable[..., Any], parts: Declaration, dependencies: StartDependencies, stream_id: str
) -> Callable[..., Any]:
    """The Dash callback that starts a stream of `function`."""
    hashed = len(dependencies.inputs) - len(parts.inputs)
    first_state = len(dependencies.inputs)
    first_cancel = first_state + len(parts.states)
    mistakes = Mistakes()
    conditions = StartConditions(parts, mistakes)

    @functools.wraps(function)
    async def start(*values: Any) -> Any:
        asked = CALLBACK_REQUEST.get()
        if asked is None:
            raise FlashError(f"{parts.name!r} is an event callback: it needs app = Flash(...), not Dash(...).")
        host, http = asked.host, asked.http
        # For a page that has gone there is nothing to start.
        cancel_with_client()
        secret, page = values[-2:]
        if http is not None:
            # The handshake of a websocket was checked by its origin, and others than this may be allowed.
            refuse_other_sites(http)
        browser = browser_of(quart.websocket if http is None else http)
        if not is_token(page):
            raise RequestRefused(400, f"{parts.name!r} was not started: the request does not name its page.")
        request = context_value.get()
        if (len(request.inputs_list), len(request.states_list)) != (len(dependencies.inputs), len(dependencies.states)):
            raise RequestRefused(400, f"{parts.name!r} was not started: the request lacks values.")
        watched = request.states_list[len(parts.states) : -2]
        matched = _matched(parts, request)
        match = json.dumps(matched, sort_keys=True, separators=(",", ":")) if matched else None
        shows = host.shows_mistakes()
        channel = await host.channels.wait_for(page, browser, host.start_timeout, proven=proves(secret, page))
        if channel is None:
            raise RequestRefused(
                503,
                f"{parts.name!r} was not started: its page had no connection to this server process within "
                f"{host.start_timeout:g} s. If there are several processes, all requests of a page must reach the "
                "same one (sticky sessions).",
            )
        # Before the user's predicates: what comes both ways is asked about once.
        if http is not None and not _is_first(channel, http):
            raise dash.exceptions.PreventUpdate
        not_met = conditions.ask(watched, values[first_cancel:-2], by_user=bool(request.triggered_inputs))
        if not_met is not None:
            channel.refuse(wire.Refused(stream_id, match, not_met.message, status="idle"))
            if shows and not_met.mistake is not None:
                channel.report(parts.name, not_met.kind, not_met.mistake)
            raise dash.exceptions.PreventUpdate
        again = dependencies.again(asked.body, matched) if parts.restart else None
        output = None if parts.outputs is None else asked.body["output"]
        live = _LiveProps()
        context = contextvars.copy_context()
        context.run(context_value.set, _stream_context(request, parts, hashed, live))
        # What only the start needs is not to live as long as the stream.
        context.run(CALLBACK_REQUEST.set, CallbackRequest(host))
        arguments = [*values[: len(parts.inputs)], *values[first_state:first_cancel]]
        last = _last_value(parts, mistakes)
        args, kwargs = validate_and_group_input_args(arguments, parts.grouping)
        resets = encode_pairs(resolve_match(parts.resets, matched))
        off = encode_pairs(resolve_match(parts.off, matched))
        opening = wire.Open(
            callback=stream_id,
            output=output,
            match=match,
            again=again,
            conflate=parts.conflate,
            components=to_json(None if parts.keep else _components(parts, request.inputs_list, matched)).encode(),
            conditions=to_json(_describe_conditions(parts, watched, values[first_cancel:-2], matched)).encode(),
            props=wire.array(encode_pairs(resolve_match(parts.on, matched))),
            reset=wire.array(resets, off),
        )
        spec = StreamSpec(
            callback=parts.name,
            key=stream_id if match is None else f"{stream_id} {match}",
            is_plain=kind_of_generator(function) == "plain",
            generator=lambda: call(function, args, kwargs, last),
            encode=_encoder(parts, request.outputs_list, encode_pairs, b""),
            pieces=_encoder(parts, request.outputs_list, encode_pieces, []) if parts.conflate else None,
            opening=opening.encode_fields(),
            resets=resets,
            off=off,
            conditions=parts.conditions,
            on_error=host.handler(parts.on_error),
            describe=lambda error: host.describe(parts.name, error),
            timeout=parts.timeout,
            values_size=asked.values_size,
            context=context,
            mistakes=mistakes,
            shows_mistakes=shows,
            finishes=(dash.exceptions.PreventUpdate,),
        )
        try:
            live.stream = channel.start(spec)
        except RequestRefused as refusal:
            channel.refuse(wire.Refused(stream_id, match, str(refusal)))
            raise
        if asked.exchange is not None:
            asked.exchange.stream_request = http
        # Whatever its Outputs are: the request updates nothing.
        raise dash.exceptions.PreventUpdate

    return start


def _is_first(channel: Channel, http: quart.Request) -> bool:
    """Whether this start has not come before over the page's websocket: a page may send one both ways."""
    name = http.headers.get(wire.START_HEADER)
    return name is None or channel.takes(name)


def _last_value(parts: Declaration, mistakes: Mistakes) -> Callable[[object], object]:
    """What becomes of a value that the generator returns, or a decorator in its place: it is yielded if it can be."""

    def last(value: object) -> object:
        if parts.outputs is not None or isinstance(value, Update) or is_no_update(value):
            return value
        mistakes.log_once(
            "returns a value",
            f"The event callback {parts.name!r} returned a {type(value).__name__}, which goes nowhere: it has no "
            "Outputs. Yield or return stream_props(...), or give it Outputs under @callback.",
        )
        return None

    return last


E = TypeVar("E")


def _encoder(
    parts: Declaration, resolved: Any, encode: Callable[[Sequence[Pair]], E], nothing: E
) -> Callable[[object], E | None]:
    """What makes of a value that the generator yields, or `on_error` returns, what the stream sends of it.

    Args:
        parts: of the event callback.
        resolved: the components that its Outputs are.
        encode: for pairs of ids and props.
        nothing: what it gives for none.
    """

    def encode_value(value: object) -> E | None:
        if isinstance(value, Update):
            pairs: Sequence[Pair] = value.pairs
        elif value is None and parts.outputs is None:
            return None
        elif is_no_update(value):
            return nothing
        elif parts.outputs is not None:
            pairs = parts.outputs.pairs(value, resolved)
        else:
            hint = " An `await` is missing in front of it." if inspect.iscoroutine(value) else ""
            raise InvalidUpdate(
                f"The event callback {parts.name!r} gave a {type(value).__name__} ({value!r}): "
                f"an event callback yields, and its on_error returns, stream_props(...).{hint}"
            )
        try:
            return encode(pairs)
        except InvalidUpdate as error:
            raise InvalidUpdate(f"In the event callback {parts.name!r}: {error}") from error

    return encode_value


def _matched(parts: Declaration, request: Any) -> dict[str, Any]:
    """The values that MATCH has matched, from the ids in the request."""
    matched: dict[str, Any] = {}
    sources = [*zip(parts.inputs, request.inputs_list, strict=False)]
    if parts.outputs is not None:
        resolved = request.outputs_list
        entries = cast("list[Any]", resolved) if isinstance(parts.outputs.grouping, list | tuple | dict) else [resolved]
        sources += zip(parts.outputs.flat, entries, strict=False)
    for dependency, entry in sources:
        for key in match_keys(dependency.component_id):
            actual = cast("Any", entry[0] if isinstance(entry, list) and entry else entry)
            if isinstance(actual, dict) and isinstance(actual.get("id"), dict):  # type: ignore[reportUnknownMemberType]
                matched[key] = actual["id"].get(key)  # type: ignore[reportUnknownMemberType]
    return matched


def _components(parts: Declaration, inputs: Sequence[Any], matched: Mapping[str, Any]) -> list[Any]:
    """The components of the layout that a stream was started from, and those of its Outputs."""
    there = [
        dependency for dependency, entry in zip(parts.inputs, inputs, strict=False) if entry and not is_missing(entry)
    ]
    outputs = () if parts.outputs is None else parts.outputs.flat
    return [wire_id(resolve_id(dependency.component_id, matched)) for dependency in (*there, *outputs)]


def _describe_conditions(
    parts: Declaration, watched: Sequence[Any], values: Sequence[Any], matched: Mapping[str, Any]
) -> list[wire.WatchedCondition]:
    """What the page needs to watch the conditions: where they are, and what they were when the stream was started."""
    described: list[wire.WatchedCondition] = []
    for state, condition, entry, value in zip(parts.cancel_states, parts.conditions, watched, values, strict=True):
        described.append(
            {
                "id": wire_id(resolve_id(state.component_id, matched)),
                "property": state.component_property,
                "value": value,
                "missing": is_missing(entry),
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
    if parts.outputs is None:
        context.outputs_list, context.outputs_grouping = [], []
    context.updated_props = live
    # `set_props` would use the websocket that the start came over, which is not the stream's.
    context.dash_websocket = None
    context.dash_response = _NO_RESPONSE
    return context
