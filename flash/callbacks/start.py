"""The request that starts a stream: from what Dash's renderer sends to a stream in the page's channel.

The callback that Dash knows is `starter(...)`'s. It is given the values of the user's Inputs and States, of the cancel
Inputs behind them, and the page's secret and token. `Starter.start` has the steps: it reads the request, finds the
page's channel or opens it, checks the conditions, and has the stream started there. It returns nothing, and its
response waits for nothing: not for the stream, nor for the page's link.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

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
from ..props import (
    LIGHT_UPDATES,
    Pair,
    Update,
    encode_by_prop,
    encode_pairs,
    encoder,
    resolve_match,
    update_encoder,
)
from ..shared.stream_follower import StreamFollower
from ..streams.events import PropUpdate
from ..streams.mistakes import Mistakes
from ..streams.spec import StreamSpec
from ..streams.stream import Stream
from ..user_code.functions import call, kind_of_generator
from ..watched import Watched
from .declaration import Declaration
from .followed_source import FINISHES, FollowedSource, FollowedSources
from .request import CALLBACK_REQUEST, StreamSettings
from .start_conditions import StartConditions
from .start_request import (
    StartDependencies,
    StartRequest,
    components_of,
    describe_conditions,
    describe_watched,
    matched_values,
)
from .stream_context import LiveProps, context_of_stream

Encoders = tuple[Callable[[object], bytes | None], Callable[[object], Sequence[PropUpdate] | None]]


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
        # Streams without Outputs share theirs.
        self._encoders = self._make_encoders(None)
        self._refused = partial(wire.Refused, callback_id, None)
        self._describe: partial[bytes] | None = None
        self._sources = FollowedSources(function, declaration, self._mistakes, self._last_value)

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
            followed = await self._followed_source(request) if request.resumes else None
            if request.resumes and (followed is None or followed.resumed is None):
                raise dash.exceptions.PreventUpdate
            channel = await self._channel(request)
            if request.callback_request.http is not None:
                # Where several processes serve the app, the page finds out whether its link is with another one.
                quart.after_this_request(partial(_name_life, channel.life))
            # Check for a duplicate first: a start sent over HTTP and websocket must call the user's predicates once.
            is_new = not self._came_before(channel, request) and not self._is_dropped(channel, request)
            if is_new and self._conditions_are_met(channel, request):
                start.started(channel, await self._start(channel, request, user, followed))
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
            matched_values(declaration, sent),
            request.body.get(wire.RESUME_FIELD) is True,
        )

    async def _user(self, request: StartRequest) -> str | None:
        """Whose the request is; None if the app does not say."""
        identify = request.callback_request.settings.identify
        if identify is None:
            return None
        try:
            return await identify.user_of(request.callback_request.http or quart.websocket, self._declaration.name)
        except RequestRefused as refusal:
            # A page that resumes has asked by itself: nobody waits for what would be refused.
            if not request.resumes:
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
        """Whether the start is to be ignored, because a run of its key has not ended.

        That is so for a page that resumes as well: it has been faster, and what it asks for runs.
        """
        may_drop = self._declaration.overlap == "drop" or request.resumes
        return may_drop and channel.running(self._key(request)) is not None

    def _key(self, request: StartRequest) -> str:
        """What a stream of this request is a run of."""
        match = request.match
        return self._callback_id if match is None else f"{self._callback_id} {match}"

    def _conditions_are_met(self, channel: Channel, request: StartRequest) -> bool:
        """Check the conditions against the values at the start; the page is told of one that is not met."""
        entries, values = request.condition_entries, request.condition_values
        not_met = self._conditions.first_not_met(entries, values, by_user=request.by_user)
        if not_met is None:
            return True
        channel.refuse(wire.Refused(self._callback_id, request.match, not_met.message, status="idle"))
        if not_met.mistake is not None and request.callback_request.settings.shows_mistakes():
            channel.report(self._declaration.name, not_met.kind, not_met.mistake)
        return False

    async def _start(
        self, channel: Channel, request: StartRequest, user: str | None, followed: FollowedSource | None
    ) -> Stream:
        """Have the channel run the stream, which may follow a source that is known already."""
        settings = request.callback_request.settings
        try:
            follower = None
            followed = followed or await self._followed_source(request)
            if followed is not None:
                before = channel.running(self._key(request))
                followed.check(settings.sources, before)
                follower = followed.follower(settings.sources, settings.channels, channel, before)
            live = LiveProps()
            live.stream = stream = channel.start(self._spec(request, user, live, followed, follower))
        except RequestRefused as refusal:
            self._tell_refusal(channel, request, refusal)
            raise
        if follower is not None:
            follower.stream = stream
        return stream

    def _tell_refusal(self, channel: Channel, request: StartRequest, refusal: RequestRefused) -> None:
        """Have the page show it: what has sent the request may not be its script, but Dash's for a websocket."""
        channel.refuse(wire.Refused(self._callback_id, request.match, str(refusal)))

    async def _followed_source(self, request: StartRequest) -> FollowedSource | None:
        """The source that the stream is to follow; None if it runs by itself."""
        sharing = self._declaration.sharing
        if sharing is None:
            return None
        scope = await sharing.scope_of(request.callback_request.http or quart.websocket, request.browser)
        return self._sources.find(request, scope, self._to_pairs(request))

    def _to_pairs(self, request: StartRequest) -> Callable[[object], Sequence[Pair]] | None:
        """What makes pairs of the values for the Outputs; None if there are none."""
        outputs = self._declaration.outputs
        return None if outputs is None else partial(outputs.pairs, resolved=request.dash_context.outputs_list)

    def _make_encoders(self, to_pairs: Callable[[object], Sequence[Pair]] | None) -> Encoders:
        """What encodes the updates of a stream: `encode` and `encode_by_prop` of its `StreamSpec`."""
        name = self._declaration.name
        return update_encoder(name, to_pairs), encoder(name, to_pairs, encode_by_prop, [])

    def _spec(
        self,
        request: StartRequest,
        user: str | None,
        live: LiveProps,
        followed: FollowedSource | None,
        follower: StreamFollower | None,
    ) -> StreamSpec:
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
        is_small = not request.callback_request.values_size
        context = context_of_stream(request.dash_context, declaration, added, live, is_small=is_small)
        # What only the start needs is not to live as long as the stream.
        context.run(CALLBACK_REQUEST.set, settings.of_streams)
        context.run(settings.enter_stream)
        function, last = self._function, self._last_value
        to_pairs = self._to_pairs(request)
        encode, encode_each = self._encoders if to_pairs is None else self._make_encoders(to_pairs)
        return StreamSpec(
            callback=declaration.name,
            user=user,
            key=self._key(request),
            is_plain=follower is None and kind_of_generator(function) == "plain",
            generator=(
                follower.follow if follower is not None else partial(call, function, args, {**kwargs, **watched}, last)
            ),
            encode=encode,
            light=LIGHT_UPDATES,
            encode_by_prop=encode_each if declaration.conflate else None,
            opening=self._opening(request, resets, off).encode_fields(),
            resets=resets,
            off=off,
            conditions=declaration.conditions,
            watched=tuple(watched.values()),
            on_error=settings.handler(declaration.on_error),
            describe=self._describe_for(settings),
            timeout=declaration.timeout,
            values_size=request.callback_request.values_size,
            context=context,
            mistakes=self._mistakes,
            shows_mistakes=settings.shows_mistakes(),
            refused=self._refused if request.match is None else partial(wire.Refused, self._callback_id, request.match),
            waits_its_turn=declaration.overlap == "queue",
            check_at_turn=self._check_at_turn(request),
            finishes=FINISHES,
            source_key=None if followed is None else followed.key,
        )

    def _describe_for(self, settings: StreamSettings) -> Callable[[BaseException], bytes]:
        """What describes the failure of a stream: the same object for all streams of an app."""
        if self._describe is None or self._describe.func is not settings.describe:
            self._describe = partial(settings.describe, self._declaration.name)
        return self._describe

    def _check_at_turn(self, request: StartRequest) -> Callable[[Mapping[int, object]], str | None] | None:
        """See `StreamSpec`. The values at the start are kept only for a start that may wait."""
        if self._declaration.overlap != "queue" or not self._declaration.conditions:
            return None
        return partial(self._conditions.not_met_at_turn, tuple(request.condition_values))

    def _opening(self, request: StartRequest, resets: bytes, off: bytes) -> wire.Open:
        """What the page is told when the stream opens."""
        declaration, matched, body = self._declaration, request.matched, request.callback_request.body
        components = None if declaration.keep else components_of(declaration, request.dash_context.inputs_list, matched)
        return wire.Open(
            callback_id=self._callback_id,
            output=None if declaration.outputs is None else body["output"],
            match=request.match,
            again=self._dependencies.again(body, matched) if declaration.restart else None,
            conflate=declaration.conflate,
            components=to_json(components).encode(),
            conditions=to_json(
                [*describe_conditions(declaration, request), *describe_watched(declaration, request)]
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
