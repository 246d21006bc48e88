"""Describes what a stream is to run: one request to start one event callback, in terms that know nothing of Dash."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..cancel_scopes import Condition
from ..watched import Watched
from ..wire import Refused
from .events import NOT_LIGHT, LightUpdates, PropUpdate
from .mistakes import Mistakes


def _taken() -> object:
    raise RuntimeError("The generator of this stream has been made.")


@dataclass(eq=False, slots=True, kw_only=True)
class StreamSpec:
    """What a stream is to run, and how.

    Attributes:
        callback: the name of the event callback, for messages.
        user: whose stream it is, as `identify=` of the app has said; None if it has not.
        key: names what the stream is a run of; at most one stream of a key runs at a time.
        is_plain: whether the generator is a plain one, and so needs a thread.
        generator: makes the user's generator, or an awaitable that gives it.
        encode: turns what the generator yields into JSON, the inner part of an array of `[id, props]` pairs: "" if
            there is nothing to send, None if None was yielded. Raises InvalidUpdate.
        light: which updates need not be encoded at once by `encode`.
        encode_by_prop: for a stream that conflates, encodes what it yields property by property; else None.
        opening: what the event `open` carries besides the stream's id: the encoded fields of `wire.Open`.
        resets: the pairs of `reset_props`, as JSON; `end` has them after those of `on_error`, unless the stream
            completed.
        off: the pairs with the off values of `running`, as JSON; they come last in every `end`.
        conditions: the conditions of `cancel=`, in the order in which the page numbers them.
        watched: the properties of `watch=`, which the page numbers behind the conditions.
        on_error: the user's handler, sync or async; None if there is none.
        describe: turns an exception into what `end` says of it: an encoded `wire.Failure`.
        timeout: seconds after which the stream ends with `timed_out`; None for no limit.
        values_size: bytes of memory that the values of its Inputs and States take, about; 0 if they are few.
        context: the contextvars of the request that started the stream.
        mistakes: the mistakes of the event callback that were logged.
        shows_mistakes: whether the page has dev tools to show them in.
        refused: makes what tells the page that the stream does not open, of a sentence and a status.
        waits_its_turn: whether it waits for the runs of its key that were started before, and does not supersede them.
        check_at_turn: for one that does: given the newest values of the conditions that have changed while it waited,
            by their places, says why it does not open; None if it may. Without it, it may.
        finishes: types of exceptions that end the generator, or `on_error`, without a failure.
        source_key: tells the source that the stream follows from others; that puts the updates into the outbox, and the
            generator only waits. None for a stream that runs by itself.
    """

    callback: str
    key: str
    generator: Callable[[], object]
    encode: Callable[[object], bytes | None]
    opening: bytes
    user: str | None = None
    light: LightUpdates = NOT_LIGHT
    encode_by_prop: Callable[[object], Sequence[PropUpdate] | None] | None = None
    resets: bytes = b""
    off: bytes = b""
    conditions: Sequence[Condition] = ()
    watched: Sequence[Watched[Any]] = ()
    on_error: Callable[[BaseException], object] | None = None
    describe: Callable[[BaseException], bytes] = field(default=lambda error: b'"failed"')
    timeout: float | None = None
    values_size: int = 0
    is_plain: bool = False
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    mistakes: Mistakes = field(default_factory=Mistakes)
    shows_mistakes: bool = False
    refused: Callable[[str, str], Refused] = field(default=lambda message, status: Refused("", None, message, status))
    waits_its_turn: bool = False
    check_at_turn: Callable[[Mapping[int, object]], str | None] | None = None
    finishes: tuple[type[Exception], ...] = ()
    source_key: Hashable | None = None

    def take_generator(self) -> Callable[[], object]:
        """What makes the generator. It is let go, with the arguments that it holds: a stream makes one generator."""
        generator, self.generator = self.generator, _taken
        return generator

    def take_opening(self) -> bytes:
        """What the event `open` carries. It is let go: a stream opens once."""
        opening, self.opening = self.opening, b""
        return opening

    @property
    def name(self) -> str:
        """What messages call a run."""
        of_user = "" if self.user is None else f" of {self.user!r}"
        return f"the event callback {self.callback!r}{of_user}"

    @property
    def label(self) -> str:
        """What the log calls a run: its event callback, and whose it is."""
        return self.callback if self.user is None else f"{self.callback} of {self.user!r}"
