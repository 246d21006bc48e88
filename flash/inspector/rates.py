"""Works out how many updates a second each stream has, from one snapshot to the next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import trio

from .snapshot import Snapshot


class Rates:
    """The counts of updates in the last snapshot."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._at = trio.current_time()

    def between(self, found: Mapping[str, Snapshot | None]) -> dict[str, float]:
        """Updates per second since the last call, by the ids of the streams that were there then."""
        now = trio.current_time()
        counts = {stream["id"]: stream["updates"] for stream in streams_in(found)}
        seconds = max(now - self._at, 1e-3)
        rates = {name: (count - self._counts[name]) / seconds for name, count in counts.items() if name in self._counts}
        self._counts, self._at = counts, now
        return rates


def streams_in(found: Mapping[str, Snapshot | None]) -> Iterator[Snapshot]:
    """The streams of all workers that have answered."""
    for snapshot in found.values():
        for browser in (snapshot or {}).get("browsers", ()):
            for page in browser["pages"]:
                yield from page["streams"]
