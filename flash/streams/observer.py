"""Defines the interface by which metrics learn of the life of streams."""

from __future__ import annotations

from ..cancel_scopes import EndReason


class Observer:
    """Called at each step in the life of a stream; this base class ignores all calls."""

    def started(self, callback: str) -> None:
        """A stream has opened."""

    def sent_first(self, callback: str, seconds: float) -> None:
        """A stream has put its first update into the buffer, `seconds` after it opened."""

    def waited(self, callback: str, seconds: float) -> None:
        """A generator has waited `seconds` for room in the buffer."""

    def ended(self, callback: str, reason: EndReason, updates: int, size: int, since_cancel: float | None) -> None:
        """A stream has sent its `end`.

        Args:
            callback: the name of the event callback.
            reason: why the stream ended.
            updates: how many updates it had.
            size: their bytes of JSON.
            since_cancel: seconds since it was cancelled; None if it was not.
        """
