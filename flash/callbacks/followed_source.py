"""The sources of an event callback whose streams are shared: which one a start is to follow, and what that runs.

    scope, Inputs, States, MATCH, Outputs ── the key ── a source that is there, or is started

Everything about a source that comes from its start is in `FollowedSource`; the start itself is in `start`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Hashable, Sequence
from functools import partial
from typing import Any, NamedTuple

import dash

from .._dash import validate_and_group_input_args
from ..channels import Channels
from ..errors import RequestRefused
from ..nursery import Channel
from ..props import Pair, encode_shared, encoder
from ..shared.failures import UNAVAILABLE, failure_of_stream
from ..shared.page_state import PageState
from ..shared.source import Source
from ..shared.source_spec import SourceSpec
from ..shared.sources import Sources, join, rejoin, source_of
from ..shared.stream_follower import StreamFollower
from ..streams.events import SharedUpdate
from ..streams.mistakes import Mistakes, yielded_none
from ..streams.stream import Stream
from ..user_code.functions import call, describe_call, kind_of_generator
from .declaration import Declaration
from .sharing import COUNTER, Scope
from .start_request import StartRequest

FINISHES = (dash.exceptions.PreventUpdate,)
"""Types of exceptions that end a generator without a failure."""


class FollowedSource(NamedTuple):
    """The source that a start is to follow.

    Attributes:
        key: tells it from others.
        spec: what it is to run, if it is not there yet.
        stops_all: where a condition ends one stream, it ends all that follow the source.
        starts_anew: a source that is over, and kept for its end, is not followed.
        resumed: the source that was there for a page that resumes, and so starts none; None for other starts, and if
            there was none.
    """

    key: Hashable
    spec: SourceSpec
    stops_all: bool
    starts_anew: bool
    resumed: Source | None

    def check(self, sources: Sources, before: Stream | None) -> None:
        """Raise RequestRefused if it can neither be followed nor started.

        Args:
            sources: of the app.
            before: the stream whose end the new one waits for; None if it waits for none. A source that nobody else
                follows ends with it, so that the new stream begins another one.
        """
        source = source_of(self.key)
        if source is None or (source.is_kept and self.starts_anew):
            ending = () if before is None else _ending(sources, before)
            try:
                sources.check(self.spec, ending)
            except UNAVAILABLE as refused:
                raise RequestRefused(refused.status, str(refused)) from None
            return
        refusal = source.memory.refusal if source.can_be_followed else None
        if refusal is not None and (before is None or not _ends_with(source, before)):
            raise RequestRefused(409, refusal)

    def follower(self, sources: Sources, channels: Channels, channel: Channel, before: Stream | None) -> StreamFollower:
        """What a stream of the channel follows it by; `before` is as in `check`."""
        found = self.resumed

        def follow(follower: StreamFollower) -> Awaitable[Source | None]:
            if found is not None:
                return rejoin(self.key, follower, found)
            more = {"starts_anew": self.starts_anew, "waits_for_room": before is not None}
            return join(self.spec, self.key, follower, sources, **more)

        return StreamFollower(
            follow,
            _holding(channels, channel),
            partial(channels.stop_others, channel, self.key) if self.stops_all else None,
        )


class FollowedSources:
    """The sources of one event callback."""

    def __init__(
        self,
        function: Callable[..., Any],
        declaration: Declaration,
        mistakes: Mistakes,
        on_return: Callable[[object], object],
    ) -> None:
        """
        Args:
            function: the user's generator function.
            declaration: what it was declared with.
            mistakes: those of the event callback.
            on_return: what becomes of a value that the generator returns: see `user_code.functions.call`.
        """
        self._function = function
        self._declaration = declaration
        self._mistakes = mistakes
        self._on_return = on_return

    def find(
        self, request: StartRequest, scope: Scope, to_pairs: Callable[[object], Sequence[Pair]] | None
    ) -> FollowedSource:
        """The source that a start is to follow.

        Args:
            request: the start.
            scope: for whom the source is.
            to_pairs: makes pairs of the values for the Outputs; None if there are none.

        Raises:
            RequestRefused: the generator function cannot be called with what the user's function has returned.
        """
        declaration, sharing, function = self._declaration, self._declaration.sharing, self._function
        assert sharing is not None
        args, kwargs = validate_and_group_input_args(request.values, declaration.grouping)
        kwargs = {**kwargs, **scope.keywords}
        sharing.check_call(function, args, kwargs)
        outputs = None if declaration.outputs is None else request.dash_context.outputs_list
        dependencies = [*declaration.inputs, *declaration.states]
        encode = encoder(declaration.name, to_pairs, encode_shared, SharedUpdate(b"", []))
        bound = request.callback_request.settings.channels.limits.buffer.bytes
        spec = SourceSpec(
            name=describe_call(declaration.name, args, kwargs),
            generator=lambda: call(function, args, kwargs, self._on_return),
            is_plain=kind_of_generator(function) == "plain",
            options=sharing.options,
            memory=lambda: PageState(declaration.name, encode, bound, self._note_none),
            kind="shared stream",
            failure=failure_of_stream,
            finishes=FINISHES,
            keeps_end=True,
            browser=request.browser,
        )
        key = (self, scope.key, _digest(dependencies, request.values, [request.matched, outputs]))
        there = source_of(key) if request.resumes else None
        return FollowedSource(
            key,
            spec,
            sharing.stops_all,
            starts_anew=request.by_user,
            resumed=there if there is not None and there.can_be_followed else None,
        )

    def _note_none(self) -> None:
        self._mistakes.log_once(*yielded_none(f"the event callback {self._declaration.name!r}"))


def _ending(sources: Sources, before: Stream) -> list[Source]:
    """The sources that will have ended, or are about to, when the stream `before` has."""
    return [source for source in sources.running() if source.is_unwinding or _ends_with(source, before)]


def _ends_with(source: Source, stream: Stream) -> bool:
    """Whether a source ends with a stream that follows it: nobody else does."""
    if source.id != stream.source or len(source.followers) != 1:
        return False
    [follower] = source.followers
    return isinstance(follower, StreamFollower) and follower.stream is stream


def _digest(dependencies: Sequence[Any], values: Sequence[object], more: object) -> str:
    """What tells the values of a start from others, in a form of fixed size: they may be large, such as an upload.

    Args:
        dependencies: the Inputs and States.
        values: of them, as the page has sent them.
        more: what else tells sources apart: what MATCH has matched, and the ids of Outputs.
    """
    told = [
        value
        for dependency, value in zip(dependencies, values, strict=True)
        if not dependency.component_property.startswith(COUNTER)
    ]
    return hashlib.sha256(json.dumps([told, more], sort_keys=True).encode()).hexdigest()


def _holding(channels: Channels, channel: Channel) -> Callable[[], Callable[[], None]]:
    """What has this process stay the holder of a page's browser while the source lingers that the page has followed."""

    def hold() -> Callable[[], None]:
        holder, browser = channels.holding, channel.browser
        if holder is None:
            return lambda: None
        try:
            holder.enter(browser)
        except RequestRefused:
            # Another process has come to hold it.
            return lambda: None
        return lambda: holder.leave(browser)

    return hold
