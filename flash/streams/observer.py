"""Defines the interface by which metrics and traces learn of the life of streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ..cancel_scopes import EndReason
from .spec import StreamSpec


class ObservedStream(Protocol):
    """A stream, as far as an observer needs it."""

    @property
    def id(self) -> str:
        """Its name: no other stream of the process has it."""
        ...

    @property
    def spec(self) -> StreamSpec:
        """What it runs."""
        ...

    @property
    def started(self) -> float:
        """When it opened, on Trio's clock."""
        ...


class StreamEnd(NamedTuple):
    """The end of a stream.

    Attributes:
        reason: why it ended.
        updates: how many updates it had.
        size: their bytes of JSON.
        since_cancel: seconds since it was cancelled; None if it was not.
        error: what its generator, or its clean-up, has raised; None if nothing.
    """

    reason: EndReason
    updates: int
    size: int
    since_cancel: float | None
    error: BaseException | None


class Observer:
    """Called at each step in the life of a stream; this base class ignores all calls."""

    def started(self, stream: ObservedStream) -> None:
        """The stream has opened. Its task has not begun, and will run in the context of `stream.spec`."""

    def sent_first(self, stream: ObservedStream, seconds: float) -> None:
        """The stream has put its first update into the buffer, `seconds` after it opened."""

    def waited(self, stream: ObservedStream, seconds: float) -> None:
        """The generator has waited `seconds` for room in the buffer."""

    def cancelled(self, stream: ObservedStream, reason: EndReason) -> None:
        """The stream was cancelled: its generator is about to unwind."""

    def unwound(self, stream: ObservedStream) -> None:
        """The generator is over; `on_error` is still to run. After an overrun this comes later than `ended`."""

    def ended(self, stream: ObservedStream, end: StreamEnd) -> None:
        """The stream has sent its `end`."""


def observer_of(*observers: Observer | None) -> Observer:
    """One observer for all that are given; None stands for no observer."""
    given = [observer for observer in observers if observer is not None]
    return given[0] if len(given) == 1 else Observers(given) if given else Observer()


class Observers(Observer):
    """Passes each call on to several observers."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def started(self, stream: ObservedStream) -> None:
        for observer in self._observers:
            observer.started(stream)

    def sent_first(self, stream: ObservedStream, seconds: float) -> None:
        for observer in self._observers:
            observer.sent_first(stream, seconds)

    def waited(self, stream: ObservedStream, seconds: float) -> None:
        for observer in self._observers:
            observer.waited(stream, seconds)

    def cancelled(self, stream: ObservedStream, reason: EndReason) -> None:
        for observer in self._observers:
            observer.cancelled(stream, reason)

    def unwound(self, stream: ObservedStream) -> None:
        for observer in self._observers:
            observer.unwound(stream)

    def ended(self, stream: ObservedStream, end: StreamEnd) -> None:
        for observer in self._observers:
            observer.ended(stream, end)
