"""Says how long to wait before code that has failed is run again, and when to give it up."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_PAUSE = 60.0
"""Seconds that a pause doubles up to; a first pause that is longer stays as it is."""


@dataclass(slots=True)
class Backoff:
    """The pauses between the runs of one piece of code.

    Attributes:
        first: seconds of the first pause. Each further one is twice as long, up to `LONGEST_PAUSE`.
        retries: how many failures in a row are followed by another run; None for any number.
        failures: how many there were in a row. Whoever sees the code do some good sets it to 0.
    """

    first: float
    retries: int | None
    failures: int = 0

    def pause(self) -> float | None:
        """Note a failure. Returns the seconds until the code is to run again; None if it is to be given up."""
        self.failures += 1
        if self.retries is not None and self.failures > self.retries:
            return None
        # Every exponent beyond this one leads to the bound; a huge one would overflow.
        doubled = self.first * 2.0 ** min(self.failures - 1, 64)
        return min(doubled, max(self.first, LONGEST_PAUSE))
