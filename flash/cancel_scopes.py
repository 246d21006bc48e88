"""Defines why and how a stream is cancelled: reasons, conditions, and the cancel scope of a stream.

A stream has one `StreamScope`. Whatever ends the stream calls `StreamScope.cancel` with a reason. The first call wins:
its reason goes to `on_error`, into the log and to the page. A `Condition` turns a change of a component's property into
such a call. The page reports changes of the properties that the stream watches in the same way; those end nothing.
Nothing here knows of HTTP or Dash: properties are labels, values are what JSON can express.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, cast

import trio

from .errors import FlashError
from .watched import Watched

Predicate = Callable[[object], object]

LAYOUT = "layout"
"""The condition that every stream has, unless it was declared with `keep=True`: its components are in the layout."""


class EndReason(StrEnum):
    """Why a stream ended; every stream ends with exactly one of these."""

    COMPLETED = "completed"
    """The generator returned."""
    FAILED = "failed"
    """The generator raised."""
    CANCELLED = "cancelled"
    """A condition of `cancel=` is not met any more, or all components of the stream have left the layout."""
    SUPERSEDED = "superseded"
    """The same event callback, with the same MATCH values, was started again."""
    TIMED_OUT = "timed_out"
    """The stream ran for longer than its `timeout=`."""
    DISCONNECTED = "disconnected"
    """The page is gone."""
    SHUTDOWN = "shutdown"
    """The server stops."""
    REVOKED = "revoked"
    """The server's own code has ended it, by `app.end_streams`."""


class StreamCancelled(FlashError):
    """What `on_error` is given when a stream ends without an exception of the user's.

    Attributes:
        reason: why the stream ended.
        condition: for `cancelled`, the property whose condition is not met any more, such as `"tabs.value"`; `"layout"`
            if none of the components that the stream depends on, or has updated, is in the layout any more.
        value: for `cancelled`, the value that did not meet the condition.
        why: for `revoked`, what `app.end_streams` was given as `why`; "" if nothing.
    """

    def __init__(self, reason: EndReason, condition: str | None = None, value: object = None, why: str = "") -> None:
        detail = f": {condition} is now {value!r}" if condition is not None else why and f": {why}"
        if condition == LAYOUT:
            detail = ": none of its components is in the layout any more"
        super().__init__(f"The stream was ended ({reason}){detail}.")
        self.reason = reason
        self.condition = condition
        self.value = value
        self.why = why


