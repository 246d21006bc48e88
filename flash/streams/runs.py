"""Keeps the runs of one key of a page: the one that has opened, and the starts that wait for its end.

A start that supersedes waits until the run before it has ended, and a newer one takes its place. With `overlap="queue"`
each start waits its turn. The page watches the conditions of a stream from its `open` on. So of a start that waits it
reports no changes, but it does report those of the run before, which has the same conditions: they are kept, and
checked when the turn of the start has come.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..wire import Refused
from .stream import Stream

MOST_WAITING = 10
"""How many starts of one key may wait their turn."""


@dataclass(slots=True)
class Waiting:
    """A start that waits for the end of an earlier run.

    Attributes:
        stream: what it is to run.
        changes: the newest value of each condition that has changed meanwhile, with the number of the change, by the
            place of the condition.
    """

    stream: Stream
    changes: dict[int, tuple[int, object]] = field(default_factory=dict[int, tuple[int, object]])

    def note(self, index: int, value: object, number: int | None) -> None:
        """A condition has changed: see `StreamScope.change`."""
        known, _ = self.changes.get(index, (-1, None))
        if number is None or number > known:
            self.changes[index] = (known if number is None else number), value

    def refusal(self) -> Refused | None:
        """Its turn has come: what the page is told if it is not to open after all."""
        spec = self.stream.spec
        if not self.changes or spec.check_at_turn is None:
            return None
        message = spec.check_at_turn({index: value for index, (_, value) in self.changes.items()})
        return None if message is None else spec.refused(message, "idle")

    def stopped_elsewhere(self, condition: str) -> Refused:
        """What the page is told if it is not to open because the condition is not met any more in another page."""
        spec = self.stream.spec
        message = f"{spec.callback!r} was not started: its condition on {condition} is not met any more in another tab."
        return spec.refused(message, "idle")


@dataclass(slots=True)
class Runs:
    """The runs of one key.

    Attributes:
        current: the one that has opened, and not sent its `end`.
        waiting: the starts that wait for that, the next one first.
    """

    current: Stream
    waiting: tuple[Waiting, ...] = ()
