"""What can be told of the life of streams, to whoever counts."""

from __future__ import annotations

from ..cancel_scopes import EndReason


class Observer:
    """What is told of the life of streams; this one does not listen."""

    def started(self, callback: str) -> None:
        """A stream has opened."""

    def sent_first(self, callback: str, seconds: float) -> None:
        """A stream has put its first update into the buffer, so long after it opened."""

    def waited(self, callback: str, seconds: float) -> None:
        """A generator has waited so long for room in the buffer."""

    def ended(self, callback: str, reason: EndReason, updates: int, size: int, since_cancel: float | None) -> None:
        """A stream's end has left: after so many updates and bytes, and so long after it was cancelled."""
