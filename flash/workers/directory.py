"""Says which worker holds a browser: the `Directory` that a worker asks, and the table of `Claims` behind it.

    worker 1 ── claim("a") ──┐
    worker 2 ── claim("a") ──┼── Claims ── "worker 1 holds a", to both
    worker 3 ── claim("b") ──┘

A worker holds a browser when it has its channels and websockets. The first request that needs a holder claims the
browser for the worker where it lands; every later claim, by whichever worker, is answered with that holder. Two claims
that come at the same time have the same answer, since a table answers them one after the other. The holder gives the
browser up when it has nothing of it any more, and a holder that dies loses all its browsers at once.

A browser is named by a hash of its cookie: who reads the table, or what travels to it, cannot act as the browser.

Nothing here does I/O. A `Directory` may be anywhere: on one machine `Claims` are in the process that has started the
workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol


def browser_key(secret: str) -> str:
    """The name of a browser in a directory, made of the secret in its cookie."""
    return sha256(b"flash browser " + secret.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Holder:
    """A worker, as another one sees it.

    Attributes:
        name: names the worker in logs and metrics, such as "2".
        address: for other workers: the path of its unix socket, or where there are several machines host:port/name.
        here: it is the worker that asks.
    """

    name: str
    address: str
    here: bool


class Directory(Protocol):
    """What a worker asks of the directory. Its own name is known there."""

    @property
    def name(self) -> str:
        """Of the worker that asks. Up to the last slash, if there is one, those of its machine have the same."""
        ...

    @property
    def status(self) -> str | None:
        """For health: "ok", or "away" while it does not answer; None if it is part of this server."""
        ...

    async def claim(self, browser: str) -> Holder | None:
        """The holder of a browser, which is the worker that asks if nobody has held the browser until now.

        Args:
            browser: its `browser_key`.

        Returns:
            None if nobody holds the browser and the worker that asks may not, because it is stopping.
        """
        ...

    async def give_up(self, browser: str) -> None:
        """Hold a browser no longer. Without effect if the worker that asks does not hold it."""
        ...

    def note_gone(self, worker: Holder) -> None:
        """Another worker is gone, which the directory may learn later: its machine has said so."""
        ...

    async def note_unreachable(self, worker: Holder) -> None:
        """The machine of another worker has refused a connection, or is silent: it is dead, or behind a firewall."""
        ...

    async def workers(self) -> Sequence[Holder]:
        """Every worker that takes part, the one that asks included, in the order of their names."""
        ...


class Claims:
    """Which of several workers holds which browsers."""

    def __init__(self) -> None:
        self._addresses: dict[str, str] = {}
        self._stopping: set[str] = set()
        self._holders: dict[str, str] = {}
        self._browsers: dict[str, set[str]] = {}

    def __len__(self) -> int:
        """The number of browsers that are held."""
        return len(self._holders)

    def join(self, name: str, address: str) -> None:
        """Let a worker take part, from when it can be reached at `address`. One that had its name before is gone."""
        self.leave(name)
        self._addresses[name] = address
        self._browsers[name] = set()

    def stop(self, name: str) -> None:
        """Give a worker nobody new, because it is stopping. What it holds it holds until it gives it up, or leaves."""
        if name in self._addresses:
            self._stopping.add(name)

    def leave(self, name: str) -> None:
        """Forget a worker that is dead or has stopped: nobody holds its browsers any more."""
        self._addresses.pop(name, None)
        self._stopping.discard(name)
        for browser in self._browsers.pop(name, ()):
            del self._holders[browser]

    def claim(self, browser: str, name: str) -> Holder | None:
        """Answer a claim of the worker `name`: see `Directory.claim`. A worker that does not take part gets nobody."""
        holder = self._holders.get(browser)
        if holder is None:
            if name not in self._addresses or name in self._stopping:
                return None
            holder = self._holders[browser] = name
            self._browsers[name].add(browser)
        return self._seen_by(name, holder)

    def give_up(self, browser: str, name: str) -> None:
        """Take a browser from the worker `name`, if it holds it: see `Directory.give_up`."""
        if self._holders.get(browser) == name:
            del self._holders[browser]
            self._browsers[name].discard(browser)

    def workers(self, name: str) -> list[Holder]:
        """Every worker that takes part, as the worker `name` sees them: see `Directory.workers`."""
        return [self._seen_by(name, other) for other in sorted(self._addresses, key=lambda other: (len(other), other))]

    def _seen_by(self, name: str, other: str) -> Holder:
        return Holder(other, self._addresses[other], other == name)
