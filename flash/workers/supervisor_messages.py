"""The messages between a worker and its supervisor, and their form on the socket that joins the two.

    worker                        supervisor
      ── Ready ────────────────────►  it serves, and other workers reach it
      ◄──────────────────── Chosen ──  it runs what one worker of the machine is to run
      ── Claim(7, "a") ────────────►
      ◄─────────── Held(7, holder) ──
      ── GiveUp("a") ──────────────►
      ── Stopping(8) ──────────────►  it holds nobody new
      ◄──── Stops(8, false, true) ──  it stops alone, and others go on
      ── Resigned ─────────────────►  it runs nothing more of that

A message is one line of JSON: an array of the message's name and its fields. A worker numbers its questions, and an
answer carries the number of its question.

Nothing here does I/O: a `MessageReader` is given bytes as they come, and returns messages.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any, TypeVar, get_args, get_type_hints

from .directory import Holder


@dataclass(frozen=True, slots=True)
class Ready:
    """From a worker: its app has started, and other workers can reach it."""


@dataclass(frozen=True, slots=True)
class Stopping:
    """From a worker: it stops, and is to hold nobody new. Answered by `Stops`."""

    question: int


@dataclass(frozen=True, slots=True)
class Claim:
    """From a worker: who holds a browser? Answered by `Held`."""

    question: int
    browser: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """From a worker: it holds a browser no longer."""

    browser: str


@dataclass(frozen=True, slots=True)
class AskWorkers:
    """From a worker: which workers are there? Answered by `Workers`."""

    question: int


@dataclass(frozen=True, slots=True)
class Resigned:
    """From a worker: what it may have been chosen for has ended, as it stops."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """From the supervisor: the worker is the one of the machine that runs what one of them is to run."""


@dataclass(frozen=True, slots=True)
class Held:
    """From the supervisor: who holds the browser; None if nobody does, and the worker that asks may not."""

    question: int
    holder: Holder | None


@dataclass(frozen=True, slots=True)
class Workers:
    """From the supervisor: the workers of the generation of the worker that asks."""

    question: int
    workers: tuple[Holder, ...]


@dataclass(frozen=True, slots=True)
class Stops:
    """From the supervisor: what becomes of the others when a worker stops.

    Attributes:
        question: the number of the question.
        all_stop: the whole generation stops.
        others_go_on: there are workers, of this generation or a new one, that new connections go to.
    """

    question: int
    all_stop: bool
    others_go_on: bool


Message = Ready | Stopping | Claim | GiveUp | AskWorkers | Resigned | Chosen | Held | Workers | Stops


T = TypeVar("T")


class InvalidMessage(ValueError):
    """A line is no message."""


_KINDS: dict[str, type[Message]] = {kind.__name__: kind for kind in get_args(Message)}

_types_of = functools.cache(get_type_hints)
"""The types of the fields of a class, by name."""


def encode(message: Message) -> bytes:
    """The line that stands for a message."""
    return json.dumps([type(message).__name__, *astuple(message)]).encode() + b"\n"


def _decode(line: bytes) -> Message:
    try:
        name, *values = json.loads(line)
        return _read_fields(_KINDS[name], values)
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidMessage(f"{line!r} is no message.") from error


def _read_fields(kind: type[T], values: Sequence[Any]) -> T:
    """An instance of a class of this module, or of `Holder`, with these values of its fields.

    Raises:
        ValueError, TypeError: there are more or fewer of them, or they are of other types.
    """
    types = _types_of(kind).values()
    return kind(*[_read_value(expected, value) for expected, value in zip(types, values, strict=True)])


def _read_value(expected: Any, value: Any) -> Any:
    """A value of the type that is expected."""
    if expected == tuple[Holder, ...]:
        return tuple(_read_fields(Holder, each) for each in value)
    if expected == Holder | None:
        return None if value is None else _read_fields(Holder, value)
    if type(value) is not expected:
        raise TypeError(f"{value!r} is no {expected.__name__}.")
    return value


class MessageReader:
    """Makes messages of bytes, however those are cut."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete now.

        Raises:
            InvalidMessage: a line is no message.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [_decode(line) for line in lines]
