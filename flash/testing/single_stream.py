"""Runs one stream of an event callback without a page: with values for its Inputs and States, and a link that reads.

The stream is the real one, in a channel like that of any page. What it yields is noted before it is encoded.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import dash
import trio

from .._dash import AttributeDict, context_value, inputs_to_dict, is_no_update
from ..asgi.tokens import new_token
from ..callbacks.declaration import Declaration
from ..callbacks.stream_context import LiveProps
from ..cancel_scopes import Condition, EndReason
from ..channels import Channels
from ..event_callbacks import EventCallback
from ..nursery import Channel
from ..options import DEFAULTS
from ..props import Pair, Update, update_encoder, wire_id
from ..shared.sources import Sources
from ..streams.limits import Limits, PageLimits
from ..streams.link import Link
from ..streams.spec import StreamSpec
from ..streams.stream import Stream
from ..user_code.functions import kind_of_generator
from ..watched import Watched
from ..wire import Standing
from .component_ids import key_of
from .virtual_time import VirtualTime
from .work_outside import place_of_failure, where

END_TIMEOUT = 30.0
"""Virtual seconds that a stream may take to be over once it was ended."""

FOR_EVER = 1e9
"""Seconds that no test takes."""

BYTES = 1_000_000
"""Bytes of events that are read at a time."""

STOPPED = Condition("a condition of cancel=", None, counts=False)
"""The condition by which `change(0, ...)` cancels the stream."""


@dataclass
class SingleStream:
    """One stream of an event callback.

    Attributes:
        callback: the event callback.
        args: for its Inputs and States.
        keywords: the same, for a callback that takes them by name, and values of the Inputs of `watch=`.
        channel: in which it runs.
        sources: the feeds that it follows.
        updates: what it has yielded, or `set_props` has set in it.
        generators: what the user's function has returned.
        failure: what its generator has raised.
        encodes: is called for each update, before it is encoded.
    """

    callback: EventCallback[..., Any]
    args: Sequence[Any]
    keywords: Mapping[str, Any]
    channel: Channel
    sources: Sources
    updates: list[dict[str, dict[str, Any]]] = field(default_factory=list[dict[str, dict[str, Any]]])
    generators: list[Any] = field(default_factory=list[Any])
    failure: BaseException | None = None
    encodes: Callable[[], None] = lambda: None
    _watched: dict[str, Watched[Any]] = field(init=False)

    def __post_init__(self) -> None:
        given = {name: self.keywords.get(name) for name in self.declaration.watched_states}
        self._watched = {
            name: value if isinstance(value, Watched) else Watched(value, name) for name, value in given.items()
        }

    @classmethod
    async def prepare(
        cls, nursery: trio.Nursery, callback: object, args: Sequence[Any], keywords: Mapping[str, Any]
    ) -> SingleStream:
        """Open a channel as a task of `nursery`, and a link that reads it; the stream is not started yet."""
        if not isinstance(callback, EventCallback):
            raise TypeError(f"{callback!r} is no event callback: decorate a generator with @event_callback.")
        endless = PageLimits(
            start_timeout=FOR_EVER, stall_timeout=FOR_EVER, ping_interval=FOR_EVER, window=1_000 * DEFAULTS.window
        )
        limits, link = Limits(), Link()
        channels, sources = Channels(limits, endless), Sources(lambda: nursery, limits, DEFAULTS.sources_per_server)
        sources.begin()
        page, browser = new_token(), new_token()
        channel = await channels.connect(nursery, link, browser, Standing(page, 1))
        nursery.start_soon(_read, link, channel)
        return cls(cast("EventCallback[..., Any]", callback), args, keywords, channel, sources)

    @property
    def declaration(self) -> Declaration:
        return self.callback.declaration

    def start(self) -> Stream:
        """Start it."""
        live = LiveProps()
        stream = self.channel.start(self.spec(self._generate, live))
        live.stream = stream
        return stream

    def spec(self, generate: Callable[[], object], live: LiveProps) -> StreamSpec:
        """What a stream is to run that has the key of this one."""
        declaration = self.declaration
        to_pairs: Callable[[object], Sequence[Pair]] | None = None
        if declaration.outputs is not None:
            to_pairs = partial(declaration.outputs.pairs, resolved=self._resolved_outputs())
        encode = update_encoder(declaration.name)

        def encode_noted(value: object) -> bytes | None:
            self.encodes()
            if to_pairs is not None and value is not None and not isinstance(value, Update) and not is_no_update(value):
                value = Update(tuple(to_pairs(value)))
            encoded = encode(value)
            if isinstance(value, Update):
                self.updates.append(_as_dict(value))
            return encoded

        return StreamSpec(
            callback=declaration.name,
            key=declaration.name,
            is_plain=kind_of_generator(self.callback) == "plain",
            generator=generate,
            encode=encode_noted,
            opening=b'"callback_id":""',
            conditions=[STOPPED],
            on_error=declaration.on_error,
            describe=self._note_failure,
            timeout=declaration.timeout,
            watched=tuple(self._watched.values()),
            context=self._context(live),
            finishes=(dash.exceptions.PreventUpdate,),
        )

    def _generate(self) -> object:
        made = self.callback(*self.args, **{**self.keywords, **self._watched})
        self.generators.append(made)
        return made

    def _note_failure(self, error: BaseException) -> bytes:
        self.failure = error
        return b"null"

    def _context(self, live: LiveProps) -> contextvars.Context:
        """The contextvars of the stream: a `ctx` in which the first Input has triggered it."""
        declaration = self.declaration
        entries = [
            {"id": wire_id(dependency.component_id), "property": dependency.component_property, "value": value}
            for dependency, value in zip((*declaration.inputs, *declaration.states), self.args, strict=False)
        ]
        inputs, states = entries[: len(declaration.inputs)], entries[len(declaration.inputs) :]
        triggered = [
            {"prop_id": f"{key_of(entry['id'])}.{entry['property']}", "value": entry["value"]} for entry in inputs[:1]
        ]
        dash_context = AttributeDict(
            inputs_list=inputs,
            states_list=states,
            input_values=inputs_to_dict(inputs),
            state_values=inputs_to_dict(states),
            triggered_inputs=triggered,
            outputs_list=[],
            outputs_grouping=[],
            args_grouping=list(self.args),
            using_args_grouping=False,
            updated_props=live,
            dash_websocket=None,
        )
        context = contextvars.copy_context()
        context.run(context_value.set, dash_context)
        return context

    def _resolved_outputs(self) -> Any:
        outputs = self.declaration.outputs
        assert outputs is not None
        named = [{"id": wire_id(each.component_id), "property": each.component_property} for each in outputs.flat]
        return named if isinstance(outputs.grouping, list | tuple | dict) else named[0]

    @property
    def name(self) -> str:
        """What messages call the event callback."""
        return repr(self.declaration.name)

    async def finish(self, time: VirtualTime) -> None:
        """Close the channel, and let time pass until the stream and all that it has started are over.

        Raises:
            AssertionError: they do not get over.
        """
        self.channel.close(EndReason.DISCONNECTED)
        deadline = trio.current_time() + END_TIMEOUT
        while not self.channel.finished.is_set() and await time.step(deadline):
            pass
        if not self.channel.finished.is_set():
            raise AssertionError(
                f"{self.name} still runs {END_TIMEOUT:g} s after it was ended: {where(self.declaration.name)}."
            )
        await self.sources.shut_down()
        self.sources.end()

    def explain_failure(self) -> AssertionError:
        """What a test is told of the generator's exception."""
        assert self.failure is not None
        error = AssertionError(
            f"{self.declaration.name!r} failed at {place_of_failure(self.failure)}: {self.failure!r}"
        )
        error.__cause__ = self.failure
        return error


def _as_dict(update: Update) -> dict[str, dict[str, Any]]:
    """An update by component, without what `no_update` leaves alone."""
    found: dict[str, dict[str, Any]] = {}
    for component_id, props in update.pairs:
        kept = {name: value for name, value in props.items() if not is_no_update(value)}
        if kept:
            found.setdefault(key_of(cast("Any", wire_id(component_id))), {}).update(kept)
    return found


async def _read(link: Link, channel: Channel) -> None:
    """Read and acknowledge what is sent, until the channel is over."""
    while received := await link.receive(BYTES):
        for _, events in received:
            if events:
                channel.acknowledge(channel.life, events[-1].number)
