"""The request that starts a stream: from what Dash's renderer sends to a stream in the page's channel.

The callback that Dash knows is `starter(...)`'s. It is given the values of the user's Inputs and States, of the cancel
Inputs behind them, and the page's secret and token. `Starter.start` has the steps: it reads the request, finds the
page's channel or opens it, checks the conditions, and has the stream started there. It returns nothing, and its
response waits for nothing: not for the stream, nor for the page's link.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn, cast

import dash
import quart

from .. import wire
from .._dash import context_value, is_no_update, validate_and_group_input_args
from ..asgi.browser_cookie import browser_of
from ..asgi.http_exchange import cancel_with_client
from ..asgi.origins import refuse_other_sites
from ..asgi.page_secret import proves
from ..asgi.tokens import is_token
from ..dash_json import to_json
from ..errors import FlashError, RequestRefused
from ..nursery import Channel
from ..props import Update, encode_by_prop, encode_pairs, encoder, resolve_id, resolve_match, wire_id
from ..streams.mistakes import Mistakes
from ..streams.spec import StreamSpec
from ..streams.stream import Stream
from ..user_code.functions import call, kind_of_generator
from ..watched import Watched
from .declaration import Declaration, match_keys
from .request import CALLBACK_REQUEST, CallbackRequest
from .start_conditions import StartConditions, is_missing
from .stream_context import LiveProps, context_of_stream


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


@dataclass(frozen=True, slots=True)
class StartRequest:
    """One request to start a stream, checked for its form.

    Attributes:
        callback_request: the request, as Flash has it.
        dash_context: the same, as Dash has it: its callback context.
        page: the token of the page that sends it.
        browser: the secret of the browser that sends it.
        is_proven: it has the page's secret, too.
        values: of the user's Inputs and States.
        condition_entries: what the renderer says of the properties of the conditions.
        condition_values: their values.
        watched_values: the values of the watched properties, in the order of `Declaration.watched_states`.
        matched: the values that MATCH has matched, by the keys of ids.
    """

    callback_request: CallbackRequest
    dash_context: Any
    page: str
    browser: str
    is_proven: bool
    values: list[Any]
    condition_entries: Sequence[Any]
    condition_values: Sequence[Any]
    watched_values: Sequence[Any]
    matched: Mapping[str, Any]

    @property
    def match(self) -> str | None:
        """`matched` as JSON; None if there is none."""
        return json.dumps(self.matched, sort_keys=True, separators=(",", ":")) if self.matched else None


def starter(
    function: Callable[..., Any], declaration: Declaration, dependencies: StartDependencies, callback_id: str
) -> Callable[..., Any]:
    """The Dash callback that starts a stream of `function`.

    Args:
        function: the user's generator function.
        declaration: what it was declared with.
        dependencies: what Dash was told to send.
        callback_id: the id of the event callback's hidden component.
    """
    starts = Starter(function, declaration, dependencies, callback_id)

    @functools.wraps(function)
    async def start(*values: Any) -> None:
        await starts.start(values)

    return start


class Starter:
    """Starts the streams of one event callback."""

    def __init__(
        self, function: Callable[..., Any], declaration: Declaration, dependencies: StartDependencies, callback_id: str
    ) -> None:
        """See `starter`."""
        self._function = function
        self._declaration = declaration
        self._dependencies = dependencies
        self._callback_id = callback_id
        self._mistakes = Mistakes()
        self._conditions = StartConditions(declaration, self._mistakes)
        self._refused = partial(wire.Refused, callback_id, None)

    async def start(self, values: Sequence[Any]) -> NoReturn:
        """Start a stream for the request at hand.

        Args:
            values: what Dash has been sent for the dependencies.

        Raises:
            RequestRefused: the stream was not started.
            PreventUpdate: it was, or there was no need to, or its page was told why not. Whatever the Outputs are, the
                request updates nothing.
        """
        request = self._read(values)
        with request.callback_request.settings.channels.start_under_way() as start:
            user = await self._user(request)
            channel = await self._channel(request)
            if request.callback_request.http is not None:
                # Where several processes serve the app, the page finds out whether its link is with another one.
                quart.after_this_request(partial(_name_life, channel.life))
            # Check for a duplicate first: a start sent over HTTP and websocket must call the user's predicates once.
            is_new = not self._came_before(channel, request) and not self._is_dropped(channel, request)
            if is_new and self._conditions_are_met(channel, request):
                start.started(channel, self._start(channel, request, user))
        raise dash.exceptions.PreventUpdate

    def _read(self, values: Sequence[Any]) -> StartRequest:
        """Check the form of the request at hand."""
        name, declaration, dependencies = self._declaration.name, self._declaration, self._dependencies
        request = CALLBACK_REQUEST.get()
        if request is None:
            raise FlashError(f"{name!r} is an event callback: it needs app = Flash(...), not Dash(...).")
        # For a page that has gone there is nothing to start.
        cancel_with_client()
        secret, page = values[-2:]
        if request.http is not None:
            # The handshake of a websocket was checked by its origin, and others than this may be allowed.
            refuse_other_sites(request.http)
        browser = browser_of(quart.websocket if request.http is None else request.http)
        if not is_token(page):
            raise RequestRefused(400, f"{name!r} was not started: the request does not name its page.")
        sent = context_value.get()
        if (len(sent.inputs_list), len(sent.states_list)) != (len(dependencies.inputs), len(dependencies.states)):
            raise RequestRefused(400, f"{name!r} was not started: the request lacks values.")
        first_state = len(dependencies.inputs)
        first_cancel = first_state + len(declaration.states)
        first_watched = first_cancel + len(declaration.cancel_states)
        return StartRequest(
            request,
            sent,
            page,
            browser,
            proves(secret, page),
            [*values[: len(declaration.inputs)], *values[first_state:first_cancel]],
            sent.states_list[first_cancel - first_state : first_watched - first_state],
            values[first_cancel:first_watched],
            values[first_watched:-2],
            _matched(declaration, sent),
        )

    async def _user(self, request: StartRequest) -> str | None:
        """Whose the request is; None if the app does not say."""
        identify = request.callback_request.settings.identify
        if identify is None:
            return None
        try:
            return await identify.user_of(request.callback_request.http or quart.websocket, self._declaration.name)
        except RequestRefused as refusal:
            self._tell_refusal(await self._channel(request), request, refusal)
            raise

    async def _channel(self, request: StartRequest) -> Channel:
        """The channel of the page. A page that has no link yet has `start_timeout` to open one."""
        settings = request.callback_request.settings
        return await settings.channels.open(settings.nursery(), request.page, request.browser, proven=request.is_proven)

    def _came_before(self, channel: Channel, request: StartRequest) -> bool:
        """Whether this start has come over the page's websocket already: a page may send one both ways."""
        http = request.callback_request.http
        name = None if http is None else http.headers.get(wire.START_HEADER)
        return name is not None and not channel.takes(name)

    def _is_dropped(self, channel: Channel, request: StartRequest) -> bool:
        """Whether the start is to be ignored, because a run of its key has not ended."""
        return self._declaration.overlap == "drop" and channel.runs(self._key(request))

    def _key(self, request: StartRequest) -> str:
        """What a stream of this request is a run of."""
        match = request.match
        return self._callback_id if match is None else f"{self._callback_id} {match}"

    def _conditions_are_met(self, channel: Channel, request: StartRequest) -> bool:
        """Check the conditions against the values at the start; the page is told of one that is not met."""
        by_user = bool(request.dash_context.triggered_inputs)
        not_met = self._conditions.first_not_met(request.condition_entries, request.condition_values, by_user=by_user)
        if not_met is None:
            return True
        channel.refuse(wire.Refused(self._callback_id, request.match, not_met.message, status="idle"))
        if not_met.mistake is not None and request.callback_request.settings.shows_mistakes():
            channel.report(self._declaration.name, not_met.kind, not_met.mistake)
        return False

    def _start(self, channel: Channel, request: StartRequest, user: str | None) -> Stream:
        """Have the channel run the stream."""
        live = LiveProps()
        spec = self._spec(request, user, live)
        try:
            live.stream = stream = channel.start(spec)
        except RequestRefused as refusal:
            self._tell_refusal(channel, request, refusal)
            raise
        if request.callback_request.exchange is not None:
            request.callback_request.exchange.stream_request = request.callback_request.http
        return stream

    def _tell_refusal(self, channel: Channel, request: StartRequest, refusal: RequestRefused) -> None:
        """Have the page show it: what has sent the request may not be its script, but Dash's for a websocket."""
        channel.refuse(wire.Refused(self._callback_id, request.match, str(refusal)))

    def _spec(self, request: StartRequest, user: str | None, live: LiveProps) -> StreamSpec:
        """What the stream is to run, in terms that know nothing of Dash."""
        declaration, settings = self._declaration, request.callback_request.settings
        args, kwargs = validate_and_group_input_args(request.values, declaration.grouping)
        watched = {
            keyword: Watched(value, str(state))
            for (keyword, state), value in zip(declaration.watched_states.items(), request.watched_values, strict=True)
        }
        resets = encode_pairs(resolve_match(declaration.resets, request.matched))
        off = encode_pairs(resolve_match(declaration.off, request.matched))
        added = len(self._dependencies.inputs) - len(declaration.inputs)
        context = context_of_stream(request.dash_context, declaration, added, live)
        # What only the start needs is not to live as long as the stream.
        context.run(CALLBACK_REQUEST.set, CallbackRequest(settings))
        context.run(settings.enter_stream)
        function, last = self._function, self._last_value
        match = request.match
        to_pairs = None
        if declaration.outputs is not None:
            to_pairs = partial(declaration.outputs.pairs, resolved=request.dash_context.outputs_list)
        return StreamSpec(
            callback=declaration.name,
            user=user,
            key=self._key(request),
            is_plain=kind_of_generator(function) == "plain",
            generator=lambda: call(function, args, {**kwargs, **watched}, last),
            encode=encoder(declaration.name, to_pairs, encode_pairs, b""),
            encode_by_prop=encoder(declaration.name, to_pairs, encode_by_prop, []) if declaration.conflate else None,
            opening=self._opening(request, resets, off).encode_fields(),
            resets=resets,
            off=off,
            conditions=declaration.conditions,
            watched=tuple(watched.values()),
            on_error=settings.handler(declaration.on_error),
            describe=lambda error: settings.describe(declaration.name, error),
            timeout=declaration.timeout,
            values_size=request.callback_request.values_size,
            context=context,
            mistakes=self._mistakes,
            shows_mistakes=settings.shows_mistakes(),
            refused=self._refused if match is None else partial(wire.Refused, self._callback_id, match),
            waits_its_turn=declaration.overlap == "queue",
            check_at_turn=self._check_at_turn(request),
            finishes=(dash.exceptions.PreventUpdate,),
        )

    def _check_at_turn(self, request: StartRequest) -> Callable[[Mapping[int, object]], str | None] | None:
        """See `StreamSpec`. The values at the start are kept only for a start that may wait."""
        if self._declaration.overlap != "queue" or not self._declaration.conditions:
            return None
        return partial(self._conditions.not_met_at_turn, tuple(request.condition_values))

    def _opening(self, request: StartRequest, resets: bytes, off: bytes) -> wire.Open:
        """What the page is told when the stream opens."""
        declaration, matched, body = self._declaration, request.matched, request.callback_request.body
        components = None if declaration.keep else _components(declaration, request.dash_context.inputs_list, matched)
        return wire.Open(
            callback_id=self._callback_id,
            output=None if declaration.outputs is None else body["output"],
            match=request.match,
            again=self._dependencies.again(body, matched) if declaration.restart else None,
            conflate=declaration.conflate,
            components=to_json(components).encode(),
            conditions=to_json(
                [*_describe_conditions(declaration, request), *_describe_watched(declaration, request)]
            ).encode(),
            props=wire.array(encode_pairs(resolve_match(declaration.on, matched))),
            reset=wire.array(resets, off),
        )

    def _last_value(self, value: object) -> object:
        """What becomes of a value that the generator returns, or a decorator for it: it is yielded if it can be."""
        if self._declaration.outputs is not None or isinstance(value, Update) or is_no_update(value):
            return value
        self._mistakes.log_once(
            "returns a value",
            f"The event callback {self._declaration.name!r} returned a {type(value).__name__}, which goes nowhere: it "
            "has no Outputs. Yield or return stream_props(...), or give it Outputs under @callback.",
        )
        return None