def json_equal(left: object, right: object) -> bool:
    """Whether two values are the same JSON: `1` is `1.0` but not `True`, `0` is not `False`, a tuple is a list."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        ours, theirs = cast("Mapping[object, object]", left), cast("Mapping[object, object]", right)
        return ours.keys() == theirs.keys() and all(json_equal(ours[key], theirs[key]) for key in ours)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        items, others = cast("Sequence[object]", left), cast("Sequence[object]", right)
        return len(items) == len(others) and all(map(json_equal, items, others))
    return left == right


class Condition(NamedTuple):
    """One entry of `cancel=`: what the value of a property must be for the stream to go on.

    Attributes:
        label: the property, such as `"tabs.value"`.
        predicate: says whether a value meets the condition; None for a bare Input, which any change ends.
        counts: whether the property is a counter (`n_clicks` and its like), whose value at the start says nothing.
        desired: the value that it is to have, as written; None if a function decides.
    """

    label: str
    predicate: Predicate | None
    counts: bool
    desired: str | None = None

    @property
    def checked_at_start(self) -> bool:
        """Counters and bare Inputs are exempt: a click count of 1 must not block the next run."""
        return self.predicate is not None and not self.counts

    def is_met(self, value: object, on_failure: Callable[[BaseException], object]) -> bool:
        """Whether a stream may go on now that the property has become `value`.

        A predicate that raises counts as not met, whatever it raises; `on_failure` is called with the exception.
        """
        if self.predicate is None:
            return False
        try:
            answer = self.predicate(value)
            if inspect.iscoroutine(answer):
                answer.close()
                raise TypeError("an async predicate cannot be asked in passing: make it a plain function")
            return bool(answer)
        except BaseException as error:
            on_failure(error)
            return False


class Cancellable(Protocol):
    """What runs in a `StreamScope`: the stream."""

    def cancelled(self) -> None:
        """The scope has just been cancelled, for the first time."""
        ...


class StreamScope:
    """The cancel scope of one stream, and the reason of the first cancellation.

    It is shielded: nothing from outside can cut a stream except `cancel`, so no stream ends without a reason.

    Attributes:
        cancel_scope: the scope that the stream's task enters.
        reason: why the stream was cancelled; None while it was not.
        owner: is told of the first reason; None if nobody is.
        condition: for `cancelled`, the property whose condition is not met any more.
        failure: what the predicate raised that the stream was cancelled for; None if none did.
        why: for `revoked`, what the app's code has said of it; "" if nothing.
    """

    __slots__ = (
        "_closed",
        "_conditions",
        "_newest",
        "_value",
        "_watched",
        "cancel_scope",
        "condition",
        "failure",
        "owner",
        "reason",
        "why",
    )

    def __init__(
        self,
        conditions: Sequence[Condition] = (),
        owner: Cancellable | None = None,
        watched: Sequence[Watched[Any]] = (),
    ) -> None:
        self.cancel_scope: trio.CancelScope = trio.CancelScope(shield=True)
        self.reason: EndReason | None = None
        self.owner = owner
        self.failure: BaseException | None = None
        self._conditions = conditions
        self._watched = watched
        self.condition: str | None = None
        self.why: str = ""
        self._value: object = None
        self._closed = False
        self._newest: dict[int, int] | None = None

    def cancel(self, reason: EndReason, condition: str | None = None, value: object = None, *, why: str = "") -> bool:
        """Cancel the stream; only the first call, and none after `close`, has an effect. Says whether this one had."""
        if self._closed or self.reason is not None:
            return False
        self.reason, self.condition, self._value, self.why = reason, condition, value, why
        self.cancel_scope.cancel(reason=str(reason))
        if self.owner is not None:
            self.owner.cancelled()
        return True

    def change(self, index: int | str, value: object, number: int | None = None) -> bool:
        """Note that the property of condition number `index` has become `value`; cancel the stream if that breaks it.

        Args:
            index: which condition; those behind the last one are the properties that the stream watches. In place of a
                number, `LAYOUT` says that the page has none of the stream's components any more.
            value: of the property.
            number: the higher, the later the change was made. A change that is no later than one that is known is
                ignored: it has come before, or was overtaken. One without a number always counts.

        Raises:
            IndexError: there is no such condition.
        """
        if index == LAYOUT:
            return self.cancel(EndReason.CANCELLED, LAYOUT)
        if not isinstance(index, int) or not 0 <= index < len(self._conditions) + len(self._watched):
            raise IndexError(index)
        if number is not None:
            if self._newest is None:
                self._newest = {}
            if number <= self._newest.get(index, -1):
                return False
            self._newest[index] = number
        if index >= len(self._conditions):
            self._watched[index - len(self._conditions)].change(value)
            return False
        condition = self._conditions[index]
        failures: list[BaseException] = []
        if condition.is_met(value, failures.append):
            return False
        cancelled = self.cancel(EndReason.CANCELLED, condition.label, value)
        if cancelled and failures:
            self.failure = failures[0]
        return cancelled

    def close(self) -> None:
        """The generator is over: a cancellation that comes now is too late."""
        self._closed = True

    def exception(self) -> StreamCancelled:
        """The exception that `on_error` gets for the cancellation."""
        assert self.reason is not None
        return StreamCancelled(self.reason, self.condition, self._value, self.why)
