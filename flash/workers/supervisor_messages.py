"""The messages between a worker and its supervisor, and their form on the socket that joins the two.

    worker                        supervisor
      ── Ready ────────────────────►  it serves, and other workers reach it
      ── Claim(7, "a") ────────────►
      ◄─────────── Held(7, holder) ──
      ── GiveUp("a") ──────────────►
      ── Stopping(8) ──────────────►  it holds nobody new
      ◄──── Stops(8, false, true) ──  it stops alone, and others go on

A message is one line of JSON: an array of the message's name and its fields. A worker numbers its questions, and an
answer carries the number of its question.

Nothing here does I/O: a `MessageReader` is given bytes as they come, and returns messages.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

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


Message = Ready | Stopping | Claim | GiveUp | AskWorkers | Held | Workers | Stops


class InvalidMessage(ValueError):
    """A line is no message."""


def encode(message: Message) -> bytes:
    """The line that stands for a message."""
    fields: list[Any]
    match message:
        case Ready():
            fields = []
        case Claim(question, browser):
            fields = [question, browser]
        case GiveUp(browser):
            fields = [browser]
        case Stopping(question) | AskWorkers(question):
            fields = [question]
        case Stops(question, all_stop, others_go_on):
            fields = [question, all_stop, others_go_on]
        case Held(question, holder):
            fields = [question, None if holder is None else _of_holder(holder)]
        case Workers(question, workers):
            fields = [question, [_of_holder(worker) for worker in workers]]
    return json.dumps([type(message).__name__, *fields]).encode() + b"\n"


def _of_holder(holder: Holder) -> list[Any]:
    return [holder.name, holder.address, holder.here]


def _decode(line: bytes) -> Message:
    try:
        parsed: Any = json.loads(line)
    except ValueError as error:
        raise InvalidMessage(f"{line!r} is no message: {error}.") from error
    match parsed:
        case ["Ready"]:
            return Ready()
        case ["Stopping", int(question)]:
            return Stopping(question)
        case ["Stops", int(question), bool(all_stop), bool(others_go_on)]:
            return Stops(question, all_stop, others_go_on)
        case ["Claim", int(question), str(browser)]:
            return Claim(question, browser)
        case ["GiveUp", str(browser)]:
            return GiveUp(browser)
        case ["AskWorkers", int(question)]:
            return AskWorkers(question)
        case ["Held", int(question), None]:
            return Held(question, None)
        case ["Held", int(question), [str(name), str(address), bool(here)]]:
            return Held(question, Holder(name, address, here))
        case ["Workers", int(question), [*workers]]:
            return Workers(question, tuple(Holder(*worker) for worker in workers))
        case _:
            raise InvalidMessage(f"{line!r} is no message.")


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