async def _name_life(life: str, response: Any) -> Any:
    """Say in the answer to a start in which life of its page the stream runs.

    It is async because Quart calls a plain function in a thread, for which the answer would have to wait.
    """
    response.headers[wire.LIFE_HEADER] = life
    return response


def _where(dependency: Any, matched: Mapping[str, Any]) -> wire.Dependency:
    """Where the page finds the value of a dependency, and whether it may be missing."""
    return {
        "id": wire_id(resolve_id(dependency.component_id, matched)),
        "property": dependency.component_property,
        "optional": dependency.allow_optional,
    }


def _matched(declaration: Declaration, request: Any) -> dict[str, Any]:
    """The values that MATCH has matched, from the ids in the request."""
    matched: dict[str, Any] = {}
    sources = [*zip(declaration.inputs, request.inputs_list, strict=False)]
    if declaration.outputs is not None:
        resolved = request.outputs_list
        entries = (
            cast("list[Any]", resolved) if isinstance(declaration.outputs.grouping, list | tuple | dict) else [resolved]
        )
        sources += zip(declaration.outputs.flat, entries, strict=False)
    for dependency, entry in sources:
        for key in match_keys(dependency.component_id):
            actual = cast("object", entry[0] if isinstance(entry, list) and entry else entry)
            component_id = cast("dict[str, object]", actual).get("id") if isinstance(actual, dict) else None
            if isinstance(component_id, dict):
                matched[key] = cast("dict[str, object]", component_id).get(key)
    return matched


def _components(declaration: Declaration, inputs: Sequence[Any], matched: Mapping[str, Any]) -> list[Any]:
    """The components of the layout that a stream was started from, and those of its Outputs."""
    there = [
        dependency
        for dependency, entry in zip(declaration.inputs, inputs, strict=False)
        if entry and not is_missing(entry)
    ]
    outputs = () if declaration.outputs is None else declaration.outputs.flat
    return [wire_id(resolve_id(dependency.component_id, matched)) for dependency in (*there, *outputs)]


def _describe_conditions(declaration: Declaration, request: StartRequest) -> list[wire.ReportedProperty]:
    """What the page needs to watch the conditions: where they are, and what they were when the stream was started."""
    conditions = zip(
        declaration.cancel_states,
        declaration.conditions,
        request.condition_entries,
        request.condition_values,
        strict=True,
    )
    return [
        {
            "id": wire_id(resolve_id(state.component_id, request.matched)),
            "property": state.component_property,
            "value": value,
            "missing": is_missing(entry),
            "exempt": not condition.checked_at_start,
            "watched": False,
        }
        for state, condition, entry, value in conditions
    ]


def _describe_watched(declaration: Declaration, request: StartRequest) -> list[wire.ReportedProperty]:
    """The same for the properties of `watch=`. One whose component is not there has the value None, as in a State."""
    states = zip(declaration.watched_states.values(), request.watched_values, strict=True)
    return [
        {
            "id": wire_id(resolve_id(state.component_id, request.matched)),
            "property": state.component_property,
            "value": value,
            "missing": False,
            "exempt": False,
            "watched": True,
        }
        for state, value in states
    ]
